// The limits of this machine and browser, each alone: hashing, and writing and reading one OPFS file by a sync access handle.
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
/** Milliseconds; `flush` is part of `write`, `chunk` is reading and hashing one chunk at a random offset. */
export interface LimitsAnswer {
  hash: number
  write: number
  flush: number
  read: number
  chunk: number
}

const CHUNK_BYTES = 1024 * 1024
const HASHES_IN_FLIGHT = 8

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
    return { hash, write, flush, read, chunk: all / chunks }
  } finally {
    handle.close()
    await root.removeEntry('limits')
  }
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
