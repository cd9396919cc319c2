// Room for what is new, taken from what was used least recently: within `maxBytes`, and within what the browser allows.
import { afterEach, describe, expect, it } from 'vitest'
import { IPFSKitStorage, QuotaError, type StorageEvents } from '../../src/index.ts'
import { closeAll, countAll, freshName, localStorageOf, randomBytes, same, TIER, tiered } from './support/stores.ts'

const MIB = 1024 * 1024
/** Large enough for a pack of its own; with its root it takes a little more. */
const SIZE = 5 * MIB
const ROOM_FOR_TWO = 11 * MIB

afterEach(closeAll)

let seed = 0

/** Others each time. */
function fresh(size: number): Uint8Array<ArrayBuffer> {
  return randomBytes(size, ++seed)
}

type Detail<K extends keyof StorageEvents> = StorageEvents[K] extends CustomEvent<infer D> ? D : never

function heard<K extends keyof StorageEvents>(storage: IPFSKitStorage, type: K): Detail<K>[] {
  const details: Detail<K>[] = []
  storage.addEventListener(type, (event) => details.push(event.detail as Detail<K>))
  return details
}

async function names(storage: IPFSKitStorage): Promise<string[]> {
  return (await storage.listFiles()).map(({ filename, state }) => (state === 'whole' ? filename : `${filename} ${state}`))
}

async function usedBytes(storage: IPFSKitStorage): Promise<number> {
  return (await storage.getBackendStatus()).usage.bytes
}

describe('maxBytes', () => {
  it('gives up what was used least recently, as much as is needed and no more, and says so', async () => {
    const storage = localStorageOf({ config: { maxBytes: 3 * ROOM_FOR_TWO } })
    const [evicted, changes] = [heard(storage, 'evicted'), heard(storage, 'change')]
    const cids: string[] = []
    for (const filename of ['a', 'b', 'c', 'd', 'e', 'f']) cids.push(await storage.store(fresh(SIZE), { filename }))
    expect(evicted).toEqual([])
    // Used now, so that b is next.
    await storage.retrieve(cids[0] ?? '')
    await storage.store(fresh(SIZE), { filename: 'g' })
    expect(await names(storage)).toEqual(['a', 'c', 'd', 'e', 'f', 'g'])
    expect(evicted).toEqual([{ cid: cids[1], filename: 'b', bytes: expect.any(Number) }])
    expect(evicted[0]?.bytes).toBeGreaterThanOrEqual(SIZE)
    expect(changes.filter(({ kind }) => kind === 'deleted')).toEqual([{ cid: cids[1], filename: 'b', kind: 'deleted' }])
    expect(await usedBytes(storage)).toBeLessThanOrEqual(3 * ROOM_FOR_TWO)
    expect(await storage.retrieve(cids[1] ?? '')).toBeNull()
  })

  it('holds whatever comes together', async () => {
    const maxBytes = 4 * ROOM_FOR_TWO
    const storage = localStorageOf({ config: { maxBytes } })
    const other = localStorageOf({ cacheDir: (await storage.getBackendStatus()).cacheDir, config: { maxBytes } })
    await Promise.all(
      Array.from({ length: 12 }, (_, index) => (index % 2 === 0 ? storage : other).store(fresh(SIZE), { filename: `${index}` })),
    )
    expect(await usedBytes(storage)).toBeLessThanOrEqual(maxBytes)
    const files = await storage.listFiles()
    expect(files.length).toBeGreaterThan(0)
    for (const { cid, state } of files) {
      expect(state).toBe('whole')
      expect(await storage.verify(cid)).toMatchObject({ damaged: [] })
    }
  })

  it('never takes what is pinned: without room that is left the error tells, and nothing has changed', async () => {
    const storage = localStorageOf({ config: { maxBytes: ROOM_FOR_TWO } })
    const pinned = fresh(SIZE)
    const cid = await storage.store(pinned, { filename: 'pinned', pin: true })
    const other = fresh(SIZE)
    await storage.store(other, { filename: 'other', pin: true })
    await storage.gc()
    const name = (await storage.getBackendStatus()).cacheDir
    const before = await countAll(name)
    const used = await usedBytes(storage)
    const refused = storage.store(fresh(SIZE), { filename: 'late' })
    await expect(refused).rejects.toThrow(QuotaError)
    await refused.catch(({ needed, available, message }: QuotaError) => {
      expect(needed).toBeGreaterThan(0)
      expect(available).toBeGreaterThanOrEqual(0)
      expect(available).toBeLessThan(needed ?? 0)
      expect(message).toContain('maxBytes')
    })
    await storage.gc()
    expect(await countAll(name)).toEqual(before)
    expect(await usedBytes(storage)).toBe(used)
    expect(await names(storage)).toEqual(['other', 'pinned'])
    expect(same(await storage.retrieve(cid), pinned)).toBe(true)
    // Unpinned it goes.
    await storage.unpin(cid)
    await storage.store(fresh(SIZE), { filename: 'late' })
    expect(await names(storage)).toEqual(['late', 'other'])
  })

  it('refuses what is larger than all of it before anything is given up', async () => {
    const storage = localStorageOf({ config: { maxBytes: ROOM_FOR_TWO } })
    const evicted = heard(storage, 'evicted')
    await storage.store(fresh(SIZE), { filename: 'a' })
    await storage.store(fresh(SIZE), { filename: 'b' })
    await expect(storage.store(fresh(12 * MIB))).rejects.toThrow(QuotaError)
    expect(await names(storage)).toEqual(['a', 'b'])
    expect(evicted).toEqual([])
  })

  it('refuses what has no room beside what is pinned before anything is given up, unless it may be here already', async () => {
    const storage = localStorageOf({ config: { maxBytes: 21 * MIB } })
    const evicted = heard(storage, 'evicted')
    const pinned = fresh(6 * MIB)
    // Contents that share blocks, of which only one more is kept.
    await storage.store(pinned, { filename: 'pinned', pin: true })
    await storage.store(new Blob([pinned, fresh(MIB)]), { filename: 'longer', pin: true })
    for (const filename of ['a', 'b']) await storage.store(fresh(SIZE), { filename })
    const needed = 15 * MIB
    const late = fresh(needed)
    let read = 0
    const source = new Blob([late])
    const refused = await storage.store(source, { filename: 'late', onProgress: ({ bytes }) => (read = bytes) }).then(
      () => undefined,
      (error: unknown) => error,
    )
    expect(refused).toMatchObject({ name: 'QuotaError', needed, available: expect.any(Number) as number })
    expect((refused as QuotaError).available).toBeGreaterThan(13 * MIB)
    expect((refused as QuotaError).available).toBeLessThanOrEqual(14 * MIB)
    // Of records a batch is as large as the file.
    if (TIER === 'packs') expect(read).toBeLessThan(needed)
    expect(await names(storage)).toEqual(['a', 'b', 'longer', 'pinned'])
    expect(evicted).toEqual([])
    // What is pinned is stored again without any room, and so is what shares enough with it.
    await storage.store(new Blob([pinned, fresh(11 * MIB)]), { filename: 'shares' })
    await storage.store(pinned, { filename: 'again' })
    expect(await names(storage)).toEqual(['again', 'longer', 'pinned', 'shares'])
    expect(await usedBytes(storage)).toBeLessThanOrEqual(21 * MIB)
  })

  it('may be little', async () => {
    const storage = localStorageOf({ config: { maxBytes: 200_000 } })
    await storage.store(fresh(150_000), { filename: 'a' })
    await storage.store(fresh(150_000), { filename: 'b' })
    expect(await names(storage)).toEqual(['b'])
  })

  it('takes nothing where what is pinned is too much by itself', async () => {
    const name = freshName()
    const before = localStorageOf({ cacheDir: name })
    for (const filename of ['a', 'b', 'c']) await before.store(fresh(SIZE), { filename, pin: true })
    await before.store(fresh(MIB), { filename: 'd' })
    await before.close()
    const storage = localStorageOf({ cacheDir: name, config: { maxBytes: ROOM_FOR_TWO } })
    const evicted = heard(storage, 'evicted')
    await expect(storage.store(fresh(MIB), { filename: 'e' })).rejects.toThrow(QuotaError)
    expect(await names(storage)).toEqual(['a', 'b', 'c', 'd'])
    expect(evicted).toEqual([])
  })

  it('counts what several share once, and what others need stays with them', async () => {
    const storage = localStorageOf({ config: { maxBytes: 2 * ROOM_FOR_TWO } })
    const evicted = heard(storage, 'evicted')
    const shared = fresh(SIZE)
    await storage.store(shared, { filename: 'first' })
    const directory = await storage.storeDirectory([{ path: 'inside', data: shared }], { filename: 'directory', pin: true })
    await storage.store(fresh(SIZE), { filename: 'second' })
    await storage.store(fresh(SIZE), { filename: 'third' })
    await storage.store(fresh(SIZE), { filename: 'fourth' })
    await storage.store(fresh(SIZE), { filename: 'fifth' })
    // Giving up the first would have freed nothing.
    expect(await names(storage)).toEqual(['directory', 'fifth', 'first', 'fourth', 'third'])
    expect(evicted.map(({ filename }) => filename)).toEqual(['second'])
    expect(same(await storage.retrieve(`${directory}/inside`), shared)).toBe(true)
  })

  it('takes small files one by one, and makes room for many', async () => {
    const storage = localStorageOf({ config: { maxBytes: 2 * MIB } })
    const first = Array.from({ length: 1500 }, (_, index) => ({ data: fresh(1024), filename: `first/${index}` }))
    await storage.storeMany(first)
    const second = Array.from({ length: 1000 }, (_, index) => ({ data: fresh(1024), filename: `second/${index}` }))
    const cids = await storage.storeMany(second)
    expect(await usedBytes(storage)).toBeLessThanOrEqual(2 * MIB)
    expect(await storage.listFiles('second')).toHaveLength(1000)
    const left = (await storage.listFiles('first')).length
    expect(left).toBeGreaterThan(0)
    expect(left).toBeLessThan(1500)
    expect(same(await storage.retrieve(cids[999] ?? ''), second[999]?.data ?? fresh(1))).toBe(true)
  })

  it('holds for what was stored when more was allowed', async () => {
    const name = freshName()
    const before = localStorageOf({ cacheDir: name })
    for (const filename of ['a', 'b', 'c', 'd']) await before.store(fresh(SIZE), { filename, pin: filename === 'a' })
    await before.close()
    const storage = new IPFSKitStorage(tiered({ cacheDir: name, forceFallback: true, config: { maxBytes: ROOM_FOR_TWO } }))
    try {
      const evicted = heard(storage, 'evicted')
      await expect.poll(() => names(storage), { timeout: 20_000 }).toEqual(['a', 'd'])
      await expect.poll(() => evicted.map(({ filename }) => filename)).toEqual(['b', 'c'])
    } finally {
      await storage.close()
    }
  })

  it('tells the other tabs', async () => {
    const name = freshName()
    const storage = localStorageOf({ cacheDir: name, config: { maxBytes: ROOM_FOR_TWO } })
    const other = await localStorageOf({ cacheDir: name }).ready()
    const evicted = heard(other, 'evicted')
    for (const filename of ['a', 'b', 'c']) await storage.store(fresh(SIZE), { filename })
    await expect.poll(() => evicted.map(({ filename }) => filename)).toEqual(['a'])
    expect(await names(other)).toEqual(['b', 'c'])
  })

  it('is done after what was deleted has gone', async () => {
    const storage = localStorageOf({ config: { maxBytes: ROOM_FOR_TWO } })
    const evicted = heard(storage, 'evicted')
    await storage.store(fresh(SIZE), { filename: 'a' })
    const cid = await storage.store(fresh(SIZE), { filename: 'b' })
    const begun = new Promise((resolve) => storage.addEventListener('change', resolve, { once: true }))
    const deleted = storage.delete(cid)
    await begun
    await storage.store(fresh(SIZE), { filename: 'c' })
    expect(await deleted).toBe(true)
    expect(await names(storage)).toEqual(['a', 'c'])
    expect(evicted).toEqual([])
  })

  it('stops with its signal, and what was begun is undone', async () => {
    const storage = localStorageOf({ config: { maxBytes: ROOM_FOR_TWO } })
    await storage.store(fresh(SIZE), { filename: 'a' })
    await storage.store(fresh(SIZE), { filename: 'b' })
    const abort = new AbortController()
    storage.addEventListener('evicted', () => abort.abort(new Error('enough')))
    await expect(storage.store(fresh(SIZE), { filename: 'c', signal: abort.signal })).rejects.toThrow('enough')
    expect(await names(storage)).toEqual(['b'])
    expect(await storage.verify()).toMatchObject({ damaged: [] })
  })
})
