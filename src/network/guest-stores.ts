// What a Helia node runs over: the view of the blocks, and a datastore whose pins a removal may rely on.
import { MemoryDatastore } from 'datastore-core'
import { IDBDatastore } from 'datastore-idb'
import { Key, type Batch, type Datastore, type KeyQuery, type Pair, type Query } from 'interface-datastore'
import type { Blockstore } from 'interface-blockstore'
import type { LocalBlockstore } from '../blocks/local-blockstore.ts'
import type { PinnedByHelia } from '../blocks/removal.ts'
import { ClosedError, QuotaError } from '../errors.ts'
import type { HeliaNode } from '../types.ts'
import { pinKey, PINNED_BLOCK } from './helia-pins.ts'
import { openSession, READS } from './helia-view.ts'
import type { NodeStores } from './node.ts'

/**
 * datastore-idb, with the shared lock around writes of pins, so that a removal reads pins that stay as they are, with room made where there is none, and
 * opened again where the browser took it away.
 */
export class GuestDatastore extends IDBDatastore {
  readonly #store: LocalBlockstore
  #isLost = false
  #opening: Promise<void> | undefined

  constructor(name: string, store: LocalBlockstore) {
    super(name)
    this.#store = store
  }

  override async open(): Promise<void> {
    await this.#store.catalog.mark()
    await super.open()
    // datastore-idb gives way to nobody: a deletion of the storage would wait for this tab to close.
    const db = this['db']
    db?.addEventListener('versionchange', () => db.close())
    db?.addEventListener('close', () => {
      this.#isLost = true
    })
  }

  override async close(): Promise<void> {
    this.#isLost = false
    await this.#opening?.catch(() => undefined)
    await super.close()
  }

  override async put(key: Key, value: Uint8Array, options?: { signal?: AbortSignal }): Promise<Key> {
    await this.#opened()
    const put = (): Promise<Key> => this.#guarded(key, () => super.put(key, value, options))
    return this.#store.withRoom(value.byteLength, () => knowingQuota(put), options?.signal)
  }

  override async get(key: Key, options?: { signal?: AbortSignal }): Promise<Uint8Array> {
    await this.#opened()
    return super.get(key, options)
  }

  override async has(key: Key, options?: { signal?: AbortSignal }): Promise<boolean> {
    await this.#opened()
    return super.has(key, options)
  }

  override async delete(key: Key, options?: { signal?: AbortSignal }): Promise<void> {
    await this.#opened()
    await this.#guarded(key, () => super.delete(key, options))
  }

  override async *query(query: Query, options?: { signal?: AbortSignal }): AsyncGenerator<Pair> {
    await this.#opened()
    yield* super.query(query, options)
  }

  override async *queryKeys(query: KeyQuery, options?: { signal?: AbortSignal }): AsyncGenerator<Key> {
    await this.#opened()
    yield* super.queryKeys(query, options)
  }

  /** In place of the one of datastore-idb, which says nothing of what fails. */
  override batch(): Batch {
    const puts = new Map<string, Uint8Array>()
    const deletes = new Set<string>()
    const commit = async (): Promise<void> => {
      await this.#opened()
      const db = this['db']
      if (db === undefined) throw new ClosedError('the datastore was closed')
      const { store, done } = db.transaction(this['location'], 'readwrite')
      await Promise.all([
        ...[...puts].flatMap(([key, value]) => (deletes.has(key) ? [] : [store.put(value, key)])),
        ...[...deletes].map((key) => store.delete(key)),
        done,
      ])
    }
    return {
      put: (key, value) => void puts.set(key.toString(), value),
      delete: (key) => void deletes.add(key.toString()),
      commit: async (options) => {
        options?.signal?.throwIfAborted()
        await this.#store.withRoom(0, () => knowingQuota(() => this.#store.locks.shared(commit)), options?.signal)
      },
    }
  }

  /** What is there then is empty. */
  async #opened(): Promise<void> {
    if (!this.#isLost) return
    this.#opening ??= this.open()
      .then(() => {
        this.#isLost = false
      })
      .finally(() => {
        this.#opening = undefined
      })
    await this.#opening
  }

  #guarded<T>(key: Key, work: () => Promise<T>): Promise<T> {
    return key.toString().startsWith(PINNED_BLOCK) ? this.#store.locks.shared(work) : work()
  }
}

/**
 * datastore-idb says every error of the browser as the text of its own.
 *
 * @throws QuotaError
 */
async function knowingQuota<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (cause) {
    if (!String(cause).includes('QuotaExceededError')) throw cause
    throw new QuotaError(
      "the browser has no room left for the data of Helia's node: delete or unpin something, or free disk space",
      {},
      { cause },
    )
  }
}

/** What the guest is let into. */
export interface Host {
  medium: 'idb' | 'memory'
  store: LocalBlockstore
  pinnedByHelia: PinnedByHelia
  /** Asked for pins instead of the database, where the datastore is none. */
  memoryPins: PinnedByHelia | undefined
  /** Every other context that uses the storage sees this one's locks. */
  canFree: boolean
}

/** Opens both over a storage's databases. */
export async function openGuestStores(core: Host, datastoreName: string): Promise<NodeStores> {
  const datastore = core.medium === 'memory' ? memoryDatastore(core) : await openDatastore(datastoreName, core.store)
  const blockstore = await openSession(core.store, core.pinnedByHelia, core.canFree)
  return {
    blockstore,
    datastore,
    prepare,
    async close() {
      try {
        await blockstore.close()
      } finally {
        if (datastore instanceof GuestDatastore) await datastore.close()
      }
    },
  }
}

async function openDatastore(name: string, store: LocalBlockstore): Promise<Datastore> {
  const datastore = new GuestDatastore(name, store)
  await datastore.open()
  return datastore
}

function memoryDatastore(core: Host): Datastore {
  const datastore = new MemoryDatastore()
  core.memoryPins = (keys) => Promise.all(keys.map(async (key) => datastore.has(new Key(pinKey(key)))))
  return datastore
}

/** Lets the node's own reads be known as such to the view. Its pins walk another way, and own what they find. */
function prepare({ blockstore }: HeliaNode): void {
  const get = blockstore.get.bind(blockstore)
  const getMany = blockstore.getMany.bind(blockstore)
  const reads: Pick<Blockstore, 'get' | 'getMany'> = {
    get: (cid, options) => get(cid, { ...options, [READS]: true } as typeof options),
    getMany: (cids, options) => getMany(cids, { ...options, [READS]: true } as typeof options),
  }
  Object.assign(blockstore, reads)
}
