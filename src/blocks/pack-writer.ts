// The leaves of one large file, or many small files, on their way into packs. What turns out to be little goes into records, as does everything where
// there are no packs.
import { CID } from 'multiformats/cid'
import * as Digest from 'multiformats/hashes/digest'
import { sha256 } from 'multiformats/hashes/sha2'
import type { Place, SealedPack } from '../catalog/schema.ts'
import { StorageError } from '../errors.ts'
import {
  CHUNK_SIZE_BYTES,
  PACK_BATCH_BYTES,
  PACK_BATCHES_IN_FLIGHT,
  PACK_FLUSH_BYTES,
  PACK_MAX_BLOCKS,
  PACK_MAX_BYTES,
  PACK_MIN_BLOCKS,
  PACK_MIN_BYTES,
  WRITE_BATCH_BLOCKS,
} from '../limits.ts'
import type { Connection, HeldLeaf } from '../packs/connection.ts'
import type { Lanes } from '../packs/lanes.ts'
import type { Part } from '../packs/service.ts'
import type { Bytes } from '../types.ts'
import type { BlockKey, LeafSink } from './blocks.ts'
import type { BufferPool } from './buffer-pool.ts'
import { RAW } from './links.ts'
import { packError } from './pack-errors.ts'
import { blockKey } from './records.ts'

/** Bytes below which copying a buffer takes less time than handing it over. */
const SMALL_BUFFER_BYTES = 64 * 1024

/** What a writer lets the leaves of a file do in its name. */
export interface LeafOwner {
  /** A download whose leaves lie in the worker. */
  connection?: Connection | undefined
  /** Asked for once there is enough to make a pack; undefined where this context has none. */
  lanes(): Promise<Lanes | undefined>
  pool: BufferPool
  /** True for a block that this writer has not put before. */
  claim(key: BlockKey, size: number): boolean
  /** Which are here just now. */
  lookUp(keys: readonly BlockKey[]): Promise<ReadonlySet<BlockKey>>
  /** Names those blocks that are here, and answers which of them are whole. Buffers may be exchanged for others of the same bytes. */
  nameWhole(blocks: Map<BlockKey, Bytes>): Promise<ReadonlySet<BlockKey>>
  /** The name of another pack, of an owner that is on record by then. */
  newPack(): Promise<string>
  /** Takes a pack whose sealing has begun. */
  seal(id: string, pack: Promise<SealedPack>): void
  /** Does what writes so many bytes, and where there is no room makes some and does it again. */
  withRoom(bytes: number, work: () => Promise<void>): Promise<void>
  putRecord(cid: CID, bytes: Bytes): Promise<unknown>
  check(): void
}

interface Leaf {
  cid: CID
  key: BlockKey
  size: number
  bytes: Bytes | HeldLeaf
}

interface LookedAt {
  blocks: ReadonlyMap<BlockKey, Bytes>
  whole: ReadonlySet<BlockKey>
}

interface OpenPack {
  id: string
  bytes: number
  flushedBytes: number
  places: Omit<Place, 'pack'>[]
  /** What was asked of the worker and not waited for. */
  flushing: Promise<unknown>
}

export class PackedLeaves implements LeafSink {
  readonly #owner: LeafOwner
  #batch: Leaf[] = []
  #batchBytes = 0
  /** Leaves that are not here yet, kept until it is known whether they make a pack. */
  #pending: Leaf[] = []
  #pendingBytes = 0
  #pack: OpenPack | undefined
  readonly #flights: Promise<void>[] = []
  #writing: Promise<void> = Promise.resolve()
  #looking: Promise<unknown> = Promise.resolve()

  constructor(owner: LeafOwner) {
    this.#owner = owner
  }

  get pool(): BufferPool {
    return this.#owner.pool
  }

  async hash(chunk: Bytes): Promise<{ cid: CID; bytes: Bytes }> {
    try {
      const lanes = await this.#lanes()
      const { buffers, digests } = await lanes.hash(chunk.buffer)
      const [buffer, digest] = [buffers[0], digests[0]]
      if (buffer === undefined || digest === undefined) throw new StorageError('the pack worker answered no digest')
      return { cid: cidOf(new Uint8Array(digest)), bytes: new Uint8Array(buffer) }
    } catch (error) {
      throw packError(error, 'hash')
    }
  }

  put(cid: CID, bytes: Bytes): Promise<void> {
    return this.#add({ cid, key: blockKey(cid), size: bytes.byteLength, bytes })
  }

  /** Takes a leaf that lies in the worker of the owner's connection, and answers what it is. Waits as put() does. */
  async keep(held: HeldLeaf): Promise<CID> {
    const cid = cidOf(held.digest)
    await this.#add({ cid, key: blockKey(cid), size: held.size, bytes: held })
    return cid
  }

  async #add(leaf: Leaf): Promise<void> {
    this.#owner.check()
    if (!this.#owner.claim(leaf.key, leaf.size)) {
      this.#letGo(leaf)
      return
    }
    this.#batch.push(leaf)
    this.#batchBytes += leaf.size
    if (this.#batchBytes >= PACK_BATCH_BYTES || this.#batch.length >= WRITE_BATCH_BLOCKS) await this.#turn()
  }

  #letGo({ bytes }: Leaf): void {
    if (bytes instanceof Uint8Array) this.#owner.pool.give(bytes.buffer)
    else this.#owner.connection?.letGo([bytes])
  }

  /** Brought here where it lies in the worker. */
  async #bytesOf({ bytes }: Leaf): Promise<Bytes> {
    if (bytes instanceof Uint8Array) return bytes
    const { connection } = this.#owner
    if (connection === undefined) throw new StorageError('a leaf lies in a worker, and nobody knows in which')
    try {
      return await connection.take(bytes)
    } catch (error) {
      throw packError(error, 'write')
    }
  }

  get #isPack(): boolean {
    return this.#pack !== undefined || this.#pendingBytes >= PACK_MIN_BYTES || this.#pending.length >= PACK_MIN_BLOCKS
  }

  /** Must be called once after the last leaf, before the writer commits. */
  async end(): Promise<void> {
    await this.#turn()
    await this.#writing
    this.#owner.check()
    const pending = this.#pending
    const isPack = this.#isPack
    this.#pending = []
    if (!isPack) {
      for (const leaf of pending) await this.#owner.putRecord(leaf.cid, await this.#bytesOf(leaf))
      return
    }
    await this.#write(pending)
    if (this.#pack !== undefined) this.#seal(await this.#lanes())
  }

  /** Resolves when nothing of it is under way. */
  async settled(): Promise<void> {
    await Promise.allSettled([this.#writing, this.#looking])
  }

  /** Hands a batch over, and waits while as many as may be are on their way. */
  async #turn(): Promise<void> {
    if (this.#batch.length === 0) return
    const batch = this.#batch
    this.#batch = []
    this.#batchBytes = 0
    // Looked up while the ones before it are being written.
    const looked = this.#lookAt(batch)
    this.#looking = Promise.allSettled([this.#looking, looked])
    this.#writing = this.#writing.then(async () => this.#sort(batch, await looked))
    // Seen by whoever waits for the next one, or for the end.
    this.#writing.catch(() => undefined)
    this.#flights.push(this.#writing)
    if (this.#flights.length > PACK_BATCHES_IN_FLIGHT) await this.#flights.shift()
  }

  /** Leaves that are here already are named. */
  async #lookAt(batch: readonly Leaf[]): Promise<LookedAt> {
    const held = batch.filter(({ bytes }) => !(bytes instanceof Uint8Array))
    // What lies in the worker comes here only where it has to be compared with what the store has.
    const here = held.length === 0 ? new Set<BlockKey>() : await this.#owner.lookUp(held.map(({ key }) => key))
    for (const leaf of held) if (here.has(leaf.key)) leaf.bytes = await this.#bytesOf(leaf)
    const blocks = new Map(batch.flatMap(({ key, bytes }) => (bytes instanceof Uint8Array ? [[key, bytes]] : [])))
    return { blocks, whole: blocks.size === 0 ? new Set() : await this.#owner.nameWhole(blocks) }
  }

  /** Those that are not go into a pack once there are enough of them. */
  async #sort(batch: readonly Leaf[], { blocks, whole }: LookedAt): Promise<void> {
    for (const before of batch) {
      const leaf = { ...before, bytes: blocks.get(before.key) ?? before.bytes }
      if (whole.has(leaf.key)) this.#letGo(leaf)
      else {
        this.#pending.push(leaf)
        this.#pendingBytes += leaf.size
      }
    }
    if (!this.#isPack) return
    const pending = this.#pending
    this.#pending = []
    this.#pendingBytes = 0
    await this.#write(pending)
  }

  async #lanes(): Promise<Lanes> {
    const lanes = await this.#owner.lanes()
    if (lanes === undefined) throw new StorageError('the pack workers have ended')
    return lanes
  }

  async #write(leaves: readonly Leaf[]): Promise<void> {
    const { pool } = this.#owner
    const lanes = await this.#owner.lanes()
    if (lanes === undefined && this.#pack === undefined) {
      for (const leaf of leaves) await this.#owner.putRecord(leaf.cid, await this.#bytesOf(leaf))
      return
    }
    try {
      if (lanes === undefined) throw new StorageError('the pack workers have ended')
      for (let from = 0; from < leaves.length;) {
        const pack = (this.#pack ??= await this.#create(lanes))
        const before = pack.bytes
        const parts: Part[] = []
        for (let leaf = leaves[from]; leaf !== undefined && !isFull(pack); leaf = leaves[++from]) {
          pack.places.push({ block: leaf.key, offset: pack.bytes, length: leaf.size })
          pack.bytes += leaf.size
          parts.push(leaf.bytes instanceof Uint8Array ? leaf.bytes.buffer : leaf.bytes.id)
        }
        let left = joined(parts)
        await this.#owner.withRoom(pack.bytes - before, async () => {
          const { buffers: back, refusal } = await lanes.write(pack.id, left)
          left = back
          if (refusal !== undefined) throw packError(new DOMException(refusal.message, refusal.name), 'write')
        })
        for (const part of left) if (typeof part !== 'number') pool.give(part)
        if (isFull(pack)) this.#seal(lanes)
        else if (pack.bytes - pack.flushedBytes >= PACK_FLUSH_BYTES) {
          pack.flushedBytes = pack.bytes
          pack.flushing = Promise.all([pack.flushing, this.#owner.withRoom(0, () => flushed(lanes.flush(pack.id)))])
          pack.flushing.catch(() => undefined)
        }
      }
    } catch (error) {
      throw packError(error, 'write')
    }
  }

  async #create(lanes: Lanes): Promise<OpenPack> {
    const id = await this.#owner.newPack()
    await this.#owner.withRoom(0, () => lanes.create(id, this.#owner.connection))
    return { id, bytes: 0, flushedBytes: 0, places: [], flushing: Promise.resolve() }
  }

  #seal(lanes: Lanes): void {
    const pack = this.#pack
    this.#pack = undefined
    if (pack === undefined) return
    const sealing = async (): Promise<SealedPack> => {
      let bytes = 0
      const seal = async (): Promise<void> => {
        bytes = await flushed(lanes.seal(pack.id))
      }
      // One after the other: what is sealed can't be flushed again.
      await pack.flushing
      await this.#owner.withRoom(0, seal)
      if (bytes !== pack.bytes) throw new StorageError(`pack ${pack.id} has ${bytes} bytes where ${pack.bytes} were written`)
      return { id: pack.id, bytes, places: pack.places }
    }
    this.#owner.seal(pack.id, sealing())
  }
}

/** So that whoever makes room knows that there is none. */
async function flushed<T>(work: Promise<T>): Promise<T> {
  try {
    return await work
  } catch (error) {
    throw packError(error, 'flush')
  }
}

function isFull({ bytes, places }: OpenPack): boolean {
  return bytes >= PACK_MAX_BYTES || places.length >= PACK_MAX_BLOCKS
}

function cidOf(digest: Uint8Array): CID {
  return CID.createV1(RAW, Digest.create(sha256.code, digest))
}

/** Small ones copied together: each buffer that goes to a worker costs time of its own. */
export function joined(parts: readonly Part[]): Part[] {
  const answer: Part[] = []
  let small: ArrayBuffer[] = []
  let bytes = 0
  const join = (): void => {
    const together = new Uint8Array(bytes)
    let at = 0
    for (const buffer of small) {
      together.set(new Uint8Array(buffer), at)
      at += buffer.byteLength
    }
    if (bytes > 0) answer.push(together.buffer)
    small = []
    bytes = 0
  }
  for (const part of parts) {
    if (typeof part === 'number' || part.byteLength >= SMALL_BUFFER_BYTES) {
      join()
      answer.push(part)
      continue
    }
    small.push(part)
    bytes += part.byteLength
    if (bytes >= CHUNK_SIZE_BYTES) join()
  }
  join()
  return answer
}
