// What the rooms above blocks/ know of it: where blocks are read from and where they are put.
import type { CID } from 'multiformats/cid'
import type { Place } from '../catalog/schema.ts'
import type { Bytes } from '../types.ts'
import type { BufferPool } from './buffer-pool.ts'

/** The key of a block in both databases: '/' + base32upper(multihash), the very key of blockstore-idb. The codec is not part of it. */
export type BlockKey = string

export interface BlockOptions {
  signal?: AbortSignal | undefined
  /** Re-hash what is read. Default true. */
  verify?: boolean | undefined
  /** Blocks may be views of a buffer that others of the same answer share. Default false: each owns its own. */
  views?: boolean | undefined
  /** Buffers to read into, from whoever copies what was answered and gives them back. */
  pool?: BufferPool | undefined
  /** Where leaves lie in packs that the reader holds, whoever deletes them meanwhile. */
  places?: ReadonlyMap<BlockKey, Place> | undefined
}

/**
 * Where blocks are read from. `getMany` answers in the order asked, `undefined` where nobody who was asked has the block. Identity CIDs are
 * answered from the CID itself. The bytes answered own their whole buffer, unless `views` allows less.
 *
 * @throws IntegrityError where a block is damaged here and no backend replaced it
 * @throws UnavailableError where a block is not here and nobody could be asked
 * @throws UnsupportedContentError for an unknown hash
 * @throws the signal's reason
 */
export interface BlockSource {
  getMany(cids: readonly CID[], options?: BlockOptions): Promise<(Bytes | undefined)[]>
}

/**
 * Where an import puts blocks: what ipfs-unixfs-importer calls. `put` takes over the bytes (they must own their whole buffer and never
 * change again), resolves when the block is queued, and waits only where writing lags behind. A write that failed rejects the next `put`
 * or the commit. The blocks' links are read from dag-pb, dag-cbor and dag-json nodes on the way.
 */
export interface BlockSink {
  put(cid: CID, bytes: Bytes): Promise<CID>
  /** Where the leaves of one file go, one file after another. Absent or undefined: each is put by itself. */
  leaves?(): Promise<LeafSink | undefined>
  /** Where small files of one leaf go that are stored together. Its `end` is left to the sink. Absent or undefined: each is put by itself. */
  small?(): Promise<Pick<LeafSink, 'put'> | undefined>
}

/** The leaves of one file in their order. `end` must be called after the last one; where it is not, the sink must be aborted. */
export interface LeafSink {
  /** Buffers for the chunks, where they come back. */
  readonly pool?: BufferPool | undefined
  /** Hashes a chunk, which it takes over, and answers the bytes to put. Several at once. */
  hash(chunk: Bytes): Promise<{ cid: CID; bytes: Bytes }>
  /** Takes a leaf. Waits only where writing lags behind. */
  put(cid: CID, bytes: Bytes): Promise<void>
  end(): Promise<void>
}

/** A block that a read needs, and nobody who was asked has it. The front turns it into null, or into UnavailableError in a stream. */
export class MissingBlockError extends Error {
  override readonly name = 'MissingBlockError'
  readonly cid: CID
  constructor(cid: CID) {
    super(`block ${cid.toString()} is not here and nobody who was asked has it`)
    this.cid = cid
  }
}
