// The pack worker: a Service behind postMessage. Subpath ipfs-kit-web/pack-worker, for applications that make the worker themselves.
import { createService, type Service } from './service.ts'

/** What is asked of the worker. Buffers are transferred both ways. */
export type Request = { [M in keyof Service]: { id: number; method: M; args: Parameters<Service[M]> } }[keyof Service]

export type Answer =
  { type: 'ipfs-kit:packs'; lock?: string } | { id: number; value: unknown } | { id: number; error: { name: string; message: string } }

/** The part of a worker's global scope that is used. */
interface Scope {
  postMessage(message: Answer, transfer: Transferable[]): void
  addEventListener(type: 'message', listener: (event: MessageEvent) => void): void
}

/**
 * Makes this dedicated worker a writer and reader of packs, for the storage whose option `createWorker` made it. The worker holds no data and no
 * settings, and one belongs to one storage.
 *
 * @example
 * // pack-worker.ts
 * import { servePacks } from 'ipfs-kit-web/pack-worker'
 * servePacks()
 *
 * // page.ts
 * const createWorker = () => new Worker(new URL('./pack-worker.ts', import.meta.url), { type: 'module' })
 * new IPFSKitStorage({ config: { createWorker } })
 */
export function servePacks(): void {
  const scope = globalThis as unknown as Scope
  const answer = answering(createService(), (message, transfer) => scope.postMessage(message, transfer))
  scope.addEventListener('message', (event) => void answer(event.data as Request))
  // Whoever asks for this lock gets it when this worker has ended, whichever way. Packs need Web Locks anyhow.
  const lock = `ipfs-kit:packs:${crypto.randomUUID()}`
  const greet = (): Promise<never> => {
    scope.postMessage({ type: 'ipfs-kit:packs', lock }, [])
    return new Promise(() => undefined)
  }
  navigator.locks.request(lock, greet).catch(() => undefined)
}

/** What answers requests by that service. */
export function answering(service: Service, post: Scope['postMessage']): (request: Request) => Promise<void> {
  return async (request) => {
    try {
      const method = service[request.method] as (...args: unknown[]) => Promise<unknown>
      const value = await method(...request.args)
      post({ id: request.id, value }, buffersIn(value))
    } catch (error) {
      const { name, message } = error as Error
      post({ id: request.id, error: { name, message } }, [])
    }
  }
}

/** The buffers in an answer, which is a list of them or of records that hold some. */
function buffersIn(value: unknown): ArrayBuffer[] {
  if (value instanceof ArrayBuffer) return [value]
  if (Array.isArray(value)) return value.flatMap(buffersIn)
  return typeof value === 'object' && value !== null && 'buffer' in value && value.buffer instanceof ArrayBuffer
    ? [value.buffer]
    : typeof value === 'object' && value !== null && 'buffers' in value
      ? buffersIn(value.buffers)
      : []
}
