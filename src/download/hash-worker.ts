// What a worker does that hashes beside a page: it takes pieces in order, says how many it has taken, and answers the SHA-256 in the end. Its code travels
// as text (see hash-code.ts).
import { createSHA256 } from 'hash-wasm'

/** What is asked of it: the next piece, or the end. */
export type HashRequest = { piece: ArrayBuffer } | { end: true }

export type HashAnswer = { ready: true } | { taken: true } | { hex: string } | { failed: string }

/** The part of a worker's global scope that is used. */
interface Scope {
  postMessage(message: HashAnswer): void
  addEventListener(type: 'message', listener: (event: MessageEvent<HashRequest>) => void): void
}

export function serveHash(): void {
  const scope = globalThis as unknown as Scope
  createSHA256().then(
    (hasher) => {
      hasher.init()
      scope.addEventListener('message', ({ data }) => {
        if ('end' in data) return scope.postMessage({ hex: hasher.digest('hex') })
        hasher.update(new Uint8Array(data.piece))
        scope.postMessage({ taken: true })
      })
      scope.postMessage({ ready: true })
    },
    (error: unknown) => scope.postMessage({ failed: String(error) }),
  )
}
