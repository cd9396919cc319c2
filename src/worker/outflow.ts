// One flow at its sending end: reads an iterator as far as the other side has asked, and no further.
import type { WireError } from './errors.ts'
import type { FlowMessage } from './protocol.ts'

export type PostFlow = (message: FlowMessage, transfer: Transferable[]) => void

/** What is sent, and how. */
export interface Sending<T> {
  /** A function is called at the first pull and not before; an iterator is closed even if nothing was ever pulled. */
  from: AsyncIterator<T> | (() => AsyncIterator<T>)
  encode: (value: T) => { value: unknown; transfer: Transferable[] }
  encodeError: (error: unknown) => WireError
  /** Called once, whichever way the flow ends. */
  ended: () => void
}

export class Outflow<T> {
  readonly #flow: number
  readonly #sending: Sending<T>
  readonly #post: PostFlow
  #iterator: AsyncIterator<T> | undefined
  #credit = 0
  #running = false
  #over = false

  constructor(flow: number, sending: Sending<T>, post: PostFlow) {
    this.#flow = flow
    this.#sending = sending
    this.#post = post
    if (typeof sending.from !== 'function') this.#iterator = sending.from
  }

  pull(count: number): void {
    this.#credit += count
    if (!this.#running && !this.#over) void this.#pump()
  }

  /** Closes the iterator, unless it has ended. */
  stop(): void {
    if (this.#over) return
    this.#end()
    this.#close()
  }

  async #pump(): Promise<void> {
    this.#running = true
    // Whether the value, not the iterator, is what fails: then the iterator must be closed.
    let handing = false
    try {
      const { from, encode } = this.#sending
      const iterator = (this.#iterator ??= typeof from === 'function' ? from() : from)
      while (this.#credit > 0) {
        this.#credit--
        const result = await iterator.next()
        if (this.#over) return
        if (result.done === true) {
          this.#end()
          return this.#post({ type: 'done', flow: this.#flow }, [])
        }
        handing = true
        const { value, transfer } = encode(result.value)
        this.#post({ type: 'chunk', flow: this.#flow, value }, transfer)
        handing = false
      }
    } catch (error) {
      if (this.#over) return
      // Must be encoded before `ended` forgets what belongs to the flow.
      const encoded = this.#sending.encodeError(error)
      this.#end()
      if (handing) this.#close()
      this.#post({ type: 'fail', flow: this.#flow, error: encoded }, [])
    } finally {
      this.#running = false
    }
  }

  #end(): void {
    this.#over = true
    this.#sending.ended()
  }

  #close(): void {
    // Nobody is left to be told that closing failed: the other side went away, or hears what went wrong before.
    void Promise.resolve(this.#iterator?.return?.()).catch(() => undefined)
  }
}
