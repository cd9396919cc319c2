// Sources on their way to the worker: what crosses in one message, and what is read here and pulled piece by piece.
import { InvalidSourceError } from '../errors.ts'
import { openSource, pieces } from '../files/pieces.ts'
import type { OpenSource } from '../files/pieces.ts'
import { PORT_CHUNK_BYTES } from '../limits.ts'
import type { Bytes } from '../types.ts'

/** What the store reads from a Response beside its body. */
const HEADERS = ['content-type', 'content-length', 'content-encoding']

type Crossing = { value: unknown; transfer: Transferable[] } | { open: () => AsyncIterator<Bytes>; headers?: [string, string][] }

/**
 * Nothing is opened here. A small buffer is copied now, a large one piece by piece while it is pulled; neither is ever detached.
 *
 * @throws InvalidSourceError as the store does
 */
export function crossing(source: unknown): Crossing {
  const opened = openSource(source)
  switch (opened.kind) {
    case 'string':
      return { value: opened.value, transfer: [] }
    case 'blob':
    case 'handle':
      return { value: cloneable(opened.value), transfer: [] }
    case 'bytes': {
      const size = opened.value.byteLength
      if (size > PORT_CHUNK_BYTES) return { open: () => portable(opened), headers: [['content-length', String(size)]] }
      const copy = new Uint8Array(opened.value)
      return { value: copy, transfer: [copy.buffer] }
    }
    case 'response': {
      const { headers } = opened.value
      return {
        open: () => portable(opened),
        headers: HEADERS.flatMap((name) => (headers.has(name) ? [[name, headers.get(name) ?? '']] : [])),
      }
    }
    case 'stream':
    case 'iterable':
      return { open: () => portable(opened) }
  }
}

/** An iterator whose `return()` aborts what it reads, since a generator waits in `return()` for a source that never answers. */
export function stoppable<T>(open: (signal: AbortSignal) => AsyncGenerator<T, void, undefined>): AsyncIterator<T, void> {
  const stop = new AbortController()
  const generator = open(stop.signal)
  return {
    next: () => generator.next(),
    return() {
      stop.abort()
      return generator.return()
    },
  }
}

/** Copies of at most PORT_CHUNK_BYTES, which may be transferred: what a source gives is its owner's. */
function portable(opened: OpenSource): AsyncIterator<Bytes> {
  return stoppable(async function* (signal) {
    for await (const piece of pieces(opened, signal)) {
      const size = piece.byteLength
      for (let offset = 0; offset < size; offset += PORT_CHUNK_BYTES) {
        if (piece.byteLength !== size) throw new InvalidSourceError('buffer was detached or shrunk while it was read')
        yield new Uint8Array(piece.subarray(offset, offset + PORT_CHUNK_BYTES))
      }
    }
  })
}

/** A double with the right methods passes for a handle until it is to be cloned. */
function cloneable<T>(value: T): T {
  try {
    structuredClone(value)
    return value
  } catch (cause) {
    throw new InvalidSourceError("source can't be sent to the worker: pass its bytes, a Blob or a stream", { cause })
  }
}
