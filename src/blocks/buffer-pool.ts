// Buffers that are used again. Measured: a fresh MiB costs more than copying into it, since the system hands it out page by page.
import type { Bytes } from '../types.ts'

export class BufferPool {
  readonly bufferBytes: number
  readonly #free: ArrayBuffer[] = []
  readonly #limit: number

  /** Buffers of one size, of which at most `limit` are kept. */
  constructor(bufferBytes: number, limit: number) {
    this.bufferBytes = bufferBytes
    this.#limit = limit
  }

  /** A buffer to write into, whatever it holds. */
  take(): Bytes {
    return new Uint8Array(this.#free.pop() ?? new ArrayBuffer(this.bufferBytes))
  }

  /** Takes back a buffer that nobody uses any more. One of another size is let go of, and so is one that was given away. */
  give(buffer: ArrayBuffer): void {
    if (buffer.byteLength === this.bufferBytes && this.#free.length < this.#limit && !this.#free.includes(buffer)) this.#free.push(buffer)
  }
}
