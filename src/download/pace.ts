// Whether more connections would bring more: a fast server brings by one what this device can take, and each costs memory.
import { DOWNLOAD_ENOUGH_BYTES_PER_SECOND, DOWNLOAD_PACE_MS } from '../limits.ts'

export class Pace {
  #bytes = 0
  #waitedMs = 0
  /** Since when each connection that waits for its server does. */
  readonly #waiting = new Map<object, number>()

  /** From now on that connection waits for what is to come. */
  waits(connection: object): void {
    this.#waiting.set(connection, performance.now())
  }

  /** It does something else, or nothing any more. */
  stops(connection: object): void {
    const since = this.#waiting.get(connection)
    if (since === undefined) return
    this.#waitedMs += performance.now() - since
    this.#waiting.delete(connection)
  }

  /** So much has come, by whichever connection. */
  came(bytes: number): void {
    this.#bytes += bytes
  }

  /** How many it takes by what those that there are have brought; undefined where that says nothing yet. The time that storing takes does not count. */
  get wanted(): number | undefined {
    const now = performance.now()
    const waitedMs = [...this.#waiting.values()].reduce((sum, since) => sum + now - since, this.#waitedMs)
    if (waitedMs < DOWNLOAD_PACE_MS) return undefined
    return Math.ceil((DOWNLOAD_ENOUGH_BYTES_PER_SECOND * waitedMs) / 1000 / this.#bytes)
  }
}
