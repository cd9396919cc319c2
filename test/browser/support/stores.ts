// Looks into the databases of a storage from outside: what is counted here is what lies there, whatever the storage says of itself.
import { IPFSKitStorage, type StorageOptions } from '../../../src/index.ts'

let count = 0
const open = new Set<IPFSKitStorage>()

/** A name no other test uses. */
export function freshName(): string {
  return `test-${Date.now()}-${count++}`
}

/** A storage that never leaves this machine, under a fresh name unless one is given; closed by `closeAll`. */
export function localStorageOf(options: StorageOptions = {}): IPFSKitStorage {
  return track(new IPFSKitStorage({ cacheDir: freshName(), forceFallback: true, ...options }))
}

export function track(storage: IPFSKitStorage): IPFSKitStorage {
  open.add(storage)
  return storage
}

/** Closes and destroys what was tracked, all of it, and then throws what went wrong on the way. */
export async function closeAll(): Promise<void> {
  const storages = [...open]
  open.clear()
  const names = await Promise.all(storages.map(async (storage) => (await storage.getBackendStatus().catch(() => undefined))?.cacheDir))
  const ends = await Promise.allSettled(storages.map((storage) => storage.close()))
  for (const name of new Set(names)) if (name !== undefined) await IPFSKitStorage.destroy(name)
  for (const end of ends) if (end.status === 'rejected') throw end.reason
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

/** Records in each object store that says something about content: all 0 where nothing is left. */
export async function countAll(
  cacheDir: string,
): Promise<Record<'blocks' | 'owners' | 'references' | 'foreign' | 'damaged' | 'packed', number>> {
  const catalog = (store: string): Promise<number> => within(`${cacheDir}/catalog`, store, 'readonly', (records) => records.count())
  return {
    blocks: await within(`${cacheDir}/blocks`, `${cacheDir}/blocks`, 'readonly', (records) => records.count()),
    owners: await catalog('owners'),
    references: await catalog('references'),
    foreign: await catalog('foreign'),
    damaged: await catalog('damaged'),
    packed: await catalog('packed'),
  }
}

export const NOTHING = { blocks: 0, owners: 0, references: 0, foreign: 0, damaged: 0, packed: 0 }

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

/** The keys of all blocks. */
export async function blockKeys(database: string): Promise<string[]> {
  return (await within(database, database, 'readonly', (store) => store.getAllKeys())) as string[]
}

/** Whether two byte arrays are the same; vitest's own comparison takes half a minute for a few MiB. */
export function same(a: Uint8Array | null | undefined, b: Uint8Array): boolean {
  return a !== null && a !== undefined && a.byteLength === b.byteLength && a.every((byte, index) => byte === b[index])
}
