// Incompressible bytes, the same for the same seed, so that every contender of a round stores the same ones.
import type { Bytes } from './contender.ts'

const MIB = 1024 * 1024

/** What is encrypted at once: bounds the memory that making takes. */
const MAKE_BYTES = 16 * MIB

/** Bytes of the ring that a long stream is made of. */
export const RING_BYTES: number = 16 * MIB

/** A piece of a stream: more than fetch hands out at once (64 KiB), so that the stream itself is not what is measured. */
const PIECE_BYTES = 256 * 1024

/** The key stream of AES-CTR under the seed: Chromium compresses what goes into IndexedDB, and zeros or patterns would flatter it. */
export async function seeded(size: number, seed: number): Promise<Bytes> {
  const bytes = new Uint8Array(size)
  const raw = new Uint8Array(16)
  new DataView(raw.buffer).setUint32(0, seed)
  const key = await crypto.subtle.importKey('raw', raw, 'AES-CTR', false, ['encrypt'])
  const zeros = new Uint8Array(Math.min(size, MAKE_BYTES))
  for (let at = 0; at < size; at += MAKE_BYTES) {
    const counter = new Uint8Array(16)
    new DataView(counter.buffer).setUint32(8, at / MAKE_BYTES)
    const made = await crypto.subtle.encrypt(
      { name: 'AES-CTR', counter, length: 32 },
      key,
      zeros.subarray(0, Math.min(MAKE_BYTES, size - at)),
    )
    bytes.set(new Uint8Array(made), at)
  }
  return bytes
}

/** A stream of any size out of a ring: each piece is a copy with a number of its own, so that neither deduplication nor compression helps. */
export async function streamOfRing(size: number, seed: number): Promise<ReadableStream<Bytes>> {
  const ring = await seeded(RING_BYTES, seed)
  let at = 0
  return new ReadableStream<Bytes>(
    {
      pull(controller) {
        if (at >= size) return controller.close()
        const from = at % ring.byteLength
        const piece = ring.slice(from, from + Math.min(PIECE_BYTES, size - at))
        new DataView(piece.buffer).setUint32(0, at / PIECE_BYTES)
        at += piece.byteLength
        controller.enqueue(piece)
      },
    },
    { highWaterMark: 0 },
  )
}

/** Another version of a model: one chunk of ten is new, the others are the same. */
export function nextVersion(bytes: Bytes, fresh: Bytes, chunkBytes: number): Bytes {
  const next = bytes.slice()
  for (let at = 9 * chunkBytes; at < bytes.byteLength; at += 10 * chunkBytes) {
    next.set(fresh.subarray(0, chunkBytes), at)
    new DataView(next.buffer).setUint32(at, at)
  }
  return next
}

/** Items of their own buffers, since structured clone of a view writes the whole buffer below it. */
export async function smallItems(count: number, itemBytes: number, seed: number): Promise<Bytes[]> {
  const all = await seeded(count * itemBytes, seed)
  return Array.from({ length: count }, (_, index) => all.slice(index * itemBytes, (index + 1) * itemBytes))
}

/** Whether two buffers are the same; four bytes at a time where they are whole words. */
export function isSame(left: Bytes, right: Bytes): boolean {
  if (left.byteLength !== right.byteLength) return false
  const [a, b] = [words(left), words(right)]
  for (let index = 0; index < a.length; index++) if (a[index] !== b[index]) return false
  return true
}

function words(bytes: Bytes): Int32Array | Bytes {
  const isWhole = bytes.byteLength % 4 === 0 && bytes.byteOffset % 4 === 0
  return isWhole ? new Int32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4) : bytes
}

/** Reads a stream to its end and answers how many bytes came. */
export async function drained(stream: ReadableStream<Bytes>): Promise<number> {
  const reader = stream.getReader()
  let bytes = 0
  for (let part = await reader.read(); !part.done; part = await reader.read()) bytes += part.value.byteLength
  return bytes
}
