// The locks between writers and removals, seen from outside: a batch never meets a step of a removal half way.
import { unixfs } from '@helia/unixfs'
import type { Helia } from 'helia'
import { CID } from 'multiformats/cid'
import { afterEach, describe, expect, it } from 'vitest'
import type { IPFSKitStorage } from '../../src/index.ts'
import { closeAll, countAll, freshName, localStorageOf, NOTHING, randomBytes, same, storageOf, TIER } from './support/stores.ts'

const MIB = 1024 * 1024
const QUIET = { config: { ipfs: { gateways: [], delegatedRouters: [] } } }
const WAIT_TIMEOUT_MS = 20_000

const releases: (() => void)[] = []

afterEach(async () => {
  for (const release of releases.splice(0)) release()
  await closeAll()
})

/** Holds the storage's lock as another tab would. */
async function hold(cacheDir: string, mode: LockMode): Promise<() => void> {
  return new Promise((resolve, reject) => {
    navigator.locks
      .request(`ipfs-kit:${cacheDir}`, { mode }, () => {
        return new Promise<void>((release) => {
          releases.push(release)
          resolve(release)
        })
      })
      .catch(reject)
  })
}

/** Resolves once somebody waits for the storage's lock in that mode. */
async function waiting(cacheDir: string, mode: LockMode): Promise<void> {
  const end = performance.now() + WAIT_TIMEOUT_MS
  for (;;) {
    const { pending = [] } = await navigator.locks.query()
    if (pending.some((lock) => lock.name === `ipfs-kit:${cacheDir}` && lock.mode === mode)) return
    if (performance.now() > end) throw new Error(`nobody asked for the lock in mode '${mode}'`)
  }
}

async function rejection(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => new Error('did not reject'),
    (error: unknown) => error,
  )
}

describe('a batch', () => {
  it.each<[string, (storage: IPFSKitStorage, car: Blob) => Promise<unknown>]>([
    ['store()', (storage) => storage.store(randomBytes(5 * MIB))],
    ['storeDirectory()', (storage) => storage.storeDirectory([{ path: 'a', data: 'a' }])],
    ['importCar()', (storage, car) => storage.importCar(car)],
  ])('of %s waits for a step of a removal', async (what, write) => {
    const source = localStorageOf()
    const car = await new Response(await source.exportCar(await source.store('in a CAR'))).blob()
    const name = freshName()
    const storage = await localStorageOf({ cacheDir: name }).ready()
    const release = await hold(name, 'exclusive')
    const writing = write(storage, car)
    await waiting(name, 'shared')
    // The pack of a writer that is on record is its own affair, until the commit.
    const packed = TIER === 'packs' && what === 'store()' ? { owners: 1, packFiles: 1 } : {}
    expect(await countAll(name)).toEqual({ ...NOTHING, ...packed })
    // Reading waits for nobody.
    expect(await storage.listFiles()).toEqual([])
    release()
    await writing
    expect((await storage.listFiles()).map((file) => file.state)).toEqual(['whole'])
  })

  it.each([
    ['a small file', 1],
    ['a large file', 5 * MIB],
  ])('of %s waits no longer than its signal', async (_, size) => {
    const name = freshName()
    const storage = await localStorageOf({ cacheDir: name }).ready()
    const release = await hold(name, 'exclusive')
    const abort = new AbortController()
    const storing = rejection(storage.store(randomBytes(size), { signal: abort.signal }))
    await waiting(name, 'shared')
    const reason = new Error('no more')
    abort.abort(reason)
    expect(await storing).toBe(reason)
    release()
    await storage.gc()
    expect(await countAll(name)).toEqual(NOTHING)
  })

  it('of a pin waits for a step of a removal', async () => {
    const name = freshName()
    const storage = localStorageOf({ cacheDir: name })
    const bytes = randomBytes(5 * MIB)
    const cid = await storage.store(bytes)
    const release = await hold(name, 'exclusive')
    const pinning = storage.pin(cid)
    await waiting(name, 'shared')
    release()
    expect(await pinning).toBe(true)
    expect(await storage.delete(cid, { force: true })).toBe(true)
    expect(await countAll(name)).toEqual(NOTHING)
  })

  it("of Helia's session, and a write of its pins, wait for a step of a removal", async () => {
    const name = freshName()
    const storage = await storageOf({ cacheDir: name, ...QUIET }).ready()
    const node = (await storage.helia()) as Helia
    const mine = CID.parse(await storage.store('mine'))
    const work: (() => Promise<unknown>)[] = [
      () => unixfs(node).addBytes(randomBytes(100), { profile: 'unixfs-v1-2025' }),
      async () => {
        for await (const _ of node.pins.add(mine)) void _
      },
      async () => {
        for await (const _ of node.pins.rm(mine)) void _
      },
    ]
    for (const begin of work) {
      const release = await hold(name, 'exclusive')
      const working = begin()
      await waiting(name, 'shared')
      release()
      await working
    }
    expect(await storage.exists(mine)).toBe(true)
  })
})

describe('a step of a removal', () => {
  it.each<[string, (storage: IPFSKitStorage, cid: string) => Promise<unknown>]>([
    ['delete()', (storage, cid) => storage.delete(cid, { force: true })],
    ['unpin()', (storage, cid) => storage.unpin(cid)],
  ])('of %s waits for batches of writers', async (_, remove) => {
    const name = freshName()
    const storage = localStorageOf({ cacheDir: name })
    const bytes = randomBytes(4 * MIB + 1)
    const cid = await storage.store(bytes, { pin: true })
    const release = await hold(name, 'shared')
    const removing = remove(storage, cid)
    await waiting(name, 'exclusive')
    expect((await countAll(name)).blocks).toBe(6)
    release()
    await removing
    await storage.delete(cid)
    expect(await countAll(name)).toEqual(NOTHING)
  })

  it('of gc(), the foreign ones too, waits for batches of writers', async () => {
    const name = freshName()
    const storage = localStorageOf({ cacheDir: name })
    const bytes = randomBytes(5 * MIB)
    const cid = await storage.store(bytes)
    const release = await hold(name, 'shared')
    const collecting = storage.gc({ foreign: true })
    await waiting(name, 'exclusive')
    release()
    expect(await collecting).toEqual({ blocks: 0, bytes: 0 })
    expect(same(await storage.retrieve(cid), bytes)).toBe(true)
  })

  it("of Helia's gc() waits for batches of writers", async () => {
    const name = freshName()
    const storage = await storageOf({ cacheDir: name, ...QUIET }).ready()
    const node = (await storage.helia()) as Helia
    const added = await unixfs(node).addBytes(randomBytes(100), { profile: 'unixfs-v1-2025' })
    const release = await hold(name, 'shared')
    const collecting = node.gc()
    await waiting(name, 'exclusive')
    expect(await storage.exists(added)).toBe(true)
    release()
    await collecting
    expect(await storage.exists(added)).toBe(false)
  })
})
