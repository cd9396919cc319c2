// Names in UnixFS directories, flat and sharded: found one by one, or listed.
import type { CID } from 'multiformats/cid'
import type { BlockOptions, BlockSource } from '../blocks/blocks.ts'
import { canCheck } from '../blocks/hashing.ts'
import { RAW } from '../blocks/links.ts'
import { LimitError, NotADirectoryError, UnavailableError, UnsupportedContentError } from '../errors.ts'
import { READ_WINDOW_BLOCKS } from '../limits.ts'
import type { Bytes, DirectoryEntry } from '../types.ts'
import { decodeNode, readNode, type NamedLink, type Node } from './node.ts'
import { inShards, linksIn } from './shards.ts'

export interface ListOptions extends BlockOptions {
  /** Where a child's root is looked for when `source` can't be asked any more: what is here without asking anybody. */
  local?: BlockSource | undefined
}

export interface Child {
  name: string
  cid: CID
  type: DirectoryEntry['type']
  size: number
}

/**
 * Walks the names below a root. `cid` is what they lead to, which is not read; `nodes` are all directory blocks on the way, shards included.
 * null where a name does not exist, or lies below a file. In a sharded directory only the blocks that lead to the name are read.
 *
 * @throws MissingBlockError for a directory block that nobody who was asked has
 * @throws UnsupportedContentError for a path through a symlink or another DAG, and for a malformed block
 */
export async function resolvePath(
  source: BlockSource,
  cid: CID,
  segments: readonly string[],
  options: BlockOptions = {},
): Promise<{ cid: CID; nodes: CID[] } | null> {
  const nodes: CID[] = []
  let at = cid
  for (const [index, segment] of segments.entries()) {
    const node = await readNode(source, at, options)
    if (node.kind === 'file') return null
    if (node.kind === 'symlink' || node.kind === 'dag') {
      const what = node.kind === 'symlink' ? 'a symlink, which is not followed' : 'no directory'
      throw new UnsupportedContentError(`'${segments.slice(0, index).join('/')}' in ${cid.toString()} is ${what}`, at.toString())
    }
    nodes.push(at)
    const next =
      node.kind === 'directory'
        ? node.links.find((link) => link.name === segment)?.cid
        : await inShards(source, at, node, segment, nodes, options)
    if (next === undefined) return null
    at = next
  }
  return { cid: at.toV1(), nodes }
}

/**
 * Lists a directory by name in the order of code points. `path` is `basePath`, a slash and the name.
 *
 * A file's size is that of its content, a symlink's that of its target's path, a directory's the Tsize its parent gives: the bytes of all blocks
 * below. A child that is no UnixFS, and one whose root is nowhere to be had, counts as a file with its Tsize.
 *
 * @throws NotADirectoryError, LimitError beyond MAX_DIRECTORY_ENTRIES, MissingBlockError for a block of the directory itself
 */
export async function listDirectory(source: BlockSource, cid: CID, basePath = '', options: ListOptions = {}): Promise<DirectoryEntry[]> {
  const node = await readNode(source, cid, options)
  if (node.kind !== 'directory' && node.kind !== 'shard')
    throw new NotADirectoryError(`${cid.toString()} is no directory: read it as a file`)
  const children = await childrenOf(source, await linksIn(source, cid, node, options), options)
  children.sort((a, b) => compareCodePoints(a.name, b.name))
  return children.map((child) => ({
    name: child.name,
    path: basePath === '' ? child.name : `${basePath}/${child.name}`,
    cid: child.cid.toV1().toString(),
    type: child.type,
    size: child.size,
  }))
}

/** What each link leads to. The roots of children are read where the link alone does not tell, a window at a time. */
export async function childrenOf(source: BlockSource, links: readonly NamedLink[], options: ListOptions): Promise<Child[]> {
  const children: Child[] = []
  let asked: BlockSource | undefined = source
  for (let start = 0; start < links.length; start += READ_WINDOW_BLOCKS) {
    const window = links.slice(start, start + READ_WINDOW_BLOCKS)
    const unknown = new Map(window.filter((link) => !toldByLink(link) && canCheck(link.cid)).map((link) => [link.cid.toString(), link.cid]))
    const cids = [...unknown.values()]
    const read = async (): Promise<(Bytes | undefined)[]> => {
      if (cids.length === 0 || asked === undefined) return []
      try {
        return await asked.getMany(cids, { signal: options.signal, verify: options.verify })
      } catch (error) {
        if (!(error instanceof UnavailableError)) throw error
        // Nobody can be asked: a listing of what is known beats none, and asking for each child would take a timeout each.
        asked = asked === options.local ? undefined : options.local
        return read()
      }
    }
    const blocks = await read()
    const found = new Map([...unknown.keys()].map((key, index) => [key, blocks[index]]))
    for (const link of window) children.push(childOf(link, found.get(link.cid.toString())))
  }
  return children
}

/** Orders strings by code points, as their UTF-8 bytes are. UTF-16 units, by which `<` goes, put U+E000 to U+FFFF after the rest. */
export function compareCodePoints(a: string, b: string): number {
  const length = Math.min(a.length, b.length)
  for (let index = 0; index < length; index++) {
    const [left, right] = [a.charCodeAt(index), b.charCodeAt(index)]
    if (left === right) continue
    // A surrogate belongs to a code point above all that one unit can hold.
    const [above, other] = [(left & 0xf800) === 0xd800, (right & 0xf800) === 0xd800]
    return above === other ? left - right : above ? 1 : -1
  }
  return a.length - b.length
}

function toldByLink(link: NamedLink): boolean {
  return link.cid.code === RAW && link.dagSize !== undefined
}

function childOf(link: NamedLink, bytes: Bytes | undefined): Child {
  const { name, cid, dagSize = 0 } = link
  if (bytes === undefined) return { name, cid, type: 'file', size: dagSize }
  let node: Node
  try {
    node = decodeNode(cid, bytes)
  } catch (error) {
    // A child that can't be read is still an entry of the directory.
    if (!(error instanceof UnsupportedContentError || error instanceof LimitError)) throw error
    return { name, cid, type: 'file', size: dagSize }
  }
  if (node.kind === 'directory' || node.kind === 'shard') return { name, cid, type: 'directory', size: dagSize }
  if (node.kind === 'dag') return { name, cid, type: 'file', size: dagSize }
  return { name, cid, type: node.kind, size: node.size }
}
