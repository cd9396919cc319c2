// Where clients are met: a worker's global scope, a shared worker's port, or a port handed over. Other traffic there is none of ours.
import { encodeError } from './errors.ts'
import { doorMessage, PROTOCOL_VERSION } from './protocol.ts'
import type { DoorMessage, PortLike } from './protocol.ts'
import { Session } from './session.ts'
import type { ServedStorage } from './session.ts'

/** Serves a storage at one door; an Error is what every client is told instead. Answers how to stop, which ends the clients met there. */
export function serveStorage(storage: ServedStorage | Error, door: PortLike): () => void {
  const stops = new Set<() => void>()
  const ready: DoorMessage = { type: 'ipfs-kit:ready', version: PROTOCOL_VERSION }
  if (storage instanceof Error) ready.error = encodeError(storage)

  const met = (event: Event): void => {
    const { message, port } = doorMessage(event) ?? {}
    if (message?.type === 'ipfs-kit:hello') door.postMessage(ready, [])
    else if (port === undefined) return
    else if (message?.type === 'ipfs-kit:port') stops.add(serveStorage(storage, port))
    else if (message?.type === 'ipfs-kit:connect' && !(storage instanceof Error)) meet(storage, port)
  }
  const meet = (served: ServedStorage, port: PortLike): void => {
    const session = new Session(served, port, () => stops.delete(stop))
    const stop = (): void => session.end()
    stops.add(stop)
  }

  door.addEventListener('message', met)
  door.start?.()
  door.postMessage(ready, [])
  return () => {
    door.removeEventListener('message', met)
    for (const stop of stops) stop()
  }
}
