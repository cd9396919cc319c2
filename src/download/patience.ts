// When to ask a server again, and when to give up.
import { DownloadError } from '../errors.ts'
import { DOWNLOAD_RETRY_AFTER_MAX_MS, DOWNLOAD_RETRY_MAX_MS, DOWNLOAD_RETRY_MS, DOWNLOAD_TRIES } from '../limits.ts'

/** An answer that did not come, or ended too early: worth another try. */
export class Break extends Error {
  override readonly name = 'Break'
  readonly status: number | undefined
  readonly retryAfterMs: number | undefined

  constructor(message: string, facts: { status?: number; retryAfterMs?: number | undefined } = {}, options?: ErrorOptions) {
    super(message, options)
    this.status = facts.status
    this.retryAfterMs = facts.retryAfterMs
  }

  /** The server is there and wants less asked of it. */
  get isBusy(): boolean {
    return this.status === 429 || this.status === 503
  }
}

/** What came so far is of no use: all of it must be asked for anew, in parts or as a whole. */
export class Restart extends Error {
  override readonly name = 'Restart'
  readonly whole: boolean

  constructor(message: string, { whole }: { whole: boolean }, options?: ErrorOptions) {
    super(message, options)
    this.whole = whole
  }
}

/** Bytes that came, by whichever connection. */
export interface Gain {
  bytes: number
}

export class Patience {
  readonly #url: string
  readonly #gain: Gain
  #tries = 0
  #gained: number

  constructor(url: string, gain: Gain) {
    this.#url = url
    this.#gain = gain
    this.#gained = gain.bytes
  }

  /**
   * Waits until it is time to try again: longer each time that nothing came meanwhile, by chance in between, so that many do not come back at once.
   *
   * @throws DownloadError where that was tried often enough, or the server wants more time than anybody waits for
   */
  async wait(error: Break | Restart, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted()
    if (this.#gain.bytes > this.#gained) this.#tries = 0
    this.#gained = this.#gain.bytes
    this.#tries++
    const { status, retryAfterMs } = error instanceof Break ? error : {}
    const facts = { ...(status === undefined ? {} : { status }), ...(retryAfterMs === undefined ? {} : { retryAfterMs }) }
    if (retryAfterMs !== undefined && retryAfterMs > DOWNLOAD_RETRY_AFTER_MAX_MS) {
      const seconds = Math.ceil(retryAfterMs / 1000)
      throw new DownloadError(`${this.#url} wants to be asked again in ${seconds} s: try again then`, this.#url, facts, { cause: error })
    }
    // One that began goes on when the device is online again, however long that takes; whoever waits may abort.
    const isOffline = (globalThis.navigator as Navigator | undefined)?.onLine === false && this.#gained > 0
    if (this.#tries >= DOWNLOAD_TRIES && !isOffline) {
      const message = `${this.#url} could not be downloaded (${error.message}): try again when the network and its server work`
      throw new DownloadError(message, this.#url, facts, { cause: error })
    }
    const longest = Math.min(DOWNLOAD_RETRY_MAX_MS, DOWNLOAD_RETRY_MS * 2 ** (this.#tries - 1))
    await pause((retryAfterMs ?? 0) + Math.random() * longest, signal)
  }
}

/** Ends early where the device comes online. */
function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const end = (): void => {
      clearTimeout(timer)
      signal.removeEventListener('abort', end)
      globalThis.removeEventListener?.('online', end)
      if (signal.aborted) reject(signal.reason as Error)
      else resolve()
    }
    const timer = setTimeout(end, milliseconds)
    signal.addEventListener('abort', end)
    globalThis.addEventListener?.('online', end)
  })
}
