// What happens to a storage from outside: blocks spoilt or lost behind its back, brought to a gateway, times turned back, events waited for.
import { base32upper } from 'multiformats/bases/base32'
import { CID } from 'multiformats/cid'
import * as Digest from 'multiformats/hashes/digest'
import type { IPFSKitStorage, StorageEvents } from '../../../src/index.ts'
import { blockKeys, within } from './stores.ts'

const EVENT_TIMEOUT_MS = 20_000
const DAY_MS = 24 * 60 * 60 * 1000

/** The key of a block in blockstore-idb's layout. */
export function keyOf(cid: string): string {
  return `/${base32upper.encoder.encode(CID.parse(cid).multihash.bytes)}`
}

/** The CID of a raw block by its key. */
export function rawCidOf(key: string): CID {
  return CID.createV1(0x55, Digest.decode(base32upper.decoder.decode(key.slice(1))))
}

export async function readBlock(database: string, cid: string): Promise<Uint8Array<ArrayBuffer> | undefined> {
  return (await within(database, database, 'readonly', (store) => store.get(keyOf(cid)))) as Uint8Array<ArrayBuffer> | undefined
}

/** Flips one bit of a block where it lies. */
export async function flip(database: string, cid: string, at = 0): Promise<void> {
  const bytes = await readBlock(database, cid)
  if (bytes === undefined) throw new Error(`${cid} is not in ${database}`)
  bytes[at] = (bytes[at] ?? 0) ^ 1
  await within(database, database, 'readwrite', (store) => store.put(bytes, keyOf(cid)))
}

/** Loses a block. */
export async function lose(database: string, cid: string): Promise<void> {
  await within(database, database, 'readwrite', (store) => store.delete(keyOf(cid)))
}

/** Brings every block of a database to the gateway of test/setup/servers.ts. */
export async function upload(gateway: string, database: string): Promise<void> {
  for (const key of await blockKeys(database)) {
    const body = await within<Uint8Array<ArrayBuffer>>(
      database,
      database,
      'readonly',
      (store) => store.get(key) as IDBRequest<Uint8Array<ArrayBuffer>>,
    )
    const answer = await fetch(`${gateway}/block/${rawCidOf(key).toString()}`, { method: 'PUT', body })
    if (!answer.ok) throw new Error(`the gateway answered ${answer.status}`)
  }
}

/** Lets the gateway forget everything. */
export async function clearGateway(gateway: string): Promise<void> {
  await fetch(`${gateway}/blocks`, { method: 'DELETE' })
}

/** Makes it look as if Helia's session was last used two days ago. Answers how many there are. */
export async function ageSessions(cacheDir: string): Promise<number> {
  const rows = (await within(`${cacheDir}/catalog`, 'owners', 'readonly', (store) => store.getAll())) as {
    kind: string
    lastUsed: number
  }[]
  const sessions = rows.filter((row) => row.kind === 'session')
  for (const row of sessions) {
    await within(`${cacheDir}/catalog`, 'owners', 'readwrite', (store) => store.put({ ...row, lastUsed: Date.now() - 2 * DAY_MS }))
  }
  return sessions.length
}

/** Ids of the owners of one kind. */
export async function ownersOfKind(cacheDir: string, kind: string): Promise<string[]> {
  const rows = (await within(`${cacheDir}/catalog`, 'owners', 'readonly', (store) => store.getAll())) as { id: string; kind: string }[]
  return rows.filter((row) => row.kind === kind).map((row) => row.id)
}

/** The detail of the next event of that type for which `wanted` holds. */
export function nextEvent<K extends keyof StorageEvents>(
  storage: IPFSKitStorage,
  type: K,
  wanted: (detail: StorageEvents[K]['detail']) => boolean = () => true,
): Promise<StorageEvents[K]['detail']> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`no '${type}' event came within ${EVENT_TIMEOUT_MS} ms`)), EVENT_TIMEOUT_MS)
    const listen = (event: StorageEvents[K]): void => {
      if (!wanted(event.detail)) return
      clearTimeout(timer)
      storage.removeEventListener(type, listen as EventListener)
      resolve(event.detail)
    }
    storage.addEventListener(type, listen)
  })
}

/** Every event of that type from now on. */
export function gather<K extends keyof StorageEvents>(storage: IPFSKitStorage, type: K): StorageEvents[K]['detail'][] {
  const details: StorageEvents[K]['detail'][] = []
  storage.addEventListener(type, (event: StorageEvents[K]) => void details.push(event.detail))
  return details
}

export async function bytesOf(parts: AsyncIterable<Uint8Array> | Iterable<Uint8Array>): Promise<Uint8Array<ArrayBuffer>> {
  const all: BlobPart[] = []
  for await (const part of parts) all.push(new Uint8Array(part))
  return new Uint8Array(await new Blob(all).arrayBuffer())
}

/** Numbers from 0 up to 1 that a seed repeats (mulberry32). */
export function seeded(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

export async function gatherAll<T>(source: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = []
  for await (const item of source) all.push(item)
  return all
}
