// What tells of content without answering it: entries, counts, whether all of it is here.
import type { CID } from 'multiformats/cid'
import { canLink } from './blocks/links.ts'
import type { LocalBlockstore } from './blocks/local-blockstore.ts'
import { holdersOf, listAgain, listEntries, type Listing } from './catalog/entries.ts'
import { isKnown, referenceOfRaw, sha256OfRaw } from './catalog/raw-blocks.ts'
import type { EntryOwner, Reference } from './catalog/schema.ts'
import type { Core } from './core.ts'
import { InvalidOptionsError } from './errors.ts'
import { foundHere, withFound } from './found.ts'
import { describeRoot } from './files/stat.ts'
import { walk } from './files/walk.ts'
import { READ_WINDOW_BLOCKS } from './limits.ts'
import type { Operation } from './operation.ts'
import type { ContentPath, FileInfo, FileStat, LookupOptions } from './types.ts'

export async function stat(operation: Operation, path: ContentPath, options: LookupOptions): Promise<FileStat | null> {
  const { core, signal } = operation
  return withFound(operation, path, options, async ({ content, cid, nodes }) => {
    const { type, size } = await describeRoot(content, cid, { signal, local: core.store.lenient })
    await content.keep(cid, nodes, false)
    const { blocks, localBlocks } = await countBlocks(core.store, cid, signal)
    const pinned = (await holdersOf(core.catalog, cid.toString())).length > 0
    return { cid: cid.toString(), type, size, blocks, localBlocks, pinned }
  })
}

export async function exists(operation: Operation, path: ContentPath): Promise<boolean> {
  const cid = await foundHere(operation, path)
  if (cid === null) return false
  const { blocks, localBlocks } = await countBlocks(operation.core.store, cid, operation.signal)
  return blocks === localBlocks
}

export async function listFiles(
  operation: Operation,
  path: string,
  options: { after?: Pick<FileInfo, 'filename' | 'cid'>; limit?: number },
): Promise<FileInfo[]> {
  const { after, limit = Number.POSITIVE_INFINITY } = options
  if (typeof path !== 'string') throw new InvalidOptionsError('listFiles() takes a path as a string', 'path')
  if (limit !== Number.POSITIVE_INFINITY && (!Number.isSafeInteger(limit) || limit < 0)) {
    throw new RangeError(`limit must be a whole number of at least 0, not ${String(limit)}`)
  }
  if (after !== undefined && (typeof after.filename !== 'string' || typeof after.cid !== 'string')) {
    throw new InvalidOptionsError("option 'after' of listFiles() must be an entry: { filename, cid }", 'after')
  }
  if (limit === 0) return []
  const { core } = operation
  const files: FileInfo[] = []
  // As many as were asked for, where some were deleted meanwhile: fewer would say that there are no more.
  for (let last = after; ;) {
    const listings = await listEntries(core.catalog, path, last, limit - files.length)
    const wanted = files.length + listings.length
    files.push(...(await describeThere(core, listings)))
    if (wanted < limit || files.length === wanted) return files
    last = listings.at(-1)?.entry
  }
}

/** Entries that are there still: of one that was deleted while it was looked at, blocks are missing. One that came in its place is looked at anew. */
async function describeThere(core: Core, listings: readonly Listing[]): Promise<FileInfo[]> {
  const files = await describe(core, listings)
  const doubtful = listings.filter((_, index) => files[index]?.state !== 'whole')
  if (doubtful.length === 0) return files
  const now = await listAgain(core.catalog, doubtful)
  const changed = now.flatMap((listing, index) => (listing === undefined || listing.entry.id === doubtful[index]?.entry.id ? [] : listing))
  const replaced = changed.length === 0 ? [] : await describeThere(core, changed)
  const after = new Map(doubtful.map((listing, index) => [listing, now[index]]))
  const there = new Map(replaced.map((file) => [JSON.stringify([file.filename, file.cid]), file]))
  return listings.flatMap((listing, index) => {
    const again = after.has(listing) ? after.get(listing) : listing
    if (again === undefined) return []
    if (again.entry.id === listing.entry.id) return files[index] ?? []
    return there.get(JSON.stringify([again.entry.filename, again.entry.cid])) ?? []
  })
}

/** Entries as the contract has them. What is here is counted now, never remembered. */
async function describe(core: Core, listings: readonly Listing[]): Promise<FileInfo[]> {
  const references = await core.catalog.read(['owners', 'references'], (tx) =>
    Promise.all(listings.map(({ entry }) => referencesOfEntry(core, tx, entry))),
  )
  const keys = [...new Set(references.flatMap((records) => records.flatMap((record) => record.blocks)))]
  const [has, damaged] = await Promise.all([core.store.present(keys), core.catalog.damaged(keys)])
  const here = new Set(keys.filter((_, index) => has[index] === true))
  return listings.map(({ entry, holders }, index) => {
    const records = references[index] ?? []
    const blocks = records.flatMap((record) => record.blocks)
    const missing = blocks.some((key) => !here.has(key))
    const spoilt = blocks.some((key) => damaged.has(key))
    const unknown = !isKnown(records, entry)
    // What was whole when it was stored and of which not all is known has lost rows of the catalog.
    const state = spoilt || ((missing || unknown) && entry.complete) ? 'damaged' : missing || unknown ? 'partial' : 'whole'
    const sha256 = entry.sha256 ?? sha256OfRaw(entry.cid)
    const localBytes = state === 'whole' ? entry.size : Math.min(entry.size, bytesHere(records, here, damaged))
    return {
      cid: entry.cid,
      type: entry.type,
      filename: entry.filename,
      size: entry.size,
      localBytes,
      state,
      modified: new Date(entry.modified),
      lastUsed: new Date(entry.lastUsed),
      pinned: holders.length > 0,
      fallback: entry.fallback,
      ...(entry.mediaType === undefined ? {} : { mediaType: entry.mediaType }),
      ...(sha256 === undefined ? {} : { sha256 }),
      replicas: entry.replicas,
    }
  })
}

/** What was whole when it was stored is told by its own records; of a part, other entries and pins of the content may tell more. */
async function referencesOfEntry(core: Core, tx: IDBTransaction, entry: EntryOwner): Promise<Reference[]> {
  const raw = referenceOfRaw(entry)
  if (raw !== undefined) return [raw]
  const own = entry.complete ? await core.catalog.referencesIn(tx, entry.id) : []
  return isKnown(own, entry) ? own : core.catalog.referencesOfContent(tx, entry.cid)
}

/** Bytes of content in the blocks that are here: what a node holds itself, and its raw leaves. */
function bytesHere(records: readonly Reference[], here: ReadonlySet<string>, damaged: ReadonlySet<string>): number {
  const readable = (key: string): boolean => here.has(key) && !damaged.has(key)
  let bytes = 0
  for (const record of records) {
    if (readable(record.node)) bytes += record.own
    record.blocks.forEach((key, index) => {
      if (key !== record.node && readable(key)) bytes += Math.max(0, record.sizes[index] ?? 0)
    })
  }
  return bytes
}

/** Blocks of a DAG as far as it can be seen from here, and how many of them are here. Nodes are read, leaves looked up. */
async function countBlocks(store: LocalBlockstore, root: CID, signal: AbortSignal): Promise<{ blocks: number; localBlocks: number }> {
  let blocks = 0
  let localBlocks = 0
  let leaves: CID[] = []
  const lookUp = async (): Promise<void> => {
    const here = await store.hasMany(leaves)
    localBlocks += here.filter(Boolean).length
    leaves = []
  }
  const onMissing = (): void => {
    blocks++
  }
  for await (const { cid } of walk(store.lenient, root, { signal, onMissing })) {
    blocks++
    if (canLink(cid)) localBlocks++
    else leaves.push(cid)
    if (leaves.length >= READ_WINDOW_BLOCKS) await lookUp()
  }
  await lookUp()
  return { blocks, localBlocks }
}
