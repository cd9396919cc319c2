// The arguments of one call on their way to the worker, and what stays here until it ends: signals, callbacks, sources and their errors.
import { InvalidOptionsError, InvalidSourceError } from '../errors.ts'
import { iterated } from '../files/pieces.ts'
import type { Progress } from '../types.ts'
import { encodeError } from './errors.ts'
import type { WireError } from './errors.ts'
import type { Flows } from './flows.ts'
import { isRequest } from '../download/target.ts'
import type { ClientMessage, WireArgument, WireItem, WireOptions, WireSource } from './protocol.ts'
import { crossing, stoppable } from './sources.ts'

/** What the calls of one client share. */
export interface ClientState {
  readonly flows: Flows
  readonly post: (message: ClientMessage) => void
  /** Numbers for calls, hooks and marks. */
  readonly count: () => number
  readonly progress: Map<number, (progress: Progress) => void>
  /** Errors of sources and reasons of signals as they are, to be rethrown when they come back. */
  readonly originals: Map<number, { error: unknown }>
}

export class Arguments {
  readonly #state: ClientState
  readonly #closers: (() => void)[] = []
  readonly transfer: Transferable[] = []

  constructor(state: ClientState) {
    this.#state = state
  }

  /** An argument as it is. */
  value(value: unknown): WireArgument {
    if (typeof value === 'function' || typeof value === 'symbol') {
      throw new InvalidOptionsError(
        `an argument is a ${typeof value}, which can't be sent to the worker: give options as an object`,
        'options',
      )
    }
    if (typeof value === 'object' && value !== null) checkOptions(value)
    return { kind: 'value', value }
  }

  /** Options of a method that takes a signal. It gets one in the worker even where none is given, so that the end of a client aborts it. */
  options(options: unknown): WireArgument {
    // What is no object at all is refused over there, as it would be without a worker.
    if (options !== undefined && (typeof options !== 'object' || options === null)) return this.value(options)
    return { kind: 'options', options: this.#options(options ?? {}, true) }
  }

  /** A URL as it is from here, or a Request taken apart. */
  url(url: unknown): WireArgument {
    if (isRequest(url)) {
      const { method, headers, credentials, redirect, referrerPolicy, integrity } = url
      if (url.mode === 'no-cors') throw new InvalidSourceError(`${url.url} is asked for with mode 'no-cors': its bytes can't be seen`)
      return { kind: 'request', url: url.url, init: { method, headers: [...headers], credentials, redirect, referrerPolicy, integrity } }
    }
    const text = typeof url === 'string' ? url : (url as { href?: unknown } | null | undefined)?.href
    if (typeof text !== 'string') return this.value(url)
    // Relative to this page, not to the worker's script.
    const base =
      (globalThis as { document?: { baseURI: string } }).document?.baseURI ?? (globalThis as { location?: { href: string } }).location?.href
    return this.value(URL.canParse(text, base) ? new URL(text, base).href : text)
  }

  source(data: unknown): WireArgument {
    return { kind: 'source', source: this.#source(data, this.transfer) }
  }

  /** Items pulled one by one, each source opened when it is reached. */
  items(items: unknown): WireArgument {
    if (!isIterable(items)) throw new InvalidSourceError('items are not iterable: pass an array or another (async) iterable of { data }')
    const flow = this.#send(
      () => stoppable((signal) => iterated<unknown>(items, signal)),
      (item) => {
        const transfer: Transferable[] = []
        if (typeof item !== 'object' || item === null) throw new InvalidSourceError('item is no object: pass { data } objects')
        const { data, ...rest } = item as { data?: unknown }
        const value: WireItem = { data: this.#source(data, transfer), rest: this.#options(rest, false) }
        return { value, transfer }
      },
    )
    return { kind: 'items', flow }
  }

  /** Lets go of everything. Sources that are not read to their end are cancelled. */
  close(): void {
    for (const close of this.#closers.splice(0)) close()
  }

  #source(data: unknown, transfer: Transferable[]): WireSource {
    const source = crossing(data)
    if ('value' in source) {
      transfer.push(...source.transfer)
      return { value: source.value }
    }
    const flow = this.#send(source.open, (bytes) => ({ value: bytes, transfer: [bytes.buffer] }))
    return source.headers === undefined ? { flow } : { flow, headers: source.headers }
  }

  #send<T>(from: () => AsyncIterator<T>, encode: (value: T) => { value: unknown; transfer: Transferable[] }): number {
    const { flows } = this.#state
    const flow = flows.send({ from, encode, encodeError: (error) => this.#remember(error) })
    this.#closers.push(() => flows.stop(flow))
    return flow
  }

  #options(options: object, always: boolean): WireOptions {
    const { signal, onProgress, ...values } = options as { signal?: unknown; onProgress?: unknown }
    checkOptions(values)
    if (signal !== undefined && !isSignal(signal)) throw new InvalidOptionsError("option 'signal' must be an AbortSignal", 'signal')
    if (onProgress !== undefined && !isCallback(onProgress))
      throw new InvalidOptionsError("option 'onProgress' must be a function", 'onProgress')
    signal?.throwIfAborted()
    if (!always && signal === undefined && onProgress === undefined) return { values }

    const { progress, post, count } = this.#state
    const hook = count()
    if (onProgress !== undefined) {
      progress.set(hook, (done) => {
        try {
          onProgress(done)
        } catch (error) {
          // As without a worker: what the callback throws ends the call with it.
          progress.delete(hook)
          post({ type: 'abort', hook, reason: this.#remember(error) })
        }
      })
      this.#closers.push(() => progress.delete(hook))
    }
    if (signal !== undefined) {
      const abort = (): void => post({ type: 'abort', hook, reason: this.#remember(signal.reason) })
      signal.addEventListener('abort', abort)
      this.#closers.push(() => signal.removeEventListener('abort', abort))
    }
    return { values, hook, signal: always || signal !== undefined, progress: onProgress !== undefined }
  }

  #remember(error: unknown): WireError {
    const { originals, count } = this.#state
    const mark = count()
    originals.set(mark, { error })
    this.#closers.push(() => originals.delete(mark))
    return { ...encodeError(error), mark }
  }
}

/** Must run before postMessage, whose DataCloneError would not say which option it was. */
function checkOptions(options: object): void {
  for (const [key, value] of Object.entries(options)) {
    try {
      structuredClone(value)
    } catch (cause) {
      throw new InvalidOptionsError(`option '${key}' can't be sent to the worker: it is no plain value`, key, { cause })
    }
  }
}

function isIterable(value: unknown): value is Iterable<unknown> | AsyncIterable<unknown> {
  return typeof value === 'object' && value !== null && (Symbol.asyncIterator in value || Symbol.iterator in value)
}

/** By its members, so that a signal of another realm (an iframe) counts too. */
function isSignal(value: unknown): value is AbortSignal {
  return typeof value === 'object' && value !== null && 'aborted' in value && 'addEventListener' in value
}

function isCallback(value: unknown): value is (progress: Progress) => void {
  return typeof value === 'function'
}
