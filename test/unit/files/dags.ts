// DAGs made by hand, for what no importer of ours makes: data in inner nodes, identity CIDs, CIDv0 links, wrong sizes.
import * as dagPb from '@ipld/dag-pb'
import { UnixFS } from 'ipfs-unixfs'
import { CID } from 'multiformats/cid'
import * as raw from 'multiformats/codecs/raw'
import { identity } from 'multiformats/hashes/identity'
import { sha256 } from 'multiformats/hashes/sha2'
import type { MemoryBlocks } from './memory-blocks.ts'

export interface Built {
  cid: CID
  /** Bytes of content below. */
  size: number
}

/** A tree of content: bytes for a leaf, or a node with bytes of its own and children. */
export type Shape =
  | { leaf: Uint8Array; as: 'raw' | 'pb-file' | 'pb-raw' | 'identity-raw' | 'identity-pb' | 'v0' }
  | { data: Uint8Array; children: Shape[]; as: 'v0' | 'v1' }

export async function build(blocks: MemoryBlocks, shape: Shape): Promise<Built> {
  if ('children' in shape) {
    const children: Built[] = []
    for (const child of shape.children) children.push(await build(blocks, child))
    return putFile(blocks, shape.data, children, shape.as)
  }
  const { leaf, as } = shape
  const size = leaf.byteLength
  if (as === 'raw') return { cid: await put(blocks, raw.code, leaf), size }
  if (as === 'identity-raw') return { cid: CID.createV1(raw.code, identity.digest(new Uint8Array(leaf))), size }
  const unixfs = new UnixFS({ type: as === 'pb-raw' ? 'raw' : 'file', data: leaf })
  const bytes = dagPb.encode(dagPb.prepare({ Data: unixfs.marshal() }))
  if (as === 'identity-pb') return { cid: CID.createV1(dagPb.code, identity.digest(new Uint8Array(bytes))), size }
  return { cid: await put(blocks, dagPb.code, bytes, as === 'v0' ? 0 : 1), size }
}

export async function putFile(blocks: MemoryBlocks, data: Uint8Array, children: Built[], as: 'v0' | 'v1' = 'v1'): Promise<Built> {
  const unixfs = new UnixFS({ type: 'file', data, blockSizes: children.map((child) => BigInt(child.size)) })
  const links = children.map((child) => ({ Name: '', Hash: child.cid, Tsize: Math.min(child.size, 2 ** 40) }))
  const cid = await put(blocks, dagPb.code, dagPb.encode({ Data: unixfs.marshal(), Links: links }), as === 'v0' ? 0 : 1)
  return { cid, size: data.byteLength + children.reduce((sum, child) => sum + child.size, 0) }
}

export async function putDirectory(blocks: MemoryBlocks, links: { Name: string; Hash: CID; Tsize?: number }[]): Promise<CID> {
  return put(blocks, dagPb.code, dagPb.encode(dagPb.prepare({ Data: new UnixFS({ type: 'directory' }).marshal(), Links: links })))
}

export async function putSymlink(blocks: MemoryBlocks, target: string): Promise<CID> {
  const unixfs = new UnixFS({ type: 'symlink', data: new TextEncoder().encode(target) })
  return put(blocks, dagPb.code, dagPb.encode(dagPb.prepare({ Data: unixfs.marshal() })))
}

export async function put(blocks: MemoryBlocks, codec: number, bytes: Uint8Array, version: 0 | 1 = 1): Promise<CID> {
  const own = new Uint8Array(bytes)
  const cid = CID.create(version, codec, await sha256.digest(own)) as CID
  return blocks.put(cid, own)
}
