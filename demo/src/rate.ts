// How fast bytes come.
const RATE_WINDOW_MS = 2_000

/** Bytes a second over the last two seconds, so that a pause shows. */
export class RateMeter {
  #samples: { at: number; bytes: number }[] = []

  add(bytes: number, at: number): number | undefined {
    this.#samples.push({ at, bytes })
    while (this.#samples.length > 2 && at - this.#samples[0]!.at > RATE_WINDOW_MS) this.#samples.shift()
    const first = this.#samples[0]!
    const seconds = (at - first.at) / 1000
    return seconds > 0.1 ? (bytes - first.bytes) / seconds : undefined
  }
}
