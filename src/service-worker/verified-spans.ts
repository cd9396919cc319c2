// Which bytes of a file were verified since this worker woke.
import type { ByteSpan } from './range.ts'

export class VerifiedSpans {
  /** Apart from each other and in order. */
  #spans: ByteSpan[] = []

  add({ from, to }: ByteSpan): void {
    const apart: ByteSpan[] = []
    const joined = { from, to }
    for (const span of this.#spans) {
      if (span.to < from || span.from > to) {
        apart.push(span)
        continue
      }
      joined.from = Math.min(joined.from, span.from)
      joined.to = Math.max(joined.to, span.to)
    }
    if (joined.from < joined.to) apart.push(joined)
    this.#spans = apart.sort((a, b) => a.from - b.from)
  }

  has({ from, to }: ByteSpan): boolean {
    return from >= to || this.#spans.some((span) => span.from <= from && span.to >= to)
  }
}
