// Bodies of answers out of files: slices of packs that the browser reads by itself, or bytes that this worker verifies on their way.
import { answerStream } from '../answer-stream.ts'
import type { Content } from '../content.ts'
import { MissingBlockError } from '../blocks/blocks.ts'
import { isNamed } from '../packs/directory.ts'
import { readInto, type FileLayout } from '../files/read.ts'
import { SERVED_AT_ONCE_BYTES } from '../limits.ts'
import type { Operation } from '../operation.ts'
import { openRange, packedBlob } from '../read.ts'
import type { Bytes } from '../types.ts'
import type { FileMemory } from './memory.ts'
import type { ResolvedHandlerOptions } from './options.ts'
import type { ByteSpan } from './range.ts'

export interface Reading {
  operation: Operation
  content: Content
  file: FileLayout
  memory: FileMemory
  verify: ResolvedHandlerOptions['verify']
  /** Keeps what the network supplied of it; `whole` where that was all of the file. */
  keep: (whole: boolean) => Promise<void>
}

export interface Body {
  body: Blob | Bytes | ReadableStream<Bytes>
  by: 'browser' | 'worker'
  verified: boolean
  /** This worker goes on reading it: it keeps what was fetched and ends the operation by itself. */
  isOpen?: boolean
}

/**
 * The body of a span. `end` is called at the end of one that is open.
 *
 * @throws MissingBlockError where its beginning is nowhere
 */
export async function bodyOf(reading: Reading, span: ByteSpan, end: () => void): Promise<Body> {
  const { content, file, memory, verify, operation } = reading
  const isVerified = verify !== 'always' && memory.verified.has(span)
  const direct = verify === 'never' || isVerified ? await slice(reading, span) : undefined
  if (direct !== undefined) return { body: direct, by: 'browser', verified: isVerified }
  const hashes = verify !== 'never' && !isVerified
  if (span.to - span.from <= SERVED_AT_ONCE_BYTES) {
    return { body: await readSpan(reading, span, hashes), by: 'worker', verified: verify !== 'never' }
  }
  const opened = await openRange(operation, content, file, { offset: span.from, length: span.to - span.from, verify: hashes })
  let at = span.from
  const next = async (): Promise<Bytes | undefined> => {
    const piece = await opened.next()
    if (piece === undefined) return undefined
    if (hashes) memory.verified.add({ from: at, to: at + piece.byteLength })
    at += piece.byteLength
    return piece
  }
  const body = answerStream({
    operation,
    cid: file.cid.toString(),
    content,
    next,
    stop: opened.stop,
    keep: (finished) => reading.keep(finished && opened.isWhole()),
    end: () => {
      opened.release()
      end()
    },
  })
  return { body, by: 'worker', verified: verify !== 'never', isOpen: true }
}

/** Several spans one after the other, each with what stands before it. Open, as bodyOf has it. */
export function bodyOfSpans(reading: Reading, spans: readonly ByteSpan[], before: readonly Bytes[], after: Bytes, end: () => void): Body {
  const { operation, content, file, verify } = reading
  const pieces = async function* (): AsyncGenerator<Bytes, void, undefined> {
    for (const [index, span] of spans.entries()) {
      const head = before[index]
      if (head !== undefined) yield head
      for (let from = span.from; from < span.to; from += SERVED_AT_ONCE_BYTES) {
        const part = { from, to: Math.min(span.to, from + SERVED_AT_ONCE_BYTES) }
        yield await readSpan(reading, part, verify !== 'never')
      }
    }
    yield after
  }
  const reader = pieces()
  const body = answerStream({
    operation,
    cid: file.cid.toString(),
    content,
    next: async () => (await reader.next()).value ?? undefined,
    stop: () => reader.return(),
    keep: () => reading.keep(false),
    end,
  })
  return { body, by: 'worker', verified: verify !== 'never', isOpen: true }
}

async function readSpan({ operation, content, file, memory }: Reading, span: ByteSpan, hashes: boolean): Promise<Bytes> {
  const options = { signal: operation.signal, verify: hashes, cache: operation.core.layouts }
  const bytes = await readInto(content, file, span.from, span.to - span.from, options)
  if (hashes) memory.verified.add(span)
  return bytes
}

/** As it lies in packs; undefined where not all of it does. */
async function slice({ operation, file, memory }: Reading, { from, to }: ByteSpan): Promise<Blob | undefined> {
  try {
    memory.blob ??= await packedBlob(operation, file)
  } catch (error) {
    // Whoever reads it block by block says what is wrong.
    if (!(error instanceof MissingBlockError || isNamed(error, 'NotFoundError'))) throw error
  }
  return from === 0 && to === file.size ? memory.blob : memory.blob?.slice(from, to)
}
