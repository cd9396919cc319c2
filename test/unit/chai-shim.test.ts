// That the suite every blockstore passes runs here: against blockstore-idb, whose database ours is.
import 'fake-indexeddb/auto'
import { IDBBlockstore } from 'blockstore-idb'
import { interfaceBlockstoreTests } from 'interface-blockstore-tests'
import { describe, expect, it } from 'vitest'

describe('blockstore-idb', () => {
  interfaceBlockstoreTests({
    async setup() {
      const store = new IDBBlockstore(`conformance-${Math.random()}`)
      await store.open()
      return store
    },
    async teardown(store) {
      await store.close()
      await store.destroy()
    },
  })
})

describe('the shim', () => {
  it("leaves vitest's expect asserting", () => {
    expect(() => expect(false).toBe(true)).toThrow()
    expect(() => void Reflect.get(expect(false).to.be, 'true')).toThrow()
  })
})
