// CIDs and content paths: what is taken in, and the one form in which they are answered.
import { base32, base32upper } from 'multiformats/bases/base32'
import { base36 } from 'multiformats/bases/base36'
import { base58btc } from 'multiformats/bases/base58'
import { CID } from 'multiformats/cid'
import { InvalidCidError, InvalidPathError, LimitError } from './errors.ts'
import { MAX_CID_CHARACTERS, MAX_IDENTITY_DIGEST_BYTES, MAX_PATH_SEGMENTS } from './limits.ts'
import type { ContentPath } from './types.ts'

const DECODERS = base32.decoder.or(base32upper.decoder).or(base58btc.decoder).or(base36.decoder)
const IDENTITY_CODE = 0

/** A content path taken apart: the root's CID as CIDv1 and the names below it. */
export interface ParsedPath {
  cid: CID
  segments: string[]
}

/**
 * Parses `<cid>`, `<cid>/path`, `/ipfs/<cid>/path`, `ipfs://<cid>/path` or a CID. Names are taken as they are, without percent-decoding.
 *
 * @throws InvalidCidError for anything else
 * @throws InvalidPathError where the path below the CID holds '.' or '..'
 */
export function parseContentPath(path: ContentPath): ParsedPath {
  if (typeof path !== 'string') {
    const cid = asCid(path)
    if (cid === null) throw new InvalidCidError(`${describe(path)} is no CID: pass a CID or a string such as 'bafy…/path'`)
    return { cid: normalise(cid), segments: [] }
  }
  const bare = path.startsWith('ipfs://') ? path.slice(7) : path.startsWith('/ipfs/') ? path.slice(6) : path
  const [root = '', ...rest] = bare.split('/')
  const segments = rest.filter((segment) => segment !== '')
  if (segments.length > MAX_PATH_SEGMENTS) {
    throw new LimitError(`path has ${segments.length} segments, more than ${MAX_PATH_SEGMENTS}`, 'MAX_PATH_SEGMENTS', segments.length)
  }
  let cid: CID
  try {
    // Before it is decoded, which takes base58 the square of its length.
    if (root.length > MAX_CID_CHARACTERS) throw new RangeError(`a CID has no ${root.length} characters`)
    cid = CID.parse(root, DECODERS)
  } catch (cause) {
    throw new InvalidCidError(
      `${describe(path)} does not begin with a CID: pass '<cid>', '<cid>/path', '/ipfs/<cid>/path' or 'ipfs://<cid>/path'`,
      { cause },
    )
  }
  if (segments.some((segment) => segment === '.' || segment === '..')) {
    throw new InvalidPathError(`path ${describe(path)} holds '.' or '..': name what is below the CID directly`, path)
  }
  return { cid: normalise(cid), segments }
}

/** A CID of whatever version of multiformats; null for what is none, or only looks like one. */
function asCid(value: unknown): CID | null {
  try {
    const cid = CID.asCID(value as CID)
    return cid && CID.decode(cid.bytes)
  } catch {
    return null
  }
}

/** The CIDv1 of the same node, whose string is base32. */
export function normalise(cid: CID): CID {
  if (cid.multihash.code === IDENTITY_CODE && cid.multihash.size > MAX_IDENTITY_DIGEST_BYTES) {
    throw new LimitError(
      `identity CID holds ${cid.multihash.size} bytes, more than ${MAX_IDENTITY_DIGEST_BYTES}`,
      'MAX_IDENTITY_DIGEST_BYTES',
      cid.multihash.size,
    )
  }
  return cid.toV1()
}

function describe(value: unknown): string {
  if (typeof value !== 'string') return value === null ? 'null' : `a value of type ${typeof value}`
  return `'${value.length > 80 ? `${value.slice(0, 80)}…` : value}'`
}
