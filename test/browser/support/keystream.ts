// The generator of test/fixtures/unixfs-vectors.json: the ChaCha20 keystream (RFC 8439) under the SHA-256 of a seed. Incompressible, any
// part of it can be made alone, and the same everywhere.

const BLOCK_BYTES = 64
const KEY_WORDS = 8

export class Keystream {
  readonly #state: Int32Array

  private constructor(state: Int32Array) {
    this.#state = state
  }

  static async of(seed: string): Promise<Keystream> {
    const key = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(seed))
    // 'expand 32-byte k', the key, counter and nonce of zeros. Words are little-endian, as they are on every machine a browser runs on.
    const state = new Int32Array(16)
    state.set([0x61707865, 0x3320646e, 0x79622d32, 0x6b206574])
    state.set(new Int32Array(key), 16 - KEY_WORDS - 4)
    return new Keystream(state)
  }

  /** `length` bytes from `offset` on. */
  bytes(offset: number, length: number): Uint8Array<ArrayBuffer> {
    const first = Math.floor(offset / BLOCK_BYTES)
    const blocks = Math.ceil((offset + length) / BLOCK_BYTES) - first
    const words = new Int32Array(blocks * 16)
    for (let block = 0; block < blocks; block++) this.#block(first + block, words, block * 16)
    const start = offset - first * BLOCK_BYTES
    return new Uint8Array(words.buffer).subarray(start, start + length)
  }

  /** All of the first `size` bytes in pieces of fresh buffers, made when they are asked for. */
  stream(size: number, pieceSize = 1 << 20): ReadableStream<Uint8Array<ArrayBuffer>> {
    let at = 0
    return new ReadableStream(
      {
        pull: (controller) => {
          const length = Math.min(pieceSize, size - at)
          if (length === 0) return controller.close()
          controller.enqueue(this.bytes(at, length))
          at += length
        },
      },
      { highWaterMark: 0 },
    )
  }

  /** Written out in local variables: quarter rounds over an array were measured seven times as slow. */
  #block(counter: number, out: Int32Array, at: number): void {
    const s = this.#state
    let a0 = s[0]!
    let a1 = s[1]!
    let a2 = s[2]!
    let a3 = s[3]!
    let b0 = s[4]!
    let b1 = s[5]!
    let b2 = s[6]!
    let b3 = s[7]!
    let c0 = s[8]!
    let c1 = s[9]!
    let c2 = s[10]!
    let c3 = s[11]!
    let d0 = counter
    let d1 = s[13]!
    let d2 = s[14]!
    let d3 = s[15]!
    for (let round = 0; round < 10; round++) {
      // prettier-ignore
      {
        // Four quarter rounds on the columns, step by step, then four on the diagonals.
        a0 = (a0 + b0) | 0; a1 = (a1 + b1) | 0; a2 = (a2 + b2) | 0; a3 = (a3 + b3) | 0
        d0 ^= a0; d1 ^= a1; d2 ^= a2; d3 ^= a3
        d0 = (d0 << 16) | (d0 >>> 16); d1 = (d1 << 16) | (d1 >>> 16); d2 = (d2 << 16) | (d2 >>> 16); d3 = (d3 << 16) | (d3 >>> 16)
        c0 = (c0 + d0) | 0; c1 = (c1 + d1) | 0; c2 = (c2 + d2) | 0; c3 = (c3 + d3) | 0
        b0 ^= c0; b1 ^= c1; b2 ^= c2; b3 ^= c3
        b0 = (b0 << 12) | (b0 >>> 20); b1 = (b1 << 12) | (b1 >>> 20); b2 = (b2 << 12) | (b2 >>> 20); b3 = (b3 << 12) | (b3 >>> 20)
        a0 = (a0 + b0) | 0; a1 = (a1 + b1) | 0; a2 = (a2 + b2) | 0; a3 = (a3 + b3) | 0
        d0 ^= a0; d1 ^= a1; d2 ^= a2; d3 ^= a3
        d0 = (d0 << 8) | (d0 >>> 24); d1 = (d1 << 8) | (d1 >>> 24); d2 = (d2 << 8) | (d2 >>> 24); d3 = (d3 << 8) | (d3 >>> 24)
        c0 = (c0 + d0) | 0; c1 = (c1 + d1) | 0; c2 = (c2 + d2) | 0; c3 = (c3 + d3) | 0
        b0 ^= c0; b1 ^= c1; b2 ^= c2; b3 ^= c3
        b0 = (b0 << 7) | (b0 >>> 25); b1 = (b1 << 7) | (b1 >>> 25); b2 = (b2 << 7) | (b2 >>> 25); b3 = (b3 << 7) | (b3 >>> 25)

        a0 = (a0 + b1) | 0; a1 = (a1 + b2) | 0; a2 = (a2 + b3) | 0; a3 = (a3 + b0) | 0
        d3 ^= a0; d0 ^= a1; d1 ^= a2; d2 ^= a3
        d3 = (d3 << 16) | (d3 >>> 16); d0 = (d0 << 16) | (d0 >>> 16); d1 = (d1 << 16) | (d1 >>> 16); d2 = (d2 << 16) | (d2 >>> 16)
        c2 = (c2 + d3) | 0; c3 = (c3 + d0) | 0; c0 = (c0 + d1) | 0; c1 = (c1 + d2) | 0
        b1 ^= c2; b2 ^= c3; b3 ^= c0; b0 ^= c1
        b1 = (b1 << 12) | (b1 >>> 20); b2 = (b2 << 12) | (b2 >>> 20); b3 = (b3 << 12) | (b3 >>> 20); b0 = (b0 << 12) | (b0 >>> 20)
        a0 = (a0 + b1) | 0; a1 = (a1 + b2) | 0; a2 = (a2 + b3) | 0; a3 = (a3 + b0) | 0
        d3 ^= a0; d0 ^= a1; d1 ^= a2; d2 ^= a3
        d3 = (d3 << 8) | (d3 >>> 24); d0 = (d0 << 8) | (d0 >>> 24); d1 = (d1 << 8) | (d1 >>> 24); d2 = (d2 << 8) | (d2 >>> 24)
        c2 = (c2 + d3) | 0; c3 = (c3 + d0) | 0; c0 = (c0 + d1) | 0; c1 = (c1 + d2) | 0
        b1 ^= c2; b2 ^= c3; b3 ^= c0; b0 ^= c1
        b1 = (b1 << 7) | (b1 >>> 25); b2 = (b2 << 7) | (b2 >>> 25); b3 = (b3 << 7) | (b3 >>> 25); b0 = (b0 << 7) | (b0 >>> 25)
      }
    }
    // A typed array keeps the low 32 bits of a sum.
    out[at] = a0 + s[0]!
    out[at + 1] = a1 + s[1]!
    out[at + 2] = a2 + s[2]!
    out[at + 3] = a3 + s[3]!
    out[at + 4] = b0 + s[4]!
    out[at + 5] = b1 + s[5]!
    out[at + 6] = b2 + s[6]!
    out[at + 7] = b3 + s[7]!
    out[at + 8] = c0 + s[8]!
    out[at + 9] = c1 + s[9]!
    out[at + 10] = c2 + s[10]!
    out[at + 11] = c3 + s[11]!
    out[at + 12] = d0 + counter
    out[at + 13] = d1 + s[13]!
    out[at + 14] = d2 + s[14]!
    out[at + 15] = d3 + s[15]!
  }
}

/** names() of the vectors' file. */
export async function vectorNames(count: number, length: number, lastLength: number, seed: string): Promise<string[]> {
  const alphabet = 'abcdefghijklmnopqrstuvwxyz01234567890-_'
  const random = (await Keystream.of(seed)).bytes(0, 1 << 20)
  return Array.from({ length: count }, (_, index) => {
    const name = random.subarray(index * length, index * length + (index === count - 1 ? lastLength : length))
    return [...name].map((byte) => alphabet[byte % alphabet.length]).join('')
  })
}
