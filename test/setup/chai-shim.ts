// Stands in for `aegir/chai`, which interface-blockstore-tests imports without depending on it: chai with chai-as-promised, and
// `.true()`, `.false()`, `.ok()` … callable, as dirty-chai has them.
import { Assertion, expect, use } from 'chai'
import chaiAsPromised from 'chai-as-promised'

const CALLABLE = ['ok', 'true', 'false', 'null', 'undefined', 'exist', 'empty']

use(chaiAsPromised)
use((_chai, utils) => {
  for (const name of CALLABLE) {
    utils.overwriteProperty(
      Assertion.prototype,
      name,
      (assert: (this: object) => void) =>
        function (this: object): unknown {
          // Must assert when it is read: vitest's `expect` may be of the same chai, and there nobody calls the result.
          assert.call(this)
          return new Proxy(() => this, { get: (_target, key) => Reflect.get(this, key) as unknown })
        },
    )
  }
})

export { expect }
