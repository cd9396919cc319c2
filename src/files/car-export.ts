// A DAG as a CARv1: depth first, each block once. https://ipld.io/specs/transport/car/carv1/
import { encode as encodeCbor } from '@ipld/dag-cbor'
import { varint } from 'multiformats'
import type { CID } from 'multiformats/cid'
import { MissingBlockError, type BlockSource } from '../blocks/blocks.ts'
import { IDENTITY } from '../blocks/hashing.ts'
import { linksOf, loadCodec, type Link } from '../blocks/links.ts'
import { LimitError } from '../errors.ts'
import { CHUNK_SIZE_BYTES, MAX_DAG_DEPTH, READ_WINDOW_BLOCKS, STREAM_WINDOW_BYTES } from '../limits.ts'
import type { Bytes } from '../types.ts'
import { streamOf } from './read.ts'
import { blockId } from './walk.ts'

export interface CarOptions {
  signal?: AbortSignal | undefined
  /** Called with the bytes of blocks so far. */
  onProgress?: ((bytes: number) => void) | undefined
}

interface Open extends Link {
  depth: number
}

/**
 * The DAG below and with `root` as a CARv1 stream: the same bytes each time, every block verified, pulled with back-pressure. Identity CIDs carry
 * their bytes themselves and get no section. A block that nobody who was asked has errors the stream with MissingBlockError.
 */
export function exportCar(source: BlockSource, root: CID, options: CarOptions = {}): ReadableStream<Bytes> {
  return streamOf((signal) => carOf(source, root, { ...options, signal }), options.signal)
}

async function* carOf(source: BlockSource, root: CID, options: CarOptions): AsyncGenerator<Bytes, void, undefined> {
  yield section(encodeCbor({ version: 1, roots: [root] }))
  let bytes = 0
  for await (const block of depthFirst(source, root, options.signal)) {
    bytes += block.bytes.byteLength
    options.onProgress?.(bytes)
    if (block.cid.multihash.code !== IDENTITY) yield section(block.cid.bytes, block.bytes)
  }
}

function section(...parts: Uint8Array[]): Bytes {
  const length = parts.reduce((sum, part) => sum + part.byteLength, 0)
  let at = varint.encodingLength(length)
  const result = new Uint8Array(at + length)
  varint.encodeTo(length, result)
  for (const part of parts) {
    result.set(part, at)
    at += part.byteLength
  }
  return result
}

/** Each block once, before what it links to. Siblings are read together, and stay in memory until their turn comes: a window at most. */
async function* depthFirst(
  source: BlockSource,
  root: CID,
  signal: AbortSignal | undefined,
): AsyncGenerator<{ cid: CID; bytes: Bytes }, void, undefined> {
  const open: Open[] = [{ cid: root, depth: 0 }]
  const given = new Set<string>()
  const ready = new Map<string, Bytes | undefined>()
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    const id = blockId(next.cid)
    if (given.has(id)) continue
    given.add(id)
    if (!ready.has(id)) {
      const window = windowOf(next, open, given, ready)
      const blocks = await source.getMany([...window.values()], { signal, verify: true })
      for (const [index, key] of [...window.keys()].entries()) ready.set(key, blocks[index])
    }
    const bytes = ready.get(id)
    ready.delete(id)
    if (bytes === undefined) throw new MissingBlockError(next.cid)
    const { depth } = next
    await loadCodec(next.cid)
    const links = linksOf(next.cid, bytes)
    if (links.length > 0 && depth >= MAX_DAG_DEPTH) {
      throw new LimitError(`DAG is deeper than ${MAX_DAG_DEPTH} levels at ${next.cid.toString()}`, 'MAX_DAG_DEPTH', depth + 1)
    }
    // The first link must lie on top.
    for (const link of links.toReversed()) open.push({ ...link, depth: depth + 1 })
    yield { cid: next.cid, bytes }
  }
}

/** The block and those that come after it on the stack, as many as a window still holds. */
function windowOf(next: Open, open: readonly Open[], given: ReadonlySet<string>, ready: ReadonlyMap<string, unknown>): Map<string, CID> {
  const window = new Map([[blockId(next.cid), next.cid]])
  // A node's length is not known before it is read; one as large as a chunk is rare.
  let bytes = next.bytes ?? CHUNK_SIZE_BYTES
  for (let index = open.length - 1; index >= 0 && window.size + ready.size < READ_WINDOW_BLOCKS; index--) {
    const candidate = open[index]
    if (candidate === undefined) break
    const id = blockId(candidate.cid)
    if (given.has(id) || ready.has(id) || window.has(id)) continue
    bytes += candidate.bytes ?? CHUNK_SIZE_BYTES
    if (bytes > STREAM_WINDOW_BYTES) break
    window.set(id, candidate.cid)
  }
  return window
}
