// A Source as pieces in order, read one by one as they are asked for. The pieces still belong to whoever made them.
import { InvalidSourceError } from '../errors.ts'
import { CHUNK_SIZE_BYTES } from '../limits.ts'
import { inBackground, raced } from './abort.ts'

/**
 * Bytes of a Blob opened as one stream. Where a Blob's stream ignores back-pressure, this much is in memory. Measured in Chromium: as fast as the
 * whole Blob as a stream, and twice as fast as arrayBuffer() of slices of 4 MiB, since each opening takes time.
 */
const BLOB_SLICE_BYTES = 64 * CHUNK_SIZE_BYTES

/** Characters encoded at once: at most three bytes each. */
const STRING_SLICE_CHARACTERS = CHUNK_SIZE_BYTES / 2

const ACCEPTED =
  'pass a string, an ArrayBuffer, SharedArrayBuffer or view, a Blob or File, a Response, a FileSystemFileHandle, ' +
  'or a ReadableStream or (async) iterable of Uint8Array'

/** What kind of Source a value is, by its brand rather than its class, so that one from another realm (an iframe) counts too. */
export type OpenSource =
  | { kind: 'string'; value: string }
  | { kind: 'bytes'; value: Uint8Array }
  | { kind: 'blob'; value: Blob }
  | { kind: 'handle'; value: FileSystemFileHandle }
  | { kind: 'response'; value: Response }
  | { kind: 'stream'; value: ReadableStream<Uint8Array> }
  | { kind: 'iterable'; value: AsyncIterable<Uint8Array> | Iterable<Uint8Array> }

/** @throws InvalidSourceError for anything that is no Source, and for a Response or stream that can't be read any more */
export function openSource(source: unknown): OpenSource {
  if (typeof source === 'string') return { kind: 'string', value: source }
  if (typeof source !== 'object' || source === null) throw invalid(source)
  if (ArrayBuffer.isView(source)) return { kind: 'bytes', value: bytesOf(source.buffer, source.byteOffset, source.byteLength) }
  switch (brand(source)) {
    case 'ArrayBuffer':
    case 'SharedArrayBuffer':
      return { kind: 'bytes', value: bytesOf(source as ArrayBufferLike) }
    case 'Blob':
    case 'File':
      return { kind: 'blob', value: source as Blob }
    case 'Response':
      return { kind: 'response', value: readable(source as Response) }
    case 'ReadableStream':
      return { kind: 'stream', value: unread(source as ReadableStream<Uint8Array>) }
    case 'FileSystemDirectoryHandle':
      // Async iterable, and an empty one would pass for an empty file.
      throw invalid(source)
    default:
  }
  if ('getFile' in source && typeof source.getFile === 'function') return { kind: 'handle', value: source as FileSystemFileHandle }
  if (Symbol.asyncIterator in source || Symbol.iterator in source) {
    return { kind: 'iterable', value: source as AsyncIterable<Uint8Array> | Iterable<Uint8Array> }
  }
  throw invalid(source)
}

/** Ends as soon as the signal aborts, even while the source stalls, and cancels the source then, as when the consumer returns early. */
export async function* pieces(source: OpenSource, signal: AbortSignal | undefined): AsyncGenerator<Uint8Array, void, undefined> {
  signal?.throwIfAborted()
  switch (source.kind) {
    case 'string':
      return yield* encoded(source.value, signal)
    case 'bytes':
      return yield source.value
    case 'blob':
      return yield* slices(source.value, signal)
    case 'handle':
      return yield* slices(await raced(source.value.getFile(), signal), signal)
    case 'response':
      return source.value.body === null ? undefined : yield* checked(streamed(source.value.body, signal))
    case 'stream':
      return yield* checked(streamed(source.value, signal))
    case 'iterable':
      return yield* checked(iterated<unknown>(source.value, signal))
  }
}

/** The items of an iterable, whose iterator is returned when this ends early. */
export async function* iterated<T>(
  iterable: AsyncIterable<T> | Iterable<T>,
  signal: AbortSignal | undefined,
): AsyncGenerator<T, void, undefined> {
  const iterator = Symbol.asyncIterator in iterable ? iterable[Symbol.asyncIterator]() : iterable[Symbol.iterator]()
  let ended = false
  // An iterator that threw has ended by itself; one that an abort interrupts has not.
  const next = async (): Promise<IteratorResult<T>> => {
    try {
      return await iterator.next()
    } catch (error) {
      ended = true
      throw error
    }
  }
  try {
    for (;;) {
      signal?.throwIfAborted()
      const result = await raced(next(), signal)
      ended = result.done === true
      if (result.done === true) return
      yield result.value
    }
  } finally {
    // Not waited for: a generator that stalls in next() would keep return() waiting.
    if (!ended) inBackground(() => iterator.return?.())
  }
}

async function* streamed(stream: ReadableStream<Uint8Array>, signal: AbortSignal | undefined): AsyncGenerator<unknown, void, undefined> {
  // A reader, since not every browser's ReadableStream is async iterable.
  const reader = stream.getReader()
  let ended = false
  const next = async (): Promise<ReadableStreamReadResult<Uint8Array>> => {
    try {
      return await reader.read()
    } catch (error) {
      ended = true
      throw error
    }
  }
  try {
    for (;;) {
      signal?.throwIfAborted()
      const result = await raced(next(), signal)
      ended = result.done
      if (result.done) return
      yield result.value
    }
  } finally {
    if (!ended) inBackground(() => reader.cancel(signal?.reason))
    reader.releaseLock()
  }
}

async function* checked(items: AsyncIterable<unknown>): AsyncGenerator<Uint8Array, void, undefined> {
  for await (const item of items) {
    if (typeof item !== 'object' || item === null || brand(item) !== 'Uint8Array') {
      throw new InvalidSourceError(`source gave ${describe(item)} where it must give Uint8Array pieces`)
    }
    yield item as Uint8Array
  }
}

async function* slices(blob: Blob, signal: AbortSignal | undefined): AsyncGenerator<Uint8Array, void, undefined> {
  for (let offset = 0; offset < blob.size; offset += BLOB_SLICE_BYTES) {
    const end = Math.min(offset + BLOB_SLICE_BYTES, blob.size)
    let read = 0
    try {
      for await (const bytes of checked(streamed(blob.slice(offset, end).stream(), signal))) {
        read += bytes.byteLength
        yield bytes
      }
    } catch (error) {
      signal?.throwIfAborted()
      // Chromium's stream says 'network error' of a file that went away; reading a byte at once says what is the matter.
      await raced(blob.slice(offset + read, offset + read + 1).arrayBuffer(), signal)
      throw error
    }
    if (read !== end - offset) throw new InvalidSourceError(`file changed while it was read: bytes ${offset} to ${end} gave ${read}`)
  }
}

async function* encoded(text: string, signal: AbortSignal | undefined): AsyncGenerator<Uint8Array, void, undefined> {
  const encoder = new TextEncoder()
  for (let start = 0; start < text.length;) {
    signal?.throwIfAborted()
    let end = Math.min(start + STRING_SLICE_CHARACTERS, text.length)
    // Must not split a surrogate pair: each half alone would become U+FFFD.
    if (end < text.length && isHighSurrogate(text.charCodeAt(end - 1))) end--
    yield encoder.encode(text.slice(start, end))
    start = end
  }
}

function isHighSurrogate(unit: number): boolean {
  return unit >= 0xd800 && unit <= 0xdbff
}

function bytesOf(buffer: ArrayBufferLike, offset?: number, length?: number): Uint8Array {
  try {
    return new Uint8Array(buffer, offset, length)
  } catch (cause) {
    throw new InvalidSourceError('buffer is detached: it was transferred elsewhere', { cause })
  }
}

function readable(response: Response): Response {
  if (response.type === 'opaque' || response.type === 'opaqueredirect') {
    throw new InvalidSourceError(`response is ${response.type}, so its bytes can't be seen: fetch it with CORS`)
  }
  if (!response.ok) throw new InvalidSourceError(`response has status ${response.status}: only one that is ok is stored`)
  if (response.bodyUsed || response.body?.locked === true)
    throw new InvalidSourceError('body of the response was read already, or is being read')
  return response
}

function unread(stream: ReadableStream<Uint8Array>): ReadableStream<Uint8Array> {
  if (stream.locked) throw new InvalidSourceError('stream is locked: somebody else reads it')
  if (typeof ReadableStream === 'function' && stream instanceof ReadableStream && typeof Response === 'function') {
    try {
      // The one way to see that a stream was read before: the Fetch standard refuses such a body, and only looks at any other.
      void new Response(stream)
    } catch (cause) {
      throw new InvalidSourceError('stream was read before: what was taken from it would be missing', { cause })
    }
  }
  return stream
}

function invalid(source: unknown): InvalidSourceError {
  return new InvalidSourceError(`${describe(source)} is no source: ${ACCEPTED}`)
}

function describe(value: unknown): string {
  if (value === null || value === undefined) return String(value)
  return typeof value === 'object' ? `an object (${brand(value)})` : `a ${typeof value}`
}

function brand(value: object): string {
  return Object.prototype.toString.call(value).slice(8, -1)
}
