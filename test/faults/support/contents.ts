// Contents that their keys spell, so that whoever meets one knows its bytes: 'f0.3' is a file of two parts, 'b700-12' small bytes, 'd7' a directory.
import { randomOf } from './random.ts'

const PART_BYTES = 2 * 1024 * 1024
const PARTS_CACHED = 16

const parts = new Map<number, Uint8Array<ArrayBuffer>>()

export function seededBytes(length: number, seed: number): Uint8Array<ArrayBuffer> {
  const random = randomOf(seed + 1)
  const words = new Uint32Array(Math.ceil(length / 4))
  for (let index = 0; index < words.length; index++) words[index] = random.word()
  return new Uint8Array(words.buffer, 0, length).slice()
}

/** The pieces of a file's bytes. */
export function piecesOf(key: string): Uint8Array<ArrayBuffer>[] {
  const numbers = numbersIn(key)
  if (key.startsWith('f')) return numbers.map(part)
  const [length = 0, seed = 0] = numbers
  return [seededBytes(length, seed)]
}

/** Paths and keys of the files in a directory. */
export function filesOf(key: string): [path: string, key: string][] {
  const [seed = 0] = numbersIn(key)
  return [
    ['one', `b${(seed * 37) % 3000}-${seed}`],
    ['deep/er/two', `f${seed % 6}.${(seed + 1) % 6}`],
    ...Array.from({ length: 4 }, (_, index): [string, string] => [`many/${index}`, `b${50 + index}-${seed}`]),
  ]
}

export function isDirectory(key: string): boolean {
  return key.startsWith('d')
}

export function numbersIn(key: string): number[] {
  return (key.match(/\d+/g) ?? []).map(Number)
}

/** Whether these are the bytes from an offset of the pieces, to their end or as many as were asked for. */
export function isPartOf(bytes: Uint8Array, pieces: readonly Uint8Array[], offset = 0, length = Number.POSITIVE_INFINITY): boolean {
  const total = pieces.reduce((sum, piece) => sum + piece.byteLength, 0)
  if (bytes.byteLength !== Math.max(0, Math.min(length, total - offset))) return false
  let at = 0
  let from = offset
  for (const piece of pieces) {
    for (; from < piece.byteLength && at < bytes.byteLength; from++, at++) if (bytes[at] !== piece[from]) return false
    from -= piece.byteLength
  }
  return at === bytes.byteLength
}

function part(number: number): Uint8Array<ArrayBuffer> {
  const bytes = parts.get(number) ?? seededBytes(PART_BYTES, number)
  parts.delete(number)
  parts.set(number, bytes)
  for (const oldest of parts.keys()) {
    if (parts.size <= PARTS_CACHED) break
    parts.delete(oldest)
  }
  return bytes
}
