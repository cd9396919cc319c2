// SHA-256 of a whole that comes piece by piece, which crypto.subtle can't do: by WebAssembly, else in JavaScript.
import { bytesToHex } from '@noble/hashes/utils.js'

/** Takes pieces in order, one at a time. */
export interface Sha256 {
  update(piece: Uint8Array): void
  hex(): string
}

export async function createSha256(): Promise<Sha256> {
  try {
    const { createSHA256 } = await import('hash-wasm')
    const hasher = await createSHA256()
    hasher.init()
    return { update: (piece) => void hasher.update(piece), hex: () => hasher.digest('hex') }
  } catch {
    // A Content-Security-Policy may forbid WebAssembly, and its code may not load: slower, the same.
    const { sha256 } = await import('@noble/hashes/sha2.js')
    const hasher = sha256.create()
    return { update: (piece) => void hasher.update(piece), hex: () => bytesToHex(hasher.digest()) }
  }
}
