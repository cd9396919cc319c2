// Blocks of a CAR (version 1, or the payload of version 2), each verified before it is put.
import { asyncIterableReader, limitReader, readBlockHead, readHeader } from '@ipld/car/decoder'
import type { BytesReader } from '@ipld/car/decoder'
import type { CID } from 'multiformats/cid'
import type { BlockSink } from '../blocks/blocks.ts'
import { verifyBlock } from '../blocks/hashing.ts'
import { CarError, LimitError } from '../errors.ts'
import { HASHES_IN_FLIGHT, MAX_NETWORK_BLOCK_BYTES } from '../limits.ts'
import type { Bytes, Source } from '../types.ts'
import type { CarOptions } from './car-export.ts'
import { chunks } from './source.ts'

export interface ImportedCar {
  /** As the header has them. */
  roots: CID[]
  blocks: number
  /** Of the blocks. */
  bytes: number
}

/**
 * Puts every block of a CAR. Whether the roots' DAGs are complete is not looked at. When this rejects, nothing is being put any more and the
 * source is cancelled.
 *
 * @throws CarError for what is no CAR, is truncated, has no roots, or holds a block that does not match its CID or is too large; its cause says more
 * @throws what the source throws as it is, what the sink rejects with, the signal's reason
 */
export async function importCarBlocks(source: Source, sink: BlockSink, options: CarOptions = {}): Promise<ImportedCar> {
  const pieces = new Pieces(chunks(source, { signal: options.signal }))
  const verifying: { cid: CID; bytes: Bytes; done: Promise<void> }[] = []
  const result: ImportedCar = { roots: [], blocks: 0, bytes: 0 }
  const putFirst = async (): Promise<void> => {
    const block = verifying.shift()
    if (block === undefined) return
    await carDamage(() => block.done, `block ${block.cid.toString()} of the CAR can't be taken`)
    await sink.put(block.cid, block.bytes)
    result.blocks++
    result.bytes += block.bytes.byteLength
    options.onProgress?.(result.bytes)
  }
  try {
    const read = <T>(work: () => Promise<T>): Promise<T> => carDamage(work, 'CAR is damaged or no CAR', pieces)
    const { reader, roots } = await read(() => openCar(pieces.reader))
    if (roots.length === 0) throw new CarError('CAR names no roots: there would be nothing to find its blocks by')
    result.roots = roots
    for (;;) {
      const block = await read(() => nextBlock(reader))
      if (block === undefined) break
      const done = verifyBlock(block.cid, block.bytes)
      done.catch(() => undefined)
      verifying.push({ ...block, done })
      if (verifying.length >= HASHES_IN_FLIGHT) await putFirst()
    }
    while (verifying.length > 0) await putFirst()
    options.signal?.throwIfAborted()
    return result
  } finally {
    await pieces.end()
  }
}

/** Feeds @ipld/car's reader, and tells errors of the source from those of the decoder. */
class Pieces {
  readonly reader: BytesReader
  readonly #chunks: AsyncGenerator<Bytes, void, undefined>
  failure: { error: unknown } | undefined

  constructor(source: AsyncGenerator<Bytes, void, undefined>) {
    this.#chunks = source
    this.reader = capped(asyncIterableReader({ [Symbol.asyncIterator]: () => ({ next: () => this.#next() }) }))
  }

  async end(): Promise<void> {
    await this.#chunks.return()
  }

  async #next(): Promise<IteratorResult<Bytes, void>> {
    try {
      return await this.#chunks.next()
    } catch (error) {
      this.failure = { error }
      throw error
    }
  }
}

/** The decoder reads whatever length it finds into memory; in garbage that may be the whole source. */
function capped(reader: BytesReader): BytesReader {
  return {
    upTo: (length) => reader.upTo(length),
    exactly: async (length, seek) => {
      if (length > MAX_NETWORK_BLOCK_BYTES) {
        throw new LimitError(
          `CAR has a block or header of ${length} bytes, more than ${MAX_NETWORK_BLOCK_BYTES}`,
          'MAX_NETWORK_BLOCK_BYTES',
          length,
        )
      }
      return reader.exactly(length, seek)
    },
    seek: (length) => reader.seek(length),
    get pos() {
      return reader.pos
    },
  }
}

async function openCar(reader: BytesReader): Promise<{ reader: BytesReader; roots: CID[] }> {
  const header = await readHeader(reader)
  if (header.version === 1) return { reader, roots: header.roots }
  // Behind the payload of version 2 lies an index, which is not needed.
  return { reader: limitReader(reader, header.dataSize - (reader.pos - header.dataOffset)), roots: header.roots }
}

async function nextBlock(reader: BytesReader): Promise<{ cid: CID; bytes: Bytes } | undefined> {
  if ((await reader.upTo(8)).byteLength === 0) return undefined
  const { cid, blockLength } = await readBlockHead(reader)
  // A copy: the reader's buffer holds other blocks as well.
  return { cid, bytes: new Uint8Array(await reader.exactly(blockLength, true)) }
}

async function carDamage<T>(work: () => Promise<T>, what: string, pieces?: Pieces): Promise<T> {
  try {
    return await work()
  } catch (cause) {
    if (pieces?.failure !== undefined) throw pieces.failure.error
    throw new CarError(`${what}: ${cause instanceof Error ? cause.message : String(cause)}`, { cause })
  }
}
