// Every Source as chunks of the profile's size, each a copy that nobody else holds.
import { InvalidSourceError } from '../errors.ts'
import { CHUNK_SIZE_BYTES } from '../limits.ts'
import type { Bytes, Source } from '../types.ts'
import { openSource, pieces } from './pieces.ts'

/** A first buffer for sources whose size is not known. It doubles until it has the size of a chunk. */
const FIRST_BUFFER_BYTES = 16 * 1024

export interface ChunkOptions {
  signal?: AbortSignal | undefined
  /** Called with the bytes of each chunk before it is given. */
  onBytes?: ((bytes: number) => void) | undefined
  /** Gives a buffer of CHUNK_SIZE_BYTES for the next whole chunk, whatever it holds. Asked for each anew; may answer undefined. */
  buffer?: (() => Bytes | undefined) | undefined
}

/**
 * Fails before anything begins for what can be seen at once: no Source at all, a Response that is not ok or was read, a stream that is locked or
 * was read, a detached buffer.
 *
 * @throws InvalidSourceError
 */
export function checkSource(source: Source): void {
  openSource(source)
}

/** Bytes of the content where that is known before it is read: a hint for progress, since a Response may still be encoded unseen. */
export function sourceSize(source: Source): number | undefined {
  const { kind, value } = openSource(source)
  switch (kind) {
    case 'string':
      return utf8Length(value)
    case 'bytes':
      return value.byteLength
    case 'blob':
      return value.size
    case 'response': {
      if (value.body === null) return 0
      const length = value.headers.get('content-length')
      return length !== null && /^\d{1,15}$/.test(length) && !value.headers.has('content-encoding') ? Number(length) : undefined
    }
    default:
      return undefined
  }
}

/** The media type that a Blob or a Response brings along. */
export function sourceMediaType(source: Source): string | undefined {
  const { kind, value } = openSource(source)
  const type = kind === 'blob' ? value.type : kind === 'response' ? value.headers.get('content-type') : undefined
  return type === null || type === '' ? undefined : type
}

/** A copy of what is at hand as bytes or a string and surely shorter than one chunk. @throws InvalidSourceError */
export function smallCopy(source: Source): Bytes | undefined {
  const { kind, value } = openSource(source)
  if (kind === 'bytes') return value.byteLength < CHUNK_SIZE_BYTES ? new Uint8Array(value) : undefined
  // At most three bytes a unit.
  return kind === 'string' && value.length * 3 < CHUNK_SIZE_BYTES ? new TextEncoder().encode(value) : undefined
}

/**
 * Chunks of CHUNK_SIZE_BYTES, the last one shorter; one empty chunk for an empty source. Bytes are copied as they are asked for, so a caller may go
 * on writing into its buffer: what was copied is what is stored. Ending early cancels the source.
 *
 * @throws InvalidSourceError for no Source, for pieces that are no Uint8Array, for a buffer detached meanwhile
 * @throws what the source itself throws, as it is
 * @throws the signal's reason, at once even where the source stalls
 */
export async function* chunks(source: Source, options: ChunkOptions = {}): AsyncGenerator<Bytes, void, undefined> {
  const { signal, onBytes } = options
  const opened = openSource(source)
  const known = opened.kind === 'bytes' ? opened.value.byteLength : opened.kind === 'blob' ? opened.value.size : undefined
  let rest = known ?? FIRST_BUFFER_BYTES
  const allocate = (): Bytes =>
    (rest >= CHUNK_SIZE_BYTES ? options.buffer?.() : undefined) ?? new Uint8Array(Math.min(CHUNK_SIZE_BYTES, rest))
  let chunk = allocate()
  let filled = 0
  let given = false
  for await (const piece of pieces(opened, signal)) {
    const size = piece.byteLength
    for (let offset = 0; offset < size;) {
      if (piece.byteLength !== size) throw new InvalidSourceError('buffer was detached or shrunk while it was read')
      const length = Math.min(size - offset, CHUNK_SIZE_BYTES - filled)
      chunk = grown(chunk, filled, filled + length)
      chunk.set(piece.subarray(offset, offset + length), filled)
      offset += length
      filled += length
      if (filled < CHUNK_SIZE_BYTES) continue
      onBytes?.(filled)
      yield chunk
      signal?.throwIfAborted()
      given = true
      // A source of unknown size that filled one chunk is likely to fill another.
      rest = known === undefined ? CHUNK_SIZE_BYTES : Math.max(0, rest - filled)
      chunk = allocate()
      filled = 0
    }
  }
  if (filled === 0 && given) return
  onBytes?.(filled)
  yield filled === chunk.byteLength ? chunk : chunk.slice(0, filled)
}

function grown(chunk: Bytes, filled: number, needed: number): Bytes {
  if (needed <= chunk.byteLength) return chunk
  const larger = new Uint8Array(Math.min(CHUNK_SIZE_BYTES, Math.max(needed, chunk.byteLength * 2)))
  larger.set(chunk.subarray(0, filled))
  return larger
}

function utf8Length(text: string): number {
  let bytes = text.length
  for (let index = 0; index < text.length; index++) {
    const unit = text.charCodeAt(index)
    if (unit < 0x80) continue
    bytes += unit < 0x800 ? 1 : 2
    // Four bytes for the two units of a pair; a lone surrogate becomes U+FFFD, three bytes.
    if (unit >= 0xd800 && unit <= 0xdbff && (text.charCodeAt(index + 1) & 0xfc00) === 0xdc00) index++
  }
  return bytes
}
