// Ranges of a file: as pieces, as one array, as a stream.
import type { BlockKey, BlockSource } from '../blocks/blocks.ts'
import { BufferPool } from '../blocks/buffer-pool.ts'
import { RAW } from '../blocks/links.ts'
import { blockKey, multihashKey } from '../blocks/records.ts'
import { LimitError, NotSupportedError } from '../errors.ts'
import {
  CHUNK_SIZE_BYTES,
  MAX_ARRAY_BYTES,
  MAX_UNPROVEN_BYTES,
  PACK_RUN_BYTES,
  PLACES_CACHED,
  POOLED_RANGES,
  POOLED_RUNS,
  READ_WINDOW_BYTES,
  STREAM_WINDOW_BYTES,
  UNPROVEN_FACTOR,
} from '../limits.ts'
import type { Bytes } from '../types.ts'
import { following, inBackground } from './abort.ts'
import { partsOf, type FileLayout, type LayoutOptions } from './layout.ts'
import { readAhead } from './read-ahead.ts'

export { LayoutCache, openFile, type FileLayout, type LayoutOptions } from './layout.ts'

/** Leaves of one window of leavesOf: as many as one node of the profile links to. */
export const LEAVES_PER_LOOK_UP = 1024

/** Chunks that small ranges are taken from, read into over and over. */
const CHUNKS: BufferPool = new BufferPool(CHUNK_SIZE_BYTES, POOLED_RANGES)

export interface ReadOptions extends LayoutOptions {
  /** Called with the bytes read so far. */
  onProgress?: ((bytes: number) => void) | undefined
}

/**
 * Must be a whole number of bytes, at least 0, each; undefined stands for the beginning and the end.
 *
 * @throws RangeError
 */
export function checkRange(offset: unknown, length: unknown): void {
  for (const [name, value] of [
    ['offset', offset],
    ['length', length],
  ]) {
    if (value === undefined || (Number.isSafeInteger(value) && (value as number) >= 0)) continue
    const given = typeof value === 'number' ? String(value) : value === null ? 'null' : `a ${typeof value}`
    throw new RangeError(`${String(name)} is ${given}: give a whole number of bytes, at least 0`)
  }
}

/**
 * The range's bytes as contiguous pieces in order, each of which owns its buffer. What lies past the end is left out. Reads at most two windows
 * ahead of the consumer; returning early ends the reading.
 *
 * @throws RangeError as checkRange
 * @throws MissingBlockError for a block inside the range; blocks outside it are not read
 * @throws UnsupportedContentError for a block below that is no part of a file
 * @throws LimitError beyond MAX_DAG_DEPTH or MAX_LINKS_PER_NODE, and for nodes that lie about sizes. A node that is said to hold nothing is not read,
 *   whatever it holds: it is no part of the content.
 */
export async function* readRange(
  source: BlockSource,
  layout: FileLayout,
  offset?: number,
  length?: number,
  options: ReadOptions = {},
): AsyncGenerator<Bytes, void, undefined> {
  const [from, to] = clamp(layout, offset, length)
  let bytes = 0
  for await (const pieces of readAhead(source, layout, from, to, STREAM_WINDOW_BYTES, options)) {
    for (const piece of owning(pieces)) {
      bytes += piece.byteLength
      options.onProgress?.(bytes)
      yield piece
      options.signal?.throwIfAborted()
    }
  }
}

export interface IntoOptions extends ReadOptions {
  /** The true lengths of blocks, as far as they are known without reading any. */
  lengths?: ((keys: readonly BlockKey[]) => Promise<(number | undefined)[]>) | undefined
}

/**
 * The range as one array, allocated once; beyond MAX_UNPROVEN_BYTES only where the lengths of all its leaves are known, else it grows with what is
 * read. As readRange otherwise.
 *
 * @throws LimitError beyond MAX_ARRAY_BYTES, NotSupportedError where the range is larger than an array can be here
 */
export async function readInto(
  source: BlockSource,
  layout: FileLayout,
  offset?: number,
  length?: number,
  options: IntoOptions = {},
): Promise<Bytes> {
  const [from, to] = clamp(layout, offset, length)
  if (to - from > MAX_ARRAY_BYTES) {
    const message = `${to - from} bytes do not fit into one array: read them as a stream or by ranges`
    throw new LimitError(message, 'MAX_ARRAY_BYTES', to - from)
  }
  // Not before the first bytes are there: who lies about a size gets no room for it.
  let result: Bytes | undefined
  const ending = following(options.signal)
  const proven = to - from > MAX_UNPROVEN_BYTES && isProven(source, layout, from, to, { ...options, signal: ending.signal })
  const pool = to - from > CHUNK_SIZE_BYTES ? new BufferPool(PACK_RUN_BYTES, POOLED_RUNS) : CHUNKS
  let bytes = 0
  try {
    for await (const pieces of readAhead(source, layout, from, to, READ_WINDOW_BYTES, { ...options, pool })) {
      result ??= allocate((await proven) ? to - from : Math.min(to - from, MAX_UNPROVEN_BYTES))
      for (const piece of pieces) {
        if (bytes + piece.byteLength > result.byteLength) result = grown(result, Math.min(to - from, bytes * UNPROVEN_FACTOR))
        result.set(piece, bytes)
        bytes += piece.byteLength
      }
      // What was copied is read into again. Neighbours share a buffer, so these go back when all of a window are done.
      for (const piece of pieces) pool.give(piece.buffer)
      options.onProgress?.(bytes)
    }
    return result ?? new Uint8Array(0)
  } finally {
    ending.abort()
    ending.release()
  }
}

/** Whether all blocks that a range takes its bytes from are as long as their parents say. Where that can't be told, reading tells. */
async function isProven(source: BlockSource, layout: FileLayout, from: number, to: number, options: IntoOptions): Promise<boolean> {
  const { lengths } = options
  if (lengths === undefined) return false
  let asked = 0
  try {
    for await (const parts of partsOf(source, layout, from, to, options)) {
      const leaves = parts.filter(({ own }) => own === undefined)
      asked += leaves.length
      if (asked > PLACES_CACHED || leaves.some(({ cid }) => cid.code !== RAW)) return false
      const known = await lengths(leaves.map(({ cid }) => blockKey(cid)))
      if (leaves.some(({ size }, index) => known[index] !== size)) return false
    }
    return true
  } catch {
    return false
  }
}

/** A place of a file's content: bytes `from` to `to` are in that block. */
export interface Leaf {
  key: BlockKey
  from: number
  to: number
  /** The block is raw, and all of it is meant. */
  whole: boolean
}

/** Where all of a file lies, in order and in windows. Reads nodes, and no leaf. @throws as readRange */
export async function* leavesOf(source: BlockSource, layout: FileLayout, options: LayoutOptions): AsyncGenerator<Leaf[], void, undefined> {
  let window: Leaf[] = []
  let at = 0
  for await (const parts of partsOf(source, layout, 0, layout.size, options)) {
    for (const { cid, from, to, size, own } of parts) {
      const whole = own === undefined && cid.code === RAW && from === 0 && to === size
      window.push({ key: blockKey(cid), from: at, to: (at += to - from), whole })
    }
    if (window.length < LEAVES_PER_LOOK_UP) continue
    yield window
    window = []
  }
  if (window.length > 0) yield window
}

/** The same of a file whose root links to raw leaves alone, as one of up to a thousand chunks does; undefined for any other. */
export function leavesOfRoot({ root }: FileLayout): Leaf[] | undefined {
  const { children } = root
  if (root.dataSize > 0 || children.count > LEAVES_PER_LOOK_UP) return undefined
  const leaves: Leaf[] = []
  for (let index = 0; index < children.count; index++) {
    const multihash = children.rawMultihash(index)
    if (multihash === undefined) return undefined
    const [from, to] = [children.startOf(index), children.endOf(index)]
    if (from < to) leaves.push({ key: multihashKey(multihash), from, to, whole: true })
  }
  return leaves
}

/** The range as a stream that reads only what is pulled and two windows ahead. An error of the reading errors it; cancelling ends the reading. */
export function toStream(
  source: BlockSource,
  layout: FileLayout,
  offset?: number,
  length?: number,
  options: ReadOptions = {},
): ReadableStream<Bytes> {
  clamp(layout, offset, length)
  return streamOf((signal) => readRange(source, layout, offset, length, { ...options, signal }), options.signal)
}

/** A stream over a generator, pulled with back-pressure. `signal` errors it, cancelling it aborts the generator's signal. */
export function streamOf(open: (signal: AbortSignal) => AsyncGenerator<Bytes>, signal: AbortSignal | undefined): ReadableStream<Bytes> {
  const abort = following(signal)
  const pieces = open(abort.signal)
  return new ReadableStream<Bytes>(
    {
      async pull(controller) {
        try {
          const next = await pieces.next()
          if (next.done !== true) return controller.enqueue(next.value)
          abort.release()
          controller.close()
        } catch (error) {
          abort.release()
          throw error
        }
      },
      cancel(reason) {
        abort.abort(reason)
        abort.release()
        // Not waited for: a pull under way ends by the abort.
        inBackground(() => pieces.return(undefined))
      },
    },
    // The reading ahead is what fills the time; a queue of its own would only hold more.
    { highWaterMark: 0 },
  )
}

/** Neighbours in one buffer as one piece that owns it: as it is where they fill it, else as a copy. */
function* owning(pieces: readonly Bytes[]): Generator<Bytes, void, undefined> {
  for (let from = 0; from < pieces.length;) {
    const first = pieces[from++]
    if (first === undefined) return
    let end = first.byteOffset + first.byteLength
    for (let next = pieces[from]; next !== undefined && next.buffer === first.buffer && next.byteOffset === end; next = pieces[++from]) {
      end += next.byteLength
    }
    const joined = new Uint8Array(first.buffer, first.byteOffset, end - first.byteOffset)
    yield joined.byteLength === joined.buffer.byteLength ? joined : new Uint8Array(joined)
  }
}

function grown(before: Bytes, size: number): Bytes {
  const after = allocate(size)
  after.set(before)
  return after
}

function allocate(size: number): Bytes {
  try {
    return new Uint8Array(size)
  } catch (cause) {
    throw tooLarge(size, { cause })
  }
}

function tooLarge(size: number, options?: ErrorOptions): NotSupportedError {
  return new NotSupportedError(`${size} bytes do not fit into one array here: read them as a stream or by ranges`, options)
}

function clamp(layout: FileLayout, offset: number | undefined, length: number | undefined): [from: number, to: number] {
  checkRange(offset, length)
  const from = Math.min(offset ?? 0, layout.size)
  return [from, length === undefined ? layout.size : Math.min(from + length, layout.size)]
}
