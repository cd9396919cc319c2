// What a pack worker does, in this thread: for workers that must not make workers of their own.
import { createService } from './service.ts'
import { answering, type Answer, type Request } from './worker.ts'

/** The part of a Worker that is used. */
export interface WorkerLike {
  postMessage(message: Request, transfer: Transferable[]): void
  addEventListener(type: 'message', listener: (event: MessageEvent<Answer>) => void): void
  addEventListener(type: 'error', listener: (event: ErrorEvent) => void): void
  terminate(): void
}

/**
 * Whether making a worker may hang this thread for good. Inside a worker of Firefox (seen in ESR 153, with nothing of ours in the page) one `new Worker()`
 * in about a hundred never returns, whatever its script.
 */
export function workersMayHang(): boolean {
  return typeof document === 'undefined' && /\bFirefox\//.test(globalThis.navigator?.userAgent ?? '')
}

/** As a worker behaves, but that nothing is given away, and nothing happens beside this thread. */
export class InThread implements WorkerLike {
  readonly #service = createService()
  readonly #listeners: ((event: MessageEvent<Answer>) => void)[] = []
  readonly #answer = answering(this.#service, (data) => this.#tell(data))

  constructor() {
    queueMicrotask(() => this.#tell({ type: 'ipfs-kit:packs' }))
  }

  postMessage(request: Request): void {
    void this.#answer(request)
  }

  addEventListener(type: 'message' | 'error', listener: (event: never) => void): void {
    if (type === 'message') this.#listeners.push(listener as (event: MessageEvent<Answer>) => void)
  }

  terminate(): void {
    this.#service.end().catch(() => undefined)
  }

  #tell(data: Answer): void {
    for (const listener of this.#listeners) listener(new MessageEvent('message', { data }))
  }
}
