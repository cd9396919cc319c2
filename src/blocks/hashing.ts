// Whether bytes are what their CID says.
import { sha256 as pureSha256, sha512 as pureSha512 } from '@noble/hashes/sha2.js'
import type { CID } from 'multiformats/cid'
import { sha256, sha512 } from 'multiformats/hashes/sha2'
import { IntegrityError, UnsupportedContentError } from '../errors.ts'
import { HASHES_IN_FLIGHT } from '../limits.ts'
import type { Bytes } from '../types.ts'

export const SHA2_256 = 0x12
const SHA2_512 = 0x13
export const IDENTITY = 0x00

/**
 * Gives multiformats' hashers a pure JavaScript digest where crypto.subtle is missing (http on a name that is not loopback), so that the
 * importer, which calls them, works there too. Called at opening, never at import.
 */
export function prepareHashing(): void {
  if (globalThis.crypto?.subtle !== undefined) return
  Object.assign(sha256, { encode: (bytes: Uint8Array) => pureSha256(bytes) })
  Object.assign(sha512, { encode: (bytes: Uint8Array) => pureSha512(bytes) })
}

/** Bytes of digest below which a hash says too little to be trusted: what Kubo demands as well. */
const MIN_DIGEST_BYTES = 20

/** @throws UnsupportedContentError where the hash is none of those known here, or cut too short */
export function checkHash(cid: CID): void {
  const { code, size } = cid.multihash
  if (code !== IDENTITY && size < MIN_DIGEST_BYTES) {
    throw new UnsupportedContentError(
      `${cid.toString()} has a digest of ${size} bytes: less than ${MIN_DIGEST_BYTES} prove nothing`,
      cid.toString(),
    )
  }
  if (code !== SHA2_256 && code !== SHA2_512 && code !== IDENTITY) {
    throw new UnsupportedContentError(
      `${cid.toString()} uses the hash 0x${code.toString(16)}: only sha2-256, sha2-512 and identity can be checked`,
      cid.toString(),
    )
  }
}

/** Whether a block's bytes could be checked, were they here. */
export function canCheck(cid: CID): boolean {
  try {
    checkHash(cid)
    return true
  } catch {
    return false
  }
}

/** How the digests of no bytes at all begin. */
const EMPTY_DIGESTS: Record<number, string> = {
  [SHA2_256]: 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4',
  [SHA2_512]: 'cf83e1357eefb8bdf1542850d66d8007d620e405',
}

/** Whether a raw block of this hash may be empty: of hashes that are not known here nothing is known. */
export function mayBeEmpty({ multihash: { code, digest } }: CID): boolean {
  if (code === IDENTITY) return digest.byteLength === 0
  const empty = EMPTY_DIGESTS[code]
  if (empty === undefined) return true
  const beginning = Array.from(digest.subarray(0, MIN_DIGEST_BYTES), (byte) => byte.toString(16).padStart(2, '0')).join('')
  return empty.startsWith(beginning)
}

/** True where the bytes match. @throws UnsupportedContentError for an unknown hash */
export async function matches(cid: CID, bytes: Bytes): Promise<boolean> {
  checkHash(cid)
  const { code, digest } = cid.multihash
  if (code === IDENTITY) return equalBytes(bytes, digest)
  const hasher = code === SHA2_256 ? sha256 : sha512
  const actual = await hasher.encode(bytes)
  // A truncated multihash is still a multihash of its first bytes.
  return equalBytes(actual.subarray(0, digest.byteLength), digest)
}

/** @throws IntegrityError where the bytes do not match, UnsupportedContentError for an unknown hash */
export async function verifyBlock(cid: CID, bytes: Bytes): Promise<void> {
  if (await matches(cid, bytes)) return
  throw new IntegrityError(`block ${cid.toString()} is damaged: its bytes have another hash`, cid.toString())
}

/** A block, and its SHA-256 where somebody computed that on the way. */
export interface HashedBlock {
  bytes: Bytes
  digest?: Uint8Array | undefined
}

/** Hashes many blocks, a few at once; answers which match. Absent blocks are passed over as matching. */
export async function matchMany(cids: readonly CID[], blocks: readonly (HashedBlock | undefined)[]): Promise<boolean[]> {
  const whole: boolean[] = Array.from({ length: cids.length }, () => true)
  let next = 0
  const work = async (): Promise<void> => {
    while (next < cids.length) {
      const index = next++
      const [cid, block] = [cids[index], blocks[index]]
      if (cid === undefined || block === undefined) continue
      if (block.digest !== undefined && cid.multihash.code === SHA2_256) {
        const { digest } = cid.multihash
        whole[index] = equalBytes(block.digest.subarray(0, digest.byteLength), digest)
      } else whole[index] = await matches(cid, block.bytes)
    }
  }
  await Promise.all(Array.from({ length: Math.min(HASHES_IN_FLIGHT, cids.length) }, work))
  return whole
}

export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.byteLength !== b.byteLength) return false
  // Whole 32-bit words where both are aligned: deduplication compares every byte of what is stored again.
  let index = 0
  if (a.byteOffset % 4 === 0 && b.byteOffset % 4 === 0) {
    const words = a.byteLength >>> 2
    const left = new Uint32Array(a.buffer, a.byteOffset, words)
    const right = new Uint32Array(b.buffer, b.byteOffset, words)
    for (let word = 0; word < words; word++) if (left[word] !== right[word]) return false
    index = words << 2
  }
  for (; index < a.byteLength; index++) if (a[index] !== b[index]) return false
  return true
}
