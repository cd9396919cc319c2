// Whose turn it is to talk to peers: one node an origin does, since each keeps connections and asks the same peers for the same blocks.

/** Not under the name of any storage: those of one origin share the turn. */
const LOCK = 'ipfs-kit-web:libp2p'

/** The turn of one context, again and again. */
export class PeerTurn {
  #waiting: AbortController | undefined
  #giveBack: (() => void) | undefined

  /**
   * Whether it is this context's turn. Where another one has it, `onTurn` is called once that has ended. Without Web Locks (an insecure context)
   * nobody can tell, and it always is.
   */
  async take(onTurn: () => void): Promise<boolean> {
    const locks = (globalThis.navigator as { locks?: LockManager } | undefined)?.locks
    if (locks === undefined || this.#giveBack !== undefined) return true
    if (this.#waiting !== undefined) return false
    const waiting = (this.#waiting = new AbortController())
    const isMine = await new Promise<boolean>((resolve) => {
      const answer = async (lock: Lock | null): Promise<void> => {
        const held = lock === null ? undefined : this.#hold(waiting)
        resolve(held !== undefined)
        return held
      }
      // A context whose locks are refused (an opaque origin) is like one without.
      locks.request(LOCK, { ifAvailable: true }, answer).catch(() => resolve(true))
    })
    if (!isMine && !waiting.signal.aborted) {
      const begin = async (): Promise<void> => {
        const held = this.#hold(waiting)
        if (held !== undefined) onTurn()
        return held
      }
      // Ends by release().
      locks.request(LOCK, { signal: waiting.signal }, begin).catch(() => {})
    }
    return isMine
  }

  /** Gives the turn to whoever waits for it, or waits no longer. */
  release(): void {
    this.#waiting?.abort()
    this.#giveBack?.()
    this.#waiting = undefined
    this.#giveBack = undefined
  }

  /** Resolves when the turn is given back; undefined where nobody waits for it any more. */
  #hold(waiting: AbortController): Promise<void> | undefined {
    if (waiting.signal.aborted) return undefined
    return new Promise((resolve) => {
      this.#giveBack = resolve
    })
  }
}
