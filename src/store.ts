// What adds content: one writer an operation, whose commit makes everything visible in one transaction.
import type { CID } from 'multiformats/cid'
import { Writer } from './blocks/writer.ts'
import type { EntryDraft, KeptContent } from './catalog/commit.ts'
import { normalise } from './cid.ts'
import { describeHere, nameHere } from './naming.ts'
import { follow } from './network/abort.ts'
import { CarError, InvalidSourceError } from './errors.ts'
import { importDirectory, importFile, type ImportOptions } from './files/import.ts'
import { loadCar } from './files/load-car.ts'
import { iterated } from './files/pieces.ts'
import { checkSource, sourceMediaType, sourceSize } from './files/source.ts'
import { checkOptions, type Operation } from './operation.ts'
import type { UrlSource } from './catalog/schema.ts'
import type { Cancellable, Progress, Source, StoreOptions } from './types.ts'

export const STORE_OPTIONS = ['filename', 'pin', 'holder', 'mediaType', 'signal', 'onProgress'] as const

/** Asynchronous where they come through a worker's port. */
type Item = { data: Source } & StoreOptions

export function checkStoreOptions(method: string, options: StoreOptions | undefined): void {
  checkOptions(method, options, STORE_OPTIONS)
}

/** What a room above says of content beyond the options. */
export interface StoredFacts {
  sha256?: string
  source?: UrlSource
}

/** `settle` is called when all of it was read, before it becomes an entry, which does not come about where it throws. */
export async function storeFile(
  operation: Operation,
  data: Source,
  options: StoreOptions,
  settle: (stored: { cid: string; size: number }) => Promise<StoredFacts> = () => Promise.resolve({}),
): Promise<string> {
  return write(operation, async (writer) => {
    const content = await importOne(operation, writer, data, options, { onProgress: progressOf(options, sourceSize(data)) })
    const facts = await settle({ cid: content.cid, size: content.entry?.size ?? 0 })
    if (content.entry !== undefined) Object.assign(content.entry, facts)
    return { contents: [content], answer: content.cid }
  })
}

export async function storeMany(
  operation: Operation,
  items: Iterable<Item> | AsyncIterable<Item>,
  options: Cancellable,
): Promise<string[]> {
  checkIterable('storeMany', items)
  return write(operation, async (writer) => {
    const contents: KeptContent[] = []
    let before = 0
    for await (const item of iterated(items, operation.signal)) {
      if (typeof item !== 'object' || item === null || !('data' in item)) {
        throw new InvalidSourceError(`item ${contents.length} of storeMany() is no object with 'data'`)
      }
      const { data, ...itemOptions } = item
      checkStoreOptions('storeMany', itemOptions)
      checkSource(data)
      let size = 0
      const report = progressOf(itemOptions, sourceSize(data))
      contents.push(
        await importOne(operation, writer, data, itemOptions, {
          isOneOfMany: true,
          onProgress: (bytes) => {
            size = bytes
            report(bytes)
            options.onProgress?.({ bytes: before + bytes, phase: 'store' })
          },
        }),
      )
      before += size
    }
    return { contents, answer: contents.map((content) => content.cid) }
  })
}

export async function storeDirectory(
  operation: Operation,
  entries: Iterable<{ path: string; data: Source }> | AsyncIterable<{ path: string; data: Source }>,
  options: StoreOptions,
): Promise<string> {
  checkIterable('storeDirectory', entries)
  return write(operation, async (writer) => {
    const { cid, size } = await importDirectory(entries, writer, { signal: operation.signal, onProgress: progressOf(options, undefined) })
    const content = keep(operation, writer, cid, 'directory', size, options)
    return { contents: [content], answer: content.cid }
  })
}

export async function importCar(operation: Operation, source: Source, options: StoreOptions): Promise<string[]> {
  return write(operation, async (writer) => {
    const total = sourceSize(source)
    const { importCarBlocks } = await loadCar()
    const { roots } = await importCarBlocks(source, writer, {
      signal: operation.signal,
      onProgress: (bytes: number) => options.onProgress?.({ bytes, ...(total === undefined ? {} : { total }), phase: 'store' }),
    })
    await writer.flush()
    const contents = new Map<string, KeptContent>()
    const cids = roots.map(normalise)
    for (const cid of cids) {
      // A header may name a root any number of times.
      if (contents.has(cid.toString())) continue
      if (!(await nameHere(writer, operation.core.store, cid, { signal: operation.signal }))) {
        throw new CarError(
          `the CAR does not hold all blocks below its root ${cid.toString()}, and this storage has not the rest: nothing was stored`,
        )
      }
      const { type, size } = await describeHere(operation.core.store, cid)
      contents.set(cid.toString(), keep(operation, writer, cid, type, size, options))
    }
    return { contents: [...contents.values()], answer: cids.map(String) }
  })
}

function checkIterable(method: string, items: unknown): void {
  if (typeof items === 'object' && items !== null && (Symbol.iterator in items || Symbol.asyncIterator in items)) return
  throw new InvalidSourceError(`${method}() takes an iterable of objects, not ${items === null ? 'null' : typeof items}`)
}

/** Runs `work` with a writer of its own, and commits what it answers; undoes everything where it throws. */
async function write<T>(operation: Operation, work: (writer: Writer) => Promise<{ contents: KeptContent[]; answer: T }>): Promise<T> {
  const { core, signal } = operation
  const writer = await Writer.open(core.store, signal)
  try {
    const { contents, answer } = await work(writer)
    const { changes, leftover } = await writer.commit(contents)
    core.announce(changes)
    await core.free([leftover])
    return answer
  } catch (error) {
    await core.free([await writer.abort()])
    throw error
  }
}

async function importOne(
  operation: Operation,
  writer: Writer,
  data: Source,
  options: StoreOptions,
  importing: Pick<ImportOptions, 'onProgress' | 'isOneOfMany'>,
): Promise<KeptContent> {
  // Asked before the source is read: one that was read is no source any more.
  const mediaType = options.mediaType ?? sourceMediaType(data)
  writer.expect(sourceSize(data) ?? 0)
  // An item of storeMany may have a signal of its own.
  const scope = options.signal === undefined ? undefined : new AbortController()
  const release = scope === undefined ? undefined : follow(scope, [options.signal, operation.signal])
  const signal = scope?.signal ?? operation.signal
  const { cid, size } = await importFile(data, writer, { ...importing, signal }).finally(release)
  return keep(operation, writer, cid, 'file', size, { ...options, ...(mediaType === undefined ? {} : { mediaType }) })
}

function keep(operation: Operation, writer: Writer, root: CID, type: EntryDraft['type'], size: number, options: StoreOptions): KeptContent {
  const cid = root.toString()
  return {
    cid,
    references: writer.references(root),
    entry: {
      filename: options.filename ?? cid,
      cid,
      type,
      size,
      complete: true,
      fallback: operation.fallback,
      ...(options.mediaType === undefined ? {} : { mediaType: options.mediaType }),
    },
    ...(options.pin === true ? { pin: { holder: options.holder ?? '', size } } : {}),
  }
}

function progressOf(options: StoreOptions, total: number | undefined): (bytes: number) => void {
  const { onProgress } = options
  if (onProgress === undefined) return () => undefined
  return (bytes) => onProgress({ bytes, ...(total === undefined ? {} : { total }), phase: 'store' } satisfies Progress)
}
