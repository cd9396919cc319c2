// Large files: 256 MiB in and out in every way, written in transactions of many blocks; and buffers that their owner goes on writing.
import { afterAll, afterEach, describe, expect, it } from 'vitest'
import type { ContentStorage, Source } from '../../src/index.ts'
import { connect } from '../../src/worker/index.ts'
import type { Order } from './fixtures/original-worker.ts'
import { Keystream } from './support/keystream.ts'
import { has, WRITABLE_FILES } from './support/needs.ts'
import { packFile } from './support/outside.ts'
import { closeAll, countAll, destroyWhole, freshName, localStorageOf, packFiles, TIER, tiered } from './support/stores.ts'
import { watchWrites } from './support/writes.ts'

const MIB = 1024 * 1024
const LARGE_BYTES = 256 * MIB
/** As the stock ipfs-unixfs-importer and Node's SHA-256 have it for the first 256 MiB of the keystream of 'large-seed'. */
const LARGE_CID = 'bafybeibhtwgcaiofsfvslgqga2fmzdfl2ha34iwthbq6twzi4h5viyaqui'
const LARGE_SHA256 = 'd9e2d717ad0436b236920ab14e29150f31586a23e5c8cc0ace7b823963a34c7a'
const LARGE_TIMEOUT_MS = 180_000

/** 256 leaves and their root, and the 16 MiB of one transaction by its name in limits.ts. */
const LARGE_BLOCKS = 257
const BLOCKS_PER_TRANSACTION = 16

/** Across a chunk border, many chunks, a read window's border, none, the very end and beyond it. */
const RANGES: readonly (readonly [offset: number, length: number])[] = [
  [MIB - 3, 7],
  [5 * MIB - 1, 3 * MIB + 2],
  [16 * MIB - 100, 200],
  [64 * MIB, 0],
  [200 * MIB + 12_345, 18 * MIB],
  [LARGE_BYTES - 10, 10],
  [LARGE_BYTES - 10, 100],
]

const endings: (() => void | Promise<void>)[] = []

afterAll(async () => {
  if (large !== undefined && (await has(WRITABLE_FILES))) await (await navigator.storage.getDirectory()).removeEntry('large')
})

afterEach(async () => {
  for (const ending of endings.splice(0).reverse()) await ending()
  await closeAll()
})

/** A storage in a dedicated worker, deleted after the test. */
function workerStorageOf(): ContentStorage {
  const cacheDir = freshName()
  const worker = new Worker(new URL('./fixtures/original-worker.ts', import.meta.url), { type: 'module' })
  const client = connect(worker)
  endings.push(
    () => destroyWhole(cacheDir),
    () => worker.terminate(),
    () => client.close(),
  )
  worker.postMessage({ order: 'serve', options: tiered({ cacheDir, forceFallback: true }), environment: {} } satisfies Order)
  return client
}

function hex(digest: Uint8Array): string {
  return [...digest].map((byte) => byte.toString(16).padStart(2, '0')).join('')
}

async function digestOf(bytes: Uint8Array<ArrayBuffer> | null): Promise<string> {
  return bytes === null ? 'null' : hex(new Uint8Array(await crypto.subtle.digest('SHA-256', bytes)))
}

/** At most 256 MiB: they are gathered first. */
async function digestOfAll(content: ReadableStream<Uint8Array<ArrayBuffer>> | Blob | null): Promise<string> {
  return digestOf(content === null ? null : new Uint8Array(await new Response(content).arrayBuffer()))
}

let large: Promise<File> | undefined

/** LARGE_BYTES of the keystream, made once. A file, since Chromium has room for 500 MB of other Blobs in a private window, which this is. */
function largeFile(): Promise<File> {
  large ??= (async () => {
    const keystream = await Keystream.of('large-seed')
    if (!(await has(WRITABLE_FILES))) return new File([await new Response(keystream.stream(LARGE_BYTES, 4 * MIB)).blob()], 'large')
    const handle = await (await navigator.storage.getDirectory()).getFileHandle('large', { create: true })
    await keystream.stream(LARGE_BYTES, 4 * MIB).pipeTo(await handle.createWritable())
    return handle.getFile()
  })()
  return large
}

async function largeBytes(): Promise<Uint8Array<ArrayBuffer>> {
  return new Uint8Array(await (await largeFile()).arrayBuffer())
}

async function checkRanges(storage: ContentStorage): Promise<void> {
  const file = await largeFile()
  for (const [offset, length] of RANGES) {
    const expected = file.slice(offset, offset + length)
    const actual = await storage.retrieve(LARGE_CID, { offset, length })
    expect([offset, actual?.byteLength]).toEqual([offset, expected.size])
    expect(await digestOf(actual)).toBe(await digestOfAll(expected))
  }
}

describe('256 MiB', () => {
  it.each<[string, () => Promise<Source>]>([
    ['one Uint8Array', largeBytes],
    ['a Blob', largeFile],
    // Whose pieces end nowhere in particular.
    ['a stream', async () => (await Keystream.of('large-seed')).stream(LARGE_BYTES, 3 * MIB + 1)],
  ])('from %s: stored in large pieces, retrieved whole, by ranges and as a stream', { timeout: LARGE_TIMEOUT_MS }, async (_, make) => {
    const cacheDir = freshName()
    const storage = localStorageOf({ cacheDir })
    const writes = watchWrites(cacheDir)
    let reported = 0
    const onProgress = ({ bytes }: { bytes: number }): void => {
      reported = bytes
    }
    expect(await storage.store(await make(), { onProgress })).toBe(LARGE_CID)
    writes.stop()
    expect(reported).toBe(LARGE_BYTES)

    const counts = await countAll(cacheDir)
    if (TIER === 'packs') {
      // The root is the one record. Every leaf goes once into the one pack that there is.
      expect(writes.puts).toEqual([1])
      expect(writes.packedBytes).toBe(LARGE_BYTES)
      expect(writes.bytes).toBeLessThan(MIB)
      expect(counts).toMatchObject({ blocks: LARGE_BLOCKS, records: 1, packed: LARGE_BLOCKS - 1, packs: 1, packFiles: 1 })
      const [pack = ''] = await packFiles(cacheDir)
      expect((await packFile(cacheDir, pack)).size).toBe(LARGE_BYTES)
    } else {
      // Each transaction but the last is full; no block is written twice, and none drags a larger buffer along.
      expect(writes.puts.length).toBe(Math.ceil(LARGE_BLOCKS / BLOCKS_PER_TRANSACTION))
      expect(writes.puts.slice(0, -1).every((puts) => puts === BLOCKS_PER_TRANSACTION)).toBe(true)
      expect(writes.puts.reduce((sum, puts) => sum + puts, 0)).toBe(LARGE_BLOCKS)
      expect(writes.bytes).toBeLessThan(LARGE_BYTES + MIB)
      expect(writes.packedBytes).toBe(0)
      expect(counts).toMatchObject({ blocks: LARGE_BLOCKS, records: LARGE_BLOCKS, packs: 0, packFiles: 0 })
    }

    expect(await digestOf(await storage.retrieve(LARGE_CID))).toBe(LARGE_SHA256)
    await checkRanges(storage)
    expect(await digestOfAll(await storage.stream(LARGE_CID))).toBe(LARGE_SHA256)
  })

  it('as a Blob, or QuotaError where the browser has no room for it', { timeout: LARGE_TIMEOUT_MS }, async () => {
    const storage = localStorageOf()
    await storage.store(await largeFile(), { mediaType: 'application/x-weights' })
    const first = await storage.blob(LARGE_CID)
    expect(first).toMatchObject({ size: LARGE_BYTES, type: 'application/x-weights' })
    expect(await digestOfAll(first)).toBe(LARGE_SHA256)
    // In a private window there is no room for a second one beside it, unless it lies in packs.
    const second = await storage.blob(LARGE_CID).catch((error: unknown) => error)
    if (TIER === 'packs') expect(second).toBeInstanceOf(Blob)
    if (second instanceof Blob) expect(await digestOfAll(second)).toBe(LARGE_SHA256)
    else expect(second).toMatchObject({ name: 'QuotaError', needed: LARGE_BYTES, cause: { name: 'NotReadableError' } })
    expect(first?.size).toBe(LARGE_BYTES)
  })

  it('from one Uint8Array into a worker and back', { timeout: LARGE_TIMEOUT_MS }, async () => {
    const storage = workerStorageOf()
    expect(await storage.store(await largeBytes())).toBe(LARGE_CID)
    expect(await digestOf(await storage.retrieve(LARGE_CID))).toBe(LARGE_SHA256)
    await checkRanges(storage)
    expect(await digestOfAll(await storage.stream(LARGE_CID))).toBe(LARGE_SHA256)
  })
})

describe('a buffer that its owner goes on writing', () => {
  const SIZE = 40 * MIB + 321
  const CHUNKS = 41

  /** Shared memory, which a page gets in this way without being isolated. */
  function sharedBytes(): Uint8Array<ArrayBuffer> {
    const pages = Math.ceil(SIZE / 65_536)
    const { buffer } = new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true })
    expect(Object.prototype.toString.call(buffer)).toBe('[object SharedArrayBuffer]')
    return new Uint8Array(buffer, 0, SIZE)
  }

  it.each<[string, () => ContentStorage, () => Uint8Array<ArrayBuffer>]>([
    ['in the page', localStorageOf, () => new Uint8Array(SIZE)],
    ['shared, in the page', localStorageOf, sharedBytes],
    ['into a worker', workerStorageOf, () => new Uint8Array(SIZE)],
    ['shared, into a worker', workerStorageOf, sharedBytes],
  ])('%s: the CID is that of what was copied, every block whole', async (_, storageOf, make) => {
    const storage = storageOf()
    const bytes = make()
    bytes.set((await Keystream.of('changed')).bytes(0, SIZE))
    let count = 0
    // Each chunk is changed at its ends and in the middle, and no two chunks become the same.
    const change = (): void => {
      count++
      for (let at = 0; at < SIZE; at += MIB / 2) bytes[at] = (bytes[at] ?? 0) + count
      bytes[SIZE - 1] = count
    }
    const stored = storage.store(bytes, { filename: 'changed', onProgress: change })
    change()
    // And in every task until it is stored.
    const { port1, port2 } = new MessageChannel()
    port1.onmessage = () => {
      change()
      port2.postMessage(0)
    }
    port2.postMessage(0)
    const cid = await stored
    port1.close()
    expect(count).toBeGreaterThan(CHUNKS)
    expect(bytes.byteLength).toBe(SIZE)

    const kept = await storage.retrieve(cid)
    expect(kept?.byteLength).toBe(SIZE)
    expect(await localStorageOf().store(kept ?? '')).toBe(cid)
    expect(await storage.verify()).toMatchObject({ blocks: CHUNKS + 1, damaged: [] })
    expect(await storage.listFiles()).toMatchObject([{ cid, state: 'whole', size: SIZE, localBytes: SIZE }])
    expect(await storage.gc()).toEqual({ blocks: 0, bytes: 0 })
  })
})
