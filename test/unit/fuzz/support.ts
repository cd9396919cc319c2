// What the fuzz tests share: how often and with which seed they run, storages that are looked into from outside, and what may be thrown.
import * as dagCbor from '@ipld/dag-cbor'
import * as fc from 'fast-check'
import { varint } from 'multiformats'
import { base32upper } from 'multiformats/bases/base32'
import type { CID } from 'multiformats/cid'
import { expect, inject } from 'vitest'
import { IPFSKitStorage, StorageError, type Bytes } from '../../../src/index.ts'

/** Both in Node, where the databases lie in memory, and in a browser. */
export const IS_BROWSER = typeof window !== 'undefined'

/** A run that takes longer hangs: the slowest take a second on a machine that is busy with something else. */
const HANG_MS = 20_000

/** Of a test with the default number of runs, shrinking included. */
const TEST_MS = 120_000

const { runs: wantedRuns, seed } = inject('fuzz')

/** Long runs take as long as they take. */
export const FUZZ_TIMEOUT: number = wantedRuns === undefined ? TEST_MS : 0

/** Checks a property, `runs` times where FUZZ_RUNS names no number. A browser's real database takes several times as long as memory. */
export async function expectProperty<T>(property: fc.IAsyncProperty<T>, runs: number): Promise<void> {
  await fc.assert(property, {
    numRuns: wantedRuns ?? (IS_BROWSER ? Math.ceil(runs / 5) : runs),
    timeout: HANG_MS,
    // So that a failure is told with its seed, however long its shrinking would take.
    ...(wantedRuns === undefined ? { interruptAfterTimeLimit: TEST_MS / 4, markInterruptAsFailure: false } : {}),
    ...(seed === undefined ? {} : { seed }),
  })
}

let count = 0
const open: Opened[] = []

export interface Opened {
  storage: IPFSKitStorage
  cacheDir: string
}

/** A storage of its own that never leaves this machine; closed and destroyed by `closeAll`. */
export async function openStorage(): Promise<Opened> {
  const cacheDir = `fuzz-${Date.now()}-${count++}`
  const storage = new IPFSKitStorage({ cacheDir, forceFallback: true, config: { tier: 'records' } })
  open.push({ storage, cacheDir })
  await storage.ready()
  return { storage, cacheDir }
}

export async function closeAll(): Promise<void> {
  for (const { storage, cacheDir } of open.splice(0)) {
    await storage.close()
    await IPFSKitStorage.destroy(cacheDir)
  }
}

/** What came of something: an answer, or an error that must be one of ours. */
export type Outcome<T> = { answer: T; error?: undefined } | { error: StorageError; answer?: undefined }

/** Anything but an answer and one of our errors fails the test. 'storage' is the code of what "cannot be". */
export async function outcomeOf<T>(work: () => Promise<T>): Promise<Outcome<T>> {
  try {
    return { answer: await work() }
  } catch (error) {
    if (error instanceof StorageError && error.code !== 'storage' && error.message.length > 10) return { error }
    throw new Error(`not an error of ours: ${String(error)}`, { cause: error })
  }
}

export interface Block {
  cid: CID
  bytes: Uint8Array
}

export function section(...parts: Uint8Array[]): Uint8Array {
  const body = concat(parts)
  return concat([varint.encodeTo(body.byteLength, new Uint8Array(varint.encodingLength(body.byteLength))), body])
}

export function carOf(roots: readonly CID[], blocks: Iterable<Block>): Uint8Array {
  const sections = [...blocks].filter(({ cid }) => cid.multihash.code !== 0).map(({ cid, bytes }) => section(cid.bytes, bytes))
  return concat([section(dagCbor.encode({ version: 1, roots })), ...sections])
}

export function concat(parts: readonly Uint8Array[]): Bytes {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.byteLength, 0))
  let at = 0
  for (const part of parts) {
    whole.set(part, at)
    at += part.byteLength
  }
  return whole
}

/** Comparing by vitest takes seconds for a few MiB. */
export function expectSame(actual: Uint8Array | null | undefined, expected: Uint8Array): void {
  if (actual?.byteLength === expected.byteLength && expected.every((byte, index) => byte === actual[index])) return
  expect(actual?.subarray(0, 1000)).toEqual(expected.subarray(0, 1000))
  throw new Error(`${actual?.byteLength ?? 'no'} bytes are not the ${expected.byteLength} that were expected`)
}

/** The bytes of a stream, of which no more than `most` are read. */
export async function drained(stream: ReadableStream<Bytes>, most = Number.POSITIVE_INFINITY): Promise<Bytes> {
  const parts: Bytes[] = []
  const reader = stream.getReader()
  for (let size = 0; size < most;) {
    const { done, value } = await reader.read()
    if (done) return concat(parts)
    parts.push(value)
    size += value.byteLength
  }
  await reader.cancel()
  return concat(parts)
}

/** What a storage tells of itself, and what really lies in its databases. */
export async function stateOf({ storage, cacheDir }: Opened): Promise<unknown> {
  const { usage } = await storage.getBackendStatus()
  const files = await storage.listFiles()
  const rows: Record<string, number> = { blocks: (await recordKeys(cacheDir)).length }
  for (const store of ['owners', 'references', 'damaged', 'foreign', 'packs', 'places']) {
    rows[store] = await within(`${cacheDir}/catalog`, store, 'readonly', (records) => records.count())
  }
  return {
    usage: { bytes: usage.bytes, blocks: usage.blocks, files: usage.files, pinnedBytes: usage.pinnedBytes },
    files: files.map(({ cid, filename, size, localBytes, state, pinned }) => ({ cid, filename, size, localBytes, state, pinned })),
    rows,
  }
}

export function keyOf(cid: CID): string {
  return `/${base32upper.encode(cid.multihash.bytes)}`
}

export async function recordKeys(cacheDir: string): Promise<string[]> {
  return (await within(`${cacheDir}/blocks`, `${cacheDir}/blocks`, 'readonly', (store) => store.getAllKeys())) as string[]
}

/** Puts blocks as a stock Helia on the same database would, unseen by the storage. */
export async function plant(cacheDir: string, blocks: Iterable<Block>): Promise<void> {
  await within(`${cacheDir}/blocks`, `${cacheDir}/blocks`, 'readwrite', (store) => {
    for (const { cid, bytes } of blocks) if (cid.multihash.code !== 0) store.put(new Uint8Array(bytes), keyOf(cid))
    return store.count()
  })
}

/** Takes them out again. */
export async function uproot(cacheDir: string, blocks: Iterable<Block>): Promise<void> {
  await within(`${cacheDir}/blocks`, `${cacheDir}/blocks`, 'readwrite', (store) => {
    for (const { cid } of blocks) store.delete(keyOf(cid))
    return store.count()
  })
}

async function within<T>(
  database: string,
  store: string,
  mode: IDBTransactionMode,
  work: (store: IDBObjectStore) => IDBRequest<T>,
): Promise<T> {
  const factory = (globalThis.indexedDB as IDBFactory | undefined) ?? (await import('../../../src/memory.ts')).memoryFactory()
  const db = await new Promise<IDBDatabase>((resolve, reject) => {
    const request = factory.open(database)
    request.onsuccess = () => resolve(request.result)
    request.onerror = () => reject(request.error ?? new Error('open failed'))
  })
  try {
    return await new Promise<T>((resolve, reject) => {
      const tx = db.transaction(store, mode)
      const request = work(tx.objectStore(store))
      tx.oncomplete = () => resolve(request.result)
      tx.onabort = () => reject(tx.error ?? new Error('aborted'))
    })
  } finally {
    db.close()
  }
}

export async function gathered<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = []
  for await (const item of items) all.push(item)
  return all
}

/** The largest array that was asked for by its length while `work` ran, whether or not there was one to be had. */
export async function largestArray(work: () => Promise<unknown>): Promise<number> {
  let largest = 0
  const originals = { Uint8Array: globalThis.Uint8Array, ArrayBuffer: globalThis.ArrayBuffer }
  const watched = <T extends Uint8ArrayConstructor | ArrayBufferConstructor>(original: T): T =>
    new Proxy(original, {
      construct(target, args: unknown[], newTarget) {
        if (typeof args[0] === 'number') largest = Math.max(largest, args[0])
        return Reflect.construct(target, args, newTarget) as object
      },
    })
  globalThis.Uint8Array = watched(originals.Uint8Array)
  globalThis.ArrayBuffer = watched(originals.ArrayBuffer)
  try {
    await work()
  } finally {
    Object.assign(globalThis, originals)
  }
  return largest
}
