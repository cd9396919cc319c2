// Sources become UnixFS DAGs of the profile unixfs-v1-2025 in a BlockSink.
import { UnixFS } from 'ipfs-unixfs'
import { importer, type BufferImporter, type ImportCandidateStream, type ImporterOptions } from 'ipfs-unixfs-importer'
import { CID } from 'multiformats/cid'
import { sha256 } from 'multiformats/hashes/sha2'
import type { BlockSink, LeafSink } from '../blocks/blocks.ts'
import { RAW } from '../blocks/links.ts'
import { InvalidOptionsError, InvalidPathError, InvalidSourceError } from '../errors.ts'
import { CHUNK_SIZE_BYTES, HASHES_IN_FLIGHT } from '../limits.ts'
import type { Bytes, Source } from '../types.ts'
import { following, type FollowingAbort } from './abort.ts'
import { iterated } from './pieces.ts'
import { checkSource, chunks, smallCopy } from './source.ts'
import { Tree, type Folder } from './tree.ts'

/** Leaves that the importer gathers before it looks at them. How many are in flight is bounded by `leaves` below. */
const LEAVES_PER_BATCH = 64

const NO_BYTES: Bytes = new Uint8Array(0)

export interface ImportOptions {
  signal?: AbortSignal | undefined
  /** Called with the bytes of content put so far. */
  onProgress?: ((bytes: number) => void) | undefined
  /** The file is one of many that are stored together. */
  isOneOfMany?: boolean | undefined
}

export interface Imported {
  cid: CID
  /** Bytes of content, of all files together. */
  size: number
}

/** An imported file or directory as its parent links to it. `dagSize` is the Tsize: all its blocks, repeated ones counted again. */
interface Child {
  cid: CID
  dagSize: bigint
  isDirectory: boolean
}

/**
 * Imports one file. When this rejects, nothing is being put any more and the source is cancelled.
 *
 * @throws InvalidSourceError, what the source throws as it is, what the sink rejects with, the signal's reason
 */
export async function importFile(source: Source, sink: BlockSink, options: ImportOptions = {}): Promise<Imported> {
  checkSource(source)
  const progress = new Progress(options)
  const { cid } = await buildFile(source, sink, progress, options.isOneOfMany === true)
  return { cid, size: progress.read }
}

/**
 * Imports a directory from entries with paths such as 'a/b.txt'. The sources are checked and read one after another, each when its entry is
 * reached. The CID is that of the directory that holds the paths, even where there is a single one.
 *
 * @throws InvalidPathError for an empty, repeated or escaping path, or one that is a file and a directory
 * @throws LimitError beyond MAX_NAME_BYTES, MAX_PATH_SEGMENTS or MAX_DIRECTORY_ENTRIES
 * @throws as importFile
 */
export async function importDirectory(
  entries: Iterable<{ path: string; data: Source }> | AsyncIterable<{ path: string; data: Source }>,
  sink: BlockSink,
  options: ImportOptions = {},
): Promise<Imported> {
  if (!isIterable(entries)) throw new InvalidSourceError('directory needs an (async) iterable of { path, data } entries')
  const progress = new Progress(options)
  const tree = new Tree<Child>()
  for await (const entry of iterated<{ path: string; data: Source } | null | undefined>(entries, options.signal)) {
    if (typeof entry !== 'object' || entry === null) throw new InvalidPathError(`entry is ${typeof entry}: give { path, data }`, '')
    const unknown = Object.keys(entry).find((key) => key !== 'path' && key !== 'data')
    if (unknown !== undefined) {
      throw new InvalidOptionsError(
        `entry '${entry.path}' of a directory has '${unknown}', which it knows nothing of: it takes path and data`,
        unknown,
      )
    }
    const place = tree.place(entry.path)
    checkSource(entry.data)
    place(await buildFile(entry.data, sink, progress, true))
  }
  const { cid } = await buildFolder(tree.root, sink, progress)
  return { cid, size: progress.read }
}

/** The layout over leaves that are kept already: the same DAG as importFile() makes of their bytes. */
export async function importLeaves(kept: readonly { cid: CID; size: number }[], sink: BlockSink): Promise<Imported> {
  const progress = new Progress({})
  const size = kept.reduce((sum, leaf) => sum + leaf.size, 0)
  const { cid } = await build([{ content: nothing(kept.length) }], sink, progress, {
    chunker: (ready) => ready,
    bufferImporter: async function* ({ content }) {
      let index = 0
      for await (const _ of content as AsyncIterable<Bytes>) {
        const leaf = kept[index++]
        if (leaf !== undefined) yield async () => ({ cid: leaf.cid, size: BigInt(leaf.size), block: NO_BYTES })
      }
    },
    blockWriteConcurrency: LEAVES_PER_BATCH,
  })
  return { cid, size }
}

async function* nothing(count: number): AsyncGenerator<Bytes, void, undefined> {
  for (let index = 0; index < count; index++) yield NO_BYTES
}

class Progress {
  read = 0
  readonly signal: AbortSignal | undefined
  readonly #report: ImportOptions['onProgress']
  #put = 0

  constructor(options: ImportOptions) {
    this.signal = options.signal
    this.#report = options.onProgress
  }

  put(bytes: number): void {
    this.#put += bytes
    this.#report?.(this.#put)
  }
}

async function buildFile(source: Source, sink: BlockSink, progress: Progress, isOneOfMany: boolean): Promise<Child> {
  const putWhole = async (bytes: Bytes): Promise<Child> => {
    const size = bytes.byteLength
    const cid = await putLeaf(bytes, await leafAlone(sink, isOneOfMany), progress)
    progress.signal?.throwIfAborted()
    return { cid, dagSize: BigInt(size), isDirectory: false }
  }
  const copy = smallCopy(source)
  if (copy !== undefined) {
    progress.signal?.throwIfAborted()
    progress.read += copy.byteLength
    return putWhole(copy)
  }
  const abort = following(progress.signal)
  let leafSink: LeafSink | undefined
  const content = chunks(source, {
    signal: abort.signal,
    onBytes: (bytes) => {
      progress.read += bytes
    },
    buffer: () => leafSink?.pool?.take(),
  })
  try {
    const first = await content.next()
    // A file of one chunk is its raw leaf, and the importer takes several times as long to find that out. A full chunk may not be the last.
    if (first.done !== true && first.value.byteLength < CHUNK_SIZE_BYTES) return await putWhole(first.value)
    leafSink = (await sink.leaves?.()) ?? leafByLeaf(sink)
    return await build([{ content: prepended(first, content) }], sink, progress, {
      // The chunks have the right size already; the importer's own chunker would copy them once more.
      chunker: (ready) => ready,
      bufferImporter: leaves(leafSink, progress, abort),
      blockWriteConcurrency: LEAVES_PER_BATCH,
    })
  } finally {
    await content.return()
    abort.release()
  }
}

async function* prepended(first: IteratorResult<Bytes, void>, rest: AsyncIterable<Bytes>): AsyncGenerator<Bytes, void, undefined> {
  if (first.done !== true) yield first.value
  yield* rest
}

/** Puts a leaf once it is hashed and what goes `before` it was put. What failed there fails this one too, so that nothing is put after it. */
async function putLeaf(chunk: Bytes, sink: LeafSink, progress: Progress, before?: Promise<unknown>): Promise<CID> {
  const size = chunk.byteLength
  const { cid, bytes } = await sink.hash(chunk)
  await before
  await sink.put(cid, bytes)
  progress.put(size)
  return cid
}

/** For the one leaf of a small file. */
async function leafAlone(sink: BlockSink, isOneOfMany: boolean): Promise<LeafSink> {
  const alone = leafByLeaf(sink)
  const together = isOneOfMany ? await sink.small?.() : undefined
  if (together === undefined) return alone
  // What is empty has no place in a pack: whether something in one is needed is told by its bytes.
  return { ...alone, put: (cid, bytes) => (bytes.byteLength === 0 ? alone : together).put(cid, bytes) }
}

/** Leaves as blocks like any other. */
export function leafByLeaf(sink: BlockSink): LeafSink {
  return {
    hash: async (chunk) => ({ cid: CID.createV1(RAW, await sha256.digest(chunk)), bytes: chunk }),
    put: async (cid, bytes) => void (await sink.put(cid, bytes)),
    end: async () => undefined,
  }
}

/**
 * Deepest first, each directory in a run of its own over children that have their CIDs: left to itself the importer counts a subdirectory
 * as 0 bytes when it decides on sharding (6,000 of them make a flat block of 336,004 bytes), and takes a '\' before a '/' for an escape.
 */
async function buildFolder(folder: Folder<Child>, sink: BlockSink, progress: Progress): Promise<Child> {
  const children: { path: string; child: Child }[] = []
  for (const [path, child] of folder)
    children.push({ path, child: child instanceof Map ? await buildFolder(child, sink, progress) : child })
  const built = await build([], sink, progress, {
    // Makes the directory itself the last result, whatever it holds.
    wrapWithDirectory: true,
    dagBuilder: async function* () {
      for (const { path, child } of children) {
        const kind = child.isDirectory ? { unixfs: new UnixFS({ type: 'directory' }) } : {}
        yield async () => ({ path, cid: child.cid, size: child.dagSize, ...kind })
      }
    },
  })
  return { ...built, isDirectory: true }
}

async function build(candidates: ImportCandidateStream, sink: BlockSink, progress: Progress, options: ImporterOptions): Promise<Child> {
  const storage = {
    put: (cid: CID, bytes: Uint8Array) => sink.put(cid, owned(bytes)),
  }
  let built: Child | undefined
  // A fresh options object each time: the importer writes into it.
  for await (const { cid, size } of importer(candidates, storage, { ...options, profile: 'unixfs-v1-2025', fileImportConcurrency: 1 })) {
    built = { cid, dagSize: size, isDirectory: false }
  }
  progress.signal?.throwIfAborted()
  if (built === undefined) throw new Error('the importer gave no root')
  return built
}

/**
 * Hashes and puts raw leaves as soon as they are read, HASHES_IN_FLIGHT at once, while the next are being read; the importer's own waits for
 * a whole batch. Leaves are put in the order of the file, so that they lie together. One that fails aborts the reading of a source that may
 * stall. Ends only when nothing is in flight.
 */
function leaves(sink: LeafSink, progress: Progress, abort: FollowingAbort): BufferImporter {
  return async function* ({ content }) {
    const inFlight = new Set<Promise<unknown>>()
    let before: Promise<unknown> | undefined
    try {
      for await (const chunk of content as AsyncIterable<Bytes>) {
        const size = BigInt(chunk.byteLength)
        const stored = putLeaf(chunk, sink, progress, before)
        before = stored
        inFlight.add(stored)
        stored.then(
          () => inFlight.delete(stored),
          (error: unknown) => abort.abort(error),
        )
        // Without the chunk: the importer keeps results of a batch and would keep its bytes.
        yield async () => ({ cid: await stored, size, block: NO_BYTES })
        if (inFlight.size >= HASHES_IN_FLIGHT) await Promise.race(inFlight)
      }
      await before
      await sink.end()
    } finally {
      await Promise.allSettled(inFlight)
    }
  }
}

function owned(bytes: Uint8Array): Bytes {
  return bytes.byteLength === bytes.buffer.byteLength && bytes.buffer instanceof ArrayBuffer ? (bytes as Bytes) : new Uint8Array(bytes)
}

function isIterable(value: unknown): boolean {
  return typeof value === 'object' && value !== null && (Symbol.asyncIterator in value || Symbol.iterator in value)
}
