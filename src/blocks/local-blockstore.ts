// The blocks on this machine: read and checked here, written by a Writer, freed by a removal.
import type { CID } from 'multiformats/cid'
import type { Catalog } from '../catalog/catalog.ts'
import { MaxBytesReached } from '../catalog/commit.ts'
import type { Locks } from '../catalog/locks.ts'
import { arePacked, examinePlaces } from '../catalog/pack-rows.ts'
import { bytesOfPinnedBlocks, pinnedBytes } from '../catalog/pins.ts'
import type { Place } from '../catalog/schema.ts'
import { IntegrityError, NotSupportedError, QuotaError } from '../errors.ts'
import { RECORDS_READ_BESIDE, ROOM_TRIES, ROOM_TURNS, ROOM_WAIT_MS } from '../limits.ts'
import type { Lanes } from '../packs/lanes.ts'
import type { Bytes } from '../types.ts'
import type { BlockKey, BlockOptions, BlockSource } from './blocks.ts'
import { checkHash, equalBytes, IDENTITY, matchMany, SHA2_256, type HashedBlock } from './hashing.ts'
import { RAW } from './links.ts'
import type { PackStore } from './pack-store.ts'
import { blockKey, LOST, type BlockRecords } from './records.ts'

/** Where leaves of large files are written. 'records': never into packs, and what only packs hold is written as records too. */
export type Tier = 'auto' | 'records' | 'packs'

/** Keys up to which one request each costs less than waiting for another answer first. */
const FEW_KEYS = 32

export interface LocalBlockstoreInit {
  records: BlockRecords
  /** Absent where this context has no private file system. */
  packs: PackStore | undefined
  catalog: Catalog
  locks: Locks
  tier: Tier
  /** Why this context writes no packs, once that is known. */
  packsRefused: () => Error | undefined
  /** Workers that read records beside this thread, once there are any: asking for them starts them. */
  recordLanes: () => Lanes | undefined
  onDamaged: (cid: CID) => void
  /** Bytes of blocks that may be kept, by the catalog's count. */
  maxBytes: number | undefined
  /** Makes room for so many bytes, of those that count; answers how many became free, undefined where another one made room meanwhile. */
  makeRoom: (needed: number, of: 'disk' | 'kept', signal: AbortSignal | undefined) => Promise<number | undefined>
}

export class LocalBlockstore implements BlockSource {
  readonly records: BlockRecords
  readonly packs: PackStore | undefined
  readonly catalog: Catalog
  readonly locks: Locks
  readonly tier: Tier
  readonly #packsRefused: () => Error | undefined
  readonly #recordLanes: () => Lanes | undefined
  readonly #onDamaged: (cid: CID) => void
  readonly maxBytes: number | undefined
  readonly #makeRoom: LocalBlockstoreInit['makeRoom']

  constructor(init: LocalBlockstoreInit) {
    const { records, packs, catalog, locks, tier, packsRefused, recordLanes, onDamaged, maxBytes, makeRoom } = init
    this.records = records
    this.packs = packs
    this.catalog = catalog
    this.locks = locks
    this.tier = tier
    this.#packsRefused = packsRefused
    this.#recordLanes = recordLanes
    this.#onDamaged = onDamaged
    this.maxBytes = maxBytes
    this.#makeRoom = makeRoom
  }

  /**
   * Does `work`, and where it fails for want of space makes room for so many bytes and does it again. Whoever calls holds no lock of the storage.
   *
   * @throws QuotaError where not enough can be given up
   */
  async withRoom<T>(bytes: number, work: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    let [tries, turns, hasFreed] = [0, 0, false]
    for (;;) {
      try {
        return await work()
      } catch (error) {
        if (!(error instanceof QuotaError) || tries >= ROOM_TRIES) throw error
        signal?.throwIfAborted()
        const isOurs = error instanceof MaxBytesReached
        const { needed = bytes } = error
        // No giving up makes room for what is larger than all that may be kept.
        if (isOurs && (error.isFinal || needed > (this.maxBytes ?? 0))) throw error
        // Browsers free lazily: before more is given up, what was may become free.
        const freed = isOurs
          ? await this.#makeRoom(error.missing, 'kept', signal)
          : tries % 2 === 0
            ? await this.#makeRoom(needed, 'disk', signal)
            : 0
        // Another one made room meanwhile: that is no try of this one's.
        if (freed === undefined && turns++ < ROOM_TURNS) continue
        tries++
        if (freed !== undefined && freed > 0) hasFreed = true
        else if (isOurs || !hasFreed) throw error
        else await new Promise((resolve) => setTimeout(resolve, ROOM_WAIT_MS * tries))
      }
    }
  }

  /** Whether so many bytes more may be kept, of a file of `whole` bytes. @throws QuotaError */
  checkMaxBytes(usedBytes: number, bytes: number, whole: number): void {
    const { maxBytes } = this
    if (maxBytes === undefined) return
    if (whole > maxBytes) throw new MaxBytesReached(maxBytes, usedBytes, whole)
    if (usedBytes + bytes > maxBytes) throw new MaxBytesReached(maxBytes, usedBytes, bytes)
  }

  /** Whether a file of so many bytes, nothing of which is here, may be kept beside what is pinned. @throws QuotaError */
  async checkBesidePins(whole: number): Promise<void> {
    const { maxBytes, catalog } = this
    if (maxBytes === undefined || whole <= maxBytes - (await pinnedBytes(catalog))) return
    // Pinned contents may share blocks.
    const pinned = await bytesOfPinnedBlocks(catalog)
    if (whole > maxBytes - pinned) throw new MaxBytesReached(maxBytes, pinned, whole, { isFinal: true })
  }

  /** The workers that write packs; undefined where leaves go into records. @throws NotSupportedError where they may not, and there are no packs */
  async packLanes(): Promise<Lanes | undefined> {
    if (this.tier === 'records') {
      // Whoever stores a large file reads it: the workers have started by then.
      this.#recordLanes()
      return undefined
    }
    const lanes = await this.packs?.lanes()
    if (lanes === undefined && this.tier === 'packs') throw packsMissing(this.#packsRefused())
    return lanes
  }

  async getMany(cids: readonly CID[], options: BlockOptions = {}): Promise<(Bytes | undefined)[]> {
    const { blocks, damaged } = await this.examine(cids, options)
    const [bad] = damaged
    if (bad !== undefined) {
      throw new IntegrityError(
        `block ${bad.toV1().toString()} is damaged here: store the content again, or fetch it from a backend`,
        bad.toV1().toString(),
      )
    }
    return blocks
  }

  /** As getMany, but answers damaged blocks beside the whole ones instead of throwing. They are noted, and count as absent from then on. */
  async examine(cids: readonly CID[], options: BlockOptions = {}): Promise<{ blocks: (Bytes | undefined)[]; damaged: CID[] }> {
    options.signal?.throwIfAborted()
    cids.forEach(checkHash)
    const found = await this.#read(cids, options)
    options.signal?.throwIfAborted()
    const blocks = found.map((block) => (block === undefined || options.views === true ? block?.bytes : owned(block.bytes)))
    if (options.verify === false && !found.some(isLost)) return { blocks, damaged: [] }
    const whole =
      options.verify === false ? found.map((block) => (block === undefined ? undefined : !isLost(block))) : await matchMany(cids, found)
    options.signal?.throwIfAborted()
    const damaged = cids.filter((_, index) => whole[index] === false)
    if (damaged.length > 0) {
      // A hint for later: where it can't be written, the answer is the same.
      await this.catalog.noteDamaged(damaged.map(blockKey)).catch(() => undefined)
      damaged.forEach(this.#onDamaged)
    }
    return { blocks: blocks.map((bytes, index) => (whole[index] === true ? bytes : undefined)), damaged }
  }

  /** The same blocks for whoever goes on where some are damaged: those count as absent. */
  readonly lenient: BlockSource = { getMany: async (cids, options) => (await this.examine(cids, options)).blocks }

  /** Which are here and, as far as is known, whole. Identity CIDs are always here. */
  async hasMany(cids: readonly CID[]): Promise<boolean[]> {
    const here = await this.hasKeys(cids.map(blockKey))
    return here.map((has, index) => has || cids[index]?.multihash.code === IDENTITY)
  }

  async hasKeys(keys: readonly BlockKey[]): Promise<boolean[]> {
    const { here } = await this.lookUp(keys)
    return keys.map((key) => here.has(key))
  }

  /** Which are here and not noted damaged, and where those lie that are in packs. */
  async lookUp(keys: readonly BlockKey[]): Promise<{ here: Set<BlockKey>; rows: Map<BlockKey, Place> }> {
    const places = examinePlaces(this.catalog, keys)
    // Of many keys those in packs come with a few requests, and leave little to ask for. Of a few both ways are asked at once, unless all of them are
    // known to have been in packs.
    const isUnknown = keys.length < FEW_KEYS && this.catalog.places.guess(keys).length < keys.length
    const asked = isUnknown ? keys : await places.then(({ rows }) => keys.filter((_, index) => rows[index] === undefined))
    const [{ rows, damaged }, recorded] = await Promise.all([places, this.records.hasMany(asked)])
    const here = new Set(asked.filter((_, index) => recorded[index] === true))
    for (const row of rows) if (row !== undefined) here.add(row.block)
    for (const key of damaged) here.delete(key)
    return { here, rows: new Map(rows.flatMap((row) => (row === undefined ? [] : [[row.block, row]]))) }
  }

  /** Which lie here at all, as a record or in a pack. */
  async present(keys: readonly BlockKey[]): Promise<boolean[]> {
    const [recorded, packed] = await Promise.all([this.records.hasMany(keys), arePacked(this.catalog, keys)])
    return recorded.map((has, index) => has || packed[index] === true)
  }

  /**
   * Which of these blocks lie here byte for byte: at their `rows`, else as records. With `exchange` a worker may be given the bytes, which saves
   * copying them: `blocks` then holds others that are the same.
   */
  async compare(
    blocks: Map<BlockKey, Bytes>,
    rows: ReadonlyMap<BlockKey, Place>,
    { exchange = false }: { exchange?: boolean } = {},
  ): Promise<Set<BlockKey>> {
    const packed = [...blocks.keys()].flatMap((key) => rows.get(key) ?? [])
    const take = exchange ? (block: BlockKey, bytes: Bytes): void => void blocks.set(block, bytes) : undefined
    const whole = packed.length === 0 || this.packs === undefined ? new Set<BlockKey>() : await this.packs.compare(packed, blocks, take)
    const others = [...blocks.keys()].filter((key) => !whole.has(key))
    const stored = await this.records.getMany(others)
    others.forEach((key, index) => {
      const [there, right] = [stored[index], blocks.get(key)]
      if (there !== undefined && right !== undefined && equalBytes(there, right)) whole.add(key)
    })
    return whole
  }

  /** From packs, where only raw leaves lie, else from records. A leaf that is damaged in a pack may lie whole in a record. */
  async #read(cids: readonly CID[], options: BlockOptions): Promise<(HashedBlock | undefined)[]> {
    const blocks: (HashedBlock | undefined)[] = cids.map(({ multihash }) =>
      multihash.code === IDENTITY ? { bytes: new Uint8Array(multihash.digest) } : undefined,
    )
    const indexes = cids.map((_, index) => index)
    const leaves = this.packs === undefined ? [] : indexes.filter((index) => blocks[index] === undefined && cids[index]?.code === RAW)
    const isLeaf = new Set(leaves)
    await Promise.all([
      this.#readRecords(
        cids,
        blocks,
        indexes.filter((index) => blocks[index] === undefined && !isLeaf.has(index)),
        options,
      ),
      this.#readPacks(cids, blocks, leaves, options),
    ])
    await this.#readMoved(cids, blocks, options)
    return blocks
  }

  /** What is in no record may lie in a pack by now, or under another codec: as the leaf of a file that has the same bytes. */
  async #readMoved(cids: readonly CID[], into: (HashedBlock | undefined)[], { verify = true }: BlockOptions): Promise<void> {
    const missing = cids.flatMap((_, index) => (into[index] === undefined ? [index] : []))
    if (missing.length === 0 || this.packs === undefined) return
    const keys = missing.flatMap((index) => (cids[index] === undefined ? [] : blockKey(cids[index])))
    const found = await this.packs.get(keys, { hash: verify })
    missing.forEach((index, at) => {
      into[index] = found[at]
    })
  }

  async #readPacks(
    cids: readonly CID[],
    into: (HashedBlock | undefined)[],
    indexes: readonly number[],
    { verify = true, pool, places }: BlockOptions,
  ): Promise<void> {
    const packs = this.packs
    if (packs === undefined || indexes.length === 0) return
    const asked = indexes.flatMap((index) => cids[index] ?? [])
    const found = await packs.get(asked.map(blockKey), { hash: verify, pool, places })
    const whole = verify ? await matchMany(asked, found) : []
    indexes.forEach((index, at) => {
      into[index] = found[at]
    })
    const others = indexes.filter((_, at) => found[at] === undefined || whole[at] === false)
    await this.#readRecords(cids, into, others, { verify })
  }

  async #readRecords(
    cids: readonly CID[],
    into: (HashedBlock | undefined)[],
    indexes: readonly number[],
    { verify = true }: Pick<BlockOptions, 'verify'>,
  ): Promise<void> {
    const asked = indexes.flatMap((index) => cids[index] ?? [])
    const stored = await this.#recordsOf(asked.map(blockKey), verify && asked.every(({ multihash }) => multihash.code === SHA2_256))
    indexes.forEach((index, at) => {
      const block = stored[at]
      if (block !== undefined) into[index] = block
    })
  }

  /** Many at once come by way of a worker where there is one: measured, taking them from the database and hashing them is most of reading them. */
  async #recordsOf(keys: readonly BlockKey[], hash: boolean): Promise<(HashedBlock | undefined)[]> {
    const lanes = keys.length < RECORDS_READ_BESIDE ? undefined : this.#recordLanes()
    // Must say so where the database is gone: a worker would wait behind whoever deletes it, or read what was made in its place.
    if (lanes !== undefined) await this.records.database.open()
    // Where the worker can't, this thread can, or says what the matter is.
    const read = await lanes?.records(this.records.database.name, keys, hash).catch(() => undefined)
    if (read === undefined) return (await this.records.getMany(keys)).map((bytes) => (bytes === undefined ? undefined : { bytes }))
    return read.buffers.map((buffer, index) => {
      const digest = read.digests[index]
      return buffer === undefined
        ? undefined
        : { bytes: new Uint8Array(buffer), digest: digest === undefined ? undefined : new Uint8Array(digest) }
    })
  }
}

export function packsMissing(cause?: unknown): NotSupportedError {
  return new NotSupportedError(
    "this context can't write packs (they need a private file system and a dedicated worker with sync access handles): leave out tier 'packs'",
    cause === undefined ? undefined : { cause },
  )
}

function isLost(block: HashedBlock | undefined): boolean {
  return block?.bytes === LOST
}

function owned(bytes: Bytes): Bytes {
  return bytes.byteLength === bytes.buffer.byteLength ? bytes : new Uint8Array(bytes)
}
