// Bodies of answers out of files: slices of packs that the browser reads by itself, or bytes that this worker verifies on their way.
import { answerStream } from '../answer-stream.ts'
import type { Content } from '../content.ts'
import { MissingBlockError } from '../blocks/blocks.ts'
import { isNamed } from '../packs/directory.ts'
import { leavesOfRoot, readInto, type FileLayout } from '../files/read.ts'
import { SERVED_AT_ONCE_BYTES, VERIFIED_AHEAD_BYTES } from '../limits.ts'
import type { Operation } from '../operation.ts'
import { openRange, packedBlob, type OpenRange } from '../read.ts'
import type { Bytes } from '../types.ts'
import type { FileMemory } from './memory.ts'
import type { ResolvedHandlerOptions } from './options.ts'
import { PackedDamage, PackedFile } from './packed-file.ts'
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
  const { memory, verify } = reading
  const packed = await packedOf(reading)
  if (packed !== undefined) {
    if (verify === 'never') return { body: packed.slice(span), by: 'browser', verified: false }
    if (verify === 'once' && (await isVerified(reading, packed, span))) return { body: packed.slice(span), by: 'browser', verified: true }
  }
  const hashes = verify === 'always' || (verify === 'once' && !memory.verified.has(span))
  if (span.to - span.from <= SERVED_AT_ONCE_BYTES) {
    return { body: await readSpan(reading, span, hashes), by: 'worker', verified: verify !== 'never' }
  }
  const opened = memory.packed === undefined ? await openBlocks(reading, span, hashes) : openPacked(reading, memory.packed, span)
  return streamOf(reading, opened, end)
}

/** Verifies a span first where it is short enough for its reader to wait, so that the browser can read it by itself. */
async function isVerified({ operation, content, memory }: Reading, packed: PackedFile, span: ByteSpan): Promise<boolean> {
  if (packed.isVerified(span)) return true
  if (span.to - span.from > VERIFIED_AHEAD_BYTES) return false
  try {
    return await packed.verify(content, span, { signal: operation.signal, cache: operation.core.layouts })
  } catch (error) {
    if (!(error instanceof PackedDamage)) throw error
    forget(memory, packed)
    return false
  }
}

type Opened = Pick<OpenRange, 'next' | 'stop' | 'isWhole' | 'release'>

function streamOf({ operation, content, file, verify, keep }: Reading, opened: Opened, end: () => void): Body {
  const body = answerStream({
    operation,
    cid: file.cid.toString(),
    content,
    next: opened.next,
    stop: opened.stop,
    keep: (finished) => keep(finished && opened.isWhole()),
    end: () => {
      opened.release()
      end()
    },
  })
  return { body, by: 'worker', verified: verify !== 'never', isOpen: true }
}

async function openBlocks({ operation, content, file, memory }: Reading, span: ByteSpan, hashes: boolean): Promise<Opened> {
  const opened = await openRange(operation, content, file, { offset: span.from, length: span.to - span.from, verify: hashes })
  let at = span.from
  const next = async (): Promise<Bytes | undefined> => {
    const piece = await opened.next()
    if (piece === undefined) return undefined
    if (hashes) memory.verified.add({ from: at, to: at + piece.byteLength })
    at += piece.byteLength
    return piece
  }
  return { ...opened, next }
}

/** From packs, as long as what they hold is right; from there on block by block, which says what is wrong, or repairs it. */
function openPacked(reading: Reading, packed: PackedFile, span: ByteSpan): Opened {
  const { operation, content, file, memory, verify } = reading
  const options = { signal: operation.signal, cache: operation.core.layouts, again: verify === 'always' }
  const pieces = packed.read(content, span, options)
  let [at, rest]: [number, Opened | undefined] = [span.from, undefined]
  const nextPacked = async (): Promise<Bytes | undefined> => {
    const piece = (await pieces.next()).value ?? undefined
    at += piece?.byteLength ?? 0
    return piece
  }
  return {
    async next() {
      if (rest !== undefined) return rest.next()
      try {
        return await nextPacked()
      } catch (error) {
        if (!(error instanceof PackedDamage)) throw error
        forget(memory, packed)
        rest = await openBlocks(reading, { from: at, to: span.to }, true)
        return rest.next()
      }
    },
    stop: () => rest?.stop() ?? pieces.return(),
    isWhole: () => span.from === 0 && span.to === file.size,
    release: () => rest?.release(),
  }
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

/** undefined where not all of it lies in packs. */
async function packedOf({ operation, file, memory }: Reading): Promise<PackedFile | undefined> {
  if (memory.packed !== undefined || memory.isElsewhere === true) return memory.packed
  try {
    const blob = await packedBlob(operation, file)
    // Another request may have been first, and verified some of it.
    if (blob !== undefined) memory.packed ??= new PackedFile(file, blob)
    else if (leavesOfRoot(file) === undefined) memory.isElsewhere = true
  } catch (error) {
    // Whoever reads it block by block says what is wrong.
    if (!(error instanceof MissingBlockError || isNamed(error, 'NotFoundError'))) throw error
  }
  return memory.packed
}

/** What is damaged there may be repaired elsewhere. */
function forget(memory: FileMemory, packed: PackedFile): void {
  if (memory.packed === packed) memory.packed = undefined
}
