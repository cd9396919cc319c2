// One block as a reader sees it: a file, a directory, a shard of one, a symlink, or a DAG of something else.
import { CID } from 'multiformats/cid'
import { MissingBlockError, type BlockOptions, type BlockSource } from '../blocks/blocks.ts'
import { mayBeEmpty } from '../blocks/hashing.ts'
import { checkCodec, DAG_PB, decodePb, fileSizeIn, isFile, linksOf, loadCodec, RAW, unixfsOf } from '../blocks/links.ts'
import { LimitError, UnsupportedContentError } from '../errors.ts'
import { MAX_CONTENT_BYTES } from '../limits.ts'
import type { Bytes } from '../types.ts'

/** A file or a part of one. Its content is that of the block itself, then that of its children. */
export interface FileNode {
  kind: 'file'
  size: number
  /** Bytes of content in the block itself. */
  dataSize: number
  /** Those bytes, a view of the block; absent where a cache does not keep them. */
  data: Bytes | undefined
  children: Children
}

export interface NamedLink {
  name: string
  cid: CID
  /** What the parent says of all blocks below; nobody checks it. */
  dagSize: number | undefined
}

export interface DirectoryNode {
  kind: 'directory'
  links: NamedLink[]
}

/** A node of a HAMT. A link's name is the bucket in hexadecimal digits, followed by the entry's name unless it is a further shard. */
export interface ShardNode {
  kind: 'shard'
  links: NamedLink[]
  /** Bits of a name's hash that choose the bucket. */
  bits: number
  /** Digits of a bucket in the names of links. */
  digits: number
}

export interface SymlinkNode {
  kind: 'symlink'
  size: number
}

/** dag-cbor, dag-json, CBOR, JSON, or dag-pb that is no UnixFS (or is its rare Metadata). */
export interface OtherNode {
  kind: 'dag'
  /** Of the block. */
  size: number
}

export type Node = FileNode | DirectoryNode | ShardNode | SymlinkNode | OtherNode

/**
 * Children of a file node by the offset at which their content ends. CIDs are kept as bytes, since a thousand CID objects take ten times the
 * memory and a range needs few of them.
 */
export class Children {
  readonly #cids: Uint8Array
  readonly #cidEnds: Uint32Array
  readonly #ends: Float64Array
  readonly #start: number

  /** `start` is where the first child's content begins. */
  constructor(cids: readonly CID[], sizes: readonly number[], start: number) {
    this.#cidEnds = new Uint32Array(cids.length)
    this.#ends = new Float64Array(cids.length)
    this.#start = start
    this.#cids = new Uint8Array(cids.reduce((sum, cid) => sum + cid.byteLength, 0))
    let [at, end] = [0, start]
    for (const [index, cid] of cids.entries()) {
      this.#cids.set(cid.bytes, at)
      this.#cidEnds[index] = at += cid.byteLength
      this.#ends[index] = end += sizes[index] ?? 0
    }
  }

  get count(): number {
    return this.#ends.length
  }

  get end(): number {
    return this.endOf(this.count - 1)
  }

  startOf(index: number): number {
    return this.endOf(index - 1)
  }

  endOf(index: number): number {
    return this.#ends[index] ?? this.#start
  }

  cid(index: number): CID {
    return CID.decode(this.#cids.subarray(this.#cidEnds[index - 1] ?? 0, this.#cidEnds[index]))
  }

  /** The multihash of a child that is a raw block, whose CID of version 1 says so in its first two bytes. */
  rawMultihash(index: number): Uint8Array | undefined {
    const start = this.#cidEnds[index - 1] ?? 0
    if (this.#cids[start] !== 1 || this.#cids[start + 1] !== RAW) return undefined
    return this.#cids.subarray(start + 2, this.#cidEnds[index])
  }

  /** The first child whose content ends beyond `offset`. */
  find(offset: number): number {
    let [low, high] = [0, this.count]
    while (low < high) {
      const middle = (low + high) >>> 1
      if (this.endOf(middle) > offset) high = middle
      else low = middle + 1
    }
    return low
  }
}

/**
 * Blocks of other codecs than dag-pb are not looked into.
 *
 * @throws UnsupportedContentError for an unknown codec or a malformed block
 * @throws LimitError for a block beyond the limits of one node, and for a file node that contradicts itself about sizes
 */
export function decodeNode(cid: CID, bytes: Bytes): Node {
  if (cid.code === RAW) return fileNode(bytes, new Children([], [], bytes.byteLength))
  if (cid.code !== DAG_PB) {
    checkCodec(cid)
    return { kind: 'dag', size: bytes.byteLength }
  }
  const node = decodePb(cid, bytes)
  const unixfs = unixfsOf(node)
  if (unixfs === undefined) return { kind: 'dag', size: bytes.byteLength }
  const links = (): NamedLink[] => node.Links.map((link) => ({ name: link.Name ?? '', cid: link.Hash, dagSize: link.Tsize }))
  if (isFile(unixfs)) {
    const sizes = unixfs.blockSizes.map(Number)
    if (sizes.length !== node.Links.length) throw malformed(cid, `it has ${node.Links.length} links and ${sizes.length} sizes`)
    const data = unixfs.data ?? new Uint8Array(0)
    const hashes = node.Links.map((link) => link.Hash)
    const file = fileNode(data, new Children(hashes, sizes, data.byteLength))
    checkContentSize(cid, file.size)
    const said = node.Data && fileSizeIn(node.Data)
    if (said !== undefined && said !== file.size) throw claims(cid, said, `what it holds and its links make ${file.size}`)
    hashes.forEach((hash, index) => {
      // Nobody would read it.
      if (sizes[index] === 0 && hash.code === RAW && !mayBeEmpty(hash)) throw claims(hash, 0, 'its hash is that of some')
    })
    return file
  }
  switch (unixfs.type) {
    case 'directory':
      return { kind: 'directory', links: links() }
    case 'hamt-sharded-directory': {
      const fanout = Number(unixfs.fanout ?? 0n)
      const bits = Math.log2(fanout)
      // 1024 is the widest that Kubo reads too.
      if (!Number.isInteger(bits) || bits < 1 || bits > 10) throw malformed(cid, `it is a shard with a fanout of ${fanout}`)
      return { kind: 'shard', links: links(), bits, digits: (fanout - 1).toString(16).length }
    }
    case 'symlink':
      return { kind: 'symlink', size: unixfs.data?.byteLength ?? 0 }
    default:
      return { kind: 'dag', size: bytes.byteLength }
  }
}

/**
 * @throws MissingBlockError where nobody who was asked has the block, and as decodeNode and the source; as linksOf for a block of another codec
 */
export async function readNode(source: BlockSource, cid: CID, options: BlockOptions): Promise<Node> {
  const bytes = await readBlock(source, cid, options)
  const node = decodeNode(cid, bytes)
  if (node.kind !== 'dag') return node
  await loadCodec(cid)
  // Decoded for what it throws.
  linksOf(cid, bytes)
  return node
}

export async function readBlock(source: BlockSource, cid: CID, options: BlockOptions): Promise<Bytes> {
  const [bytes] = await source.getMany([cid], { signal: options.signal, verify: options.verify })
  if (bytes === undefined) throw new MissingBlockError(cid)
  return bytes
}

export function malformed(cid: CID, why: string): UnsupportedContentError {
  return new UnsupportedContentError(`node ${cid.toString()} is malformed: ${why}`, cid.toString())
}

/** What nodes say of the content of a block, and what is there instead. */
export function claims(cid: CID, size: number, there: string): LimitError {
  return new LimitError(`${cid.toString()} is said to have ${size} bytes of content, but ${there}`, 'CLAIMED_BYTES', size)
}

/** @throws LimitError */
export function checkContentSize(cid: CID, size: number): void {
  if (size <= MAX_CONTENT_BYTES) return
  throw new LimitError(`${cid.toString()} says it has ${size} bytes of content, more than ${MAX_CONTENT_BYTES}`, 'MAX_CONTENT_BYTES', size)
}

function fileNode(data: Bytes, children: Children): FileNode {
  return { kind: 'file', size: children.end, dataSize: data.byteLength, data, children }
}
