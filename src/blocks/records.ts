// Blocks as records of one IndexedDB database, laid out as blockstore-idb does it: database and object store of one name, keys
// '/' + base32upper(multihash), values Uint8Array. What is ours is that many go into one transaction.
import type { CID } from 'multiformats/cid'
import { added, Database, keyRange, keysAmong, result, type DatabaseLoss } from '../catalog/database.ts'
import { multihashKey } from '../catalog/raw-blocks.ts'
import { DatabaseError } from '../errors.ts'
import { KEYS_READ_MIN } from '../limits.ts'
import type { Bytes } from '../types.ts'
import type { BlockKey } from './blocks.ts'

export { keyMultihash, multihashKey } from '../catalog/raw-blocks.ts'

export function blockKey(cid: CID): BlockKey {
  return multihashKey(cid.multihash.bytes)
}

/** In place of a value that the browser can't read: the bytes of no block that has a record. */
export const LOST: Bytes = new Uint8Array(0)

export class BlockRecords {
  readonly database: Database
  readonly #store: string

  constructor(name: string, factory: IDBFactory, onLost: (loss: DatabaseLoss) => void) {
    this.#store = name
    this.database = new Database({
      name,
      factory,
      version: 1,
      upgrade: (db) => void db.createObjectStore(name),
      check: async (db) => {
        if (db.objectStoreNames.contains(name)) return
        throw new DatabaseError(`database '${name}' is there but holds no blocks of blockstore-idb: delete it, or name another one`, name)
      },
      onLost,
    })
  }

  /**
   * The values, `undefined` where there is none, LOST where there is one that can't be read. Each owns its whole buffer, whatever its writer stored.
   */
  async getMany(keys: readonly BlockKey[]): Promise<(Bytes | undefined)[]> {
    if (keys.length === 0) return []
    try {
      return await this.#getAll(keys)
    } catch (error) {
      if (!isUnreadable(error)) throw error
      // One value that can't be read ends the transaction of all.
      return Promise.all(keys.map((key) => this.#getOne(key)))
    }
  }

  async #getAll(keys: readonly BlockKey[]): Promise<(Bytes | undefined)[]> {
    const values = await this.#read((store) => Promise.all(keys.map((key) => result<unknown>(store.get(key)))))
    return values.map(owned)
  }

  async #getOne(key: BlockKey): Promise<Bytes | undefined> {
    try {
      return (await this.#getAll([key]))[0]
    } catch (error) {
      if (!isUnreadable(error)) throw error
      // Where it is not the value alone, this says so.
      return (await this.hasMany([key]))[0] === true ? LOST : undefined
    }
  }

  /** One boolean a key. */
  async hasMany(keys: readonly BlockKey[]): Promise<boolean[]> {
    if (keys.length === 0) return []
    return this.#read(async (store) => {
      if (keys.length < KEYS_READ_MIN) return Promise.all(keys.map(async (key) => (await result(store.getKey(key))) !== undefined))
      const here = await keysAmong(store, keys)
      return keys.map((key) => here.has(key))
    })
  }

  /** Keys behind `after` in order, at most `limit`. */
  async keys(after: BlockKey | undefined, limit: number): Promise<BlockKey[]> {
    return this.#read(async (store) => {
      const range = after === undefined ? undefined : keyRange(store.transaction, after, '/\uffff', true)
      return (await result(store.getAllKeys(range, limit))) as BlockKey[]
    })
  }

  count(): Promise<number> {
    return this.#read((store) => result(store.count()))
  }

  /**
   * All of them or none, in one transaction. What is here is left as it is, but for those to `replace`. Answers which were not here before: another
   * writer may have been first.
   */
  async putMany(blocks: readonly { key: BlockKey; bytes: Bytes }[], replace: ReadonlySet<BlockKey>): Promise<boolean[]> {
    if (blocks.length === 0) return []
    return this.database.run(this.#store, 'readwrite', async (tx) => {
      const store = tx.objectStore(this.#store)
      return Promise.all(
        blocks.map(async ({ key, bytes }) => {
          if (!replace.has(key)) return added(store, bytes, key)
          const before = result(store.getKey(key))
          const put = result(store.put(bytes, key))
          return (await Promise.all([before, put]))[0] === undefined
        }),
      )
    })
  }

  /** Deletes in one transaction and answers which were here. */
  async deleteMany(keys: readonly BlockKey[]): Promise<boolean[]> {
    if (keys.length === 0) return []
    return this.database.run(this.#store, 'readwrite', async (tx) => {
      const store = tx.objectStore(this.#store)
      const here = await Promise.all(keys.map(async (key) => (await result(store.getKey(key))) !== undefined))
      keys.forEach((key, index) => {
        if (here[index] === true) store.delete(key)
      })
      return here
    })
  }

  #read<T>(work: (store: IDBObjectStore) => Promise<T>): Promise<T> {
    return this.database.run(this.#store, 'readonly', (tx) => work(tx.objectStore(this.#store)))
  }
}

/** What browsers say of a value whose file is gone or short, as after a power cut; of more than a value as well. */
function isUnreadable(error: unknown): boolean {
  return (
    error instanceof DatabaseError &&
    ['UnknownError', 'NotReadableError', 'DataError'].includes((error.cause as Error | undefined)?.name ?? '')
  )
}

/** A copy of a view that drags a larger buffer along; other writers store such views, and structured clone keeps all of the buffer. */
function owned(value: unknown): Bytes | undefined {
  if (value instanceof Uint8Array) {
    return value.byteLength === value.buffer.byteLength ? (value as Bytes) : new Uint8Array(value)
  }
  if (value instanceof ArrayBuffer) return new Uint8Array(value)
  return undefined
}
