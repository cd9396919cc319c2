// One client at the worker's end of its port: its calls run on the storage, and end with it.
import { locksBehind } from '../catalog/lending.ts'
import { ClosedError, NotSupportedError } from '../errors.ts'
import { PORT_WINDOW_CHUNKS } from '../limits.ts'
import type { Bytes, ContentStorage } from '../types.ts'
import { holdLock, watchLock } from './alive.ts'
import { decodeError, encodeError } from './errors.ts'
import type { WireError } from './errors.ts'
import { Flows } from './flows.ts'
import type { Inflow } from './inflow.ts'
import { EVENTS, METHODS } from './protocol.ts'
import type { ClientMessage, PortLike, ServerMessage, WireArgument, WireItem, WireOptions, WireSource } from './protocol.ts'
import { readingOf, streamOf } from './streams.ts'

/** What is served. Items of storeMany arrive as an async iterable, whatever they were. */
export type ServedStorage = ContentStorage & { setOnline?(online: boolean): void }

type Closers = (() => void)[]

export class Session {
  readonly #storage: ServedStorage
  readonly #port: PortLike
  readonly #flows: Flows
  readonly #controllers = new Map<number, AbortController>()
  /** Under which numbers the client keeps the originals of errors that it sent. */
  readonly #marks = new WeakMap<object, number>()
  readonly #over = new AbortController()

  constructor(storage: ServedStorage, port: PortLike, ended?: () => void) {
    this.#storage = storage
    this.#port = port
    this.#flows = new Flows((message, transfer) => this.#post(message, transfer))
    const { signal } = this.#over
    if (ended !== undefined) signal.addEventListener('abort', ended)
    listen(port, 'message', (event) => this.#handle((event as MessageEvent<ClientMessage>).data), signal)
    listen(port, 'close', () => this.end(), signal)
    for (const name of EVENTS) {
      listen(storage, name, (event) => this.#post({ type: 'event', name, detail: (event as CustomEvent<unknown>).detail }), signal)
    }
    signal.addEventListener(
      'abort',
      holdLock((lock) => this.#post({ type: 'alive', lock })),
    )
    port.start?.()
  }

  /** Aborts what this client began. */
  end(): void {
    if (this.#over.signal.aborted) return
    const reason = new ClosedError('the client that asked was closed')
    this.#over.abort(reason)
    for (const controller of this.#controllers.values()) controller.abort(reason)
    this.#flows.end(reason)
    this.#port.close?.()
  }

  #handle(message: ClientMessage): void {
    switch (message.type) {
      case 'call':
        return void this.#answer(message.id, message.method, message.args)
      case 'abort':
        return this.#controllers.get(message.hook)?.abort(this.#decodeError(message.reason))
      case 'online':
        return this.#storage.setOnline?.(message.online)
      case 'alive':
        return watchLock(message.lock, this.#over.signal, () => this.end())
      case 'close':
        return this.end()
      default:
        return this.#flows.handle(message)
    }
  }

  async #answer(id: number, method: string, args: WireArgument[]): Promise<void> {
    const closers: Closers = []
    const close = (): void => {
      for (const closer of closers.splice(0)) closer()
    }
    try {
      const value = await this.#invoke(
        method,
        args.map((argument) => this.#decode(argument, closers)),
      )
      if (value instanceof ReadableStream) return this.#answerStream(id, value as ReadableStream<Bytes>, close)
      const { transfer, ...result } = transferable(value)
      const locks = value instanceof Blob ? locksBehind(value) : []
      this.#post({ type: 'result', id, ...result, ...(locks.length === 0 ? {} : { locks }) }, transfer)
    } catch (error) {
      this.#post({ type: 'error', id, error: this.#encodeError(error) })
    }
    close()
  }

  #answerStream(id: number, stream: ReadableStream<Bytes>, ended: () => void): void {
    const sending = { from: readingOf(stream), encode: transferable, encodeError: (error: unknown) => this.#encodeError(error) }
    const flow = this.#flows.send(sending, ended)
    if (this.#over.signal.aborted) this.#flows.stop(flow)
    else this.#post({ type: 'stream', id, flow })
  }

  async #invoke(method: string, args: unknown[]): Promise<unknown> {
    if (!Object.hasOwn(METHODS, method)) {
      throw new NotSupportedError(`the storage in the worker has no ${method}(): its code is older than the page's`)
    }
    const storage = this.#storage as unknown as Record<string, (...args: unknown[]) => Promise<unknown>>
    const value = await storage[method]?.(...args)
    // ready() answers the storage itself, which stays here.
    return value === this.#storage ? undefined : value
  }

  #decode(argument: WireArgument, closers: Closers): unknown {
    switch (argument.kind) {
      case 'value':
        return argument.value
      case 'options':
        return this.#options(argument.options, closers)
      case 'source':
        return this.#source(argument.source, closers)
      case 'request':
        return new Request(argument.url, argument.init)
      case 'items':
        return this.#receive(argument.flow, closers, 1, (value) => {
          const { data, rest } = value as WireItem
          return { ...this.#options(rest, closers), data: this.#source(data, closers) }
        })
    }
  }

  #options({ values, hook, signal, progress }: WireOptions, closers: Closers): Record<string, unknown> {
    if (hook === undefined) return values
    const options = { ...values }
    if (signal === true) {
      const controller = new AbortController()
      this.#controllers.set(hook, controller)
      closers.push(() => this.#controllers.delete(hook))
      options.signal = controller.signal
    }
    if (progress === true) {
      options.onProgress = (done: Extract<ServerMessage, { type: 'progress' }>['progress']): void =>
        this.#post({ type: 'progress', hook, progress: done })
    }
    return options
  }

  #source(source: WireSource, closers: Closers): unknown {
    if ('value' in source) return source.value
    const bytes = this.#receive(source.flow, closers, PORT_WINDOW_CHUNKS, (value) => value as Bytes)
    // A Response is the one Source that brings a size and a media type along.
    return source.headers === undefined ? bytes : new Response(streamOf(bytes), { headers: source.headers })
  }

  #receive<T>(flow: number, closers: Closers, window: number, decode: (value: unknown) => T): Inflow<T> {
    closers.push(() => this.#flows.abandon(flow, new ClosedError('the call that read this ended')))
    return this.#flows.receive(flow, { window, decode, decodeError: (error) => this.#decodeError(error) })
  }

  /** Answers an object, since only that can be recognised when it comes back. */
  #decodeError(wire: WireError): unknown {
    const error = decodeError(wire)
    if (typeof error === 'object' && error !== null && wire.mark !== undefined) this.#marks.set(error, wire.mark)
    return error
  }

  #encodeError(error: unknown): WireError {
    return encodeError(error, (known) => this.#marks.get(known))
  }

  #post(message: ServerMessage, transfer: Transferable[] = []): void {
    if (!this.#over.signal.aborted) this.#port.postMessage(message, transfer)
  }
}

/** Bytes that fill their buffer are transferred; a view of more is copied first. */
function transferable(value: unknown): { value: unknown; transfer: Transferable[] } {
  if (!(value instanceof Uint8Array)) return { value, transfer: [] }
  const whole = value.byteLength === value.buffer.byteLength && value.buffer instanceof ArrayBuffer
  const bytes = whole ? (value as Bytes) : new Uint8Array(value)
  return { value: bytes, transfer: [bytes.buffer] }
}

function listen(
  target: Pick<PortLike, 'addEventListener' | 'removeEventListener'>,
  type: string,
  listener: (event: Event) => void,
  signal: AbortSignal,
): void {
  target.addEventListener(type, listener)
  signal.addEventListener('abort', () => target.removeEventListener(type, listener))
}
