// One flow at its receiving end: an iterable that asks the other side for more as it is read.
import type { WireError } from './errors.ts'
import type { PostFlow } from './outflow.ts'

/** How what arrives is received. */
export interface Receiving<T> {
  decode: (value: unknown) => T
  decodeError: (error: WireError) => unknown
  /** Values under way and waiting at once. 1 asks for one only when it is wanted. */
  window: number
  /** Called once, whichever way the flow ends. */
  ended: () => void
}

/** How a flow ended: with an error, or well. */
type End = { error: unknown } | { error?: never }

interface Waiting<T> {
  resolve: (result: IteratorResult<T, undefined>) => void
  reject: (error: unknown) => void
}

const DONE = { done: true, value: undefined } as const

export class Inflow<T> implements AsyncIterableIterator<T, undefined> {
  readonly #flow: number
  readonly #receiving: Receiving<T>
  readonly #post: PostFlow
  readonly #arrived: T[] = []
  readonly #waiting: Waiting<T>[] = []
  #requested = 0
  #over: End | undefined

  constructor(flow: number, receiving: Receiving<T>, post: PostFlow) {
    this.#flow = flow
    this.#receiving = receiving
    this.#post = post
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  next(): Promise<IteratorResult<T, undefined>> {
    const value = this.#arrived.shift()
    if (value !== undefined) {
      this.#pull()
      return Promise.resolve({ done: false, value })
    }
    const result = new Promise<IteratorResult<T, undefined>>((resolve, reject) => this.#waiting.push({ resolve, reject }))
    // Whoever waits when a flow is abandoned may have gone as well.
    result.catch(() => undefined)
    if (this.#over === undefined) this.#pull()
    else this.#settle(this.#over)
    return result
  }

  /** Takes effect at once, even while `next()` waits for a source that never answers. */
  return(): Promise<IteratorResult<T, undefined>> {
    if (this.#over === undefined) {
      this.abandon({})
      this.#post({ type: 'cancel', flow: this.#flow }, [])
    }
    return Promise.resolve(DONE)
  }

  /** Takes what the other side sent. */
  chunk(value: unknown): void {
    this.#requested--
    const decoded = this.#receiving.decode(value)
    const next = this.#waiting.shift()
    if (next === undefined) this.#arrived.push(decoded)
    else next.resolve({ done: false, value: decoded })
  }

  /** Ends as the other side says, after what has arrived was read. */
  finish(error?: WireError): void {
    this.#end(error === undefined ? {} : { error: this.#receiving.decodeError(error) })
  }

  /** Ends at once, without telling the other side. */
  abandon(how: End): void {
    this.#arrived.length = 0
    this.#end(how)
  }

  #pull(): void {
    const count = this.#waiting.length + this.#receiving.window - 1 - this.#requested - this.#arrived.length
    if (this.#over !== undefined || count <= 0) return
    this.#requested += count
    this.#post({ type: 'pull', flow: this.#flow, count }, [])
  }

  #end(how: End): void {
    this.#over = how
    this.#settle(how)
    this.#receiving.ended()
  }

  #settle(how: End): void {
    for (const { resolve, reject } of this.#waiting.splice(0)) {
      if ('error' in how) reject(how.error)
      else resolve(DONE)
    }
  }
}
