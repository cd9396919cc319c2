// Blocks in memory, with a record of what was asked and put, for the tests of files/.
import { createCipheriv, createHash } from 'node:crypto'
import { base32 } from 'multiformats/bases/base32'
import type { CID } from 'multiformats/cid'
import type { BlockOptions, BlockSink, BlockSource } from '../../../src/blocks/blocks.ts'
import { IDENTITY, verifyBlock } from '../../../src/blocks/hashing.ts'
import type { Bytes } from '../../../src/types.ts'

export class MemoryBlocks implements BlockSource, BlockSink {
  readonly blocks = new Map<string, { cid: CID; bytes: Bytes }>()
  /** CIDs of each getMany. */
  asked: CID[][] = []
  readonly put = async (cid: CID, bytes: Uint8Array): Promise<CID> => {
    if (bytes.byteLength !== bytes.buffer.byteLength) throw new Error(`block ${cid.toString()} does not own its buffer`)
    this.blocks.set(keyOf(cid), { cid, bytes: bytes as Bytes })
    return cid
  }

  async getMany(cids: readonly CID[], options: BlockOptions = {}): Promise<(Bytes | undefined)[]> {
    options.signal?.throwIfAborted()
    this.asked.push([...cids])
    return Promise.all(
      cids.map(async (cid) => {
        if (cid.multihash.code === IDENTITY) return new Uint8Array(cid.multihash.digest)
        const block = this.blocks.get(keyOf(cid))
        if (block === undefined) return undefined
        if (options.verify !== false) await verifyBlock(cid, block.bytes)
        return new Uint8Array(block.bytes)
      }),
    )
  }

  /** What ipfs-unixfs-exporter reads from. */
  get exported(): { get(cid: CID): AsyncGenerator<Uint8Array> } {
    const { blocks } = this
    return {
      async *get(cid) {
        const block = blocks.get(keyOf(cid))
        if (block === undefined) throw new Error(`no block ${cid.toString()}`)
        yield block.bytes
      },
    }
  }

  /** For ipfs-unixfs-importer, whose nodes may be views. */
  get imported(): { put(cid: CID, bytes: Uint8Array): Promise<CID> } {
    return { put: (cid, bytes) => this.put(cid, new Uint8Array(bytes)) }
  }

  has(cid: CID): boolean {
    return this.blocks.has(keyOf(cid))
  }

  get(cid: CID): Bytes {
    const block = this.blocks.get(keyOf(cid))
    if (block === undefined) throw new Error(`no block ${cid.toString()}`)
    return block.bytes
  }

  delete(cid: CID): void {
    this.blocks.delete(keyOf(cid))
  }

  flip(cid: CID): void {
    const bytes = this.get(cid)
    bytes[bytes.byteLength >> 1] = (bytes[bytes.byteLength >> 1] ?? 0) ^ 1
  }

  get askedCount(): number {
    return this.asked.reduce((sum, cids) => sum + cids.length, 0)
  }
}

export function keyOf(cid: CID): string {
  return base32.encode(cid.multihash.bytes)
}

/** The generator of vectors/unixfs.json, in pieces. */
export function* vectorPieces(size: number, seed: string, pieceSize = 1 << 22): Generator<Bytes> {
  const cipher = createCipheriv('chacha20', createHash('sha256').update(seed).digest(), new Uint8Array(16))
  const zeros = new Uint8Array(pieceSize)
  for (let left = size; left > 0; left -= pieceSize) yield new Uint8Array(cipher.update(zeros.subarray(0, Math.min(pieceSize, left))))
}

export function vectorBytes(size: number, seed: string): Bytes {
  return concat([...vectorPieces(size, seed)])
}

export function vectorNames(count: number, length: number, lastLength: number, seed: string): string[] {
  const alphabet = 'abcdefghijklmnopqrstuvwxyz01234567890-_'
  const random = vectorBytes(1 << 20, seed)
  return Array.from({ length: count }, (_, index) => {
    const name = random.subarray(index * length, index * length + (index === count - 1 ? lastLength : length))
    return [...name].map((byte) => alphabet[byte % 39]).join('')
  })
}

export function concat(pieces: readonly Uint8Array[]): Bytes {
  const result = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.byteLength, 0))
  let at = 0
  for (const piece of pieces) {
    result.set(piece, at)
    at += piece.byteLength
  }
  return result
}

export async function collect<T>(items: AsyncIterable<T> | Iterable<T>): Promise<T[]> {
  const result: T[] = []
  for await (const item of items) result.push(item)
  return result
}

export async function readAll(stream: ReadableStream<Bytes>): Promise<Bytes> {
  return new Uint8Array(await new Response(stream).arrayBuffer())
}

/** Lets everything run that waits for nothing but other promises and I/O that is done. */
export async function settle(turns = 20): Promise<void> {
  for (let turn = 0; turn < turns; turn++) await new Promise((resolve) => setImmediate(resolve))
}
