// Freeing: what an owner that ended named, and nobody else names, step by step under the exclusive lock.
import { rowsWithContent } from '../catalog/entry-rows.ts'
import { addUsage, isOver, ownedBy } from '../catalog/owners.ts'
import { dropPlaces, placesOf } from '../catalog/pack-rows.ts'
import type { Catalog } from '../catalog/catalog.ts'
import { keyRange, keysAmong, result } from '../catalog/database.ts'
import { rawCid } from '../catalog/raw-blocks.ts'
import type { PendingOwner, Reference } from '../catalog/schema.ts'
import { LEAF_WINDOW_BLOCKS, REMOVAL_STEP_BLOCKS } from '../limits.ts'
import type { BlockKey } from './blocks.ts'
import type { LocalBlockstore } from './local-blockstore.ts'

export interface Freed {
  blocks: number
  bytes: number
}

/** Which of these blocks Helia's own pins hold. Asked after the exclusive lock is held. */
export type PinnedByHelia = (keys: readonly BlockKey[]) => Promise<boolean[]>

export interface RemovalOptions {
  pinnedByHelia: PinnedByHelia
  signal?: AbortSignal | undefined
  onProgress?: ((freed: Freed) => void) | undefined
}

/**
 * Carries a removal to its end, if nobody else does already. What Helia's pins hold stays, and so does the removal that names it: it is looked
 * at again by the next gc().
 */
export async function runRemoval(store: LocalBlockstore, id: string, options: RemovalOptions): Promise<Freed> {
  const freed: Freed = { blocks: 0, bytes: 0 }
  const lock = await store.locks.own(id)
  if (lock === undefined) return freed
  const emptied: string[] = []
  try {
    let after: [string, string] | undefined
    for (;;) {
      options.signal?.throwIfAborted()
      const step = await nextReferences(store.catalog, id, after)
      const last = step.at(-1)
      if (last === undefined) break
      after = [id, last.node]
      const done = await store.locks.exclusive(() => freeStep(store, id, step, options.pinnedByHelia), options.signal)
      emptied.push(...done.emptied)
      freed.blocks += done.blocks
      freed.bytes += done.bytes
      options.onProgress?.(freed)
    }
    await store.catalog.writeToFree(['owners', 'references'], async (tx) => {
      const left = await result(tx.objectStore('references').count(ownedBy(tx, id)))
      const owners = tx.objectStore('owners')
      if (left === 0) owners.delete(id)
      else owners.put({ id, kind: 'removal', pending: 'removal', lastUsed: Date.now(), held: true } satisfies PendingOwner)
    })
    return freed
  } finally {
    await lock.release()
    // Whatever ended it: the rows are gone. A file that can't be removed now goes at the next sweep.
    await store.packs?.removeEmptied(emptied).catch(() => undefined)
  }
}

/**
 * Turns dead owners into removals and answers the ids of all removals. An owner is dead when its lock is free. `uncounted`: one of them was cut off
 * before it counted what it wrote, or a removal before it counted what it freed.
 */
export async function endDead(store: LocalBlockstore, now: number): Promise<{ removals: string[]; uncounted: boolean }> {
  const pending = await store.catalog.pending()
  const removals = pending.filter((owner) => owner.kind === 'removal').map((owner) => owner.id)
  let uncounted = pending.some((owner) => owner.kind === 'removal' && owner.held !== true)
  for (const owner of pending) {
    if (!isOver(owner, now)) continue
    const lock = await store.locks.own(owner.id)
    if (lock === undefined) continue
    try {
      if (!(await store.catalog.endDead(owner.id, now))) continue
      removals.push(owner.id)
      uncounted = true
    } finally {
      await lock.release()
    }
  }
  return { removals, uncounted }
}

/** Counts bytes and blocks anew: unique ones that owners name, that are here and that are not foreign. */
export async function recountUsage(store: LocalBlockstore): Promise<void> {
  await store.locks.exclusive(async () => {
    const sizes = await store.catalog.namedSizes()
    const keys = [...sizes.keys()]
    let bytes = 0
    let blocks = 0
    for (let from = 0; from < keys.length; from += REMOVAL_STEP_BLOCKS) {
      const page = keys.slice(from, from + REMOVAL_STEP_BLOCKS)
      const here = await store.present(page)
      page.forEach((key, index) => {
        if (here[index] !== true) return
        blocks++
        bytes += Math.max(0, sizes.get(key) ?? 0)
      })
    }
    await store.catalog.setUsage(bytes, blocks)
  })
}

/** Frees blocks that nobody names and this storage never wrote. */
export async function freeForeign(store: LocalBlockstore, options: RemovalOptions): Promise<Freed> {
  const freed: Freed = { blocks: 0, bytes: 0 }
  let after: BlockKey | undefined
  for (;;) {
    options.signal?.throwIfAborted()
    const keys = await store.records.keys(after, REMOVAL_STEP_BLOCKS)
    after = keys.at(-1)
    if (after === undefined) return freed
    await store.locks.exclusive(async () => {
      const free = await unneeded(store, keys, { pinnedByHelia: options.pinnedByHelia, foreign: true })
      const lengths = await lengthsOf(store, free)
      await store.records.deleteMany(free)
      await store.catalog.write(['foreign', 'damaged'], async (tx) => {
        for (const key of free) {
          tx.objectStore('foreign').delete(key)
          tx.objectStore('damaged').delete(key)
        }
      })
      freed.blocks += free.length
      freed.bytes += lengths.reduce((sum, length) => sum + length, 0)
    }, options.signal)
    options.onProgress?.(freed)
  }
}

/** Frees those of the blocks that nobody but this owner names. The caller holds the exclusive lock, and takes the owner's names away after it. */
export async function freeNamedBy(
  store: LocalBlockstore,
  owner: string,
  keys: readonly BlockKey[],
  pinnedByHelia: PinnedByHelia,
): Promise<Freed> {
  const free = await unneeded(store, keys, { pinnedByHelia, owners: new Set([owner]) })
  const lengths = await lengthsOf(store, free)
  const here = await store.records.deleteMany(free)
  const { freed, emptied } = await store.catalog.write(['damaged', 'packs', 'places'], async (tx) => {
    for (const key of free) tx.objectStore('damaged').delete(key)
    const { dropped, emptied: packs } = await dropPlaces(tx, free)
    const gone = free.flatMap((key, index) => (here[index] === true || dropped.has(key) ? (lengths[index] ?? 0) : []))
    const done: Freed = { blocks: gone.length, bytes: gone.reduce((sum, length) => sum + length, 0) }
    await addUsage(tx, { bytes: -done.bytes, blocks: -done.blocks, files: 0 })
    return { freed: done, emptied: packs }
  })
  // Not waited for: the caller holds a lock, and what stays goes at the next sweep.
  void store.packs?.removeEmptied(emptied).catch(() => undefined)
  return freed
}

/** References of a removal, whole records up to about REMOVAL_STEP_BLOCKS blocks. */
async function nextReferences(catalog: Catalog, id: string, after: [string, string] | undefined): Promise<Reference[]> {
  return catalog.read(['references'], async (tx) => {
    const step: Reference[] = []
    let blocks = 0
    let from = after
    while (blocks < REMOVAL_STEP_BLOCKS) {
      const range = from === undefined ? ownedBy(tx, id) : keyRange(tx, from, [id, []], true)
      const records = await result<Reference[]>(tx.objectStore('references').getAll(range, 64))
      for (const record of records) {
        if (blocks >= REMOVAL_STEP_BLOCKS) return step
        step.push(record)
        blocks += record.blocks.length
        from = [id, record.node]
      }
      if (records.length < 64) return step
    }
    return step
  })
}

async function freeStep(
  store: LocalBlockstore,
  id: string,
  step: readonly Reference[],
  pinnedByHelia: PinnedByHelia,
): Promise<Freed & { emptied: string[] }> {
  const sizes = new Map<BlockKey, number>()
  for (const record of step) {
    record.blocks.forEach((key, index) => {
      const size = record.sizes[index] ?? -1
      if (size >= 0 || !sizes.has(key)) sizes.set(key, size)
    })
  }
  const held = new Set<BlockKey>()
  const free = await unneeded(store, [...sizes.keys()], { pinnedByHelia, held })
  const unknown = free.filter((key) => (sizes.get(key) ?? -1) < 0)
  const lengths = await lengthsOf(store, unknown)
  unknown.forEach((key, index) => sizes.set(key, lengths[index] ?? 0))
  const here = await store.records.deleteMany(free)
  return store.catalog.writeToFree(['references', 'damaged', 'packs', 'places'], async (tx) => {
    const references = tx.objectStore('references')
    for (const key of await keysAmong(tx.objectStore('damaged'), free)) tx.objectStore('damaged').delete(key)
    const { dropped, emptied } = await dropPlaces(tx, free)
    for (const record of step) {
      const kept = record.blocks.flatMap((key, index) => (held.has(key) ? [{ key, size: record.sizes[index] ?? -1 }] : []))
      if (kept.length === 0) references.delete([id, record.node])
      else
        references.put({ ...record, blocks: kept.map(({ key }) => key), sizes: kept.map(({ size }) => size), own: 0 } satisfies Reference)
    }
    const gone = free.filter((key, index) => here[index] === true || dropped.has(key))
    const bytes = gone.reduce((sum, key) => sum + (dropped.get(key) ?? sizes.get(key) ?? 0), 0)
    await addUsage(tx, { bytes: -bytes, blocks: -gone.length, files: 0 })
    return { blocks: gone.length, bytes, emptied }
  })
}

const NONE: ReadonlySet<string> = new Set()

interface Question {
  pinnedByHelia: PinnedByHelia
  /** Takes those that nothing but Helia's pins hold. */
  held?: Set<BlockKey>
  /** Foreign ones count like any other. */
  foreign?: boolean
  /** Owners that give them up. */
  owners?: ReadonlySet<string>
  /** CIDs whose entries give them up. */
  contents?: ReadonlySet<string>
}

/** Those that no owner but removals names, that are not foreign, and that Helia does not pin. */
export async function unneeded(
  store: LocalBlockstore,
  keys: readonly BlockKey[],
  { pinnedByHelia, held, foreign = false, owners = NONE, contents: given = NONE }: Question,
): Promise<BlockKey[]> {
  const candidates = await store.catalog.read(['owners', 'references', 'foreign'], async (tx) => {
    const removals = new Set<IDBValidKey>(await result(tx.objectStore('owners').index('pending').getAllKeys('removal')))
    for (const owner of owners) removals.add(owner)
    const marked = foreign ? new Set<BlockKey>() : await keysAmong(tx.objectStore('foreign'), keys)
    const named = tx.objectStore('references').index('blocks')
    const entries = tx.objectStore('owners')
    const needed = async (key: BlockKey): Promise<boolean> => {
      if (marked.has(key)) return true
      const few = (await result(named.getAllKeys(key, 8))) as [string, string][]
      if (few.some(([id]) => !removals.has(id))) return true
      const cid = rawCid(key).toString()
      if (!given.has(cid) && (await rowsWithContent(entries, cid)).length > 0) return true
      if (few.length < 8) return false
      const all = (await result(named.getAllKeys(key))) as [string, string][]
      return all.some(([id]) => !removals.has(id))
    }
    const answers = await Promise.all(keys.map(needed))
    return keys.filter((_, index) => answers[index] === false)
  })
  const pinned = await pinnedByHelia(candidates)
  return candidates.filter((key, index) => {
    if (pinned[index] === true) held?.add(key)
    return pinned[index] !== true
  })
}

/** Lengths of blocks, whose bytes must be read for that: a few at a time. */
async function lengthsOf(store: LocalBlockstore, keys: readonly BlockKey[]): Promise<number[]> {
  const lengths: number[] = []
  const rows = await placesOf(store.catalog, keys)
  for (let from = 0; from < keys.length; from += LEAF_WINDOW_BLOCKS) {
    const window = keys.slice(from, from + LEAF_WINDOW_BLOCKS)
    const recorded = window.filter((_, index) => rows[from + index] === undefined)
    const blocks = await store.records.getMany(recorded)
    lengths.push(...window.map((key, index) => rows[from + index]?.length ?? blocks[recorded.indexOf(key)]?.byteLength ?? 0))
  }
  return lengths
}
