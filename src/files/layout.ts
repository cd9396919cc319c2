// Where the bytes of a file lie: its DAG nodes, read as far as a range needs them, and the blocks that a range takes its bytes from.
import type { CID } from 'multiformats/cid'
import { MissingBlockError, type BlockOptions, type BlockSource } from '../blocks/blocks.ts'
import { RAW } from '../blocks/links.ts'
import { LimitError, NotAFileError, UnsupportedContentError } from '../errors.ts'
import { LAYOUT_CACHE_ENTRIES, MAX_DAG_DEPTH, MAX_NETWORK_BLOCK_BYTES, READ_WINDOW_BLOCKS } from '../limits.ts'
import type { Bytes } from '../types.ts'
import { claims, decodeNode, malformed, readNode, type FileNode, type Node } from './node.ts'

/** Content inside a node that the cache keeps with it. More of it is read again when it is needed. */
const CACHED_DATA_BYTES = 4096

/** DAG nodes of files, least recently used ones leave first. Only verified nodes get in. */
export class LayoutCache {
  readonly #nodes = new Map<string, FileNode>()
  readonly #limit: number

  constructor(limit: number = LAYOUT_CACHE_ENTRIES) {
    this.#limit = limit
  }

  get(cid: CID): FileNode | undefined {
    const key = cid.toString()
    const node = this.#nodes.get(key)
    if (node === undefined) return undefined
    this.#nodes.delete(key)
    this.#nodes.set(key, node)
    return node
  }

  set(cid: CID, node: FileNode): void {
    const key = cid.toString()
    const data = node.data === undefined || node.dataSize > CACHED_DATA_BYTES ? undefined : new Uint8Array(node.data)
    this.#nodes.delete(key)
    this.#nodes.set(key, { ...node, data })
    for (const oldest of this.#nodes.keys()) {
      if (this.#nodes.size <= this.#limit) return
      this.#nodes.delete(oldest)
    }
  }

  clear(): void {
    this.#nodes.clear()
  }
}

export interface LayoutOptions extends BlockOptions {
  /** Saves reading the nodes of a file for each of its ranges. */
  cache?: LayoutCache | undefined
}

/** A file whose root was read. */
export interface FileLayout {
  readonly cid: CID
  /** Bytes of content, as the root says; each node is checked against it when a range gets there. */
  readonly size: number
  readonly root: FileNode
}

/** Bytes `from` to `to` of the content below `cid`, which is `size` bytes long as the parent says. */
export interface Part {
  cid: CID
  from: number
  to: number
  size: number
  depth: number
  /** Only the content in the block itself is meant; the bytes, where they are at hand. */
  own?: { data: Bytes | undefined }
}

/**
 * @throws NotAFileError for a directory or another DAG
 * @throws UnsupportedContentError for a symlink, an unknown codec or hash, a malformed root
 * @throws MissingBlockError where nobody who was asked has the root
 */
export async function openFile(source: BlockSource, cid: CID, options: LayoutOptions = {}): Promise<FileLayout> {
  const cached = options.cache?.get(cid)
  if (cached !== undefined) return { cid, size: cached.size, root: cached }
  const node = await readNode(source, cid, options)
  const name = cid.toString()
  if (node.kind === 'directory' || node.kind === 'shard')
    throw new NotAFileError(`${name} is a directory: name a file in it, as '${name}/path'`)
  if (node.kind === 'dag') throw new NotAFileError(`${name} is a DAG that holds no file`)
  if (node.kind === 'symlink') throw new UnsupportedContentError(`${name} is a symlink, which is not followed`, name)
  remember(cid, node, options)
  return { cid, size: node.size, root: node }
}

/** Parts that come together: one by one each would wait its turn with the event loop. */
const PARTS_TOGETHER = 64

/**
 * The parts of a range in order, some at a time, read lazily: a node below the root is read when the range gets there. Parts may still be small
 * trees of at most a block's size; `fetchParts` takes those apart.
 */
export async function* partsOf(
  source: BlockSource,
  layout: FileLayout,
  from: number,
  to: number,
  options: LayoutOptions,
): AsyncGenerator<Part[]> {
  if (from < to) yield* below(source, layout.cid, layout.root, { from, to, depth: 0 }, options)
}

async function* below(
  source: BlockSource,
  cid: CID,
  node: FileNode,
  range: { from: number; to: number; depth: number },
  options: LayoutOptions,
): AsyncGenerator<Part[]> {
  let parts: Part[] = []
  for (const part of directParts(cid, node, range.from, range.to, range.depth)) {
    // What is larger than any leaf must be an inner node, and raw ones are leaves whatever their size.
    const isInner = part.own === undefined && part.cid.code !== RAW && part.size > MAX_NETWORK_BLOCK_BYTES
    if (!isInner) parts.push(part)
    if (parts.length >= (isInner ? 1 : PARTS_TOGETHER)) {
      yield parts
      parts = []
    }
    if (!isInner) continue
    const cached = options.cache?.get(part.cid)
    const child = cached ?? fileNode(part, await readNode(source, part.cid, options))
    if (child.size !== part.size) throw wrongSize(part, child.size)
    if (cached === undefined) remember(part.cid, child, options)
    yield* below(source, part.cid, child, part, options)
  }
  if (parts.length > 0) yield parts
}

/** The content of each part, in order. Neighbours may be views of one buffer that nobody else holds; no byte of it is given twice. */
export async function fetchParts(source: BlockSource, parts: readonly Part[], options: BlockOptions): Promise<Bytes[]> {
  // The same leaf may stand for many places, as in a file of zeros.
  const wanted = new Map<string, CID>()
  for (const part of parts) if (part.own?.data === undefined) wanted.set(part.cid.toString(), part.cid)
  const cids = [...wanted.values()]
  const answers =
    cids.length === 0
      ? []
      : await source.getMany(cids, {
          signal: options.signal,
          verify: options.verify,
          views: true,
          pool: options.pool,
          places: options.places,
        })
  const blocks = new Map([...wanted.keys()].map((key, index) => [key, answers[index]]))
  const goneOut = new Set<string>()
  // So may a node, which would be read once more at each place: twenty that link twice to the next one are a million leaves.
  const trees = new Map<string, Bytes[]>()
  const pieces: Bytes[] = []
  for (const part of parts) {
    if (part.own?.data !== undefined) {
      pieces.push(copied(part.own.data, part))
      continue
    }
    const key = part.cid.toString()
    const bytes = blocks.get(key)
    if (bytes === undefined) throw new MissingBlockError(part.cid)
    const node = fileNode(part, decodeNode(part.cid, bytes))
    const size = part.own === undefined ? node.size : node.dataSize
    if (size !== part.size) throw wrongSize(part, size)
    if (part.own === undefined && node.children.count > 0) {
      const inner = [...directParts(part.cid, node, part.from, part.to, part.depth)]
      const id = `${key} ${part.from} ${part.to}`
      const before = trees.get(id)
      if (before !== undefined) {
        pieces.push(...before.map((piece) => piece.slice()))
        continue
      }
      const within: Bytes[] = []
      // Few at a time: blocks are at hand before it shows that they are larger than their parent says.
      for (let at = 0; at < inner.length; at += READ_WINDOW_BLOCKS) {
        within.push(...(await fetchParts(source, inner.slice(at, at + READ_WINDOW_BLOCKS), options)))
      }
      // A byte of its own takes a hundred: leaves may be that small, and one leaf may stand for all of them.
      const tree = within.length > READ_WINDOW_BLOCKS ? [joined(within, part.to - part.from)] : within
      trees.set(id, tree)
      pieces.push(...tree)
      continue
    }
    const data = node.data ?? bytes
    const whole = part.from === 0 && part.to === data.byteLength
    // Whoever gets a piece may write into it or transfer it: a block goes out once as it is, else as a copy of what is wanted.
    const goesOut = whole && !goneOut.has(key)
    pieces.push(goesOut ? data : copied(data, part))
    if (goesOut) goneOut.add(key)
  }
  for (const [key, bytes] of blocks) {
    if (bytes !== undefined && !goneOut.has(key) && bytes.byteLength === bytes.buffer.byteLength) options.pool?.give(bytes.buffer)
  }
  return pieces
}

function* directParts(cid: CID, node: FileNode, from: number, to: number, depth: number): Generator<Part> {
  if (from < node.dataSize) {
    yield { cid, from, to: Math.min(to, node.dataSize), size: node.dataSize, depth, own: { data: node.data } }
  }
  const { children } = node
  for (let index = children.find(Math.max(from, node.dataSize)); index < children.count && children.startOf(index) < to; index++) {
    const [start, end] = [children.startOf(index), children.endOf(index)]
    if (end === start) continue
    if (depth >= MAX_DAG_DEPTH)
      throw new LimitError(`file is deeper than ${MAX_DAG_DEPTH} levels at node ${cid.toString()}`, 'MAX_DAG_DEPTH', depth + 1)
    yield {
      cid: children.cid(index),
      from: Math.max(from, start) - start,
      to: Math.min(to, end) - start,
      size: end - start,
      depth: depth + 1,
    }
  }
}

function fileNode(part: Part, node: Node): FileNode {
  if (node.kind !== 'file') throw malformed(part.cid, 'it is no part of a file, but a file links to it')
  return node
}

function copied(data: Bytes, part: Part): Bytes {
  return new Uint8Array(data.subarray(part.from, part.to))
}

function joined(pieces: readonly Bytes[], size: number): Bytes {
  const whole = new Uint8Array(size)
  let at = 0
  for (const piece of pieces) {
    whole.set(piece, at)
    at += piece.byteLength
  }
  return whole
}

function wrongSize(part: Part, size: number): LimitError {
  return claims(part.cid, part.size, `holds ${size}`)
}

function remember(cid: CID, node: FileNode, options: LayoutOptions): void {
  if (options.verify !== false) options.cache?.set(cid, node)
}
