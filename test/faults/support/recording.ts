// A storage as it lies in a browser, databases and packs, made into text and laid out again; and one with a bit of everything in it, to be recorded.
import { blockKey } from '../../../src/blocks/records.ts'
import { parseContentPath } from '../../../src/cid.ts'
import type { IPFSKitStorage } from '../../../src/index.ts'

const MIB = 1024 * 1024
const SMALL = 520

interface Store {
  name: string
  keyPath: string | string[] | null
  autoIncrement: boolean
  indexes: { name: string; keyPath: string | string[]; unique: boolean; multiEntry: boolean }[]
  rows: [key: unknown, value: unknown][]
}

export interface Dump {
  databases: { name: string; version: number; stores: Store[] }[]
  files: { path: string[]; bytes: unknown }[]
}

/** What is to be read from it. */
export interface Expected {
  files: Listed[]
  /** SHA-256 of the bytes by path, or the name of the error that reading is. */
  contents: [path: string, sha256: string][]
  pins: string[]
}

type Listed = {
  filename: string
  cid: string
  type: string
  size: number
  state: string
  pinned: boolean
  mediaType?: string | undefined
  modified: number
}

export interface Recording extends Dump {
  cacheDir: string
  expected: Expected
}

/** Compressible, and another for each seed and each MiB. */
function patterned(length: number, seed: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(length).fill(seed)
  const view = new DataView(bytes.buffer)
  for (let at = 0; at + 4 <= length; at += MIB) view.setUint32(at, seed * 1000 + at / MIB)
  return bytes
}

/** Stores a bit of everything: `packs` and `records` are storages of one name on those tiers. Answers what is to be read by path. */
export async function fill(packs: IPFSKitStorage, records: IPFSKitStorage): Promise<Expected['contents']> {
  const contents: Expected['contents'] = []
  const keep = async (path: string, data: Uint8Array<ArrayBuffer>): Promise<string> => {
    contents.push([path, await sha256(data)])
    return path
  }
  const head = patterned(2 * MIB, 1)
  const large = await joined([head, patterned(3 * MIB + 17, 2)])
  const shares = await joined([head, patterned(4 * MIB, 3)])
  const packed = await keep(await packs.store(large, { filename: 'packed/large', pin: true, holder: 'keeper' }), large)
  await packs.store(large, { filename: 'again', mediaType: 'application/x-large' })
  await keep(await packs.store(shares, { filename: 'packed/shares', pin: true }), shares)
  await packs.pin(packed, { holder: 'another' })
  const small = Array.from({ length: SMALL }, (_, index) => ({
    filename: `small/${index}`,
    data: new TextEncoder().encode(`small ${index}`),
  }))
  const cids = await packs.storeMany(small)
  for (const [index, { data, filename }] of small.entries()) {
    const cid = cids[index] ?? ''
    if (index % 40 === 3) await packs.delete(cid, { filename })
    else if (index % 20 === 0) await keep(cid, data)
  }
  // More than one row of the catalog names.
  const many = await packs.storeDirectory(
    small.map(({ data }, index) => ({ path: `of/${index}`, data })),
    { filename: 'many' },
  )
  await keep(`${many}/of/7`, small[7]?.data ?? new Uint8Array(0))
  const other = patterned(5 * MIB, 4)
  await keep(await records.store(other, { filename: 'recorded/large' }), other)
  const text = new TextEncoder().encode('a small one')
  await keep(await records.store(text, { filename: 'recorded/text', mediaType: 'text/plain' }), text)
  await records.store('', { filename: 'recorded/empty' })
  const inside = new TextEncoder().encode('in a directory')
  const folder = await records.storeDirectory(
    [
      { path: 'deep/er/file', data: inside },
      { path: 'large', data: large },
      { path: 'two', data: patterned(MIB + 5, 5) },
    ],
    { filename: 'folder', pin: true },
  )
  await keep(`${folder}/deep/er/file`, inside)
  await keep(`${folder}/two`, patterned(MIB + 5, 5))
  // This pin makes an entry.
  await records.pin(`${folder}/two`, { holder: 'keeper' })
  return contents
}

/** A block that was there before the storage had anything to do with it. */
export async function adopt(cacheDir: string, storage: IPFSKitStorage): Promise<Expected['contents'][number]> {
  const data = new TextEncoder().encode('of somebody else')
  const cid = await storage.store(data)
  await storage.delete(cid)
  await putBlock(cacheDir, cid, data)
  await storage.store(data, { filename: 'adopted' })
  return [cid, await sha256(data)]
}

/** One whose only block is spoilt, and found to be so. */
export async function spoil(cacheDir: string, storage: IPFSKitStorage): Promise<Expected['contents'][number]> {
  const cid = await storage.store('to be spoilt', { filename: 'spoilt' })
  await putBlock(cacheDir, cid, new TextEncoder().encode('no more right'))
  return [cid, await storage.retrieve(cid).then(String, (error: Error) => error.name)]
}

export async function listed(storage: IPFSKitStorage): Promise<Listed[]> {
  return (await storage.listFiles()).map(({ filename, cid, type, size, state, pinned, mediaType, modified }) => ({
    filename,
    cid,
    type,
    size,
    state,
    pinned,
    mediaType,
    modified: modified.getTime(),
  }))
}

/** What reading comes to now, in the form of what is expected. */
export async function read(storage: IPFSKitStorage, paths: readonly string[]): Promise<Expected['contents']> {
  const contents: Expected['contents'] = []
  for (const path of paths) {
    const answer = await storage.retrieve(path).then(
      (bytes) => (bytes === null ? 'null' : sha256(bytes)),
      (error: Error) => error.name,
    )
    contents.push([path, answer])
  }
  return contents
}

/** Everything of a storage that nobody has open. */
export async function dump(cacheDir: string): Promise<Dump> {
  const databases: Dump['databases'] = []
  for (const { name = '', version = 1 } of await indexedDB.databases()) {
    if (!name.startsWith(`${cacheDir}/`)) continue
    const db = await settled(indexedDB.open(name))
    const stores: Store[] = []
    for (const storeName of db.objectStoreNames) {
      const store = db.transaction(storeName).objectStore(storeName)
      const indexes = [...store.indexNames].map((one) => {
        const { keyPath, unique, multiEntry } = store.index(one)
        return { name: one, keyPath, unique, multiEntry }
      })
      const [keys, values] = await Promise.all([settled(store.getAllKeys()), settled<unknown[]>(store.getAll())])
      const rows = keys.map((key, index): [unknown, unknown] => [toText(key), toText(values[index])])
      // Filler that takes room and no more.
      const kept = rows.filter(([key]) => !(storeName === 'meta' && key === 'reserve'))
      stores.push({ name: storeName, keyPath: store.keyPath, autoIncrement: store.autoIncrement, indexes, rows: kept })
    }
    db.close()
    databases.push({ name, version, stores })
  }
  return { databases, files: await filesIn(await navigator.storage.getDirectory()) }
}

/** Lays a storage out as it was dumped, in an origin that has none of it. */
export async function replay({ databases, files }: Dump): Promise<void> {
  for (const { name, version, stores } of databases) {
    const request = indexedDB.open(name, version)
    request.onupgradeneeded = () => {
      for (const { name: storeName, keyPath, autoIncrement, indexes, rows } of stores) {
        const store = request.result.createObjectStore(storeName, { keyPath, autoIncrement })
        for (const { name: index, keyPath: path, unique, multiEntry } of indexes) store.createIndex(index, path, { unique, multiEntry })
        for (const [key, value] of rows) {
          if (keyPath === null) store.put(fromText(value), fromText(key) as IDBValidKey)
          else store.put(fromText(value))
        }
      }
    }
    ;(await settled(request)).close()
  }
  for (const { path, bytes } of files) {
    let folder = await navigator.storage.getDirectory()
    for (const name of path.slice(0, -1)) folder = await folder.getDirectoryHandle(name, { create: true })
    const file = await (await folder.getFileHandle(path.at(-1) ?? '', { create: true })).createWritable()
    await file.write(fromText(bytes) as Uint8Array<ArrayBuffer>)
    await file.close()
  }
}

/** Bytes of the files of packs. */
export async function packSizes(): Promise<number[]> {
  return (await handlesIn(await navigator.storage.getDirectory(), [])).map(({ file }) => file.size)
}

async function putBlock(cacheDir: string, cid: string, bytes: Uint8Array): Promise<void> {
  const name = `${cacheDir}/blocks`
  const db = await settled(indexedDB.open(name))
  await settled(
    db
      .transaction(name, 'readwrite')
      .objectStore(name)
      .put(bytes, blockKey(parseContentPath(cid).cid)),
  )
  db.close()
}

async function filesIn(folder: FileSystemDirectoryHandle): Promise<Dump['files']> {
  const handles = await handlesIn(folder, [])
  return Promise.all(handles.map(async ({ path, file }) => ({ path, bytes: toText(new Uint8Array(await file.arrayBuffer())) })))
}

async function handlesIn(folder: FileSystemDirectoryHandle, path: string[]): Promise<{ path: string[]; file: File }[]> {
  const files: { path: string[]; file: File }[] = []
  const entries = (folder as FileSystemDirectoryHandle & { entries(): AsyncIterable<[string, FileSystemHandle]> }).entries()
  for await (const [name, handle] of entries) {
    if (handle instanceof FileSystemDirectoryHandle) files.push(...(await handlesIn(handle, [...path, name])))
    else if (handle instanceof FileSystemFileHandle) files.push({ path: [...path, name], file: await handle.getFile() })
  }
  return files
}

/** JSON, with bytes in base64. */
function toText(value: unknown): unknown {
  if (value instanceof Uint8Array) {
    let text = ''
    for (let at = 0; at < value.byteLength; at += 30_000) text += btoa(String.fromCharCode(...value.subarray(at, at + 30_000)))
    return { $bytes: text }
  }
  if (Array.isArray(value)) return value.map(toText)
  if (typeof value !== 'object' || value === null) return value
  if (Object.getPrototypeOf(value) !== Object.prototype) throw new TypeError(`a value of ${value.constructor.name} can't be recorded`)
  return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, toText(one)]))
}

function fromText(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(fromText)
  if (typeof value !== 'object' || value === null) return value
  if ('$bytes' in value) return Uint8Array.from(atob(String(value.$bytes)), (letter) => letter.charCodeAt(0))
  return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, fromText(one)]))
}

async function joined(parts: Uint8Array<ArrayBuffer>[]): Promise<Uint8Array<ArrayBuffer>> {
  return new Uint8Array(await new Blob(parts).arrayBuffer())
}

async function sha256(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes))
  return [...digest].map((byte) => byte.toString(16).padStart(2, '0')).join('')
}

function settled<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result)
    request.onerror = () => reject(request.error ?? new Error('the request failed'))
  })
}
