// The limits of this machine and browser, each alone: hashing, writing and reading one OPFS file by a sync access handle, and writing and reading
// records of IndexedDB in a bare loop.
import { seeded } from './data.ts'

/** What lib.webworker types, which excludes lib.dom. */
interface SyncHandle {
  write(bytes: Uint8Array, options: { at: number }): number
  read(bytes: Uint8Array, options: { at: number }): number
  flush(): void
  close(): void
}

export interface LimitsRequest {
  sizeBytes: number
  seed: number
  chunks: number
}
/**
 * Milliseconds; `flush` is part of `write`, `chunk` is reading and hashing one chunk at a random offset, `put` and `get` are of records of one chunk,
 * RECORDS_TOGETHER a strict transaction, nothing hashed.
 */
export interface LimitsAnswer {
  hash: number
  write: number
  flush: number
  read: number
  chunk: number
  put: number
  get: number
}

const CHUNK_BYTES = 1024 * 1024
const HASHES_IN_FLIGHT = 8

const RECORDS_TOGETHER = 16
const RECORDS = 'limits'

/** One call to the file: larger ones were no faster. */
const CALL_BYTES = 4 * 1024 * 1024

addEventListener('message', (event: MessageEvent<LimitsRequest>) => {
  measure(event.data).then(postMessage, (error: unknown) => postMessage({ error: String(error) }))
})

async function measure({ sizeBytes, seed, chunks }: LimitsRequest): Promise<LimitsAnswer> {
  const bytes = await seeded(sizeBytes, seed)
  const hash = await timed(() => hashAlone(bytes))
  const root = await navigator.storage.getDirectory()
  const file = await root.getFileHandle('limits', { create: true })
  const handle = await (file as unknown as { createSyncAccessHandle(): Promise<SyncHandle> }).createSyncAccessHandle()
  try {
    let flush = 0
    const write = await timed(() => {
      for (let at = 0; at < sizeBytes; at += CALL_BYTES) handle.write(bytes.subarray(at, at + CALL_BYTES), { at })
      const flushed = performance.now()
      handle.flush()
      flush = performance.now() - flushed
    })
    const into = new Uint8Array(sizeBytes)
    const read = await timed(() => {
      for (let at = 0; at < sizeBytes; at += CALL_BYTES) handle.read(into.subarray(at, at + CALL_BYTES), { at })
    })
    const offsets = Array.from({ length: chunks }, () => Math.floor(Math.random() * (sizeBytes / CHUNK_BYTES)) * CHUNK_BYTES)
    const all = await timed(async () => {
      for (const at of offsets) {
        const chunk = new Uint8Array(CHUNK_BYTES)
        handle.read(chunk, { at })
        await crypto.subtle.digest('SHA-256', chunk)
      }
    })
    return { hash, write, flush, read, chunk: all / chunks, ...(await records(bytes)) }
  } finally {
    handle.close()
    await root.removeEntry('limits')
  }
}

async function records(bytes: Uint8Array<ArrayBuffer>): Promise<Pick<LimitsAnswer, 'put' | 'get'>> {
  const opening = indexedDB.open(RECORDS)
  opening.onupgradeneeded = () => void opening.result.createObjectStore(RECORDS)
  const db = await settled(opening)
  const inTurns = async (mode: IDBTransactionMode, work: (store: IDBObjectStore, at: number) => IDBRequest): Promise<void> => {
    for (let from = 0; from < bytes.byteLength; from += RECORDS_TOGETHER * CHUNK_BYTES) {
      const tx = db.transaction(RECORDS, mode, { durability: 'strict' })
      const store = tx.objectStore(RECORDS)
      for (let at = from; at < Math.min(bytes.byteLength, from + RECORDS_TOGETHER * CHUNK_BYTES); at += CHUNK_BYTES) work(store, at)
      await new Promise<void>((resolve, reject) => {
        tx.oncomplete = () => resolve()
        tx.onabort = () => reject(tx.error ?? new Error('aborted'))
      })
    }
  }
  // A copy each, since a view would be written with all of its buffer.
  const put = await timed(() => inTurns('readwrite', (store, at) => store.put(bytes.slice(at, at + CHUNK_BYTES), at)))
  const get = await timed(() =>
    inTurns('readonly', (store, at) => {
      const request = store.get(at)
      request.onsuccess = () => void request.result
      return request
    }),
  )
  db.close()
  await settled(indexedDB.deleteDatabase(RECORDS))
  return { put, get }
}

function settled<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result)
    request.onerror = () => reject(request.error ?? new Error('refused'))
  })
}

/** Views suffice: crypto.subtle takes a copy of its own. */
async function hashAlone(bytes: Uint8Array<ArrayBuffer>): Promise<void> {
  let at = 0
  const work = async (): Promise<void> => {
    while (at < bytes.byteLength) {
      const chunk = bytes.subarray(at, at + CHUNK_BYTES)
      at += CHUNK_BYTES
      await crypto.subtle.digest('SHA-256', chunk)
    }
  }
  await Promise.all(Array.from({ length: HASHES_IN_FLIGHT }, work))
}

async function timed(work: () => unknown): Promise<number> {
  const began = performance.now()
  await work()
  return performance.now() - began
}
