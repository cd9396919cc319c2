// Helia is a guest: the view of the blocks that it runs over. A session of its own owns every block it puts or is told is here;
// what others own it neither lists nor deletes.
import type { Blockstore } from 'interface-blockstore'
import type { CID } from 'multiformats/cid'
import { Batches } from '../blocks/batches.ts'
import type { BlockKey } from '../blocks/blocks.ts'
import type { LocalBlockstore } from '../blocks/local-blockstore.ts'
import { blockKey } from '../blocks/records.ts'
import { rawCid } from '../catalog/raw-blocks.ts'
import { freeNamedBy, type PinnedByHelia } from '../blocks/removal.ts'
import { newOwnerId, putReference } from '../catalog/owners.ts'
import { result } from '../catalog/database.ts'
import type { Held } from '../catalog/locks.ts'
import { SIZE_UNKNOWN, type PendingOwner, type Reference } from '../catalog/schema.ts'
import { StorageError } from '../errors.ts'
import type { Bytes } from '../types.ts'
import { FETCHED, type FetchReceiver } from './fetch.ts'

interface ViewOptions {
  signal?: AbortSignal
  [FETCHED]?: FetchReceiver | undefined
  [READS]?: boolean
}
type BlockInput = Uint8Array | AsyncIterable<Uint8Array> | Iterable<Uint8Array>

/** Key of the option that tells a read from a put: Helia asks `has` before both, and what is merely read is not owned. */
export const READS: unique symbol = Symbol('ipfs-kit-web reads')

/** Blocks that one turn of listing or deleting takes together. */
const PAGE_BLOCKS = 128

/** A session over the blocks, taken over from an earlier context where one ended without its day being over. */
export async function openSession(store: LocalBlockstore, pinnedByHelia: PinnedByHelia, mayFree = true): Promise<SessionBlockstore> {
  return new SessionBlockstore(store, await takeSession(store), { pinnedByHelia, mayFree })
}

interface SessionInit {
  pinnedByHelia: PinnedByHelia
  /** Every other context that uses these blocks sees this one's locks. */
  mayFree: boolean
}

interface Session {
  id: string
  lock: Held
  batches: Batches
  named: Set<BlockKey>
  /** The name of the catalog that it is on record in. */
  catalog: string | undefined
}

async function takeSession(store: LocalBlockstore): Promise<Session> {
  for (const owner of await store.catalog.pending()) {
    if (owner.kind !== 'session') continue
    const lock = await store.locks.own(owner.id)
    if (lock !== undefined) return sessionOf(store, owner.id, lock)
  }
  const id = newOwnerId()
  const lock = await store.locks.own(id)
  if (lock === undefined) throw new StorageError(`lock of new session ${id} is taken: this cannot be`)
  return sessionOf(store, id, lock)
}

function sessionOf(store: LocalBlockstore, id: string, lock: Held): Session {
  const batches = new Batches(store, { id, kind: 'session', pending: 'session', lastUsed: Date.now() })
  return { id, lock, batches, named: new Set(), catalog: store.catalog.id }
}

export class SessionBlockstore implements Blockstore {
  readonly #store: LocalBlockstore
  readonly #pinnedByHelia: PinnedByHelia
  readonly #mayFree: boolean
  #session: Promise<Session>
  #puts = new Map<BlockKey, Bytes>()
  #asks = new Set<BlockKey>()
  #turn: Promise<Set<BlockKey>> | undefined
  #current: Promise<unknown> = Promise.resolve()

  constructor(store: LocalBlockstore, session: Session, { pinnedByHelia, mayFree }: SessionInit) {
    this.#store = store
    this.#session = Promise.resolve(session)
    this.#pinnedByHelia = pinnedByHelia
    this.#mayFree = mayFree
  }

  async put(cid: CID, value: BlockInput, options?: ViewOptions): Promise<CID> {
    options?.signal?.throwIfAborted()
    const bytes = await collect(value)
    const receiver = options?.[FETCHED]
    if (receiver !== undefined) {
      receiver.deliver(bytes)
      return cid
    }
    const key = blockKey(cid)
    this.#puts.set(key, bytes)
    await this.#next()
    return cid
  }

  async *putMany(
    source: Iterable<{ cid: CID; bytes: BlockInput }> | AsyncIterable<{ cid: CID; bytes: BlockInput }>,
    options?: ViewOptions,
  ): AsyncGenerator<CID> {
    for await (const { cid, bytes } of source) yield this.put(cid, bytes, options)
  }

  async *get(cid: CID, options?: ViewOptions): AsyncGenerator<Uint8Array> {
    const [bytes] = await this.#store.getMany([cid], { signal: options?.signal })
    if (bytes === undefined)
      throw Object.assign(new Error(`block ${cid.toString()} is not here`), { name: 'NotFoundError', code: 'ERR_NOT_FOUND' })
    yield bytes
  }

  async *getMany(
    source: Iterable<CID> | AsyncIterable<CID>,
    options?: ViewOptions,
  ): AsyncGenerator<{ cid: CID; bytes: AsyncGenerator<Uint8Array> }> {
    for await (const cid of source) yield { cid, bytes: this.get(cid, options) }
  }

  /** What is told here is owned from then on, so that nobody frees it between this answer and its use. */
  async has(cid: CID, options?: ViewOptions): Promise<boolean> {
    options?.signal?.throwIfAborted()
    if (options?.[FETCHED] !== undefined) return false
    const key = blockKey(cid)
    if (options?.[READS] === true || (await this.#onRecord()).named.has(key)) return (await this.#store.hasKeys([key]))[0] === true
    this.#asks.add(key)
    return (await this.#next()).has(key)
  }

  async delete(cid: CID, options?: ViewOptions): Promise<void> {
    options?.signal?.throwIfAborted()
    await this.#deleteBatch([cid])
  }

  async *deleteMany(source: Iterable<CID> | AsyncIterable<CID>, options?: ViewOptions): AsyncGenerator<CID> {
    let batch: CID[] = []
    for await (const cid of source) {
      options?.signal?.throwIfAborted()
      batch.push(cid)
      if (batch.length < PAGE_BLOCKS) continue
      await this.#deleteBatch(batch)
      yield* batch
      batch = []
    }
    await this.#deleteBatch(batch)
    yield* batch
  }

  async *getAll(options?: ViewOptions): AsyncGenerator<{ cid: CID; bytes: AsyncGenerator<Uint8Array> }> {
    const session = await this.#onRecord()
    const references = await this.#store.catalog.referencesOf(session.id)
    const keys = [...new Set(references.flatMap((reference) => reference.blocks))]
    for (let from = 0; from < keys.length; from += PAGE_BLOCKS) {
      options?.signal?.throwIfAborted()
      const page = keys.slice(from, from + PAGE_BLOCKS)
      const [owners, here] = await Promise.all([this.#store.catalog.ownersOf(page), this.#store.hasKeys(page)])
      for (const [index, key] of page.entries()) {
        if (here[index] !== true || owners[index]?.some((owner) => owner.id !== session.id) === true) continue
        const cid = rawCid(key)
        yield { cid, bytes: this.get(cid, options) }
      }
    }
  }

  /** Waits for what is queued and lets go of the session; it lasts a day from now. */
  async close(): Promise<void> {
    await this.#current.catch(() => undefined)
    const { id, lock } = await this.#session
    try {
      await this.#store.catalog.touchPending(id)
    } catch (error) {
      // A storage that was destroyed has no session to keep, and one that can't be written keeps the time of its last batch.
      if (!(error instanceof StorageError)) throw error
    } finally {
      await lock.release()
    }
  }

  /** The session; another one where the browser took away the catalog in which it was on record. */
  async #onRecord(): Promise<Session> {
    const current = this.#session
    const before = await current
    const { catalog } = this.#store
    await catalog.database.open()
    if (this.#session !== current || catalog.id === undefined || catalog.id === before.catalog) return this.#session
    const renewed = takeSession(this.#store)
    this.#session = renewed.catch((error: unknown) => {
      this.#session = current
      throw error
    })
    const after = await this.#session
    await before.lock.release()
    return after
  }

  /** Everything asked for while one batch is on its way goes into the next one together. Answers what is here after it. */
  #next(): Promise<Set<BlockKey>> {
    this.#turn ??= this.#run()
    return this.#turn
  }

  async #run(): Promise<Set<BlockKey>> {
    await this.#current.catch(() => undefined)
    const [puts, asks] = [this.#puts, this.#asks]
    this.#puts = new Map()
    this.#asks = new Set()
    this.#turn = undefined
    const bytes = [...puts.values()].reduce((sum, { byteLength }) => sum + byteLength, 0)
    const write = async (): Promise<Set<BlockKey>> => {
      const { batches, named } = await this.#onRecord()
      if (puts.size > 0) await batches.write(puts)
      const here = asks.size > 0 ? (await batches.nameHere(new Map([...asks].map((key) => [key, -1])))).here : new Set<BlockKey>()
      for (const key of [...puts.keys(), ...here]) named.add(key)
      if (this.#puts.size === 0) await batches.report()
      return here
    }
    const work = this.#store.withRoom(bytes, () => this.#store.locks.shared(write))
    this.#current = work
    return work
  }

  /** Frees what nobody else names, then drops the session's own names: cut off in between, they are still there to free by. */
  async #deleteBatch(cids: readonly CID[]): Promise<void> {
    if (cids.length === 0) return
    const keys = [...new Set(cids.map(blockKey))]
    await this.#current.catch(() => undefined)
    await this.#store.locks.exclusive(async () => {
      const session = await this.#onRecord()
      const owners = await this.#store.catalog.ownersOf(keys)
      const mine = keys.filter((_, index) => owners[index]?.some((owner) => owner.id === session.id))
      // Where other tabs don't see this lock, freeing is left to an opening without them.
      if (this.#mayFree) await freeNamedBy(this.#store, session.id, mine, this.#pinnedByHelia)
      await this.#forget(session, mine)
    })
  }

  async #forget(session: Session, keys: readonly BlockKey[]): Promise<void> {
    for (const key of keys) session.named.delete(key)
    await this.#store.catalog.write(['owners', 'references'], async (tx) => {
      const references = tx.objectStore('references')
      if (!this.#mayFree && keys.length > 0) {
        const id = newOwnerId()
        tx.objectStore('owners').put({ id, kind: 'removal', pending: 'removal', lastUsed: Date.now() } satisfies PendingOwner)
        putReference(tx, { owner: id, node: id, blocks: [...keys], sizes: keys.map(() => SIZE_UNKNOWN), own: 0 })
      }
      for (const key of keys) {
        const names = (await result(references.index('blocks').getAllKeys(key))) as [string, string][]
        for (const name of names) {
          if (name[0] !== session.id) continue
          const reference = await result<Reference | undefined>(references.get(name))
          if (reference === undefined) continue
          const index = reference.blocks.indexOf(key)
          reference.blocks.splice(index, 1)
          reference.sizes.splice(index, 1)
          if (reference.blocks.length === 0) references.delete(name)
          else references.put(reference)
        }
      }
    })
  }
}

async function collect(value: BlockInput): Promise<Bytes> {
  if (value instanceof Uint8Array) return new Uint8Array(value)
  const parts: Uint8Array[] = []
  for await (const part of value) parts.push(part)
  const bytes = new Uint8Array(parts.reduce((length, part) => length + part.byteLength, 0))
  let offset = 0
  for (const part of parts) {
    bytes.set(part, offset)
    offset += part.byteLength
  }
  return bytes
}
