// The page's side: connect() and how a client finds the storage in a worker.
import { InvalidOptionsError, NotSupportedError } from '../errors.ts'
import type { ContentStorage } from '../types.ts'
import { holdLock } from './alive.ts'
import { StorageClient } from './client.ts'
import { decodeError } from './errors.ts'
import { doorMessage, PROTOCOL_VERSION } from './protocol.ts'
import type { AliveMessage, DoorMessage, PortLike } from './protocol.ts'

/** A SharedWorker, by what is used of it: the types of a worker's own project know none. */
export interface SharedWorkerLike extends EventTarget {
  readonly port: MessagePort
}

/**
 * The storage that `serve()` runs in a worker, as if it were here. Usable at once: calls wait until the worker serves.
 *
 * Results are transferred, arguments copied; sources are read here, piece by piece, as the worker asks for them. Errors keep class, fields
 * and cause; an error of a source and the reason of a signal come back as the very same object. `close()` ends this client only. One worker
 * takes any number of clients, and messages of the application's own beside them: those whose `type` does not begin with 'ipfs-kit:'.
 *
 * A worker that can't be loaded, or throws before it serves, rejects every call with NotSupportedError; one that dies later with ClosedError,
 * which takes Web Locks to be noticed (a secure context).
 *
 * A MessagePort must lead to a port that the worker serves: `worker.postMessage({ type: 'ipfs-kit:port' }, [port2])`, then `connect(port1)`.
 *
 * @example
 * const storage = connect(new Worker(new URL('./storage.worker.ts', import.meta.url), { type: 'module' }))
 * await storage.store('hello') //=> 'bafkreibm6jg3ux5qumhcn2b3flc3tyu6dmlb4xa7u5bf44yegnrjhc4yeq'
 */
export function connect(worker: Worker | SharedWorkerLike | MessagePort): ContentStorage {
  if (!isWorker(worker)) throw new InvalidOptionsError('connect() takes a Worker, a SharedWorker or a MessagePort', 'worker')
  const { port1, port2 } = new MessageChannel()
  const closers: (() => void)[] = []
  const client = new StorageClient(port1, closers)
  closers.push(greet(worker, port2, (error) => client.fail(error)))
  // A dedicated worker dies with its page by itself.
  if (!('terminate' in worker)) closers.push(holdLock((lock) => port1.postMessage({ type: 'alive', lock } satisfies AliveMessage)))
  return client
}

function isWorker(worker: unknown): boolean {
  return typeof worker === 'object' && worker !== null && 'addEventListener' in worker && ('postMessage' in worker || 'port' in worker)
}

/** Gives `port` to the storage as soon as it answers at the worker's door. Answers how to give up. */
function greet(worker: Worker | SharedWorkerLike | MessagePort, port: MessagePort, fail: (error: Error) => void): () => void {
  const door: PortLike = 'port' in worker ? worker.port : worker
  const send = (message: DoorMessage, transfer: Transferable[] = []): void => door.postMessage(message, transfer)
  const stop = (): void => {
    door.removeEventListener('message', answered)
    worker.removeEventListener('error', failed)
  }
  const answered = (event: Event): void => {
    const message = doorMessage(event)?.message
    if (message?.type !== 'ipfs-kit:ready') return
    stop()
    if (message.error !== undefined) fail(decodeError(message.error) as Error)
    else if (message.version === PROTOCOL_VERSION) send({ type: 'ipfs-kit:connect' }, [port])
    else fail(new NotSupportedError('the worker runs another version of this library than the page: close its pages, then reload this one'))
  }
  const failed = (event: Event): void => {
    stop()
    const { error, message } = event as Partial<ErrorEvent>
    const cause: unknown = error ?? new Error(message ?? 'its script could not be loaded')
    fail(new NotSupportedError(`the worker could not be started: ${message ?? 'see the cause'}`, { cause }))
  }
  door.addEventListener('message', answered)
  worker.addEventListener('error', failed)
  door.start?.()
  send({ type: 'ipfs-kit:hello' })
  return stop
}
