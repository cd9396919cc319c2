// What happens to a storage from outside: blocks spoilt or lost behind its back, brought to a gateway, times turned back, events waited for.
import { base32upper } from 'multiformats/bases/base32'
import { CID } from 'multiformats/cid'
import * as Digest from 'multiformats/hashes/digest'
import type { IPFSKitStorage, StorageEvents } from '../../../src/index.ts'
import { blockKeys, packFolderOf, within } from './stores.ts'

const EVENT_TIMEOUT_MS = 20_000
/** Readers keep a pack open for a moment after they used it. */
const LET_GO_TIMEOUT_MS = 20_000
const DAY_MS = 24 * 60 * 60 * 1000

/** The key of a block in blockstore-idb's layout. */
export function keyOf(cid: string): string {
  return `/${base32upper.encoder.encode(CID.parse(cid).multihash.bytes)}`
}

/** The CID of a raw block by its key. */
export function rawCidOf(key: string): CID {
  return CID.createV1(0x55, Digest.decode(base32upper.decoder.decode(key.slice(1))))
}

/** Where in which pack a block lies. */
export interface Place {
  block: string
  pack: string
  offset: number
  length: number
}

export async function placeOf(cacheDir: string, cid: string): Promise<Place | undefined> {
  const block = keyOf(cid)
  const row = (await within(`${cacheDir}/catalog`, 'places', 'readonly', (rows) => rows.index('blocks').get(block))) as
    { pack: string; blocks: string[]; offsets: number[]; lengths: number[] } | undefined
  const at = row?.blocks.indexOf(block) ?? -1
  const [offset, length] = [row?.offsets[at], row?.lengths[at]]
  return row === undefined || offset === undefined || length === undefined ? undefined : { block, pack: row.pack, offset, length }
}

export async function packFile(cacheDir: string, pack: string): Promise<File> {
  return (await packHandle(cacheDir, pack)).getFile()
}

async function packHandle(cacheDir: string, pack: string): Promise<FileSystemFileHandle> {
  const folder = await packFolderOf(cacheDir)
  if (folder === undefined) throw new Error(`'${cacheDir}' has no folder of packs`)
  return folder.getFileHandle(pack)
}

/** Does something to a pack behind the storage's back, as soon as nobody has it open. */
export async function spoilPack(cacheDir: string, pack: string, spoil: (to: FileSystemWritableFileStream) => Promise<void>): Promise<void> {
  const handle = await packHandle(cacheDir, pack)
  const writable = await onceLetGo(() => handle.createWritable({ keepExistingData: true }))
  await spoil(writable)
  await writable.close()
}

/** Removes a pack's file behind the storage's back, as soon as nobody has it open. */
export async function losePack(cacheDir: string, pack: string): Promise<void> {
  const folder = await packFolderOf(cacheDir)
  await onceLetGo(async () => folder?.removeEntry(pack))
}

async function onceLetGo<T>(work: () => Promise<T>): Promise<T> {
  for (const end = performance.now() + LET_GO_TIMEOUT_MS; ;) {
    try {
      return await work()
    } catch (error) {
      if ((error as DOMException).name !== 'NoModificationAllowedError' || performance.now() > end) throw error
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }
}

/** The record of a block in a database of blocks. */
export async function readRecord(database: string, cid: string): Promise<Uint8Array<ArrayBuffer> | undefined> {
  return (await within(database, database, 'readonly', (store) => store.get(keyOf(cid)))) as Uint8Array<ArrayBuffer> | undefined
}

/** A block where it lies. */
export async function readBlock(cacheDir: string, cid: string): Promise<Uint8Array<ArrayBuffer> | undefined> {
  const place = await placeOf(cacheDir, cid)
  if (place === undefined) return readRecord(`${cacheDir}/blocks`, cid)
  const file = await packFile(cacheDir, place.pack)
  return new Uint8Array(await file.slice(place.offset, place.offset + place.length).arrayBuffer())
}

/** Flips one bit of a record. */
export async function flipRecord(database: string, cid: string, at = 0): Promise<void> {
  const bytes = await readRecord(database, cid)
  if (bytes === undefined) throw new Error(`${cid} is not in ${database}`)
  bytes[at] = (bytes[at] ?? 0) ^ 1
  await within(database, database, 'readwrite', (store) => store.put(bytes, keyOf(cid)))
}

/** Flips one bit of a block where it lies. */
export async function flip(cacheDir: string, cid: string, at = 0): Promise<void> {
  const place = await placeOf(cacheDir, cid)
  if (place === undefined) return flipRecord(`${cacheDir}/blocks`, cid, at)
  const byte = (await readBlock(cacheDir, cid))?.[at] ?? 0
  await spoilPack(cacheDir, place.pack, (pack) =>
    pack.write({ type: 'write', position: place.offset + at, data: new Uint8Array([byte ^ 1]) }),
  )
}

/** Loses a block: its record, or its row of the index of packs, as an opening drops it where the pack is short. */
export async function lose(cacheDir: string, cid: string): Promise<void> {
  const place = await placeOf(cacheDir, cid)
  if (place === undefined) {
    await within(`${cacheDir}/blocks`, `${cacheDir}/blocks`, 'readwrite', (store) => store.delete(keyOf(cid)))
    return
  }
  const places = (await within(`${cacheDir}/catalog`, 'places', 'readonly', (rows) => rows.index('blocks').get(place.block))) as {
    pack: string
    at: number
    blocks: string[]
    offsets: number[]
    lengths: number[]
  }
  const without = <T>(list: T[]): T[] => list.filter((_, index) => places.blocks[index] !== place.block)
  const { pack, at } = places
  const left = { pack, at, blocks: without(places.blocks), offsets: without(places.offsets), lengths: without(places.lengths) }
  if (left.blocks.length > 0) await within(`${cacheDir}/catalog`, 'places', 'readwrite', (rows) => rows.put(left))
  else await within(`${cacheDir}/catalog`, 'places', 'readwrite', (rows) => rows.delete([pack, at]))
  const row = (await within(`${cacheDir}/catalog`, 'packs', 'readonly', (rows) => rows.get(place.pack))) as { live: number }
  await within(`${cacheDir}/catalog`, 'packs', 'readwrite', (rows) => rows.put({ ...row, live: row.live - place.length }))
}

/** Brings every block of a storage to the gateway of test/setup/servers.ts. */
export async function upload(gateway: string, cacheDir: string): Promise<void> {
  for (const key of await blockKeys(cacheDir)) {
    const cid = rawCidOf(key).toString()
    const answer = await fetch(`${gateway}/block/${cid}`, { method: 'PUT', body: (await readBlock(cacheDir, cid)) ?? null })
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
  // Not every engine iterates streams.
  if (parts instanceof ReadableStream) return new Uint8Array(await new Response(parts).arrayBuffer())
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
