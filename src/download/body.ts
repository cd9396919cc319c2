// The body of an answer as it comes, in bounded time.
import { DOWNLOAD_STALL_MS } from '../limits.ts'
import { readerOf } from '../packs/body-reader.ts'
import { Break } from './patience.ts'

/** Pieces of a body, each of use until the next one is asked for. @throws Break where it ends early or stalls */
export async function* bodyOf({ body }: Response, signal: AbortSignal): AsyncGenerator<Uint8Array, void, undefined> {
  if (body === null) return
  const reader = readerOf(body)
  try {
    for (;;) {
      const piece = await inTime(reader.read(), signal).catch((cause: unknown) => {
        signal.throwIfAborted()
        throw cause instanceof Break ? cause : new Break('the connection broke off', {}, { cause })
      })
      if (piece === undefined) return
      yield piece
    }
  } finally {
    // What fails here has failed before.
    reader.cancel().catch(() => undefined)
  }
}

/** @throws Break where it takes too long, the signal's reason as soon as it aborts */
export function inTime<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = (): void => reject(signal.reason as Error)
    const timer = setTimeout(() => reject(new Break(`nothing came for ${DOWNLOAD_STALL_MS} ms`)), DOWNLOAD_STALL_MS)
    if (signal.aborted) abort()
    else signal.addEventListener('abort', abort)
    work.then(resolve, reject).finally(() => {
      clearTimeout(timer)
      signal.removeEventListener('abort', abort)
    })
  })
}
