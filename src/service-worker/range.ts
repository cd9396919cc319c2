// The Range header: https://www.rfc-editor.org/rfc/rfc9110#section-14

/** Bytes `from` to `to`, the end not among them. */
export interface ByteSpan {
  from: number
  to: number
}

/** Ranges of one request: more of them are answered as a whole, as the specification advises. */
export const MAX_RANGES = 16

/**
 * The ranges that a header asks for, of a body of `size` bytes. undefined: none, so that all of it is meant (also where the header is malformed, asks for
 * too many or is of another unit). Empty: none of them can be had.
 */
export function parseRange(header: string | null, size: number): ByteSpan[] | undefined {
  const match = header === null ? null : /^bytes\s*=\s*(.+)$/i.exec(header.trim())
  const listed = match?.[1]?.split(',').map((each) => each.trim())
  if (listed === undefined || listed.length > MAX_RANGES) return undefined
  const ranges: ByteSpan[] = []
  for (const each of listed) {
    if (each === '') continue
    const [, first = '', last = ''] = /^(\d*)-(\d*)$/.exec(each) ?? []
    if (first === '' && last === '') return undefined
    const span = first === '' ? { from: size - Number(last), to: size } : { from: Number(first), to: last === '' ? size : Number(last) + 1 }
    if (first !== '' && last !== '' && Number(last) < Number(first)) return undefined
    const [from, to] = [Math.max(0, span.from), Math.min(size, span.to)]
    if (from < to) ranges.push({ from, to })
  }
  // Whoever asks for the same bytes again and again gets all of them once.
  return ranges.reduce((sum, { from, to }) => sum + to - from, 0) > size ? undefined : ranges
}

export function contentRange({ from, to }: ByteSpan, size: number): string {
  return `bytes ${from}-${to - 1}/${size}`
}
