// The calls of one client: what was asked, what is under way, and what the worker answers.
import { holdForLife } from '../catalog/lending.ts'
import { PORT_WINDOW_CHUNKS } from '../limits.ts'
import type { Bytes } from '../types.ts'
import { watchLock } from './alive.ts'
import { Arguments } from './arguments.ts'
import type { ClientState } from './arguments.ts'
import { decodeError } from './errors.ts'
import type { WireError } from './errors.ts'
import { Flows } from './flows.ts'
import type { ClientMessage, EventName, Method, PortLike, ServerMessage, WireArgument } from './protocol.ts'
import { streamOf } from './streams.ts'

interface Pending {
  args: Arguments
  resolve: (value: unknown) => void
  reject: (error: unknown) => void
}

/** What a client hears beside answers. */
interface Heard {
  event: (name: EventName, detail: unknown) => void
  /** The worker died. */
  death: () => void
}

export class Calls {
  readonly #port: PortLike
  readonly #listener: (event: Event) => void
  readonly #heard: Heard
  readonly #pending = new Map<number, Pending>()
  readonly #state: ClientState
  #count = 0
  /** Aborts with the error that later calls reject with. */
  readonly #over = new AbortController()

  constructor(port: PortLike, heard: Heard) {
    const post = (message: ClientMessage, transfer: Transferable[] = []): void => port.postMessage(message, transfer)
    this.#port = port
    this.#heard = heard
    this.#state = { flows: new Flows(post), post, count: () => this.#count++, progress: new Map(), originals: new Map() }
    this.#listener = (event) => this.#handle((event as MessageEvent<ServerMessage>).data)
    port.addEventListener('message', this.#listener)
    port.start?.()
  }

  /** @throws why there are no more calls */
  check(): void {
    this.#over.signal.throwIfAborted()
  }

  /**
   * Sends one call. Its arguments are copied before this returns. The answer's type is the contract's word for what `method` answers.
   *
   * @throws what the storage throws, and errors of sources and reasons of signals as they are
   */
  async call<T>(method: Method, encode: (args: Arguments) => WireArgument[]): Promise<T> {
    this.check()
    const args = new Arguments(this.#state)
    const id = this.#count++
    try {
      const call: ClientMessage = { type: 'call', id, method, args: encode(args) }
      this.#port.postMessage(call, args.transfer)
    } catch (error) {
      args.close()
      throw error
    }
    return new Promise<T>((resolve, reject) => {
      this.#pending.set(id, { args, resolve: resolve as (value: unknown) => void, reject })
    })
  }

  tellOnline(online: boolean): void {
    this.#state.post({ type: 'online', online })
  }

  /** Tells the worker that this client ends. */
  leave(): void {
    if (!this.#over.signal.aborted) this.#state.post({ type: 'close' })
  }

  /** Rejects what is under way; streams fail, sources are cancelled. */
  end(error: Error): void {
    if (this.#over.signal.aborted) return
    this.#over.abort(error)
    for (const { args, reject } of this.#pending.values()) {
      args.close()
      reject(error)
    }
    this.#pending.clear()
    this.#state.flows.end(error)
    this.#port.removeEventListener('message', this.#listener)
    this.#port.close?.()
  }

  #handle(message: ServerMessage): void {
    switch (message.type) {
      case 'result':
        return this.#settle(message.id, ({ args, resolve, reject }) => {
          args.close()
          const { value, locks = [] } = message
          if (locks.length === 0) resolve(value)
          // The worker holds them too, until here they are held.
          else Promise.all(locks.map(holdForLife)).then(() => resolve(value), reject)
        })
      case 'stream':
        // The signal and the callbacks of a stream are in force until it ends.
        return this.#settle(message.id, ({ args, resolve }) => resolve(this.#stream(message.flow, args)))
      case 'error':
        return this.#settle(message.id, ({ args, reject }) => {
          reject(this.#decodeError(message.error))
          args.close()
        })
      case 'progress':
        return this.#state.progress.get(message.hook)?.(message.progress)
      case 'event':
        return this.#heard.event(message.name, message.detail)
      case 'alive':
        return watchLock(message.lock, this.#over.signal, this.#heard.death)
      default:
        return this.#state.flows.handle(message)
    }
  }

  #settle(id: number, settle: (pending: Pending) => void): void {
    const pending = this.#pending.get(id)
    this.#pending.delete(id)
    if (pending !== undefined) settle(pending)
  }

  #stream(flow: number, args: Arguments): ReadableStream<Bytes> {
    const receiving = {
      decode: (value: unknown) => value as Bytes,
      decodeError: (error: WireError) => this.#decodeError(error),
      window: PORT_WINDOW_CHUNKS,
    }
    return streamOf(this.#state.flows.receive(flow, receiving, () => args.close()))
  }

  #decodeError(error: WireError): unknown {
    return decodeError(error, (mark) => this.#state.originals.get(mark))
  }
}
