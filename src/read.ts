// What answers content: bytes, streams, Blobs, CARs, directories. What the network supplied on the way is kept.
import type { CID } from 'multiformats/cid'
import { MissingBlockError, type BlockKey, type BlockSource } from './blocks/blocks.ts'
import { blockKey } from './blocks/records.ts'
import { answerStream, type AnswerStream } from './answer-stream.ts'
import type { Content } from './content.ts'
import { LimitError, QuotaError } from './errors.ts'
import { listDirectory } from './files/directory.ts'
import { loadCar } from './files/load-car.ts'
import { openFile, readInto, readRange, type FileLayout, type LayoutCache } from './files/read.ts'
import { withFound, type Found } from './found.ts'
import { entriesOf } from './catalog/entries.ts'
import { noteLocks } from './catalog/lending.ts'
import { MAX_BLOB_BYTES, READ_WINDOW_BYTES } from './limits.ts'
import type { Operation } from './operation.ts'
import { holdPlaces, packedParts, wholeInPacks, type PackedParts } from './packed-parts.ts'
import { isNamed } from './packs/directory.ts'
import type { Bytes, ContentPath, DirectoryEntry, LookupOptions, Progress, RetrieveOptions } from './types.ts'

/** Runs `work` on what the path names, and keeps what was fetched: as a whole entry where `whole` says so, else as a part. */
async function read<T>(
  operation: Operation,
  path: ContentPath,
  options: LookupOptions,
  work: (found: Found) => Promise<{ answer: T; whole: boolean }>,
): Promise<T | null> {
  return withFound(operation, path, options, async (found) => {
    // At the beginning too: what is being read is not what room is made of.
    operation.touch(found.parsed.cid)
    const { answer, whole } = await work(found)
    await found.content.keep(found.cid, found.nodes, whole)
    operation.touch(found.parsed.cid)
    return answer
  })
}

export async function retrieve(operation: Operation, path: ContentPath, options: RetrieveOptions): Promise<Bytes | null> {
  const isPart = options.offset !== undefined || options.length !== undefined
  return read(operation, path, options, ({ content, cid }) =>
    withLayouts(operation, cid, isPart, async (cache) => {
      const file = await openFile(content, cid, { signal: operation.signal, cache })
      const reading = { ...readOptions(operation, file, options), cache }
      const { packs } = operation.core.store
      const lengths = packs && (async (keys: readonly BlockKey[]) => (await packs.locate(keys)).map((place) => place?.length))
      const answer = await readInto(content, file, options.offset ?? 0, options.length, { ...reading, lengths })
      return { answer, whole: answer.byteLength === file.size }
    }),
  )
}

/**
 * Runs `work` with the layouts that were read before, where it `may` use them, unless the root of this one is not here any more: whether it is, is
 * asked at the same time, and where not, `work` is done again without them.
 */
async function withLayouts<T>(
  { core }: Operation,
  cid: CID,
  may: boolean,
  work: (cache: LayoutCache | undefined) => Promise<T>,
): Promise<T> {
  if (!may || core.layouts.get(cid) === undefined) return work(may ? core.layouts : undefined)
  const answer = work(core.layouts)
  answer.catch(() => undefined)
  const [isHere] = await core.store.hasKeys([blockKey(cid)])
  if (isHere === true) return answer
  await answer.catch(() => undefined)
  return work(undefined)
}

/** A stream over what `open` makes of what the path names; null where that is nowhere. `end` is called when all is over. */
async function streamed(
  operation: Operation,
  path: ContentPath,
  options: LookupOptions,
  end: () => void,
  open: (found: Found) => Promise<Pick<AnswerStream, 'next' | 'stop'> & { isWhole: () => boolean }>,
): Promise<ReadableStream<Bytes> | null> {
  const answer = await withFound(operation, path, options, async (found) => {
    const { content, cid, nodes } = found
    const root = found.parsed.cid
    const { next, stop, isWhole } = await open(found)
    operation.touch(root)
    const keep = (finished: boolean): Promise<void> => content.keep(cid, nodes, finished && isWhole())
    return answerStream({ operation, cid: root.toString(), content, next, stop, keep, end })
  })
  if (answer === null) end()
  return answer
}

/** A stream that keeps what was fetched: as a whole entry where all of it was read, else as a part. */
export async function stream(
  operation: Operation,
  path: ContentPath,
  options: RetrieveOptions,
  end: () => void,
): Promise<ReadableStream<Bytes> | null> {
  let release = (): void => undefined
  const ended = (): void => {
    release()
    end()
  }
  return streamed(operation, path, options, ended, async ({ content, cid }) => {
    const file = await openFile(content, cid, { signal: operation.signal })
    const opened = await openRange(operation, content, file, options)
    release = opened.release
    return opened
  })
}

/** A range of a file piece by piece. */
export interface OpenRange {
  /** undefined at the end. */
  next: () => Promise<Bytes | undefined>
  stop: () => Promise<unknown>
  /** Whether all of the file was read. */
  isWhole: () => boolean
  /** To be called at the end: lets go of packs. */
  release: () => void
}

/** The first window is read before the answer, so that content nobody has throws MissingBlockError here. */
export async function openRange(operation: Operation, content: Content, file: FileLayout, options: RetrieveOptions): Promise<OpenRange> {
  const held = await holdPlaces(operation.core.store, file, operation.signal)
  const reading = { ...readOptions(operation, file, options), places: held?.places }
  const range = readRange(content, file, options.offset ?? 0, options.length, reading)
  let bytes = 0
  try {
    let ahead: IteratorResult<Bytes> | undefined = await range.next()
    const next = async (): Promise<Bytes | undefined> => {
      const piece = ahead ?? (await range.next())
      ahead = undefined
      if (piece.done === true) return undefined
      bytes += piece.value.byteLength
      return piece.value
    }
    return { next, stop: () => range.return(undefined), isWhole: () => bytes === file.size, release: held?.release ?? (() => undefined) }
  } catch (error) {
    held?.release()
    throw error
  }
}

export async function blob(
  operation: Operation,
  path: ContentPath,
  options: LookupOptions & { verify?: boolean; onProgress?: (progress: Progress) => void },
): Promise<Blob | null> {
  return read(operation, path, options, async ({ content, cid, parsed }) => {
    const named = parsed.segments.length === 0 ? parsed.cid : cid
    const type = mediaTypeOf(operation, named).then((known) => known ?? '')
    type.catch(() => undefined)
    // Where its leaves are all needed where they were, they are here, and nothing else of it is asked for.
    const whole = options.verify === true ? undefined : await wholeInPacks(operation.core.store, cid)
    const known = whole && (await lazyBlob(whole, type, nothingElse))
    if (known !== undefined) {
      options.onProgress?.({ bytes: known.size, total: known.size, phase: 'retrieve' })
      return { answer: known, whole: true }
    }
    return withLayouts(operation, cid, options.verify !== true, async (cache) => {
      const file = await openFile(content, cid, { signal: operation.signal, cache })
      if (file.size > MAX_BLOB_BYTES) {
        throw new LimitError(
          `${file.size} bytes are more than a Blob holds: read them as a stream or by ranges`,
          'MAX_BLOB_BYTES',
          file.size,
        )
      }
      const reading = readOptions(operation, file, { ...options, verify: true })
      if (options.verify === true) {
        // Everything is hashed first; what lies in packs is then handed out as it lies there.
        const packed = await packedParts(operation.core.store, file, reading.signal)
        packed?.close()
        if (packed !== undefined) for await (const piece of readRange(content, file, 0, undefined, reading)) void piece
      }
      const packed = await packedParts(operation.core.store, file, reading.signal)
      const readElse = (from?: number, to?: number, as = ''): Promise<Blob> => readBlob(content, file, as, reading, from, to)
      const answer = packed && (await lazyBlob(packed, type, readElse))
      if (answer === undefined) return { answer: await readElse(undefined, undefined, await type), whole: true }
      reading.onProgress?.(file.size)
      return { answer, whole: true }
    })
  })
}

function nothingElse(): Promise<never> {
  return Promise.reject(new RangeError('all of it lies in packs: this cannot be'))
}

/** Nothing is read but what lies in no pack. undefined where a pack was removed or rewritten since it was looked up. */
async function lazyBlob(
  packed: PackedParts,
  type: Promise<string>,
  readElse: (from: number, to: number) => Promise<Blob>,
): Promise<Blob | undefined> {
  try {
    const { parts, locks } = await packed.open(readElse)
    const answer = new Blob(parts, { type: await type })
    noteLocks(answer, locks)
    return answer
  } catch (error) {
    if (!isNamed(error, 'NotFoundError')) throw error
    return undefined
  } finally {
    packed.close()
  }
}

/** A Blob of a file that lies in packs as a whole, unverified and without a type; undefined for any other. */
export async function packedBlob({ core, signal }: Operation, file: FileLayout): Promise<Blob | undefined> {
  const packed = (await wholeInPacks(core.store, file.cid)) ?? (await packedParts(core.store, file, signal, { wholeOnly: true }))
  if (packed?.isWhole !== true) {
    packed?.close()
    return undefined
  }
  return lazyBlob(packed, Promise.resolve(''), nothingElse)
}

/** A few batches at a time: the browser moves a Blob's bytes out of script memory, so parts become Blobs before the next ones are read. */
async function readBlob(
  content: BlockSource,
  file: FileLayout,
  type: string,
  reading: ReadingOptions,
  from = 0,
  to = file.size,
): Promise<Blob> {
  const parts: Blob[] = []
  let held: Bytes[] = []
  let size = 0
  for await (const piece of readRange(content, file, from, to - from, reading)) {
    held.push(piece)
    size += piece.byteLength
    if (size < READ_WINDOW_BYTES) continue
    parts.push(new Blob(held))
    held = []
    size = 0
  }
  const answer = new Blob([...parts, ...held], { type })
  await checkReadable(answer)
  return answer
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
  return read(operation, path, options, async ({ content, cid, parsed }) => {
    const base = [parsed.cid.toString(), ...parsed.segments].join('/')
    return {
      answer: await listDirectory(content, cid, base, { signal: operation.signal, local: operation.core.store.lenient }),
      whole: false,
    }
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
    const { exportCar } = await loadCar()
    const reader = exportCar(content, cid, { signal: operation.signal, ...report }).getReader()
    const next = async (): Promise<Bytes | undefined> => (await reader.read()).value
    return { next, stop: () => reader.cancel(), isWhole: () => true }
  })
}

interface ReadingOptions {
  signal: AbortSignal
  verify: boolean
  onProgress?: (bytes: number) => void
}

function readOptions(
  operation: Operation,
  file: FileLayout,
  options: { verify?: boolean; offset?: number; length?: number; onProgress?: (progress: Progress) => void },
): ReadingOptions {
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
