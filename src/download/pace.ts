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

  /** So much has come of it, and it does something else with it. */
  came(connection: object, bytes: number): void {
    this.#waitedMs += performance.now() - (this.#waiting.get(connection) ?? performance.now())
    this.#waiting.delete(connection)
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
