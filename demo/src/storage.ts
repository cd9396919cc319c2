// Starts the storage's worker: the page's client of it, and ports through which other workers get one of their own.
import type { ContentStorage } from 'ipfs-kit-web'
import { connect } from 'ipfs-kit-web/worker'

export interface OpenedStorage {
  storage: ContentStorage
  /** For another worker, which calls connect() on it. */
  openPort: () => MessagePort
}

/** `?fallback` in the address: never start Helia. The options are literals because Vite reads them at build time. */
export function openStorage(): OpenedStorage {
  const worker = new URLSearchParams(location.search).has('fallback')
    ? new Worker(new URL('./storage-worker.ts', import.meta.url), { type: 'module', name: 'storage-fallback' })
    : new Worker(new URL('./storage-worker.ts', import.meta.url), { type: 'module', name: 'storage' })
  const openPort = (): MessagePort => {
    const { port1, port2 } = new MessageChannel()
    worker.postMessage({ type: 'ipfs-kit:port' }, [port2])
    return port1
  }
  return { storage: connect(worker), openPort }
}
