// The worker's side: serve() and the doors at which clients are met.
import { NotSupportedError } from '../errors.ts'
import { IPFSKitStorage } from '../ipfs-kit-storage.ts'
import type { StorageOptions } from '../types.ts'
import { serveStorage } from './door.ts'
import type { ServedStorage } from './session.ts'
import type { PortLike } from './protocol.ts'

/** What is asked of a worker's global scope; TypeScript's libs for pages and workers exclude each other. */
type Scope = PortLike & { document?: unknown; onconnect?: unknown; importScripts?: unknown; clients?: unknown }

/**
 * Opens one storage and serves it to every client that connects to this dedicated or shared worker. Closing the last client leaves it running.
 *
 * In a shared worker, call it while the script first runs and before any `await`: the event that brings a client's port is not repeated. In a
 * dedicated worker it may be called later too.
 *
 * @throws NotSupportedError anywhere else. Whatever the storage's constructor throws (InvalidOptionsError) rejects the clients' calls.
 *
 * @example
 * import { serve } from 'ipfs-kit-web/worker'
 * serve({ cacheDir: 'models' })
 */
export function serve(options?: StorageOptions): void {
  const scope = globalThis as unknown as Scope
  if ('onconnect' in scope) {
    const storage = open(options)
    scope.addEventListener('connect', (event) => {
      const [port] = (event as MessageEvent).ports
      if (port !== undefined) serveStorage(storage, port)
    })
  } else if (typeof scope.postMessage === 'function' && 'importScripts' in scope && !('clients' in scope)) {
    serveStorage(open(options), scope)
  } else {
    throw new NotSupportedError('serve() runs in a dedicated or shared worker: use IPFSKitStorage itself here')
  }
}

function open(options: StorageOptions | undefined): ServedStorage | Error {
  try {
    return new IPFSKitStorage(options)
  } catch (error) {
    return error instanceof Error ? error : new Error(String(error))
  }
}
