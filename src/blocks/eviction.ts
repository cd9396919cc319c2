// Making room: what was used least recently and no pin holds is given up, as much of it as is needed and no more.
import { CID } from 'multiformats/cid'
import type { Catalog } from '../catalog/catalog.ts'
import type { CatalogChange } from '../catalog/commit.ts'
import { keyRange, pagesOf, result } from '../catalog/database.ts'
import { endImplicitEntries, endUnused } from '../catalog/entries.ts'
import { entriesIn, entriesOfContent } from '../catalog/entry-rows.ts'
import { pinsOf } from '../catalog/pins.ts'
import { isRaw } from '../catalog/raw-blocks.ts'
import type { EntryRow, Owner, PackRow, Place } from '../catalog/schema.ts'
import { QuotaError } from '../errors.ts'
import { CHUNK_SIZE_BYTES, RESERVE_BYTES, ROOM_TRIES, ROOM_WAIT_MS } from '../limits.ts'
import type { BlockKey } from './blocks.ts'
import type { LocalBlockstore } from './local-blockstore.ts'
import { sweepPacks } from './pack-sweep.ts'
import { blockKey } from './records.ts'
import { settleCatalog } from './settle.ts'
import { endDead, recountUsage, runRemoval, unneeded, type Freed, type PinnedByHelia } from './removal.ts'

export interface Evicted {
  cid: string
  filename: string
  bytes: number
}

export interface Eviction {
  /** Bytes that must become free. */
  needed: number
  /**
   * Whose bytes count. 'disk': those that the browser gets back now, so that of a pack none do until all of it goes. 'kept': those of every block that
   * goes.
   */
  of: 'disk' | 'kept'
  pinnedByHelia: PinnedByHelia
  signal: AbortSignal
  onChanges: (changes: CatalogChange[]) => void
  onEvicted: (evicted: Evicted[]) => void
}

/** A content is not given up for less than so many bytes, unless it is for this share of it. */
const LEAST_GAIN_BYTES: number = CHUNK_SIZE_BYTES
const LEAST_GAIN = 16

/** Contents that end in one transaction. */
const CONTENTS_TOGETHER = 64

/** Contents with all their entries. */
interface Candidate {
  cid: string
  owners: string[]
  size: number
  lastUsed: number
}

/** A content that goes, the bytes of all its blocks, and those that go with it. */
interface Chosen extends Candidate {
  blocks: BlockKey[]
  allBytes: number
  bytes: number
}

/** What would be freed if these went. */
interface Plan {
  owners: Set<string>
  contents: Set<string>
  /** With their bytes. */
  free: Map<BlockKey, number>
  /** With what each would have left that is needed. */
  packs: Map<string, PackRow>
  freedBytes: number
  chosen: Chosen[]
  places: Map<BlockKey, Place>
}

/**
 * Frees what nobody needs and, where that is nothing, evicts. Answers the bytes that became free, as far as they are known: 0 where nothing can be given
 * up, or not enough of it, and then nothing is. Content that was used or pinned meanwhile stays.
 */
export async function makeRoom(store: LocalBlockstore, eviction: Eviction): Promise<number> {
  const gone = { bytes: 0 }
  await freeUnneeded(store, eviction, gone).catch((error: unknown) => {
    // Not even that much can be written, or not all of it: see endOverQuota.
    if (!(error instanceof QuotaError)) throw error
  })
  if (gone.bytes > 0) return gone.bytes
  const chosen = await planned(store, eviction)
  let freed = 0
  for (let from = 0; from < chosen.length; from += CONTENTS_TOGETHER) {
    eviction.signal.throwIfAborted()
    freed += await evict(store, chosen.slice(from, from + CONTENTS_TOGETHER), eviction)
  }
  return freed
}

/** As gc(): what dead writers and deletions left, what pins made and hold no more, and packs in which nothing is needed. Counts bytes as it goes. */
async function freeUnneeded(
  store: LocalBlockstore,
  { of, pinnedByHelia, signal, onChanges }: Eviction,
  freed: { bytes: number },
): Promise<void> {
  onChanges((await endImplicitEntries(store.catalog)).changes)
  const { removals, uncounted } = await endDead(store, Date.now())
  for (const id of removals) {
    const before = freed.bytes
    // A removal may free some and then find no room to go on.
    const onProgress = ({ bytes }: Freed): void => {
      freed.bytes = before + bytes
    }
    await runRemoval(store, id, { pinnedByHelia, signal, onProgress })
  }
  if (uncounted) await recountUsage(store)
  const swept = store.packs === undefined ? 0 : await sweepPacks(store, store.packs, { measure: false })
  if (of === 'disk') freed.bytes += swept
}

/** Those used least recently until what they would free is enough; none where it is not. */
async function planned(store: LocalBlockstore, eviction: Eviction): Promise<Chosen[]> {
  const plan = emptyPlan()
  const comesBack = (block: BlockKey): boolean => eviction.of === 'kept' || isEmptied(plan, block)
  const gainOf = ({ blocks }: Chosen): number =>
    blocks.reduce((sum, block) => sum + (comesBack(block) ? (plan.free.get(block) ?? 0) : 0), 0)
  // What would free next to nothing, since others need it or it lies in packs that stay, stays.
  const chosen = (): Chosen[] =>
    plan.chosen.filter((one) => gainOf(one) > 0 && gainOf(one) >= Math.min(LEAST_GAIN_BYTES, one.allBytes / LEAST_GAIN))
  // Of a disk rather too much than too little, if there is as much: what a transaction takes of it is not told.
  const wanted = eviction.of === 'disk' ? Math.max(eviction.needed, RESERVE_BYTES) : eviction.needed
  const candidates = await candidatesOf(store.catalog)
  for (let from = 0; from < candidates.length;) {
    eviction.signal.throwIfAborted()
    const some: Candidate[] = []
    // Together those that are not enough, as far as their sizes tell.
    let most = plan.freedBytes
    do {
      const candidate = candidates[from++]
      if (candidate === undefined) break
      some.push(candidate)
      most += candidate.size
    } while (most + (candidates[from]?.size ?? 0) < wanted && some.length < CONTENTS_TOGETHER)
    await weigh(store, some, plan, eviction)
    if (plan.freedBytes >= wanted) return chosen()
  }
  return plan.freedBytes >= eviction.needed ? chosen() : []
}

function emptyPlan(): Plan {
  return { owners: new Set(), contents: new Set(), free: new Map(), packs: new Map(), freedBytes: 0, chosen: [], places: new Map() }
}

function isEmptied({ places, packs }: Plan, block: BlockKey): boolean {
  const place = places.get(block)
  return place === undefined || packs.get(place.pack)?.live === 0
}

/** Adds contents to what would go. */
async function weigh(
  store: LocalBlockstore,
  candidates: readonly Candidate[],
  plan: Plan,
  { of, pinnedByHelia }: Pick<Eviction, 'of' | 'pinnedByHelia'>,
): Promise<void> {
  const { catalog } = store
  const named = await catalog.read(['owners', 'references'], (tx) =>
    Promise.all(candidates.map(({ cid }) => catalog.referencesOfContent(tx, cid))),
  )
  const sizes = new Map<BlockKey, number>()
  const chosen = candidates.map((candidate, index): Chosen => {
    for (const owner of candidate.owners) plan.owners.add(owner)
    plan.contents.add(candidate.cid)
    const blocks = new Set<BlockKey>()
    for (const reference of named[index] ?? []) {
      reference.blocks.forEach((block, at) => {
        blocks.add(block)
        sizes.set(block, Math.max(sizes.get(block) ?? 0, reference.sizes[at] ?? 0))
      })
    }
    const allBytes = [...blocks].reduce((sum, block) => sum + (sizes.get(block) ?? 0), 0)
    return { ...candidate, blocks: [...blocks], allBytes, bytes: 0 }
  })
  plan.chosen.push(...chosen)
  const { here, rows } = await store.lookUp([...sizes.keys()].filter((block) => !plan.free.has(block)))
  const free = new Set(await unneeded(store, [...here], { pinnedByHelia, owners: plan.owners, contents: plan.contents }))
  const packs = [...free].flatMap((block) => rows.get(block)?.pack ?? [])
  if (of === 'disk') await readPacks(store, plan, packs)
  for (const content of chosen) {
    for (const block of content.blocks) {
      if (!free.has(block) || plan.free.has(block)) continue
      const place = rows.get(block)
      const bytes = place?.length ?? sizes.get(block) ?? 0
      plan.free.set(block, bytes)
      content.bytes += bytes
      if (place === undefined || of === 'kept') {
        plan.freedBytes += bytes
        continue
      }
      plan.places.set(block, place)
      const pack = plan.packs.get(place.pack)
      if (pack === undefined) continue
      pack.live = Math.max(0, pack.live - bytes)
      if (pack.live === 0) plan.freedBytes += pack.bytes
    }
  }
}

/** One that somebody holds, by a Blob say, gives nothing back however little of it is needed: it is left out. */
async function readPacks(store: LocalBlockstore, { packs }: Plan, ids: readonly string[]): Promise<void> {
  const unknown = [...new Set(ids)].filter((pack) => !packs.has(pack))
  if (unknown.length === 0) return
  await store.packs?.letGo(unknown)
  const rows = await store.catalog.read(['packs'], (tx) =>
    Promise.all(unknown.map((pack) => result<PackRow | undefined>(tx.objectStore('packs').get(pack)))),
  )
  for (const row of rows) {
    if (row === undefined) continue
    const lock = await store.locks.holdPack(row.id, 'exclusive', { ifAvailable: true })
    packs.set(row.id, lock === undefined ? { ...row, live: Number.POSITIVE_INFINITY } : row)
    await lock?.release()
  }
}

/** Contents that no pin holds, those used least recently first. */
async function candidatesOf(catalog: Catalog): Promise<Candidate[]> {
  return catalog.read(['owners'], async (tx) => {
    const found = new Map<string, Candidate>()
    const pinned = new Set<string>()
    for await (const page of pagesOf<Owner>(tx.objectStore('owners'), ({ id }) => id)) {
      for (const owner of page) {
        if (owner.kind === 'pin') pinned.add(owner.pinned)
        if (owner.kind !== 'entry') continue
        for (const { cid, id, size, lastUsed } of entriesIn(owner)) {
          const candidate = found.get(cid) ?? { cid, owners: [], size, lastUsed: 0 }
          candidate.owners.push(id)
          candidate.lastUsed = Math.max(candidate.lastUsed, lastUsed)
          found.set(cid, candidate)
        }
      }
    }
    return [...found.values()].filter(({ cid }) => !pinned.has(cid)).toSorted((a, b) => a.lastUsed - b.lastUsed)
  })
}

/** Ends the entries of some contents and frees what they alone needed. Answers bytes. */
async function evict(store: LocalBlockstore, chosen: readonly Chosen[], eviction: Eviction): Promise<number> {
  const { pinnedByHelia, onChanges, onEvicted } = eviction
  const going = { contents: chosen, pinnedByHelia }
  const { ended, changes, bytes: dropped = 0 } = await endOverQuota(store, going, () => endUnused(store.catalog, chosen))
  onChanges([...changes.values()].flat())
  onEvicted(
    chosen.flatMap(({ cid, bytes }) =>
      (changes.get(cid) ?? []).map(({ filename }, index) => ({ cid, filename, bytes: index === 0 ? bytes : 0 })),
    ),
  )
  // Not ended by the signal: what was begun is finished.
  let freed = dropped
  for (const id of ended) freed += (await runRemoval(store, id, { pinnedByHelia })).bytes
  return freed
}

/** A content that is to go with all its entries: only if it was not used since, and with its pins only if so said. */
export interface Going {
  cid: string
  lastUsed: number
  force?: boolean | undefined
}

/** What was ended and waits to be freed, the changes of each content by its CID, and what was freed already. */
interface Ended {
  ended: string[]
  changes: Map<string, CatalogChange[]>
  bytes?: number
}

/**
 * Ends the owners of contents. Where the browser takes no write at all, since there is more by now than it allows, those that share no row with others end
 * by a transaction that does nothing but delete, which it lets through; what that leaves behind is settled as soon as it takes writes again.
 *
 * @throws QuotaError where nothing of it can go that way
 */
export async function endOverQuota(
  store: LocalBlockstore,
  { contents, pinnedByHelia }: { contents: readonly Going[]; pinnedByHelia: PinnedByHelia },
  end: () => Promise<Ended>,
): Promise<Ended> {
  try {
    return await end()
  } catch (error) {
    if (!(error instanceof QuotaError)) throw error
    const dropped = await store.locks.exclusive(() => drop(store, contents, pinnedByHelia))
    if (dropped === undefined) throw error
    for (let tries = 1; tries <= ROOM_TRIES && !(await settle(store, pinnedByHelia)); tries++) {
      // Browsers free lazily.
      await new Promise((resolve) => setTimeout(resolve, ROOM_WAIT_MS * tries))
    }
    return dropped
  }
}

/** Under the lock, so that nobody begins to need them meanwhile. References stay, and tell `settle` what is left. */
async function drop(store: LocalBlockstore, contents: readonly Going[], pinnedByHelia: PinnedByHelia): Promise<Ended | undefined> {
  const read = (tx: IDBTransaction): Promise<Dropped[]> => droppable(tx, contents)
  const candidates = await store.catalog.read(['owners'], read)
  const plan = emptyPlan()
  await weigh(
    store,
    candidates.map(({ cid, owners }) => ({ cid, owners, size: 0, lastUsed: 0 })),
    plan,
    { of: 'disk', pinnedByHelia },
  )
  // No reference would tell of one block in a pack that stays.
  const alone = candidates.filter(({ cid }) => !isRaw(cid) || isEmptied(plan, blockKey(CID.parse(cid))))
  const emptied = [...plan.packs.values()].flatMap(({ id, live }) => (live === 0 ? [id] : []))
  const done = await store.catalog.write(['owners', 'packs', 'places'], async (tx) => {
    // An entry or a pin that came meanwhile needs what was weighed.
    if (alone.length === 0 || JSON.stringify(await read(tx)) !== JSON.stringify(candidates)) return false
    tx.objectStore('meta').delete('reserve')
    for (const { owners } of alone) for (const id of owners) tx.objectStore('owners').delete(id)
    for (const id of emptied) {
      tx.objectStore('packs').delete(id)
      tx.objectStore('places').delete(keyRange(tx, [id], [id, []]))
    }
    return true
  })
  if (!done) return undefined
  // Cut off here, one block that was a content stays as if it were foreign: there was no room to note that it goes.
  await store.records.deleteMany([...plan.free.keys()].filter((block) => !plan.places.has(block)))
  for (const id of emptied) await store.packs?.removeFile(id)
  const changes = new Map(
    alone.map(({ cid, filenames }) => [cid, filenames.map((filename): CatalogChange => ({ cid, filename, kind: 'deleted' }))]),
  )
  return { ended: [], changes, bytes: plan.freedBytes }
}

interface Dropped {
  cid: string
  owners: string[]
  filenames: string[]
}

/** Those of entries that share no row with others: such a row would have to be written. */
async function droppable(tx: IDBTransaction, contents: readonly Going[]): Promise<Dropped[]> {
  const each = await Promise.all(
    contents.map(async ({ cid, lastUsed, force }) => {
      const pinned = result(tx.objectStore('owners').index('pin').getAllKeys(pinsOf(tx, cid)))
      const [entries, pins] = await Promise.all([entriesOfContent(tx, cid), pinned])
      if (entries.length === 0 || entries.some((entry) => entry.lastUsed > lastUsed)) return []
      if (pins.length > 0 && force !== true) return []
      const rows = await Promise.all(entries.map(({ id }) => result<EntryRow>(tx.objectStore('owners').get(id))))
      if (rows.some(({ names }) => names.length > 1)) return []
      return [{ cid, owners: [...entries.map(({ id }) => id), ...(pins as string[])], filenames: entries.map(({ filename }) => filename) }]
    }),
  )
  return each.flat()
}

async function settle(store: LocalBlockstore, pinnedByHelia: PinnedByHelia): Promise<boolean> {
  try {
    await settleCatalog(store, pinnedByHelia)
    await store.catalog.keepReserve()
    return true
  } catch (error) {
    if (!(error instanceof QuotaError)) throw error
    return false
  }
}
