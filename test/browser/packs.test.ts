// Leaves of large files in packs: which go there, that each lies there once, and how they go again. On the tier 'packs' alone.
import { decode } from '@ipld/dag-pb'
import { unixfs } from '@helia/unixfs'
import { IDBBlockstore } from 'blockstore-idb'
import { createHeliaLight } from 'helia'
import { CID } from 'multiformats/cid'
import { afterEach, describe, expect, it } from 'vitest'
import { PinnedError, type IPFSKitStorage } from '../../src/index.ts'
import { bytesOf, flip, packFile, readRecord } from './support/outside.ts'
import {
  closeAll,
  countAll,
  folderNames,
  freshName,
  localStorageOf,
  NOTHING,
  packFiles,
  packFolderOf,
  randomBytes,
  same,
  waitForNothing,
} from './support/stores.ts'

const MIB = 1024 * 1024
const PACK_MIN_BYTES = 4 * MIB
const PACK_MAX_BYTES = 256 * MIB
const LARGE_TIMEOUT_MS = 120_000

afterEach(closeAll)

/** A fresh name, and a storage of that name on packs. */
function opened(): { name: string; storage: IPFSKitStorage } {
  const name = freshName()
  return { name, storage: localStorageOf({ cacheDir: name }) }
}

async function rejection(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    (value) => new Error(`did not reject, but answered ${String(value)}`),
    (error: unknown) => error,
  )
}

async function join(...parts: Uint8Array<ArrayBuffer>[]): Promise<Uint8Array<ArrayBuffer>> {
  return new Uint8Array(await new Blob(parts).arrayBuffer())
}

async function deadBytes(storage: IPFSKitStorage): Promise<number> {
  return (await storage.getBackendStatus()).usage.deadBytes
}

/** How many bytes the node has over the root of a file, whose leaves are counted apart. */
async function rootBytes(name: string, cid: string): Promise<number> {
  return (await readRecord(`${name}/blocks`, cid))?.byteLength ?? Number.NaN
}

describe('the tier', () => {
  it.each(['auto', 'packs'] as const)("is 'packs' where '%s' was asked for, and trying it leaves no file", async (tier) => {
    const name = freshName()
    const storage = await localStorageOf({ cacheDir: name, config: { tier } }).ready()
    const status = await storage.getBackendStatus()
    expect(status.tier).toBe('packs')
    expect(status).not.toHaveProperty('tierDetail')
    expect(await folderNames(name)).toEqual([])
  })

  it("is 'records' where that was asked for, which makes no folder", async () => {
    const name = freshName()
    const storage = localStorageOf({ cacheDir: name, config: { tier: 'records' } })
    await storage.store(randomBytes(5 * MIB))
    expect(await storage.getBackendStatus()).toMatchObject({ tier: 'records', tierDetail: expect.stringContaining("tier 'records'") })
    expect(await packFolderOf(name)).toBeUndefined()
  })
})

describe('a file', () => {
  it.each([
    ['4 MiB less a byte', PACK_MIN_BYTES - 1, 0],
    ['4 MiB', PACK_MIN_BYTES, 4],
    ['4 MiB and a byte', PACK_MIN_BYTES + 1, 5],
  ])('of %s', async (_, size, packed) => {
    const { name, storage } = opened()
    const bytes = randomBytes(size)
    const cid = await storage.store(bytes)
    const packs = packed === 0 ? 0 : 1
    expect(await countAll(name)).toMatchObject({ records: packed === 0 ? 5 : 1, packed, packs, packFiles: packs })
    const [pack] = await packFiles(name)
    if (pack !== undefined) expect((await packFile(name, pack)).size).toBe(size)
    expect(same(await storage.retrieve(cid), bytes)).toBe(true)
    expect((await storage.getBackendStatus()).usage).toMatchObject({ bytes: size + (await rootBytes(name, cid)), deadBytes: 0 })
    expect(await storage.delete(cid)).toBe(true)
    expect(await countAll(name)).toEqual(NOTHING)
    expect((await storage.getBackendStatus()).usage).toMatchObject({ bytes: 0, blocks: 0, deadBytes: 0 })
  })

  it.each([
    // Too little is left for a second one.
    ['256 MiB and a byte has a pack and a record', 1, { records: 2, packed: 256, packs: 1, packFiles: 1 }, [PACK_MAX_BYTES]],
    ['260 MiB has two packs', 4 * MIB, { records: 1, packed: 260, packs: 2, packFiles: 2 }, [4 * MIB, PACK_MAX_BYTES]],
  ])('of %s', { timeout: LARGE_TIMEOUT_MS }, async (_, rest, counts, sizes) => {
    const { name, storage } = opened()
    const end = randomBytes(rest, 1000)
    function* parts(): Generator<Uint8Array<ArrayBuffer>> {
      for (let index = 0; index < PACK_MAX_BYTES / MIB; index++) yield randomBytes(MIB, index)
      yield end
    }
    const cid = await storage.store(parts())
    expect(await countAll(name)).toMatchObject(counts)
    const files = await Promise.all((await packFiles(name)).map((pack) => packFile(name, pack)))
    expect(files.map((file) => file.size).toSorted((a, b) => a - b)).toEqual(sizes)
    expect((await storage.verify()).damaged).toEqual([])
    const last = await join(randomBytes(MIB, 255), end)
    expect(same(await storage.retrieve(cid, { offset: PACK_MAX_BYTES - MIB }), last)).toBe(true)
    const blob = await storage.blob(cid)
    expect(blob?.size).toBe(PACK_MAX_BYTES + rest)
    expect(same(new Uint8Array((await blob?.slice(PACK_MAX_BYTES - MIB).arrayBuffer()) ?? new ArrayBuffer(0)), last)).toBe(true)
    await storage.delete(cid)
    // The Blob keeps what it reads from.
    expect(await countAll(name)).toEqual({ ...NOTHING, packs: counts.packs, packFiles: counts.packFiles })
    expect(await deadBytes(storage)).toBe(sizes.reduce((sum, size) => sum + size, 0))
  })

  it('that repeats its leaves has each of them once', async () => {
    const { name, storage } = opened()
    const half = randomBytes(5 * MIB)
    const cid = await storage.store([half, half])
    expect(await countAll(name)).toMatchObject({ records: 1, packed: 5, packs: 1 })
    const [pack = ''] = await packFiles(name)
    expect((await packFile(name, pack)).size).toBe(5 * MIB)
    expect(same(await storage.retrieve(cid), await join(half, half))).toBe(true)
    expect((await storage.getBackendStatus()).usage).toMatchObject({ blocks: 6, deadBytes: 0 })
    // Of zeros there is one leaf, which makes no pack.
    const zeros = await storage.store(new Uint8Array(8 * MIB))
    expect(await countAll(name)).toMatchObject({ records: 3, packed: 5, packs: 1 })
    expect(same(await storage.retrieve(zeros), new Uint8Array(8 * MIB))).toBe(true)
    await storage.delete(cid)
    await storage.delete(zeros)
    expect(await countAll(name)).toEqual(NOTHING)
  })

  it('goes into a pack as far as it is new', async () => {
    const { name, storage } = opened()
    const [head, tail] = [randomBytes(3 * MIB, 1), randomBytes(5 * MIB, 2)]
    // Three records, and then two files that begin with them: one with too little beyond for a pack.
    await storage.store(head)
    expect(await countAll(name)).toMatchObject({ records: 4, packed: 0 })
    const short = await storage.store([head, tail.subarray(0, 2 * MIB)])
    expect(await countAll(name)).toMatchObject({ records: 7, packed: 0 })
    const long = await storage.store([head, tail])
    expect(await countAll(name)).toMatchObject({ records: 11, packed: 0 })
    const longer = await storage.store([head, tail, randomBytes(4 * MIB, 3)])
    expect(await countAll(name)).toMatchObject({ records: 12, packed: 4, packs: 1 })
    expect(same(await storage.retrieve(short), await join(head, tail.slice(0, 2 * MIB)))).toBe(true)
    expect(same(await storage.retrieve(long), await join(head, tail))).toBe(true)
    expect(same(await storage.retrieve(longer), await join(head, tail, randomBytes(4 * MIB, 3)))).toBe(true)
    // What is here already makes no new one.
    await storage.store([head, tail, randomBytes(4 * MIB, 3)], { filename: 'again' })
    expect(await countAll(name)).toMatchObject({ records: 12, packed: 4, packs: 1, packFiles: 1 })
  })

  it('shares leaves with another: the last one empties the folder', async () => {
    const { name, storage } = opened()
    const [head, one, two] = [randomBytes(5 * MIB, 1), randomBytes(MIB, 2), randomBytes(5 * MIB, 3)]
    const first = await storage.store([head, one])
    const second = await storage.store([head, two])
    expect(await countAll(name)).toMatchObject({ records: 2, packed: 11, packs: 2, packFiles: 2 })
    await storage.delete(first)
    expect(await countAll(name)).toMatchObject({ records: 1, packed: 10, packs: 2, packFiles: 2 })
    expect(await deadBytes(storage)).toBe(MIB)
    expect(same(await storage.retrieve(second), await join(head, two))).toBe(true)
    await storage.delete(second)
    expect(await countAll(name)).toEqual(NOTHING)
    expect(await deadBytes(storage)).toBe(0)
  })

  it('that is pinned stays, and is checked by verify()', async () => {
    const { name, storage } = opened()
    const cid = await storage.store(randomBytes(5 * MIB))
    expect(await storage.pin(cid)).toBe(true)
    expect((await storage.getBackendStatus()).usage.pinnedBytes).toBe(5 * MIB)
    expect(await rejection(storage.delete(cid))).toBeInstanceOf(PinnedError)
    expect(await storage.gc()).toEqual({ blocks: 0, bytes: 0 })
    expect(await storage.verify(cid)).toEqual({ blocks: 6, bytes: 5 * MIB + (await rootBytes(name, cid)), damaged: [] })
    const leaf = (await leavesOf(name, cid))[2] ?? ''
    await flip(name, leaf)
    expect(await storage.verify(cid)).toMatchObject({ blocks: 5, damaged: [{ cid, block: leaf }] })
    await flip(name, leaf)
    expect(await storage.verify(cid)).toMatchObject({ blocks: 6, damaged: [] })
    expect((await storage.listFiles())[0]?.state).toBe('whole')
    expect(await storage.delete(cid, { force: true })).toBe(true)
    expect(await countAll(name)).toEqual(NOTHING)
  })
})

describe('several files', () => {
  it('of a directory have a pack each, the small ones records', async () => {
    const { name, storage } = opened()
    const [a, b] = [randomBytes(5 * MIB, 1), randomBytes(4 * MIB + 5, 2)]
    const root = await storage.storeDirectory([
      { path: 'model.json', data: '{}' },
      { path: 'weights/a.bin', data: a },
      { path: 'weights/b.bin', data: b },
    ])
    // Two directories, two roots of files and the small file.
    expect(await countAll(name)).toMatchObject({ records: 5, packed: 10, packs: 2, packFiles: 2 })
    expect(same(await storage.retrieve(`${root}/weights/a.bin`), a)).toBe(true)
    expect(same(await storage.retrieve(`${root}/weights/b.bin`, { offset: 4 * MIB - 1 }), b.subarray(4 * MIB - 1))).toBe(true)
    expect(await storage.listFiles()).toMatchObject([{ cid: root, state: 'whole', localBytes: 9 * MIB + 7 }])
    await storage.delete(root)
    expect(await countAll(name)).toEqual(NOTHING)
  })

  it('of storeMany() as well, and none of them where one fails', async () => {
    const { name, storage } = opened()
    const failure = new Error('the last one')
    async function* failing(): AsyncGenerator<Uint8Array> {
      yield randomBytes(5 * MIB, 9)
      throw failure
    }
    const items = [1, 2].map((seed) => ({ data: randomBytes(5 * MIB, seed), filename: `${seed}` }))
    expect(await rejection(storage.storeMany([...items, { data: failing() }]))).toBe(failure)
    expect(await countAll(name)).toEqual(NOTHING)
    const cids = await storage.storeMany([...items, { data: 'small' }])
    expect(await countAll(name)).toMatchObject({ records: 3, packed: 10, packs: 2 })
    expect(same(await storage.retrieve(cids[1] ?? ''), randomBytes(5 * MIB, 2))).toBe(true)
  })

  it('stored by two storages at once end as one copy', async () => {
    const { name, storage } = opened()
    const other = localStorageOf({ cacheDir: name })
    const bytes = randomBytes(20 * MIB)
    const [one, two] = await Promise.all([storage.store(bytes, { filename: 'one' }), other.store(bytes, { filename: 'two' })])
    expect(one).toBe(two)
    expect(await countAll(name)).toMatchObject({ blocks: 21, records: 1, packed: 20, packs: 1, packFiles: 1 })
    expect((await storage.getBackendStatus()).usage).toMatchObject({
      blocks: 21,
      bytes: 20 * MIB + (await rootBytes(name, one)),
      deadBytes: 0,
    })
    expect(same(await storage.retrieve(one), bytes)).toBe(true)
    expect(await storage.delete(one)).toBe(true)
    await waitForNothing(name)
  })
})

describe('a CAR', () => {
  it('is made of packs, and found to be here when it comes back', async () => {
    const { name, storage } = opened()
    const bytes = randomBytes(20 * MIB)
    const cid = await storage.store(bytes)
    const car = await new Response(await storage.exportCar(cid)).blob()
    expect(await storage.importCar(car, { filename: 'again' })).toEqual([cid])
    expect(await countAll(name)).toMatchObject({ blocks: 21, records: 1, packed: 20, packs: 1 })
    const other = localStorageOf()
    expect(await other.importCar(car)).toEqual([cid])
    expect(same(await other.retrieve(cid), bytes)).toBe(true)
    await storage.delete(cid)
    expect(await countAll(name)).toEqual(NOTHING)
  })
})

describe("tier 'records' beside packs", () => {
  it('reads what lies in packs, writes records too, and removes both', async () => {
    const { name, storage: packing } = opened()
    const bytes = randomBytes(5 * MIB)
    const cid = await packing.store(bytes, { filename: 'a' })
    const usage = { blocks: 6, files: 1, bytes: 5 * MIB + (await rootBytes(name, cid)), deadBytes: 0 }
    await packing.close()
    const storage = localStorageOf({ cacheDir: name, config: { tier: 'records' } })
    expect(same(await storage.retrieve(cid), bytes)).toBe(true)
    expect(same(new Uint8Array(await new Response(await storage.stream(cid)).arrayBuffer()), bytes)).toBe(true)
    expect((await storage.verify()).damaged).toEqual([])
    expect(await countAll(name)).toMatchObject({ records: 1, packed: 5 })
    expect(await storage.store(bytes, { filename: 'a' })).toBe(cid)
    expect(await countAll(name)).toMatchObject({ blocks: 6, records: 6, packed: 5, packs: 1, packFiles: 1 })
    expect((await storage.getBackendStatus()).usage).toMatchObject(usage)
    expect(same(await seenByStock(name, cid), bytes)).toBe(true)
    // A store on packs writes nothing anew.
    const again = localStorageOf({ cacheDir: name })
    expect(await again.store(bytes, { filename: 'b' })).toBe(cid)
    expect(await countAll(name)).toMatchObject({ blocks: 6, records: 6, packed: 5, packs: 1, packFiles: 1 })
    expect((await again.getBackendStatus()).usage).toMatchObject({ ...usage, files: 2 })
    expect(await storage.delete(cid)).toBe(true)
    await waitForNothing(name)
    expect((await storage.getBackendStatus()).usage).toMatchObject({ blocks: 0, bytes: 0, files: 0, deadBytes: 0 })
  })

  it('keeps in records what was stored there, whatever is stored on packs', async () => {
    const name = freshName()
    const bytes = randomBytes(5 * MIB)
    const first = localStorageOf({ cacheDir: name, config: { tier: 'records' } })
    const cid = await first.store(bytes)
    await first.close()
    const storage = localStorageOf({ cacheDir: name })
    expect(await storage.store(bytes, { filename: 'again' })).toBe(cid)
    expect(await countAll(name)).toMatchObject({ records: 6, packed: 0, packs: 0, packFiles: 0 })
    expect(same(await seenByStock(name, cid), bytes)).toBe(true)
  })

  /** What a stock Helia on the same database reads. */
  async function seenByStock(name: string, cid: string): Promise<Uint8Array<ArrayBuffer>> {
    const blockstore = new IDBBlockstore(`${name}/blocks`)
    await blockstore.open()
    const node = createHeliaLight({ blockstore })
    await node.start()
    try {
      return await bytesOf(unixfs(node).cat(CID.parse(cid), { offline: true }))
    } finally {
      await node.stop()
      await blockstore.close()
    }
  }
})

describe('a stream over packs', () => {
  it.each(['itself', 'another'])('finishes though its content is deleted meanwhile by %s', async (who) => {
    const { name, storage } = opened()
    const bytes = randomBytes(60 * MIB)
    const cid = await storage.store(bytes)
    const stream = await storage.stream(cid)
    const reader = stream!.getReader()
    const parts = [(await reader.read()).value!]
    const by = who === 'itself' ? storage : localStorageOf({ cacheDir: name })
    expect(await by.delete(cid)).toBe(true)
    expect(await storage.exists(cid)).toBe(false)
    for (let next = await reader.read(); !next.done; next = await reader.read()) parts.push(next.value)
    expect(same(await join(...parts), bytes)).toBe(true)
    await by.gc()
    await waitForNothing(name)
  })
})

/** CIDs of a file's leaves, as its root has them. */
async function leavesOf(name: string, cid: string): Promise<string[]> {
  const root = await readRecord(`${name}/blocks`, cid)
  return decode(root ?? new Uint8Array(0)).Links.map((link) => link.Hash.toString())
}
