// Reading the body of an answer, for whoever downloads: this context or a pack worker.
import { CHUNK_SIZE_BYTES } from '../limits.ts'

export interface BodyReader {
  /** A piece, of use until the next one is asked for; undefined at the end. */
  read: () => Promise<Uint8Array<ArrayBuffer> | undefined>
  cancel: () => Promise<void>
}

/** Into the same buffer each time, where the engine has bodies of bytes: a fresh one a piece costs more than copying out of it. */
export function readerOf(body: ReadableStream<Uint8Array<ArrayBuffer>>): BodyReader {
  let reader: ReadableStreamBYOBReader
  try {
    reader = body.getReader({ mode: 'byob' })
  } catch {
    const plain = body.getReader()
    return { read: async () => (await plain.read()).value, cancel: () => plain.cancel() }
  }
  let buffer = new ArrayBuffer(CHUNK_SIZE_BYTES)
  return {
    async read() {
      const { done, value } = await reader.read(new Uint8Array(buffer))
      if (done || value === undefined) return undefined
      buffer = value.buffer
      return value
    },
    cancel: () => reader.cancel(),
  }
}
