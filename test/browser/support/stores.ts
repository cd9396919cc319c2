// Looks into the databases and packs of a storage from outside: what is counted here is what lies there, whatever the storage says of itself.
import { expect, inject, vi } from 'vitest'
import type { CoreEvents } from '../../../src/core.ts'
import { DatabaseError, IPFSKitStorage, type StorageOptions } from '../../../src/index.ts'

/** Where the storages of this run keep the leaves of large files. */
export const TIER: 'records' | 'packs' = inject('tier')

/** For a core without a front. */
export const UNHEARD: CoreEvents = {
  onChange: () => undefined,
  onDamaged: () => undefined,
  onLost: () => undefined,
  onFreed: () => undefined,
  onEvicted: () => undefined,
  flushLastUsed: () => Promise.resolve(),
}

const LET_GO_TIMEOUT_MS = 20_000

let count = 0
const open = new Set<IPFSKitStorage>()

/** A name no other test uses. */
export function freshName(): string {
  return `test-${Date.now()}-${count++}`
}

/** Options on the tier of this run, unless they name one. */
export function tiered<T extends StorageOptions>(options: T): T & StorageOptions {
  return { ...options, config: { tier: TIER, ...options.config } }
}

/** A storage on the tier of this run, under a fresh name unless one is given; closed by `closeAll`. */
export function storageOf(options: StorageOptions = {}): IPFSKitStorage {
  const storage = new IPFSKitStorage(tiered({ cacheDir: freshName(), ...options }))
  open.add(storage)
  return storage
}

/** One that never leaves this machine. */
export function localStorageOf(options: StorageOptions = {}): IPFSKitStorage {
  return storageOf({ forceFallback: true, ...options })
}

/** Closes and destroys what was tracked, all of it, looks that no pack is left, and then throws what went wrong on the way. */
export async function closeAll(): Promise<void> {
  const storages = [...open]
  open.clear()
  const names = await Promise.all(storages.map(async (storage) => (await storage.getBackendStatus().catch(() => undefined))?.cacheDir))
  const ends = await Promise.allSettled(storages.map((storage) => storage.close()))
  for (const name of new Set(names)) if (name !== undefined) await destroyWhole(name)
  for (const end of ends) if (end.status === 'rejected') throw end.reason
}

/** Firefox and WebKit may leave open for good what a worker was at when it was terminated: there it goes with the profile. */
const LETS_GO = navigator.userAgent.includes('Chrome/')

/** Destroys a storage whose contexts are closed: of its packs not even the folder may be left. */
export async function destroyWhole(cacheDir: string): Promise<void> {
  try {
    await IPFSKitStorage.destroy(cacheDir)
  } catch (error) {
    if (LETS_GO || !(error instanceof DatabaseError) || !error.message.includes('held open')) throw error
    console.warn(`left behind: ${error.message}`)
    return
  }
  if ((await packFolderOf(cacheDir)) !== undefined) throw new Error(`the folder of the packs of '${cacheDir}' outlived its storage`)
}

export function rawOpen(name: string, version?: number): Promise<IDBDatabase> {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open(name, version)
    request.onsuccess = () => resolve(request.result)
    request.onerror = () => reject(request.error ?? new Error('open failed'))
  })
}

export async function within<T>(
  database: string,
  store: string,
  mode: IDBTransactionMode,
  work: (store: IDBObjectStore) => IDBRequest<T>,
): Promise<T> {
  const db = await rawOpen(database)
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

export interface Counts {
  /** Different blocks, wherever they lie. */
  blocks: number
  /** Blocks that lie in records, and rows of the index of packs: a block may have both. */
  records: number
  packed: number
  /** Rows of packs, and files in the folder of packs. */
  packs: number
  packFiles: number
  owners: number
  references: number
  foreign: number
  damaged: number
}

/** What says something about content: all 0 where nothing is left. */
export async function countAll(cacheDir: string): Promise<Counts> {
  const catalog = (store: string): Promise<number> => within(`${cacheDir}/catalog`, store, 'readonly', (records) => records.count())
  const [records, packed] = [await recordKeys(`${cacheDir}/blocks`), await packedKeys(cacheDir)]
  return {
    blocks: new Set([...records, ...packed]).size,
    records: records.length,
    packed: packed.length,
    packs: await catalog('packs'),
    packFiles: (await packFiles(cacheDir)).length,
    owners: await ownerCount(cacheDir),
    references: await catalog('references'),
    foreign: await catalog('foreign'),
    damaged: await catalog('damaged'),
  }
}

/** Entries that share a row one by one. */
async function ownerCount(cacheDir: string): Promise<number> {
  const rows = (await within(`${cacheDir}/catalog`, 'owners', 'readonly', (store) => store.getAll())) as { names?: unknown[] }[]
  return rows.reduce((sum, { names }) => sum + (names?.length ?? 1), 0)
}

export const NOTHING: Counts = {
  blocks: 0,
  records: 0,
  packed: 0,
  packs: 0,
  packFiles: 0,
  owners: 0,
  references: 0,
  foreign: 0,
  damaged: 0,
}

/** Nothing is left. A pack that another storage has just read goes as soon as that one lets go of it. */
export async function waitForNothing(cacheDir: string): Promise<void> {
  await vi.waitFor(async () => expect(await countAll(cacheDir)).toEqual(NOTHING), { timeout: LET_GO_TIMEOUT_MS })
}

/** The folder of a storage's packs, undefined where there is none, or no private file system (in Firefox's private windows it is refused). */
export async function packFolderOf(cacheDir: string): Promise<FileSystemDirectoryHandle | undefined> {
  if ((navigator.storage as Partial<StorageManager> | undefined)?.getDirectory === undefined) return undefined
  try {
    const root = await (await navigator.storage.getDirectory()).getDirectoryHandle('ipfs-kit-web')
    return await root.getDirectoryHandle(`s-${encodeURIComponent(cacheDir)}`)
  } catch (error) {
    if (['NotFoundError', 'SecurityError'].includes((error as DOMException).name)) return undefined
    throw error
  }
}

/** Names of the files in it, without one by which a storage that opens tries whether it can write packs. */
export async function packFiles(cacheDir: string): Promise<string[]> {
  return (await folderNames(cacheDir)).filter((name) => !name.startsWith('probe-'))
}

/** Names of all files in it. */
export async function folderNames(cacheDir: string): Promise<string[]> {
  const folder = await packFolderOf(cacheDir)
  const names: string[] = []
  if (folder !== undefined) for await (const name of folder.keys()) names.push(name)
  return names
}

/** Incompressible bytes that a seed repeats. */
export function randomBytes(length: number, seed = 1): Uint8Array<ArrayBuffer> {
  const words = new Uint32Array(Math.ceil(length / 4))
  let [a, b, c, d] = [seed ^ 0x9e3779b9, seed ^ 0x243f6a88, seed ^ 0xb7e15162, seed ^ 0xdeadbeef]
  for (let index = 0; index < words.length; index++) {
    // sfc32
    const t = (((a + b) | 0) + d) | 0
    d = (d + 1) | 0
    a = b ^ (b >>> 9)
    b = (c + (c << 3)) | 0
    c = ((c << 21) | (c >>> 11)) + t
    words[index] = t
  }
  return new Uint8Array(words.buffer, 0, length).slice()
}

/** The keys of all blocks in records. */
export async function recordKeys(database: string): Promise<string[]> {
  return (await within(database, database, 'readonly', (store) => store.getAllKeys())) as string[]
}

/** The keys of all blocks in packs. */
export async function packedKeys(cacheDir: string): Promise<string[]> {
  const rows = (await within(`${cacheDir}/catalog`, 'places', 'readonly', (places) => places.getAll())) as { blocks: string[] }[]
  return rows.flatMap(({ blocks }) => blocks)
}

/** The keys of all blocks of a storage, wherever they lie, in order. */
export async function blockKeys(cacheDir: string): Promise<string[]> {
  return [...new Set([...(await recordKeys(`${cacheDir}/blocks`)), ...(await packedKeys(cacheDir))])].toSorted()
}

/** Whether two byte arrays are the same; vitest's own comparison takes half a minute for a few MiB. */
export function same(a: Uint8Array | null | undefined, b: Uint8Array): boolean {
  return a !== null && a !== undefined && a.byteLength === b.byteLength && a.every((byte, index) => byte === b[index])
}
