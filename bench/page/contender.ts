// What a contender can do, as the page of the benchmark asks it. What one lacks is left out and shows as a gap in the tables.
export type Bytes = Uint8Array<ArrayBuffer>
/** Reads one range. */
export type ReadRange = (offset: number, length: number) => Promise<Bytes>

export interface Contender {
  /** Answers the key under which the contender finds the content again. `name` is for those that want a name and can't make one. */
  store: (name: string, bytes: Bytes) => Promise<string>
  /** All bytes, as the contender gives them by default. Those that hash, check. */
  retrieve: (key: string, size: number) => Promise<Bytes>
  /** All bytes without a check, where a check can be left out. */
  retrieveUnverified?: (key: string, size: number) => Promise<Bytes>
  storeStream?: (name: string, stream: ReadableStream<Bytes>, size: number) => Promise<string>
  /** Of a server, as it is to be done with a large file. */
  download?: (url: string) => Promise<string>
  stream?: (key: string) => Promise<ReadableStream<Bytes>>
  /** What reads one range after another. Making it is part of what is timed. */
  ranges?: (key: string) => Promise<ReadRange>
  blob?: (key: string) => Promise<Blob>
  pin?: (key: string) => Promise<void>
  unpin?: (key: string) => Promise<void>
  delete?: (key: string) => Promise<void>
  /** Frees what `delete` left. */
  gc?: () => Promise<void>
  /** Stores many small items; the keys in order. */
  storeSmall?: (items: readonly Bytes[]) => Promise<string[]>
  retrieveSmall?: (key: string) => Promise<Bytes>
}

/** One contiguous copy of what comes in parts. */
export async function joined(parts: AsyncIterable<Uint8Array>, size: number): Promise<Bytes> {
  const bytes = new Uint8Array(size)
  let at = 0
  for await (const part of parts) {
    bytes.set(part, at)
    at += part.byteLength
  }
  if (at !== size) throw new Error(`${at} of ${size} bytes came`)
  return bytes
}

/** What ReadableStream.from() would answer, which Chromium does not have. */
export function streamOf(parts: AsyncIterable<Uint8Array>): ReadableStream<Bytes> {
  const iterator = parts[Symbol.asyncIterator]()
  return new ReadableStream<Bytes>({
    async pull(controller) {
      const part = await iterator.next()
      if (part.done === true) controller.close()
      else controller.enqueue(part.value as Bytes)
    },
    async cancel() {
      await iterator.return?.()
    },
  })
}

/** The content, where there must be some. */
export function present<T>(found: T | null | undefined, what: string): T {
  if (found === null || found === undefined) throw new Error(`${what} is not there any more`)
  return found
}

/** A stream of copies of pieces, for contenders that take streams only and detach what they get. */
export function streamOfCopies(bytes: Bytes, pieceBytes: number): ReadableStream<Bytes> {
  let at = 0
  return new ReadableStream<Bytes>({
    pull(controller) {
      if (at >= bytes.byteLength) return controller.close()
      controller.enqueue(bytes.slice(at, at + pieceBytes))
      at += pieceBytes
    },
  })
}

/** Ranges of a Blob, which the browser reads by itself. */
export function rangesOf(blob: Blob): ReadRange {
  return async (offset, length) => new Uint8Array(await blob.slice(offset, offset + length).arrayBuffer())
}
