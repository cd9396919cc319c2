// From a root and names to what they lead to: through UnixFS directories, and through the links in dag-cbor and dag-json.
import { CID } from 'multiformats/cid'
import type { BlockOptions, BlockSource } from '../blocks/blocks.ts'
import { dataOf } from '../blocks/links.ts'
import { UnsupportedContentError } from '../errors.ts'
import { readBlock, readNode, type Node } from '../files/node.ts'
import { inShards } from '../files/shards.ts'

/** What a path leads to. */
export interface Target {
  cid: CID
  node: Node
  /** One for the root and each name. */
  roots: CID[]
  /** Blocks read on the way to it, in order. */
  nodes: CID[]
  /** The path ends at a value inside the block, which is no content by itself. */
  isInside: boolean
}

/**
 * null where a name does not exist.
 *
 * @throws MissingBlockError for a block on the way, or the target's, that nobody who was asked has
 * @throws UnsupportedContentError for a path through a symlink and for a malformed block
 */
export async function resolve(source: BlockSource, root: CID, segments: readonly string[], options: BlockOptions): Promise<Target | null> {
  const roots: CID[] = [root]
  const nodes: CID[] = []
  let at = root
  for (let index = 0; ; index++) {
    const node = await readNode(source, at, options)
    const name = segments[index]
    if (name === undefined) return { cid: at, node, roots, nodes, isInside: false }
    if (node.kind === 'file') return null
    if (node.kind === 'symlink') {
      throw new UnsupportedContentError(`'${segments.slice(0, index).join('/')}' is a symlink, which is not followed`, at.toString())
    }
    if (node.kind === 'dag') {
      const found = await inData(source, at, segments, index, options)
      if (found === null) return null
      if (found.link === undefined) return { cid: at, node, roots, nodes, isInside: true }
      nodes.push(at)
      index = found.index
      at = found.link
    } else {
      nodes.push(at)
      const next =
        node.kind === 'directory'
          ? node.links.find((link) => link.name === name)?.cid
          : await inShards(source, at, node, name, nodes, options)
      if (next === undefined) return null
      at = next
    }
    roots.push(at)
  }
}

/** Follows names through the data of one block, up to its end or a link. */
async function inData(
  source: BlockSource,
  cid: CID,
  segments: readonly string[],
  from: number,
  options: BlockOptions,
): Promise<{ link?: CID; index: number } | null> {
  // The node was read, so its codec is loaded.
  const data = dataOf(cid, await readBlock(source, cid, options))
  if (data === undefined) return null
  let { value } = data
  for (let index = from; index < segments.length; index++) {
    const name = segments[index] ?? ''
    if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value) || !Object.hasOwn(value, name)) return null
    value = (value as Record<string, unknown>)[name]
    const link = CID.asCID(value as CID)
    if (link !== null) return { link, index }
  }
  return { index: segments.length }
}
