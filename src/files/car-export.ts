// A DAG, or a part of one, as a CARv1: depth first. https://ipld.io/specs/transport/car/carv1/
import { encode as encodeCbor } from '@ipld/dag-cbor'
import { varint } from 'multiformats'
import type { CID } from 'multiformats/cid'
import { MissingBlockError, type BlockSource } from '../blocks/blocks.ts'
import { IDENTITY } from '../blocks/hashing.ts'
import { linksOf, loadCodec, type Link } from '../blocks/links.ts'
import { LimitError } from '../errors.ts'
import { CHUNK_SIZE_BYTES, MAX_DAG_DEPTH, READ_WINDOW_BLOCKS, STREAM_WINDOW_BYTES } from '../limits.ts'
import type { Bytes } from '../types.ts'
import { decodeNode } from './node.ts'
import { streamOf } from './read.ts'
import { blockId } from './walk.ts'

export interface CarOptions {
  signal?: AbortSignal | undefined
  /** Called with the bytes of blocks so far. */
  onProgress?: ((bytes: number) => void) | undefined
  /** Which blocks: all of them without it. */
  scope?: CarScope | undefined
}

/** What a trustless gateway is asked for. https://specs.ipfs.tech/http-gateways/trustless-gateway/ */
export interface CarScope {
  /** Blocks on the way to the root, which come first. */
  path: readonly CID[]
  /** The root's block; what a file, or the list of a directory, is made of; or the whole DAG. */
  dag: 'block' | 'entity' | 'all'
  /** Of a file, what these bytes need. */
  bytes?: ByteRange | undefined
  /** Blocks that stand for several places come at each of them. */
  duplicates: boolean
}

/** As `entity-bytes` has it: both inclusive, negative ones from the end; no `to` is up to the end. */
export interface ByteRange {
  from: number
  to?: number | undefined
}

interface Open extends Link {
  depth: number
  /** Bytes wanted of the file below, from its beginning; the end is not among them. */
  wanted?: { from: number; to: number } | undefined
  /** Nothing below it is meant. */
  isLast?: boolean
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
  for await (const block of depthFirst(source, root, options)) {
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

/** Each block before what it links to. Siblings are read together, and stay in memory until their turn comes: a window at most. */
async function* depthFirst(
  source: BlockSource,
  root: CID,
  { signal, scope = WHOLE }: CarOptions,
): AsyncGenerator<{ cid: CID; bytes: Bytes }, void, undefined> {
  const open: Open[] = [{ cid: root, depth: 0 }, ...scope.path.toReversed().map((cid) => ({ cid, depth: 0, isLast: true }))]
  const visited = new Set<string>()
  const given = new Set<string>()
  const ready = new Map<string, Bytes | undefined>()
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    const id = blockId(next.cid)
    if (!scope.duplicates) {
      // A range may need other children of a node at each place that it stands for.
      const { from, to } = next.wanted ?? {}
      const visit = next.isLast === true ? `${id} alone` : from === undefined ? id : `${id} ${from} ${to}`
      if (visited.size === visited.add(visit).size) continue
    }
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
    const links = wantedOf(next, bytes, scope)
    if (links.length > 0 && depth >= MAX_DAG_DEPTH) {
      throw new LimitError(`DAG is deeper than ${MAX_DAG_DEPTH} levels at ${next.cid.toString()}`, 'MAX_DAG_DEPTH', depth + 1)
    }
    // The first link must lie on top.
    for (const link of links.toReversed()) open.push({ ...link, depth: depth + 1 })
    if (scope.duplicates || given.size < given.add(id).size) yield { cid: next.cid, bytes }
  }
}

const WHOLE: CarScope = { path: [], dag: 'all', duplicates: false }

/** What is meant of what a block links to. */
function wantedOf(next: Open, bytes: Bytes, { dag, bytes: range }: CarScope): Omit<Open, 'depth'>[] {
  if (next.isLast === true || (dag === 'block' && next.depth === 0)) {
    // Decoded for what it throws.
    linksOf(next.cid, bytes)
    return []
  }
  if (dag === 'all') return linksOf(next.cid, bytes)
  const node = decodeNode(next.cid, bytes)
  if (node.kind === 'shard') return node.links.filter((link) => link.name.length === node.digits).map(({ cid }) => ({ cid }))
  if (node.kind !== 'file') return []
  if (range === undefined) return linksOf(next.cid, bytes)
  const { from, to } = next.wanted ?? resolveRange(range, node.size)
  const { children } = node
  const links: Omit<Open, 'depth'>[] = []
  for (let index = children.find(Math.max(from, node.dataSize)); index < children.count && children.startOf(index) < to; index++) {
    const [start, end] = [children.startOf(index), children.endOf(index)]
    if (start === end) continue
    links.push({
      cid: children.cid(index),
      bytes: end - start,
      wanted: { from: Math.max(from, start) - start, to: Math.min(to, end) - start },
    })
  }
  return links
}

function resolveRange({ from, to }: ByteRange, size: number): { from: number; to: number } {
  const end = to === undefined ? size : (to < 0 ? size + to : to) + 1
  return { from: Math.max(0, from < 0 ? size + from : from), to: Math.min(end, size) }
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
