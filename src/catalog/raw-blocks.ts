// Keys of blocks, and contents of one raw block: their entries name it by their CID, which is in an index already, and by no reference.
import { base32upper } from 'multiformats/bases/base32'
import { CID } from 'multiformats/cid'
import * as Digest from 'multiformats/hashes/digest'
import type { BlockKey } from '../blocks/blocks.ts'
import { reachesAll } from './owners.ts'
import type { EntryOwner, Reference } from './schema.ts'

const RAW = 0x55
const IDENTITY = 0x00
const SHA2_256 = 0x12

/** How a raw CID of version 1 begins in base32: 16 bits of 80. */
const RAW_BEGINNING = /^bafk[q-z2-7]/

export function multihashKey(multihash: Uint8Array): BlockKey {
  return `/${base32upper.encoder.encode(multihash)}`
}

/** The multihash of a key. */
export function keyMultihash(key: BlockKey): Uint8Array {
  return base32upper.decoder.decode(key.slice(1))
}

export function isRaw(cid: string): boolean {
  return RAW_BEGINNING.test(cid)
}

/** The CID under which a block is a content of its own. */
export function rawCid(block: BlockKey): CID {
  return CID.createV1(RAW, Digest.decode(keyMultihash(block)))
}

/** The SHA-256, in hex, of a content that is one raw block: its multihash, where that is one. */
export function sha256OfRaw(cid: string): string | undefined {
  if (!isRaw(cid)) return undefined
  const { code, digest } = CID.parse(cid).multihash
  return code === SHA2_256 ? Array.from(digest, (byte) => byte.toString(16).padStart(2, '0')).join('') : undefined
}

/** Whether the references tell every block of an entry's content. */
export function isKnown(references: readonly Reference[], { cid }: Pick<EntryOwner, 'cid'>): boolean {
  return isRaw(cid) || reachesAll(references, multihashKey(CID.parse(cid).multihash.bytes))
}

/** What an entry of one raw block would say in a reference; undefined for any other, and for one that is in its CID. */
export function referenceOfRaw({ id, cid, size }: EntryOwner): Reference | undefined {
  if (!isRaw(cid)) return undefined
  const { multihash } = CID.parse(cid)
  if (multihash.code === IDENTITY) return undefined
  const key = multihashKey(multihash.bytes)
  return { owner: id, node: key, blocks: [key], sizes: [size], own: size }
}
