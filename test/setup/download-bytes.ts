// Incompressible bytes by their seed, any part of them by itself, the same in Node and in a browser.

/** `length` bytes from `offset` on. */
export function bytesOf(seed: number, offset: number, length: number): Uint8Array<ArrayBuffer> {
  const first = Math.floor(offset / 4)
  const words = new Uint32Array(Math.ceil((offset + length) / 4) - first)
  for (let index = 0; index < words.length; index++) words[index] = mixed(first + index, seed)
  return new Uint8Array(words.buffer, offset - first * 4, length)
}

/** The finaliser of MurmurHash3 over the number of the word. */
function mixed(index: number, seed: number): number {
  let word = (index ^ Math.imul(seed, 0x9e3779b1)) | 0
  word = Math.imul(word ^ (word >>> 16), 0x85ebca6b)
  word = Math.imul(word ^ (word >>> 13), 0xc2b2ae35)
  return word ^ (word >>> 16)
}
