// Leaves that follow each other on their way into the store, until a checkpoint names them for the download.
import type { CID } from 'multiformats/cid'
import type { LeafSink } from '../blocks/blocks.ts'
import type { PackedLeaves } from '../blocks/pack-writer.ts'
import type { BufferPool } from '../blocks/buffer-pool.ts'
import { Writer } from '../blocks/writer.ts'
import type { Core } from '../core.ts'
import { StorageError } from '../errors.ts'
import { leafByLeaf } from '../files/import.ts'
import { CHUNK_SIZE_BYTES, PACK_BATCH_BYTES } from '../limits.ts'
import type { Connection, HeldLeaf } from '../packs/connection.ts'
import type { Bytes } from '../types.ts'
import { goingOn, leavesReference, type Claimed } from './record.ts'

export interface Leaf {
  cid: CID
  size: number
}

/** Leaves of one segment that are hashed and put at once: there is a segment for each connection. */
const LEAVES_IN_FLIGHT = 3

export interface Place {
  /** Index of the first leaf. */
  first: number
  /** Bytes from there to the end of the segment. */
  bytes: number
  /** Bytes of the whole content. */
  total: number
}

export interface Means {
  pool: BufferPool
  /** Whose leaves are to be kept; undefined where bytes are to be written. */
  connection?: Connection | undefined
  /** Told the bytes of each leaf that was put. */
  onLeaf: (bytes: number) => void
}

export class Segment {
  readonly first: number
  readonly #core: Core
  readonly #writer: Writer
  readonly #sink: LeafSink
  readonly #packed: PackedLeaves | undefined
  #left: number
  #chunk: Bytes | undefined
  #filled = 0
  readonly #leaves: Promise<Leaf>[] = []
  #unflushed = 0
  #failure: { error: unknown } | undefined
  readonly #onLeaf: (bytes: number) => void

  private constructor(
    core: Core,
    writer: Writer,
    packed: PackedLeaves | undefined,
    { first, bytes }: Place,
    onLeaf: (bytes: number) => void,
  ) {
    this.#core = core
    this.#writer = writer
    this.#packed = packed
    this.#sink = packed ?? leafByLeaf(writer)
    this.first = first
    this.#left = bytes
    this.#onLeaf = onLeaf
  }

  /** It must be committed or dropped. `onLeaf` is told the bytes of each leaf that was put. `connection`: whose leaves it is to keep. */
  static async open(core: Core, place: Place, means: Means): Promise<Segment> {
    const { pool, connection, onLeaf } = means
    // Without a signal: what has come is put on record when the download is interrupted.
    const writer = await Writer.open(core.store, undefined, pool)
    try {
      writer.expect(place.total)
      return new Segment(core, writer, await writer.leaves(connection), place, onLeaf)
    } catch (error) {
      await core.free([await writer.abort()])
      throw error
    }
  }

  get isFull(): boolean {
    return this.#left === 0
  }

  /** Takes bytes from `offset` on, as many as it has room for, and answers how many. Waits where writing lags behind. */
  async write(piece: Uint8Array, offset: number): Promise<number> {
    const taken = Math.min(piece.byteLength - offset, this.#left)
    for (let done = 0; done < taken;) {
      this.#chunk ??= this.#sink.pool?.take() ?? new Uint8Array(CHUNK_SIZE_BYTES)
      const length = Math.min(taken - done, CHUNK_SIZE_BYTES - this.#filled)
      this.#chunk.set(piece.subarray(offset + done, offset + done + length), this.#filled)
      this.#filled += length
      this.#left -= length
      done += length
      if (this.#filled === CHUNK_SIZE_BYTES || this.#left === 0) await this.#turn()
    }
    return taken
  }

  /** Takes the next leaf, which lies in the worker of the connection, and answers its bytes. Waits where writing lags behind. */
  async keep(held: HeldLeaf): Promise<number> {
    const packed = this.#packed
    if (packed === undefined) throw new StorageError('a leaf lies in a worker, and there are no packs to write it to')
    const { size } = held
    this.#left -= size
    const put = async (before: Promise<unknown> | undefined): Promise<Leaf> => {
      await before
      const cid = await packed.keep(held)
      this.#onLeaf(size)
      return { cid, size }
    }
    await this.#add(put(this.#leaves.at(-1)))
    return size
  }

  async #turn(): Promise<void> {
    const [chunk, filled] = [this.#chunk, this.#filled]
    this.#chunk = undefined
    this.#filled = 0
    if (chunk === undefined) return
    const put = this.#put(filled === CHUNK_SIZE_BYTES ? chunk : chunk.slice(0, filled), this.#leaves.at(-1))
    await this.#add(put)
    this.#unflushed += filled
    // A batch of records is as much as all connections together may hold.
    if (this.#packed !== undefined || this.#unflushed < PACK_BATCH_BYTES) return
    this.#unflushed = 0
    await put
    await this.#writer.flush()
  }

  async #add(put: Promise<Leaf>): Promise<void> {
    put.catch((error: unknown) => {
      this.#failure ??= { error }
    })
    this.#leaves.push(put)
    await this.#leaves.at(-LEAVES_IN_FLIGHT)
    if (this.#failure !== undefined) throw this.#failure.error
  }

  /** In the order of the file, so that they lie together. */
  async #put(chunk: Bytes, before: Promise<unknown> | undefined): Promise<Leaf> {
    const size = chunk.byteLength
    const { cid, bytes } = await this.#sink.hash(chunk)
    await before
    await this.#sink.put(cid, bytes)
    this.#onLeaf(size)
    return { cid, size }
  }

  /** Puts whole leaves on record for the download and answers them. Where it rejects, nothing of it is. */
  async commit(claimed: Claimed, facts: Partial<Claimed['resume']>): Promise<Leaf[]> {
    try {
      const leaves = await Promise.all(this.#leaves)
      if (leaves.length === 0) {
        await this.drop()
        return leaves
      }
      await this.#sink.end()
      const bytes = leaves.reduce((sum, { size }) => sum + size, 0)
      const content = { cid: '', references: [leavesReference(this.first, leaves)], owner: claimed.id }
      const { leftover } = await this.#writer.commit(
        [content],
        goingOn(claimed, (before) => ({ ...before, ...facts, bytes: before.bytes + bytes })),
      )
      await this.#core.free([leftover])
      return leaves
    } catch (error) {
      await this.drop()
      throw error
    }
  }

  async drop(): Promise<void> {
    this.#failure ??= { error: new StorageError('the segment was dropped') }
    await Promise.allSettled(this.#leaves)
    await this.#core.free([await this.#writer.abort()])
  }
}
