// Numbers that a seed repeats, in a page and outside.

export interface Random {
  /** 32 bits. */
  word(): number
  /** A whole number from 0 to below this. */
  below(limit: number): number
}

/** mulberry32. */
export function randomOf(seed: number): Random {
  let state = seed >>> 0
  const word = (): number => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return (mixed ^ (mixed >>> 14)) >>> 0
  }
  return { word, below: (limit) => Math.floor((word() / 2 ** 32) * limit) }
}
