// Flows: sequences of values pulled through a port with back-pressure, the same in both directions. Streams, sources and lists of items.
import type { WireError } from './errors.ts'
import type { FlowMessage } from './protocol.ts'

/** How a flow is sent. */
export interface Sending<T> {
  /** A function is called at the first pull and not before; an iterator is closed even if nothing was ever pulled. */
  from: AsyncIterator<T> | (() => AsyncIterator<T>)
  encode: (value: T) => { value: unknown; transfer: Transferable[] }
  encodeError: (error: unknown) => WireError
  /** Called once, whichever way the flow ends. */
  ended?: () => void
}

/** How a flow is received. */
export interface Receiving<T> {
  decode: (value: unknown) => T
  decodeError: (error: WireError) => unknown
  /** Values under way and waiting at once. 1, the default, asks for one only when it is wanted. */
  window?: number
  /** Called once, whichever way the flow ends. */
  ended?: () => void
}

/** A flow at its receiving end. `return()` takes effect at once, even while `next()` waits for a source that never answers. */
export interface Inflow<T> extends AsyncIterableIterator<T> {
  next(): Promise<IteratorResult<T, undefined>>
  return(): Promise<IteratorResult<T, undefined>>
}

/** How a flow ended: with an error, or well. */
type End = { error: unknown } | { error?: never }
type Post = (message: FlowMessage, transfer: Transferable[]) => void
interface Outgoing {
  pull(count: number): void
  stop(): void
}
interface Incoming {
  chunk(value: unknown): void
  /** Takes effect after what has arrived was read. */
  finish(how: End): void
  /** Takes effect at once. */
  abandon(how: End): void
  decodeError: (error: WireError) => unknown
}

/** The flows of one side of a port. */
export class Flows {
  readonly #post: Post
  readonly #outgoing = new Map<number, Outgoing>()
  readonly #incoming = new Map<number, Incoming>()
  #count = 0

  constructor(post: Post) {
    this.#post = post
  }

  /** Offers a flow; answers its number, which the receiver must be told. */
  send<T>(sending: Sending<T>): number {
    const flow = this.#count++
    const ended = (): void => {
      this.#outgoing.delete(flow)
      sending.ended?.()
    }
    this.#outgoing.set(flow, outgoing(flow, { ...sending, ended }, this.#post))
    return flow
  }

  /** Ends a flow that is sent as if the receiver had cancelled it. */
  stop(flow: number): void {
    this.#outgoing.get(flow)?.stop()
  }

  receive<T>(flow: number, receiving: Receiving<T>): Inflow<T> {
    const ended = (): void => {
      this.#incoming.delete(flow)
      receiving.ended?.()
    }
    const { inflow, incoming } = receiver(flow, { ...receiving, ended }, this.#post)
    this.#incoming.set(flow, incoming)
    return inflow
  }

  /** Lets the receiving end of a flow fail without telling the sender. */
  abandon(flow: number, error: unknown): void {
    this.#incoming.get(flow)?.abandon({ error })
  }

  /** Ends everything: what is sent stops, what is received fails. */
  end(error: unknown): void {
    for (const flow of this.#outgoing.values()) flow.stop()
    for (const flow of this.#incoming.values()) flow.abandon({ error })
  }

  /** A message about a flow that ended meanwhile is late, not wrong. */
  handle(message: FlowMessage): void {
    const incoming = this.#incoming.get(message.flow)
    if (message.type === 'pull') this.#outgoing.get(message.flow)?.pull(message.count)
    else if (message.type === 'cancel') this.#outgoing.get(message.flow)?.stop()
    else if (message.type === 'chunk') incoming?.chunk(message.value)
    else if (message.type === 'done') incoming?.finish({})
    else incoming?.finish({ error: incoming.decodeError(message.error) })
  }
}

function outgoing<T>(flow: number, { from, encode, encodeError, ended }: Sending<T>, post: Post): Outgoing {
  let iterator = typeof from === 'function' ? undefined : from
  let credit = 0
  let running = false
  let over = false

  const end = (): void => {
    over = true
    ended?.()
  }
  const close = (): void => {
    // Nobody is left to be told that closing failed: the receiver went away or was told what went wrong before.
    void Promise.resolve(iterator?.return?.()).catch(() => undefined)
  }
  const pump = async (): Promise<void> => {
    running = true
    let handing = false
    try {
      iterator ??= typeof from === 'function' ? from() : from
      while (credit > 0 && !over) {
        credit--
        const result = await iterator.next()
        if (over) return
        if (result.done === true) {
          end()
          post({ type: 'done', flow }, [])
          return
        }
        handing = true
        const { value, transfer } = encode(result.value)
        post({ type: 'chunk', flow, value }, transfer)
        handing = false
      }
    } catch (error) {
      if (over) return
      end()
      if (handing) close()
      post({ type: 'fail', flow, error: encodeError(error) }, [])
    } finally {
      running = false
    }
  }

  return {
    pull(count) {
      credit += count
      if (!running && !over) void pump()
    },
    stop() {
      if (over) return
      end()
      close()
    },
  }
}

function receiver<T>(flow: number, receiving: Receiving<T>, post: Post): { inflow: Inflow<T>; incoming: Incoming } {
  const { decode, decodeError, window = 1, ended } = receiving
  const arrived: T[] = []
  const waiting: { resolve: (result: IteratorResult<T, undefined>) => void; reject: (error: unknown) => void }[] = []
  let requested = 0
  let over: End | undefined

  const pull = (): void => {
    const count = waiting.length + window - 1 - requested - arrived.length
    if (over !== undefined || count <= 0) return
    requested += count
    post({ type: 'pull', flow, count }, [])
  }
  const settle = (how: End): void => {
    for (const { resolve, reject } of waiting.splice(0)) {
      if ('error' in how) reject(how.error)
      else resolve({ done: true, value: undefined })
    }
  }
  const end = (how: End): void => {
    over = how
    settle(how)
    ended?.()
  }

  const inflow: Inflow<T> = {
    [Symbol.asyncIterator]() {
      return this
    },
    next() {
      const value = arrived.shift()
      if (value !== undefined) {
        pull()
        return Promise.resolve({ done: false, value })
      }
      const result = new Promise<IteratorResult<T, undefined>>((resolve, reject) => waiting.push({ resolve, reject }))
      // Whoever still waits when a flow is abandoned may have gone as well.
      result.catch(() => undefined)
      if (over === undefined) pull()
      else settle(over)
      return result
    },
    return() {
      if (over === undefined) {
        arrived.length = 0
        end({})
        post({ type: 'cancel', flow }, [])
      }
      return Promise.resolve({ done: true, value: undefined })
    },
  }
  const incoming: Incoming = {
    decodeError,
    chunk(value) {
      requested--
      const next = waiting.shift()
      if (next === undefined) arrived.push(decode(value))
      else next.resolve({ done: false, value: decode(value) })
    },
    finish: end,
    abandon(how) {
      arrived.length = 0
      end(how)
    },
  }
  return { inflow, incoming }
}
