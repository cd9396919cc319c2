// What a block links to, and how many bytes of file content lie in the block itself.
import * as dagPb from '@ipld/dag-pb'
import type { PBNode } from '@ipld/dag-pb'
import { UnixFS } from 'ipfs-unixfs'
import { CID } from 'multiformats/cid'
import { LimitError, StorageError, UnsupportedContentError } from '../errors.ts'
import { load } from '../lazy.ts'
import { MAX_IDENTITY_DIGEST_BYTES, MAX_LINKS_PER_NODE } from '../limits.ts'
import type { Bytes } from '../types.ts'
import { IDENTITY } from './hashing.ts'
import type * as Ipld from './ipld.ts'

export const RAW = 0x55
export const DAG_PB = 0x70
const DAG_CBOR = 0x71
const DAG_JSON = 0x0129
/** Plain CBOR and JSON: data without links. */
const CBOR = 0x51
const JSON_CODEC = 0x0200

let ipld: typeof Ipld | undefined

/** `bytes` is the length of a raw child's block where the parent says it (a UnixFS file or directory). */
export interface Link {
  cid: CID
  bytes?: number | undefined
}

/** Whether a block of this codec can link to others. Raw leaves, plain CBOR and plain JSON can't. */
export function canLink(cid: CID): boolean {
  return cid.code !== RAW && cid.code !== CBOR && cid.code !== JSON_CODEC
}

/**
 * What linksOf() needs for a block of this CID: where it is a promise, that must be awaited before.
 *
 * @throws StorageError where it can't be loaded
 */
export function loadCodec({ code }: CID): Promise<void> | undefined {
  if (ipld !== undefined || (code !== DAG_CBOR && code !== DAG_JSON)) return undefined
  return load('ipld').then(
    (module) => {
      ipld = module
    },
    (cause: unknown) => {
      throw new StorageError(
        "the code that reads dag-cbor and dag-json could not be loaded: go online, or keep it in the application's cache",
        {
          cause,
        },
      )
    },
  )
}

/**
 * The links of a block in their order, repeated ones included. loadCodec() comes before.
 *
 * @throws UnsupportedContentError for an unknown codec or bytes that are not of their codec
 * @throws LimitError beyond MAX_LINKS_PER_NODE, or for a link to an identity CID beyond MAX_IDENTITY_DIGEST_BYTES
 */
export function linksOf(cid: CID, bytes: Bytes): Link[] {
  if (!canLink(cid)) return []
  if (cid.code === DAG_PB) return pbLinks(decodePb(cid, bytes))
  checkCodec(cid)
  const decode = ipld?.decoders[cid.code]
  if (decode === undefined) throw new StorageError(`the codec of ${cid.toString()} was not loaded: this cannot be`)
  const value = decoded(cid, () => decode(bytes))
  const links = cidsIn(value)
  checkLinks(cid, links)
  return links.map((link) => ({ cid: link }))
}

/**
 * The data in a block of dag-cbor or dag-json, its links as CIDs; undefined for another codec. loadCodec() comes before.
 *
 * @throws as linksOf
 */
export function dataOf(cid: CID, bytes: Bytes): { value: unknown } | undefined {
  const decode = ipld?.decoders[cid.code]
  return decode && { value: decoded(cid, () => decode(bytes)) }
}

/** Bytes of file content in this very block: all of a raw leaf, the data inside a UnixFS file node, else 0. Bad blocks hold none. */
export function ownBytes(cid: CID, bytes: Bytes): number {
  if (cid.code === RAW) return bytes.byteLength
  if (cid.code !== DAG_PB) return 0
  const unixfs = unixfsOf(decodePb(cid, bytes))
  return unixfs !== undefined && isFile(unixfs) ? (unixfs.data?.byteLength ?? 0) : 0
}

/** @throws UnsupportedContentError where the bytes are no dag-pb, LimitError where the node has too many links */
export function decodePb(cid: CID, bytes: Bytes): PBNode {
  const node = decoded(cid, () => dagPb.decode(bytes))
  checkLinks(
    cid,
    node.Links.map((link) => link.Hash),
  )
  return node
}

/** The UnixFS message of a dag-pb node, `undefined` where it holds none. */
export function unixfsOf(node: PBNode): UnixFS | undefined {
  // The type is a required field, so an empty message is none.
  if (node.Data === undefined || node.Data.byteLength === 0) return undefined
  try {
    return UnixFS.unmarshal(node.Data)
  } catch {
    // dag-pb may carry anything in Data: what does not decode as UnixFS is simply other data.
    return undefined
  }
}

/** What a UnixFS message says in `filesize` (field 3), which its decoder leaves out. https://specs.ipfs.tech/unixfs/#data-format */
export function fileSizeIn(message: Uint8Array): number | undefined {
  let at = 0
  const varint = (): number => {
    let value = 0
    for (let factor = 1; at < message.byteLength; factor *= 128) {
      const byte = message[at++] ?? 0
      value += (byte & 0x7f) * factor
      if (byte < 0x80) break
    }
    return value
  }
  let said: number | undefined
  while (at < message.byteLength) {
    const tag = varint()
    const type = tag % 8
    const value = type === 0 || type === 2 ? varint() : 0
    if (type === 0 && Math.floor(tag / 8) === 3) said = value
    if (type === 1) at += 8
    else if (type === 2) at += value
    else if (type === 5) at += 4
    else if (type !== 0) return undefined
  }
  return said
}

/** True for what reads as a file: UnixFS types File and Raw. */
export function isFile(unixfs: UnixFS): boolean {
  return unixfs.type === 'file' || unixfs.type === 'raw'
}

/** @throws UnsupportedContentError where the codec is none of those known here */
export function checkCodec(cid: CID): void {
  if (!canLink(cid) || cid.code === DAG_PB || cid.code === DAG_CBOR || cid.code === DAG_JSON) return
  throw new UnsupportedContentError(`${cid.toString()} has the codec 0x${cid.code.toString(16)}, which is not known here`, cid.toString())
}

function pbLinks(node: PBNode): Link[] {
  const unixfs = unixfsOf(node)
  if (unixfs === undefined) return node.Links.map((link) => ({ cid: link.Hash }))
  const sizes = isFile(unixfs) && unixfs.blockSizes.length === node.Links.length ? unixfs.blockSizes.map(Number) : undefined
  return node.Links.map((link, index) => {
    if (link.Hash.code !== RAW) return { cid: link.Hash }
    // In a directory the Tsize of a raw leaf is its length: nothing else lies below it.
    return { cid: link.Hash, bytes: unixfs.isDirectory() ? link.Tsize : sizes?.[index] }
  })
}

function decoded<T>(cid: CID, decode: () => T): T {
  try {
    return decode()
  } catch (cause) {
    throw new UnsupportedContentError(
      `block ${cid.toString()} is malformed: its bytes are not of the codec 0x${cid.code.toString(16)}`,
      cid.toString(),
      { cause },
    )
  }
}

function cidsIn(value: unknown): CID[] {
  const found: CID[] = []
  const open: unknown[] = [value]
  while (open.length > 0) {
    const next = open.pop()
    if (typeof next !== 'object' || next === null || ArrayBuffer.isView(next)) continue
    const cid = CID.asCID(next)
    if (cid !== null) found.push(cid)
    // Pushed from the last on, so that links come out in the order of the data.
    else for (const item of Object.values(next).toReversed()) open.push(item)
  }
  return found
}

function checkLinks(cid: CID, links: readonly CID[]): void {
  if (links.length > MAX_LINKS_PER_NODE) {
    throw new LimitError(
      `node ${cid.toString()} has ${links.length} links, more than ${MAX_LINKS_PER_NODE}`,
      'MAX_LINKS_PER_NODE',
      links.length,
    )
  }
  for (const { multihash } of links) {
    if (multihash.code !== IDENTITY || multihash.size <= MAX_IDENTITY_DIGEST_BYTES) continue
    const message = `node ${cid.toString()} links to an identity CID of ${multihash.size} bytes, more than ${MAX_IDENTITY_DIGEST_BYTES}`
    throw new LimitError(message, 'MAX_IDENTITY_DIGEST_BYTES', multihash.size)
  }
}
