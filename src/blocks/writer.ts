// Whoever writes blocks: an owner of its own that names each batch before it is written, until a commit hands what it named to entries and pins.
import type { CID } from 'multiformats/cid'
import { result } from '../catalog/database.ts'
import { newOwnerId } from '../catalog/owners.ts'
import type { CatalogChange, Committed, KeptContent, Resumed } from '../catalog/commit.ts'
import type { Held } from '../catalog/locks.ts'
import { SIZE_IN_RECORD, SIZE_UNKNOWN, type PendingOwner, type Reference, type SealedPack } from '../catalog/schema.ts'
import { StorageError } from '../errors.ts'
import { CHUNK_SIZE_BYTES, POOLED_CHUNKS, WRITE_BATCH_BLOCKS, WRITE_BATCH_BYTES } from '../limits.ts'
import type { Connection } from '../packs/connection.ts'
import type { Lanes } from '../packs/lanes.ts'
import type { Bytes } from '../types.ts'
import type { BlockKey, BlockSink, LeafSink } from './blocks.ts'
import { Batches } from './batches.ts'
import { BufferPool } from './buffer-pool.ts'
import { IDENTITY } from './hashing.ts'
import { canLink, linksOf, loadCodec, ownBytes, RAW, type Link } from './links.ts'
import type { LocalBlockstore } from './local-blockstore.ts'
import { PackedLeaves } from './pack-writer.ts'
import { blockKey } from './records.ts'

type NodeRecord = Omit<Reference, 'owner'>
interface Batch {
  blocks: Map<BlockKey, Bytes>
  bytes: number
}

export class Writer implements BlockSink {
  readonly #store: LocalBlockstore
  readonly #signal: AbortSignal | undefined
  readonly #batches: Batches
  readonly id: string
  readonly #lock: Held
  /** Every block named so far, with its bytes' length. */
  readonly #named = new Map<BlockKey, number>()
  /** `inline`: nodes it links to that lie in their CIDs, whose links must be kept all the same. */
  readonly #nodes = new Map<BlockKey, NodeRecord & { inline: BlockKey[] }>()
  #batch: Batch = { blocks: new Map(), bytes: 0 }
  #flushing: Promise<void> = Promise.resolve()
  #failure: { error: unknown } | undefined
  #ended = false
  readonly #leaves: PackedLeaves[] = []
  #small: PackedLeaves | undefined
  readonly #packs: { id: string; sealed?: Promise<SealedPack> }[] = []
  #pool: BufferPool | undefined
  #lastWereHere = false
  #packedBytes = 0
  #expected = 0

  private constructor(store: LocalBlockstore, owner: PendingOwner, lock: Held, signal: AbortSignal | undefined, pool?: BufferPool) {
    this.#pool = pool
    this.#store = store
    this.id = owner.id
    this.#batches = new Batches(store, owner)
    this.#lock = lock
    this.#signal = signal
  }

  /** Takes the writer's lock; its record comes with its first batch. */
  static async open(store: LocalBlockstore, signal?: AbortSignal, pool?: BufferPool): Promise<Writer> {
    const id = newOwnerId()
    const lock = await store.locks.own(id)
    if (lock === undefined) throw new StorageError(`lock of new owner ${id} is taken: this cannot be`)
    return new Writer(store, { id, kind: 'writer', pending: 'writer', lastUsed: Date.now() }, lock, signal, pool)
  }

  /** Into packs where this context has them and the file turns out large; `connection`: leaves that lie in its worker too. @throws NotSupportedError */
  async leaves(connection?: Connection): Promise<PackedLeaves | undefined> {
    const lanes = await this.#store.packLanes()
    return lanes === undefined ? undefined : this.#packed(async () => lanes, connection)
  }

  /** Into packs where this context has them and there are many of them. */
  async small(): Promise<LeafSink | undefined> {
    const { packs, tier } = this.#store
    if (packs !== undefined && tier !== 'records') this.#small ??= this.#packed(() => packs.lanes())
    return this.#small
  }

  #packed(lanes: () => Promise<Lanes | undefined>, connection?: Connection): PackedLeaves {
    this.#pool ??= new BufferPool(CHUNK_SIZE_BYTES, POOLED_CHUNKS)
    const leaves = new PackedLeaves({
      lanes,
      connection,
      pool: this.#pool,
      claim: (key, size) => {
        if (this.#named.has(key) || this.#batch.blocks.has(key)) return false
        this.#named.set(key, size)
        return true
      },
      lookUp: async (keys) => (await this.#store.lookUp(keys)).here,
      nameWhole: (blocks) => this.#nameWhole(blocks),
      newPack: async () => {
        // Must be on record before the file exists: a sweep takes what no owner names.
        await this.#store.withRoom(0, () => this.#batches.begin(), this.#signal)
        const id = `${this.id}-${this.#packs.length}`
        this.#packs.push({ id })
        return id
      },
      seal: (id, sealed) => {
        sealed.catch(() => undefined)
        const pack = this.#packs.find((one) => one.id === id)
        if (pack !== undefined) pack.sealed = sealed
      },
      withRoom: (bytes, work) => this.#withRoomInPacks(bytes, work),
      putRecord: (cid, bytes) => {
        this.#named.delete(blockKey(cid))
        return this.put(cid, bytes)
      },
      check: () => this.#check(),
    })
    this.#leaves.push(leaves)
    return leaves
  }

  /** Tells how large a file is that comes, where that is known: one that can't be kept is refused before anything is given up for it. */
  expect(bytes: number): void {
    this.#expected = Math.max(this.#expected, bytes)
  }

  async put(cid: CID, bytes: Bytes): Promise<CID> {
    const loading = loadCodec(cid)
    if (loading !== undefined) await loading
    this.#check()
    if (cid.multihash.code === IDENTITY) {
      this.#note(cid, bytes)
      return cid
    }
    const key = blockKey(cid)
    this.#note(cid, bytes)
    if (this.#named.has(key) || this.#batch.blocks.has(key)) return cid
    // Must own its buffer: structured clone would store all of a larger one.
    this.#batch.blocks.set(key, bytes.byteLength === bytes.buffer.byteLength ? bytes : new Uint8Array(bytes))
    this.#batch.bytes += bytes.byteLength
    if (this.#batch.bytes >= WRITE_BATCH_BYTES || this.#batch.blocks.size >= WRITE_BATCH_BLOCKS) await this.#turn()
    return cid
  }

  /**
   * Names blocks that should be here already, and answers which are: those stay as long as this writer. `sizes` are their lengths where known, else
   * -1. A node whose bytes are at hand is `note`d beside.
   */
  async name(cids: readonly CID[], sizes: readonly number[]): Promise<boolean[]> {
    await this.#turn()
    const keys = cids.map(blockKey)
    return this.#enqueue(async () => {
      const asked = new Map<BlockKey, number>()
      keys.forEach((key, index) => {
        if (!this.#named.has(key)) asked.set(key, sizes[index] ?? -1)
      })
      const { here } = await this.#batches.nameHere(asked)
      for (const key of here) this.#named.set(key, asked.get(key) ?? -1)
      return keys.map((key, index) => this.#named.has(key) || cids[index]?.multihash.code === IDENTITY)
    })
  }

  /** Remembers the links of a node, so that a commit can refer to it. loadCodec() comes before. */
  note(cid: CID, bytes: Bytes): void {
    this.#note(cid, bytes)
  }

  /** Writes what is queued. */
  async flush(): Promise<void> {
    this.#check()
    await this.#turn()
    await this.#flushing
    this.#check()
  }

  /** The references of the DAG below `root`, as far as its nodes passed through here. */
  references(root: CID): NodeRecord[] {
    const found = new Map<BlockKey, NodeRecord & { inline: BlockKey[] }>()
    const rootKey = blockKey(root)
    if (root.code === RAW) {
      const size = this.#named.get(rootKey) ?? this.#batch.blocks.get(rootKey)?.byteLength ?? -1
      return [
        {
          node: rootKey,
          blocks: root.multihash.code === IDENTITY ? [] : [rootKey],
          sizes: root.multihash.code === IDENTITY ? [] : [size],
          own: Math.max(0, size),
        },
      ]
    }
    const open: BlockKey[] = [rootKey]
    for (let key = open.pop(); key !== undefined; key = open.pop()) {
      const node = this.#nodes.get(key)
      if (node === undefined || found.has(key)) continue
      found.set(key, node)
      for (const link of [...node.blocks, ...node.inline]) if (this.#nodes.has(link) && !found.has(link)) open.push(link)
    }
    return [...found.values()].map(({ inline: _inline, ...node }) => ({
      ...node,
      sizes: node.sizes.map((size, index) => this.#trueSize(node.blocks[index], size)),
    }))
  }

  /** A parent may lie, and what it said would be counted when the block is freed: what was put here is known better. */
  #trueSize(key: BlockKey | undefined, size: number): number {
    if (key === undefined || size === SIZE_IN_RECORD) return size
    const known = this.#batch.blocks.get(key)?.byteLength ?? this.#named.get(key) ?? SIZE_UNKNOWN
    return known < 0 ? size : known
  }

  /**
   * Flushes, then makes the contents visible in one transaction, with what becomes of a resumable download. Where it rejects, nothing is, and the
   * writer is to be aborted.
   */
  async commit(contents: KeptContent[], resumed?: Resumed): Promise<{ changes: CatalogChange[]; leftover: string | undefined }> {
    await this.#small?.end()
    await this.flush()
    const packs = await Promise.all(this.#packs.flatMap((pack) => pack.sealed ?? []))
    this.#signal?.throwIfAborted()
    const isRecords = this.#store.tier === 'records'
    // Whatever is stored, pinned or fetched under that tier stays there.
    if (isRecords) for (const { entry } of contents) if (entry !== undefined && entry.existed !== true) entry.records = true
    const kept = new Set(contents.flatMap((content) => content.references.flatMap((reference) => reference.blocks)))
    const placed = new Set(packs.flatMap((pack) => pack.places.map((place) => place.block)))
    const leftovers = [...this.#named.keys()].some((key) => !kept.has(key) && !placed.has(key))
    const writer = this.#batches.begun ? this.id : undefined
    const commit = (): Promise<Committed> =>
      this.#store.catalog.commit({
        writer,
        leftovers,
        added: this.#batches.added,
        contents,
        packs,
        inRecords: packs.length === 0 && !isRecords,
        maxBytes: this.#batches.hasWritten || packs.length > 0 ? this.#store.maxBytes : undefined,
        resumed,
      })
    // What lies in its packs was not named before: no removal may come between the look at what is there and its new references.
    const done = await this.#store.withRoom(
      0,
      () => (packs.length > 0 ? this.#store.locks.shared(commit, this.#signal) : commit()),
      this.#signal,
    )
    this.#ended = true
    await this.#lock.release()
    await this.#tidy(done)
    return { changes: done.changes, leftover: done.leftovers ? writer : undefined }
  }

  /** Ends a writer that did not commit; what it wrote becomes a removal, whose id is answered. Never rejects. */
  async abort(): Promise<string | undefined> {
    if (this.#ended) return undefined
    this.#ended = true
    await Promise.all([this.#flushing, ...this.#leaves.map((leaves) => leaves.settled())])
    try {
      await this.#dropPacks()
      if (!this.#batches.begun) return undefined
      await this.#store.catalog.end(this.id, this.#batches.added)
      return this.id
    } catch {
      // The record stays, and whoever gets its lock ends it: the next gc() or opening.
      return undefined
    } finally {
      await this.#lock.release()
    }
  }

  /** Files that are of no use. Those that can't be removed now have no owner, and go at the next sweep. */
  async #tidy({ unused, emptied }: Committed): Promise<void> {
    const { packs } = this.#store
    if (packs === undefined) return
    await Promise.all([packs.removeEmptied(emptied), ...unused.map((pack) => packs.removeFile(pack))]).catch(() => undefined)
  }

  async #dropPacks(): Promise<void> {
    const { packs } = this.#store
    if (packs === undefined || this.#packs.length === 0) return
    const lanes = await packs.lanes()
    for (const { id, sealed } of this.#packs) {
      await sealed?.catch(() => undefined)
      // One that fails is left to the next sweep: its owner ends here.
      await lanes?.drop(id).catch(() => undefined)
    }
    // A commit whose connection was lost may have been done all the same: then these files are needed.
    const ids = this.#packs.map(({ id }) => id)
    const rows = await this.#store.catalog.read(['packs'], (tx) =>
      Promise.all(ids.map((id) => result<IDBValidKey | undefined>(tx.objectStore('packs').getKey(id)))),
    )
    const unneeded = ids.filter((_, index) => rows[index] === undefined)
    for (const id of unneeded) await packs.removeFile(id).catch(() => undefined)
  }

  /** What lies in packs counts with the commit: until then it is told here. */
  #withRoomInPacks(bytes: number, work: () => Promise<void>): Promise<void> {
    const { maxBytes, catalog } = this.#store
    const checked = async (): Promise<void> => {
      if (maxBytes !== undefined) {
        await this.#batches.checkFits(this.#expected)
        this.#store.checkMaxBytes((await catalog.usage()).bytes + this.#packedBytes, bytes, this.#expected)
      }
      await work()
      this.#packedBytes += bytes
    }
    return this.#store.withRoom(bytes, checked, this.#signal)
  }

  /** Names those that are here, and answers which of them lie whole. Those that don't are noted, so that the commit points at the new ones. */
  async #nameWhole(blocks: Map<BlockKey, Bytes>): Promise<ReadonlySet<BlockKey>> {
    // Looked at without a lock first: of a new file nothing is here, and there is nothing to name. Where the last leaves were, these are likely to be.
    if (!this.#lastWereHere && (await this.#store.lookUp([...blocks.keys()])).here.size === 0) return new Set()
    const look = (): ReturnType<Batches['nameHere']> =>
      this.#batches.nameHere(new Map([...blocks].map(([key, bytes]) => [key, bytes.byteLength])))
    return this.#enqueue(look, async ({ here, rows }) => {
      this.#lastWereHere = here.size > 0
      const candidates = new Map([...blocks].filter(([key]) => here.has(key)))
      const whole = await this.#store.compare(candidates, rows, { exchange: true })
      for (const [key, bytes] of candidates) blocks.set(key, bytes)
      const spoilt = [...here].filter((key) => !whole.has(key))
      if (spoilt.length > 0) await this.#store.catalog.noteDamaged(spoilt)
      return whole
    })
  }

  #note(cid: CID, bytes: Bytes): void {
    const key = blockKey(cid)
    // A raw leaf is named by its parent's record; one that is a root gets its record in references().
    if (cid.code === RAW) return
    const before = this.#nodes.get(key)
    // The same bytes under a codec without links say nothing of those they have under another one.
    if (before !== undefined && (!canLink(cid) || before.blocks.length > 1)) return
    const links = linksOf(cid, bytes)
    const isIdentity = cid.multihash.code === IDENTITY
    const below = links.filter((link) => link.cid.multihash.code !== IDENTITY)
    this.#nodes.set(key, {
      node: key,
      blocks: [...(isIdentity ? [] : [key]), ...below.map((link) => blockKey(link.cid))],
      sizes: [...(isIdentity ? [] : [bytes.byteLength]), ...below.map((link) => this.#sizeOf(link))],
      own: ownBytes(cid, bytes),
      inline: links.flatMap((link) => (link.cid.multihash.code === IDENTITY ? [blockKey(link.cid)] : [])),
    })
  }

  /** What the parent says of a link, or what is known of a leaf. A node's own record tells its size. */
  #sizeOf(link: Link): number {
    if (link.bytes !== undefined) return link.bytes
    return canLink(link.cid) ? SIZE_IN_RECORD : (this.#named.get(blockKey(link.cid)) ?? SIZE_UNKNOWN)
  }

  #check(): void {
    this.#signal?.throwIfAborted()
    if (this.#failure !== undefined) throw this.#failure.error
    if (this.#ended) throw new StorageError('this writer has ended')
  }

  /** Hands the batch over to be written, and waits for the one before it: one is written while the next is filled. */
  async #turn(): Promise<void> {
    if (this.#batch.blocks.size === 0) return
    const batch = this.#batch
    this.#batch = { blocks: new Map(), bytes: 0 }
    // A later put of the same block must find it named, written or not: a failure ends the writer anyway.
    for (const [key, bytes] of batch.blocks) this.#named.set(key, bytes.byteLength)
    const before = this.#flushing
    this.#enqueue(() => this.#batches.write(batch.blocks, this.#expected), undefined, batch.bytes).catch(() => undefined)
    await before
    this.#check()
  }

  /**
   * Runs `work` under the shared lock after what was queued before it, and `after` it, under the same lock, what need not keep the next one waiting.
   * A failure is kept for whoever comes next. `bytes` that it may write: where there is no room for them, both are done again.
   */
  #enqueue<T, U = T>(work: () => Promise<T>, after?: (answer: T) => Promise<U>, bytes = 0): Promise<U> {
    let advance = (): void => undefined
    const worked = new Promise<void>((resolve) => {
      advance = resolve
    })
    const both = async (): Promise<U> => {
      const answer = await work()
      if (after === undefined) return answer as unknown as U
      advance()
      return after(answer)
    }
    const done = this.#flushing.then(() => {
      if (this.#failure !== undefined) throw this.#failure.error
      return this.#store.withRoom(bytes, () => this.#store.locks.shared(both, this.#signal), this.#signal)
    })
    const ended = done.then(
      () => undefined,
      (error: unknown) => {
        this.#failure ??= { error }
      },
    )
    this.#flushing = Promise.race([worked, ended])
    return done
  }
}
