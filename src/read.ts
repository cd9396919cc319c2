// What answers content: bytes, streams, Blobs, CARs, directories. What the network supplied on the way is kept.
import type { CID } from 'multiformats/cid'
import { MissingBlockError } from './blocks/blocks.ts'
import { parseContentPath, type ParsedPath } from './cid.ts'
import type { Content } from './content.ts'
import { UnavailableError } from './errors.ts'
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

/**
 * A stream that keeps what was fetched when it ends: as a whole entry where it was read to the end from the start, else as a part. `end` is called
 * when the stream is over, whichever way.
 */
export async function stream(operation: Operation, path: ContentPath, options: RetrieveOptions, end: () => void): Promise<ReadableStream<Bytes> | null> {
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
    const file = await openFile(content, cid, { signal: operation.signal })
    const pieces = readRange(content, file, options.offset ?? 0, options.length, readOptions(operation, file, options))
    // The first window is read before the answer, so that content nobody has is null here as it is for retrieve.
    const first = await pieces.next()
    operation.touch(parsed.cid)
    let bytes = 0
    let finished = false
    const finish = async (whole: boolean): Promise<void> => {
      if (finished) return
      finished = true
      try {
        await content.keep(cid, nodes, whole)
      } finally {
        end()
      }
    }
    let held: IteratorResult<Bytes> | undefined = first
    return new ReadableStream<Bytes>(
      {
        async pull(controller) {
          try {
            operation.signal.throwIfAborted()
            const next = held ?? (await pieces.next())
            held = undefined
            if (next.done === true) {
              await finish(bytes === file.size)
              controller.close()
              return
            }
            bytes += next.value.byteLength
            controller.enqueue(next.value)
          } catch (error) {
            finished = true
            await content.drop().catch(() => undefined)
            end()
            throw error instanceof MissingBlockError
              ? new UnavailableError(`block ${error.cid.toString()} of ${parsed.cid.toString()} is missing: the stream ends here`, parsed.cid.toString(), [error])
              : error
          }
        },
        async cancel() {
          await pieces.return(undefined)
          await finish(false)
        },
      },
      { highWaterMark: 0 },
    )
  } catch (error) {
    await content.drop()
    end()
    if (error instanceof MissingBlockError) return null
    throw error
  }
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
    return { answer: new Blob([...parts, ...held], { type: type ?? '' }), whole: true }
  })
}

export async function directory(operation: Operation, path: ContentPath, options: LookupOptions): Promise<DirectoryEntry[] | null> {
  return on(operation, path, options, async ({ content, cid }, parsed) => {
    const base = [parsed.cid.toString(), ...parsed.segments].join('/')
    return { answer: await listDirectory(content, cid, base, { signal: operation.signal }), whole: false }
  })
}

/** A CAR of the whole DAG. null where its root is nowhere; what is missing later errors the stream. */
export async function car(operation: Operation, path: ContentPath, onProgress: ((progress: Progress) => void) | undefined, end: () => void): Promise<ReadableStream<Bytes> | null> {
  const parsed = parseContentPath(path)
  const content = operation.content(parsed.cid)
  try {
    const resolved = await resolvePath(content, parsed.cid, parsed.segments, { signal: operation.signal })
    const [root] = resolved === null ? [] : await content.getMany([resolved.cid], { signal: operation.signal })
    if (resolved === null || root === undefined) {
      await content.drop()
      end()
      return null
    }
    const pieces = exportCar(content, resolved.cid, { signal: operation.signal, ...(onProgress === undefined ? {} : { onProgress: (bytes: number) => onProgress({ bytes, phase: 'retrieve' }) }) })
    return endWith(pieces, parsed, () => content.keep(resolved.cid, resolved.nodes, true).finally(end))
  } catch (error) {
    await content.drop()
    end()
    if (error instanceof MissingBlockError) return null
    throw error
  }
}

/** Passes a stream through, runs `finish` when it is over, and gives a missing block the error of the contract. */
function endWith(source: ReadableStream<Bytes>, parsed: ParsedPath, finish: () => Promise<void>): ReadableStream<Bytes> {
  const reader = source.getReader()
  return new ReadableStream<Bytes>(
    {
      async pull(controller) {
        try {
          const next = await reader.read()
          if (!next.done) {
            controller.enqueue(next.value)
            return
          }
          await finish()
          controller.close()
        } catch (error) {
          await finish().catch(() => undefined)
          throw error instanceof MissingBlockError
            ? new UnavailableError(`block ${error.cid.toString()} of ${parsed.cid.toString()} is missing: the CAR ends here`, parsed.cid.toString(), [error])
            : error
        }
      },
      async cancel(reason) {
        await reader.cancel(reason)
        await finish()
      },
    },
    { highWaterMark: 0 },
  )
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
