// What a root is, and how many bytes of content lie below it.
import type { CID } from 'multiformats/cid'
import type { BlockSource } from '../blocks/blocks.ts'
import { LimitError } from '../errors.ts'
import { MAX_DAG_DEPTH } from '../limits.ts'
import type { FileStat } from '../types.ts'
import { childrenOf, type ListOptions } from './directory.ts'
import { checkContentSize, readNode } from './node.ts'
import { linksIn } from './shards.ts'

/**
 * The type of a root, and its size as contentSize has it.
 *
 * @throws MissingBlockError where nobody who was asked has the root or a directory below it, UnsupportedContentError for an unknown codec
 */
export async function describeRoot(source: BlockSource, cid: CID, options: ListOptions = {}): Promise<Pick<FileStat, 'type' | 'size'>> {
  const node = await readNode(source, cid, options)
  if (node.kind === 'dag') return { type: 'dag', size: node.size }
  if (node.kind === 'directory' || node.kind === 'shard') return { type: 'directory', size: await contentSize(source, cid, options) }
  return { type: node.kind, size: node.size }
}

/**
 * Bytes of content: of a file its size, of a directory those of all files below it, of another DAG those of its root block. Reads directories and
 * the roots of files, no leaves. A file whose root is nowhere to be had counts with its Tsize, which is a little more.
 *
 * @throws MissingBlockError for the root or a directory that nobody who was asked has
 */
export async function contentSize(source: BlockSource, cid: CID, options: ListOptions = {}): Promise<number> {
  return sizeBelow(source, cid, 0, new Map(), options)
}

async function sizeBelow(source: BlockSource, cid: CID, depth: number, known: Map<string, number>, options: ListOptions): Promise<number> {
  const key = cid.toString()
  const before = known.get(key)
  if (before !== undefined) return before
  if (depth > MAX_DAG_DEPTH) throw new LimitError(`directory is deeper than ${MAX_DAG_DEPTH} levels at ${key}`, 'MAX_DAG_DEPTH', depth)
  const node = await readNode(source, cid, options)
  let size = 0
  if (node.kind === 'directory' || node.kind === 'shard') {
    for (const child of await childrenOf(source, await linksIn(source, cid, node, options), options)) {
      size += child.type === 'directory' ? await sizeBelow(source, child.cid, depth + 1, known, options) : child.size
    }
  } else {
    size = node.size
  }
  // The same directory can stand for many: sizes add up faster than blocks do.
  checkContentSize(cid, size)
  known.set(key, size)
  return size
}
