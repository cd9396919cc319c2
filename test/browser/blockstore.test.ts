// The blockstore that Helia gets passes the suite every blockstore passes. Nothing else is tested here: the suite's chai changes `expect`.
import { interfaceBlockstoreTests } from 'interface-blockstore-tests'
import { describe } from 'vitest'
import { Core } from '../../src/core.ts'
import { IPFSKitStorage } from '../../src/index.ts'
import { openSession, type SessionBlockstore } from '../../src/network/helia-view.ts'
import { resolveOptions } from '../../src/options.ts'
import { freshName, UNHEARD } from './support/stores.ts'

const closers = new Map<SessionBlockstore, () => Promise<void>>()

describe("Helia's view", () => {
  interfaceBlockstoreTests({
    async setup() {
      const name = freshName()
      const core = await Core.open(resolveOptions({ cacheDir: name, forceFallback: true }), UNHEARD)
      const view = await openSession(core.store, core.pinnedByHelia)
      closers.set(view, async () => {
        await view.close()
        await core.close()
        await IPFSKitStorage.destroy(name)
      })
      return view
    },
    async teardown(view) {
      await closers.get(view)?.()
    },
  })
})
