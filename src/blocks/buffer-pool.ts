// Buffers of whole chunks that are used again. Measured: a fresh MiB costs more than copying into it, since the system hands it out page by page.
import { CHUNK_SIZE_BYTES } from '../limits.ts'
import type { Bytes } from '../types.ts'

export class BufferPool {
  readonly #free: ArrayBuffer[] = []
  readonly #limit: number

  /** At most so many buffers are kept. */
  constructor(limit: number) {
    this.#limit = limit
  }

  /** A chunk to write into, whatever it holds. */
  take(): Bytes {
    return new Uint8Array(this.#free.pop() ?? new ArrayBuffer(CHUNK_SIZE_BYTES))
  }

  /** Takes back a buffer that nobody uses any more. */
  give(buffer: ArrayBuffer): void {
    if (buffer.byteLength === CHUNK_SIZE_BYTES && this.#free.length < this.#limit) this.#free.push(buffer)
  }
}
