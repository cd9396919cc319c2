// Sharded UnixFS directories: the HAMT that ipfs-unixfs-importer and Kubo build over names.
import { murmur364 } from '@multiformats/murmur3'
import type { CID } from 'multiformats/cid'
import { MissingBlockError, type BlockOptions, type BlockSource } from '../blocks/blocks.ts'
import { LimitError } from '../errors.ts'
import { MAX_DAG_DEPTH, MAX_DIRECTORY_ENTRIES, READ_WINDOW_BLOCKS } from '../limits.ts'
import type { Bytes } from '../types.ts'
import { decodeNode, malformed, readNode, type DirectoryNode, type NamedLink, type ShardNode } from './node.ts'

/** The entries of a directory, all of its shards together, in no order. */
export async function linksIn(source: BlockSource, cid: CID, node: DirectoryNode | ShardNode, options: BlockOptions): Promise<NamedLink[]> {
  if (node.kind === 'directory') return node.links
  const entries: NamedLink[] = []
  const shards = new Set<string>()
  let [open, read] = [[{ cid, node, depth: 0 }], 0]
  while (open.length > 0) {
    const below: { cid: CID; depth: number }[] = []
    for (const shard of open) {
      for (const link of shard.node.links) {
        const name = link.name.slice(shard.node.digits)
        if (name !== '') {
          entries.push({ ...link, name })
          continue
        }
        // A name has its place in one bucket. Sixty shards that link twice to the next one would be read 2^60 times.
        if (shards.size === shards.add(link.cid.toString()).size) throw malformed(cid, 'it links twice to the same shard')
        below.push({ cid: link.cid, depth: shard.depth + 1 })
      }
    }
    open = []
    // Shards count too: a DAG of empty ones could go on for ever.
    read += below.length
    const size = Math.max(entries.length, read)
    if (size > MAX_DIRECTORY_ENTRIES)
      throw new LimitError(`directory ${cid.toString()} has more than ${MAX_DIRECTORY_ENTRIES} entries`, 'MAX_DIRECTORY_ENTRIES', size)
    for (let start = 0; start < below.length; start += READ_WINDOW_BLOCKS) {
      const window = below.slice(start, start + READ_WINDOW_BLOCKS)
      const blocks = await source.getMany(
        window.map((shard) => shard.cid),
        { signal: options.signal, verify: options.verify },
      )
      for (const [index, shard] of window.entries()) open.push({ ...shard, node: shardOf(shard.cid, blocks[index], shard.depth) })
    }
  }
  return entries
}

/**
 * What a name leads to in a sharded directory. The further shards on the way are added to `nodes`.
 *
 * @throws MissingBlockError, UnsupportedContentError, LimitError as readNode
 */
export async function inShards(
  source: BlockSource,
  cid: CID,
  root: ShardNode,
  name: string,
  nodes: CID[],
  options: BlockOptions,
): Promise<CID | undefined> {
  const hash = new NameHash(name)
  let shard = root
  for (let depth = 1; ; depth++) {
    const prefix = hash.take(shard.bits).toString(16).toUpperCase().padStart(shard.digits, '0')
    const link = shard.links.find((candidate) => candidate.name === prefix || candidate.name === prefix + name)
    if (link === undefined || link.name !== prefix) return link?.cid
    const node = await readNode(source, link.cid, options)
    if (node.kind !== 'shard') throw malformed(cid, `bucket ${prefix} holds no shard`)
    if (depth > MAX_DAG_DEPTH)
      throw new LimitError(`directory ${cid.toString()} is deeper than ${MAX_DAG_DEPTH} shards`, 'MAX_DAG_DEPTH', depth)
    nodes.push(link.cid)
    shard = node
  }
}

/** The bits of a name's murmur3-x64-64, as hamt-sharding takes them: when 64 are used up, the name is hashed again with a counter behind it. */
class NameHash {
  readonly #name: Uint8Array
  #bytes: Uint8Array = new Uint8Array(0)
  #rounds = 0
  #bit = 0

  constructor(name: string) {
    this.#name = new TextEncoder().encode(name)
  }

  take(bits: number): number {
    let value = 0
    for (let taken = 0; taken < bits; taken++) {
      if (this.#bit === this.#bytes.byteLength * 8) this.#hash()
      value = (value << 1) | (((this.#bytes[this.#bit >>> 3] ?? 0) >>> (7 - (this.#bit & 7))) & 1)
      this.#bit++
    }
    return value
  }

  #hash(): void {
    const input = new Uint8Array(this.#name.byteLength + (this.#rounds === 0 ? 0 : 1))
    input.set(this.#name)
    if (this.#rounds > 0) input[this.#name.byteLength] = this.#rounds
    this.#bytes = murmur364.encode(input) as Uint8Array
    this.#bit = 0
    this.#rounds++
  }
}

function shardOf(cid: CID, bytes: Bytes | undefined, depth: number): ShardNode {
  if (bytes === undefined) throw new MissingBlockError(cid)
  if (depth > MAX_DAG_DEPTH)
    throw new LimitError(`directory is deeper than ${MAX_DAG_DEPTH} shards at ${cid.toString()}`, 'MAX_DAG_DEPTH', depth)
  const node = decodeNode(cid, bytes)
  if (node.kind !== 'shard') throw malformed(cid, 'it is no shard, but a shard links to it as one')
  return node
}
