// What answers content: bytes, streams, Blobs, CARs, directories. What the network supplied on the way is kept.
import type { CID } from 'multiformats/cid'
import { MissingBlockError } from './blocks/blocks.ts'
import { answerStream, type AnswerStream } from './answer-stream.ts'
import { parseContentPath, type ParsedPath } from './cid.ts'
import type { Content } from './content.ts'
import { exportCar } from './files/car.ts'
import { listDirectory, resolvePath } from './files/directory.ts'
import { openFile, readInto, readRange, type FileLayout } from './files/read.ts'
import { entriesOf } from './catalog/entries.ts'
import { READ_WINDOW_BYTES } from './limits.ts'
import type { Operation } from './operation.ts'
import type { Bytes, ContentPath, DirectoryEntry, LookupOptions, Progress, RetrieveOptions } from './types.ts'

interface Found {
  content: Content
  cid: CID
  /** Directory nodes on the way, the root among them. */
  nodes: CID[]
}

/** Resolves the path, runs `work` on what it names, keeps what was fetched; null where something is missing that nobody has. */
async function on<T>(
  operation: Operation,
  path: ContentPath,
  options: LookupOptions,
  work: (found: Found, parsed: ParsedPath) => Promise<{ answer: T; whole: boolean }>,
): Promise<T | null> {
  const parsed = parseContentPath(path)
  const content = operation.content(parsed.cid, options)
  try {
    const resolved = await resolvePath(content, parsed.cid, parsed.segments, { signal: operation.signal })
    if (resolved === null) {
      await content.drop()
      return null
    }
    const { answer, whole } = await work({ content, ...resolved }, parsed)
    await content.keep(resolved.cid, resolved.nodes, whole)
    operation.touch(parsed.cid)
    return answer
  } catch (error) {
    await content.drop()
    if (error instanceof MissingBlockError) return null
    throw error
  }
}

export async function retrieve(operation: Operation, path: ContentPath, options: RetrieveOptions): Promise<Bytes | null> {
  return on(operation, path, options, async ({ content, cid }) => {
    const file = await openFile(content, cid, { signal: operation.signal })
    const answer = await readInto(content, file, options.offset ?? 0, options.length, readOptions(operation, file, options))
    return { answer, whole: answer.byteLength === file.size }
  })
}

/** Resolves the path and answers a stream over what `open` makes of it; null where it is nowhere. */
async function streamed(
  operation: Operation,
  path: ContentPath,
  options: LookupOptions,
  end: () => void,
  open: (found: Found) => Promise<Pick<AnswerStream, 'next' | 'stop'> & { isWhole: () => boolean }>,
): Promise<ReadableStream<Bytes> | null> {
  const parsed = parseContentPath(path)
  const content = operation.content(parsed.cid, options)
  try {
    const resolved = await resolvePath(content, parsed.cid, parsed.segments, { signal: operation.signal })
    if (resolved === null) {
      await content.drop()
      end()
      return null
    }
    const { cid, nodes } = resolved
    const { next, stop, isWhole } = await open({ content, cid, nodes })
    operation.touch(parsed.cid)
    const keep = (finished: boolean): Promise<void> => content.keep(cid, nodes, finished && isWhole())
    return answerStream({ operation, cid: parsed.cid.toString(), content, next, stop, keep, end })
  } catch (error) {
    await content.drop()
    end()
    if (error instanceof MissingBlockError) return null
    throw error
  }
}

/** A stream that keeps what was fetched: as a whole entry where all of it was read, else as a part. */
export async function stream(
  operation: Operation,
  path: ContentPath,
  options: RetrieveOptions,
  end: () => void,
): Promise<ReadableStream<Bytes> | null> {
  return streamed(operation, path, options, end, async ({ content, cid }) => {
    const file = await openFile(content, cid, { signal: operation.signal })
    const range = readRange(content, file, options.offset ?? 0, options.length, readOptions(operation, file, options))
    // The first window is read before the answer, so that content nobody has is null here as it is for retrieve.
    let ahead: IteratorResult<Bytes> | undefined = await range.next()
    let bytes = 0
    const next = async (): Promise<Bytes | undefined> => {
      const piece = ahead ?? (await range.next())
      ahead = undefined
      if (piece.done === true) return undefined
      bytes += piece.value.byteLength
      return piece.value
    }
    return { next, stop: () => range.return(undefined), isWhole: () => bytes === file.size }
  })
}

export async function blob(
  operation: Operation,
  path: ContentPath,
  options: LookupOptions & { verify?: boolean; onProgress?: (progress: Progress) => void },
): Promise<Blob | null> {
  return on(operation, path, options, async ({ content, cid }, parsed) => {
    const file = await openFile(content, cid, { signal: operation.signal })
    const type = await mediaTypeOf(operation, parsed.segments.length === 0 ? parsed.cid : cid)
    // A few batches at a time: the browser moves a Blob's bytes out of script memory, so parts become Blobs before the next ones are read.
    const parts: Blob[] = []
    let held: Bytes[] = []
    let size = 0
    for await (const piece of readRange(content, file, 0, undefined, readOptions(operation, file, { ...options, verify: true }))) {
      held.push(piece)
      size += piece.byteLength
      if (size < READ_WINDOW_BYTES) continue
      parts.push(new Blob(held))
      held = []
      size = 0
    }
    const answer = new Blob([...parts, ...held], { type: type ?? '' })
    await checkReadable(answer)
    return { answer, whole: true }
  })
}

/** A browser without room for a Blob (Chromium: beyond 500 MB of them in a private window) makes one that can't be read and says nothing. */
async function checkReadable(made: Blob): Promise<void> {
  try {
    await made.slice(0, 1).arrayBuffer()
  } catch (cause) {
    const message = `the browser has no room for a Blob of ${made.size} bytes: let go of other Blobs, or use stream() or ranges`
    throw new QuotaError(message, { needed: made.size }, { cause })
  }
}

export async function directory(operation: Operation, path: ContentPath, options: LookupOptions): Promise<DirectoryEntry[] | null> {
  return on(operation, path, options, async ({ content, cid }, parsed) => {
    const base = [parsed.cid.toString(), ...parsed.segments].join('/')
    return { answer: await listDirectory(content, cid, base, { signal: operation.signal }), whole: false }
  })
}

/** A CAR of the whole DAG. null where its root is nowhere; what is missing later errors the stream. */
export async function car(
  operation: Operation,
  path: ContentPath,
  onProgress: ((progress: Progress) => void) | undefined,
  end: () => void,
): Promise<ReadableStream<Bytes> | null> {
  return streamed(operation, path, {}, end, async ({ content, cid }) => {
    const [root] = await content.getMany([cid], { signal: operation.signal })
    if (root === undefined) throw new MissingBlockError(cid)
    const report = onProgress === undefined ? {} : { onProgress: (bytes: number) => onProgress({ bytes, phase: 'retrieve' }) }
    const reader = exportCar(content, cid, { signal: operation.signal, ...report }).getReader()
    const next = async (): Promise<Bytes | undefined> => (await reader.read()).value
    return { next, stop: () => reader.cancel(), isWhole: () => true }
  })
}

function readOptions(
  operation: Operation,
  file: FileLayout,
  options: { verify?: boolean; offset?: number; length?: number; onProgress?: (progress: Progress) => void },
): { signal: AbortSignal; verify: boolean; onProgress?: (bytes: number) => void } {
  const { onProgress, offset = 0, length = Number.POSITIVE_INFINITY } = options
  const total = Math.max(0, Math.min(length, file.size - offset))
  return {
    signal: operation.signal,
    verify: options.verify ?? true,
    ...(onProgress === undefined ? {} : { onProgress: (bytes: number) => onProgress({ bytes, total, phase: 'retrieve' }) }),
  }
}

async function mediaTypeOf(operation: Operation, cid: CID): Promise<string | undefined> {
  const entries = await entriesOf(operation.core.catalog, cid.toString())
  return entries.find((entry) => entry.mediaType !== undefined)?.mediaType
}
