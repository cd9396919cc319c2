// Every official CID of test/fixtures/unixfs-vectors.json, from the fallback, from a storage with Helia, and through @helia/unixfs over it; and
// files of many blocks that one stored and the other reads after a restart.
import { unixfs, type UnixFS } from '@helia/unixfs'
import type { Helia } from 'helia'
import { CID } from 'multiformats/cid'
import { afterEach, describe, expect, it } from 'vitest'
import type { IPFSKitStorage } from '../../src/index.ts'
import vectors from '../fixtures/unixfs-vectors.json'
import { Keystream, vectorNames } from './support/keystream.ts'
import { needsRoom } from './support/needs.ts'
import { closeAll, countAll, freshName, localStorageOf, randomBytes, same, storageOf, TIER } from './support/stores.ts'
import { watchWrites } from './support/writes.ts'

const MIB = 1024 * 1024
const GIB_TEST_TIMEOUT_MS = 240_000
/** With what the database takes beside. */
const GIB_ROOM_BYTES = 1100 * MIB

/** Batches of the writer and of the source's reader, by their names in limits.ts: two under way, one being filled, one put. */
const MOST_HELD_BYTES = 64 * MIB

const PROFILE = { profile: 'unixfs-v1-2025' } as const
const X = new TextEncoder().encode('x')

const [HUGE] = vectors.files.filter(({ bytes = 0 }) => bytes >= 1024 * MIB)
const SMALL = vectors.files.filter((file) => file !== HUGE)
const [EMPTY_DIRECTORY, SHARDED_DIRECTORY] = vectors.directories

afterEach(closeAll)

async function heliaStorageOf(cacheDir = freshName()): Promise<{ storage: IPFSKitStorage; fs: UnixFS; node: Helia }> {
  const options = { cacheDir, config: { ipfs: { gateways: [], delegatedRouters: [] } } }
  const storage = await storageOf(options).ready()
  const node = (await storage.helia()) as Helia
  return { storage, fs: unixfs(node), node }
}

async function contentOf(file: (typeof SMALL)[number]): Promise<Uint8Array<ArrayBuffer>> {
  if (file.seed === undefined) return new TextEncoder().encode(file.utf8)
  return (await Keystream.of(file.seed)).bytes(0, file.bytes ?? 0)
}

function labelOf(file: (typeof vectors.files)[number]): string {
  return file.bytes === undefined ? `'${file.utf8 ?? ''}'` : `${file.bytes} bytes`
}

async function shardedNames(): Promise<string[]> {
  const names = await vectorNames(4766, 11, 21, 'hamt-unixfs-v1-2025')
  expect(SHARDED_DIRECTORY?.entries).toContain("names(4766, 11, 21, 'hamt-unixfs-v1-2025')")
  return names
}

async function read(parts: AsyncIterable<Uint8Array>): Promise<Uint8Array<ArrayBuffer>> {
  const blobs: BlobPart[] = []
  for await (const part of parts) blobs.push(new Uint8Array(part))
  return new Uint8Array(await new Blob(blobs).arrayBuffer())
}

describe.each(['fallback', 'Helia'])('a storage: %s', (mode) => {
  const storageOf = async (): Promise<IPFSKitStorage> => (mode === 'Helia' ? (await heliaStorageOf()).storage : localStorageOf())

  it.each(SMALL.map((file) => [labelOf(file), file] as const))('%s', async (_, file) => {
    const storage = await storageOf()
    const content = await contentOf(file)
    expect(await storage.store(content)).toBe(file.cid)
    expect(same(await storage.retrieve(file.cid), content)).toBe(true)
  })

  it('an empty directory', async () => {
    const storage = await storageOf()
    expect(await storage.storeDirectory([])).toBe(EMPTY_DIRECTORY?.cid)
    expect(await storage.listDirectory(EMPTY_DIRECTORY?.cid ?? '')).toEqual([])
  })

  it('a directory of 4766 names, sharded', async () => {
    const storage = await storageOf()
    const names = await shardedNames()
    expect(await storage.storeDirectory(names.map((path) => ({ path, data: X })))).toBe(SHARDED_DIRECTORY?.cid)
    const listed = await storage.listDirectory(SHARDED_DIRECTORY?.cid ?? '')
    expect(listed?.map(({ name }) => name).sort()).toEqual(names.sort())
    expect(await storage.retrieve(`${SHARDED_DIRECTORY?.cid ?? ''}/${names[4000] ?? ''}`)).toEqual(X)
  })
})

describe('@helia/unixfs over a storage', () => {
  it.each(SMALL.map((file) => [labelOf(file), file] as const))('%s', async (_, file) => {
    const { storage, fs } = await heliaStorageOf()
    const content = await contentOf(file)
    expect((await fs.addBytes(content, PROFILE)).toString()).toBe(file.cid)
    expect(same(await storage.retrieve(file.cid), content)).toBe(true)
  })

  it('an empty directory', async () => {
    const { storage, fs } = await heliaStorageOf()
    expect((await fs.addDirectory({}, PROFILE)).toString()).toBe(EMPTY_DIRECTORY?.cid)
    expect(await storage.listDirectory(EMPTY_DIRECTORY?.cid ?? '')).toEqual([])
  })

  it('a directory of 4766 names, sharded', async () => {
    const { storage, fs } = await heliaStorageOf()
    const names = await shardedNames()
    let root = ''
    const entries = names.map((path) => ({ path, content: X }))
    for await (const { cid } of fs.addAll(entries, { ...PROFILE, wrapWithDirectory: true })) root = cid.toString()
    expect(root).toBe(SHARDED_DIRECTORY?.cid)
    expect((await storage.listDirectory(root))?.length).toBe(names.length)
  })
})

describe('1 GiB from a stream', () => {
  const { cid = '', bytes: size = 0, seed = '' } = HUGE ?? {}

  it('in the fallback, in bounded memory', { timeout: GIB_TEST_TIMEOUT_MS }, async ({ skip }) => {
    await needsRoom(skip, GIB_ROOM_BYTES)
    const cacheDir = freshName()
    const storage = localStorageOf({ cacheDir })
    const keystream = await Keystream.of(seed)
    const writes = watchWrites(cacheDir)
    let made = 0
    let mostHeld = 0
    const counted = new TransformStream<Uint8Array<ArrayBuffer>, Uint8Array<ArrayBuffer>>(
      {
        transform: (piece, controller) => {
          made += piece.byteLength
          mostHeld = Math.max(mostHeld, made - writes.bytes - writes.packedBytes)
          controller.enqueue(piece)
        },
      },
      { highWaterMark: 1 },
      { highWaterMark: 0 },
    )
    expect(await storage.store(keystream.stream(size).pipeThrough(counted))).toBe(cid)
    writes.stop()
    expect(made).toBe(size)
    expect(mostHeld).toBeLessThanOrEqual(MOST_HELD_BYTES)
    expect(await storage.stat(cid)).toMatchObject({ size, blocks: 1025, localBlocks: 1025 })
    expect(await countAll(cacheDir)).toMatchObject(
      TIER === 'packs' ? { records: 1, packed: 1024, packs: 4, packFiles: 4 } : { records: 1025, packed: 0, packs: 0, packFiles: 0 },
    )
    const at = 1023 * MIB - 5
    expect(await storage.retrieve(cid, { offset: at, length: 10 })).toEqual(new Uint8Array(keystream.bytes(at, 10)))
  })

  it('through Helia', { timeout: GIB_TEST_TIMEOUT_MS }, async ({ skip }) => {
    await needsRoom(skip, GIB_ROOM_BYTES)
    const { storage, fs } = await heliaStorageOf()
    const keystream = await Keystream.of(seed)
    expect((await fs.addByteStream(keystream.stream(size), PROFILE)).toString()).toBe(cid)
    expect(await storage.stat(cid)).toMatchObject({ size, blocks: 1025, localBlocks: 1025 })
  })
})

describe('after a restart', () => {
  const content = randomBytes(5 * MIB + 17, 21)
  const other = randomBytes(3 * MIB + 1, 22)

  it('Helia reads what the fallback stored', async () => {
    const cacheDir = freshName()
    const fallback = localStorageOf({ cacheDir })
    const file = await fallback.store(content)
    const directory = await fallback.storeDirectory([
      { path: 'model.json', data: '{}' },
      { path: 'weights/a.bin', data: content },
      { path: 'weights/b.bin', data: other },
    ])
    await fallback.close()
    const { storage, fs } = await heliaStorageOf(cacheDir)
    expect(same(await read(fs.cat(CID.parse(file), { offline: true })), content)).toBe(true)
    expect(same(await read(fs.cat(CID.parse(directory), { path: 'weights/b.bin', offline: true })), other)).toBe(true)
    const names: string[] = []
    for await (const entry of fs.ls(CID.parse(directory), { path: 'weights', offline: true })) names.push(entry.name)
    expect(names).toEqual(['a.bin', 'b.bin'])
    expect((await storage.listFiles()).map((entry) => [entry.cid, entry.state, entry.fallback])).toEqual(
      [file, directory].sort().map((cid) => [cid, 'whole', true]),
    )
  })

  it('the fallback reads what Helia stored, and keeps what it pinned', async () => {
    const cacheDir = freshName()
    const { storage, fs, node } = await heliaStorageOf(cacheDir)
    const added = await fs.addBytes(content, PROFILE)
    let root: CID | undefined
    const entries = [
      { path: 'deep/a.bin', content: content },
      { path: 'deep/er/b.bin', content: other },
    ]
    for await (const { cid } of fs.addAll(entries, { ...PROFILE, wrapWithDirectory: true })) root = cid
    for await (const pinned of node.pins.add(added)) void pinned
    const stored = await storage.store(other, { filename: 'by the storage' })
    await storage.close()
    const fallback = localStorageOf({ cacheDir })
    expect(same(await fallback.retrieve(added), content)).toBe(true)
    expect(same(await fallback.retrieve(added, { offset: MIB - 3, length: 2 * MIB }), content.slice(MIB - 3, 3 * MIB - 3))).toBe(true)
    expect(same(await fallback.retrieve(`${root?.toString() ?? ''}/deep/er/b.bin`), other)).toBe(true)
    expect((await fallback.listDirectory(`${root?.toString() ?? ''}/deep`))?.map(({ name }) => name)).toEqual(['a.bin', 'er'])
    expect(await fallback.listFiles()).toMatchObject([{ cid: stored, filename: 'by the storage', fallback: false, state: 'whole' }])
    expect(await fallback.gc()).toEqual({ blocks: 0, bytes: 0 })
    expect(await fallback.exists(added)).toBe(true)
  })
})
