// Rows of packs within a transaction: which file of leaves a block lies in, and how much of each file is still needed.
import type { BlockKey } from '../blocks/blocks.ts'
import type { Catalog } from './catalog.ts'
import { added, keysAmong, result } from './database.ts'
import { addUsage } from './owners.ts'
import type { PlaceCache } from './place-cache.ts'
import type { PackedRow, PackRow, SealedPack } from './schema.ts'

export interface Placed {
  blocks: number
  bytes: number
  /** Bytes of the packs that nobody needs. */
  deadBytes: number
  /** Packs of which nothing was needed: they got no row. */
  unused: string[]
  /** Packs, other than these, in which nothing is needed any more. */
  emptied: string[]
  /** For the cache, once the transaction is complete. */
  places: { pack: string; live: number; rows: PackedRow[] }[]
}

/**
 * Points blocks at the packs that were just sealed. One that lies whole elsewhere stays there; one noted damaged is pointed anew. The transaction
 * covers `packs`, `packed` and `damaged`.
 */
export async function placePacks(tx: IDBTransaction, sealed: readonly SealedPack[], isKept: (block: BlockKey) => boolean): Promise<Placed> {
  const placed: Placed = { blocks: 0, bytes: 0, deadBytes: 0, unused: [], emptied: [], places: [] }
  if (sealed.length === 0) return placed
  const blocks = sealed.flatMap((pack) => pack.places.map((place) => place.block))
  const damaged = await keysAmong(tx.objectStore('damaged'), blocks)
  const left = new Map<string, number>()
  for (const pack of sealed) {
    const answers = await Promise.all(
      pack.places.map(async (place) => {
        if (!isKept(place.block)) return false
        const row: PackedRow = { ...place, pack: pack.id }
        if (await added(tx.objectStore('packed'), row)) {
          placed.blocks++
          placed.bytes += row.length
        } else {
          if (!damaged.has(row.block)) return false
          const before = await result<PackedRow | undefined>(tx.objectStore('packed').get(row.block))
          if (before !== undefined) left.set(before.pack, (left.get(before.pack) ?? 0) + before.length)
          tx.objectStore('packed').put(row)
        }
        if (damaged.has(row.block)) tx.objectStore('damaged').delete(row.block)
        return true
      }),
    )
    const live = pack.places.reduce((sum, place, index) => sum + (answers[index] === true ? place.length : 0), 0)
    if (live === 0) {
      placed.unused.push(pack.id)
      continue
    }
    placed.deadBytes += pack.bytes - live
    tx.objectStore('packs').put({ id: pack.id, bytes: pack.bytes, live } satisfies PackRow)
    const rows = pack.places.flatMap((place, index) => (answers[index] === true ? { ...place, pack: pack.id } : []))
    placed.places.push({ pack: pack.id, live, rows })
  }
  placed.emptied = await leavePacks(tx, left)
  placed.deadBytes += sumOf(left)
  return placed
}

/**
 * Points blocks at their copies in another pack, those that still lie where they were copied from. `copied` may hold more rows than there are
 * places. Answers the packs in which nothing is needed any more. The transaction covers `packs`, `packed` and `damaged`.
 */
export async function movePlaces(tx: IDBTransaction, copied: readonly PackedRow[], { id, bytes, places }: SealedPack): Promise<string[]> {
  const packed = tx.objectStore('packed')
  const from = new Map(copied.map((row) => [row.block, row]))
  const left = new Map<string, number>()
  await Promise.all(
    places.map(async (place) => {
      const before = from.get(place.block)
      const row = await result<PackedRow | undefined>(packed.get(place.block))
      if (row === undefined || row.pack !== before?.pack || row.offset !== before.offset) return
      packed.put({ ...place, pack: id } satisfies PackedRow)
      // Noted since it was copied: the copy is whole.
      tx.objectStore('damaged').delete(place.block)
      left.set(row.pack, (left.get(row.pack) ?? 0) + row.length)
    }),
  )
  const live = sumOf(left)
  if (live === 0) return []
  tx.objectStore('packs').put({ id, bytes, live } satisfies PackRow)
  await addUsage(tx, { bytes: 0, blocks: 0, files: 0, deadBytes: bytes })
  return leavePacks(tx, left)
}

/** Drops rows of blocks. Answers the lengths of those that had one, and the packs in which nothing is needed any more. */
export async function dropPlaces(
  tx: IDBTransaction,
  blocks: readonly BlockKey[],
): Promise<{ dropped: Map<BlockKey, number>; emptied: string[] }> {
  const packed = tx.objectStore('packed')
  const dropped = new Map<BlockKey, number>()
  const left = new Map<string, number>()
  for (const row of await placesIn(tx, blocks)) {
    // A block that is named twice leaves once.
    if (row === undefined || dropped.has(row.block)) continue
    packed.delete(row.block)
    dropped.set(row.block, row.length)
    left.set(row.pack, (left.get(row.pack) ?? 0) + row.length)
  }
  const emptied = await leavePacks(tx, left)
  if (left.size > 0) await addUsage(tx, { bytes: 0, blocks: 0, files: 0, deadBytes: sumOf(left) })
  return { dropped, emptied }
}

/**
 * Where blocks lie; undefined for those in no pack. Blocks of one file lie together: once one is found, all rows of its pack come with one request,
 * which measured takes a tenth of the time of one request a row.
 */
export function placesOf(catalog: Catalog, blocks: readonly BlockKey[]): Promise<(PackedRow | undefined)[]> {
  if (blocks.length === 0) return Promise.resolve([])
  return catalog.read(['packs', 'packed'], (tx) => placesKnown(tx, blocks, catalog.places))
}

/** As placesOf, and which of the blocks are noted damaged. */
export function examinePlaces(
  catalog: Catalog,
  blocks: readonly BlockKey[],
): Promise<{ rows: (PackedRow | undefined)[]; damaged: ReadonlySet<BlockKey> }> {
  return catalog.read(['packs', 'packed', 'damaged'], async (tx) => {
    const [rows, damaged] = await Promise.all([placesKnown(tx, blocks, catalog.places), keysAmong(tx.objectStore('damaged'), blocks)])
    return { rows, damaged }
  })
}

/** As placesIn, with what the cache knows of it, and the cache learns the rest. The transaction covers `packs` too. */
async function placesKnown(tx: IDBTransaction, blocks: readonly BlockKey[], cache: PlaceCache): Promise<(PackedRow | undefined)[]> {
  const known = await cache.find(tx, blocks)
  const unknown = blocks.filter((block) => !known.has(block))
  if (unknown.length === 0) return blocks.map((block) => known.get(block))
  const read = new Map<string, PackedRow[]>()
  const rows = await placesIn(tx, unknown, (row) => {
    const ofPack = read.get(row.pack)
    if (ofPack === undefined) read.set(row.pack, [row])
    else ofPack.push(row)
  })
  await Promise.all(
    [...read].map(async ([pack, found]) => {
      const row = await result<PackRow | undefined>(tx.objectStore('packs').get(pack))
      if (row !== undefined) cache.add(pack, row.live, found)
    }),
  )
  unknown.forEach((block, index) => {
    const row = rows[index]
    if (row !== undefined) known.set(block, row)
  })
  return blocks.map((block) => known.get(block))
}

/** `onRow` gets every row that was read, more than was asked for among them. */
async function placesIn(
  tx: IDBTransaction,
  blocks: readonly BlockKey[],
  onRow: (row: PackedRow) => void = () => undefined,
): Promise<(PackedRow | undefined)[]> {
  const packed = tx.objectStore('packed')
  // Most are asked for where few are in packs, or none: then a request or two tell.
  if (blocks.length >= FEW_ROWS && (await result(packed.getAllKeys(null, 1))).length === 0) return blocks.map(() => undefined)
  const found = new Map<BlockKey, PackedRow | undefined>()
  const looked = new Set<string>()
  for (let from = 0; from < blocks.length;) {
    const block = blocks[from]
    if (block === undefined || found.has(block)) {
      from++
      continue
    }
    const left = blocks.length - from
    const row = left < FEW_ROWS ? undefined : await result<PackedRow | undefined>(packed.get(block))
    if (row === undefined || looked.has(row.pack)) {
      // Nothing to be gained here by looking at a pack: one request a row, for as many as a pack would have brought.
      const page = blocks.slice(from, from + ROWS_TOGETHER)
      const rows = await Promise.all(page.map(async (key) => found.get(key) ?? result<PackedRow | undefined>(packed.get(key))))
      page.forEach((key, index) => found.set(key, rows[index]))
      for (const one of rows) if (one !== undefined) onRow(one)
      from += page.length
      continue
    }
    looked.add(row.pack)
    for (const one of await result<PackedRow[]>(packed.index('pack').getAll(row.pack))) {
      found.set(one.block, one)
      onRow(one)
    }
  }
  return blocks.map((block) => found.get(block))
}

/** Rows up to which one request each is as fast as one for all of their pack. */
const FEW_ROWS = 32

/** Rows asked for one by one before a pack is tried again. */
const ROWS_TOGETHER = 64

/** One boolean a block. */
export function arePacked(catalog: Catalog, blocks: readonly BlockKey[]): Promise<boolean[]> {
  if (blocks.length === 0) return Promise.resolve([])
  return catalog.read(['packed'], async (tx) => {
    if (blocks.length >= FEW_ROWS) return (await placesIn(tx, blocks)).map((row) => row !== undefined)
    const packed = tx.objectStore('packed')
    return Promise.all(blocks.map(async (block) => (await result(packed.getKey(block))) !== undefined))
  })
}

export function packsOf(catalog: Catalog): Promise<PackRow[]> {
  return catalog.read(['packs'], (tx) => result<PackRow[]>(tx.objectStore('packs').getAll()))
}

/** Everything in one pack that is needed, in its order. */
export async function rowsOfPack(catalog: Catalog, pack: string): Promise<PackedRow[]> {
  const rows = await catalog.read(['packed'], (tx) => result<PackedRow[]>(tx.objectStore('packed').index('pack').getAll(pack)))
  return rows.toSorted((a, b) => a.offset - b.offset)
}

/** Takes lengths off what packs have that is needed. Answers those with nothing left. */
async function leavePacks(tx: IDBTransaction, left: ReadonlyMap<string, number>): Promise<string[]> {
  const packs = tx.objectStore('packs')
  const emptied: string[] = []
  await Promise.all(
    [...left].map(async ([id, bytes]) => {
      const row = await result<PackRow | undefined>(packs.get(id))
      if (row === undefined) return
      const live = Math.max(0, row.live - bytes)
      packs.put({ ...row, live } satisfies PackRow)
      if (live === 0) emptied.push(id)
    }),
  )
  return emptied
}

function sumOf(left: ReadonlyMap<string, number>): number {
  return [...left.values()].reduce((sum, bytes) => sum + bytes, 0)
}
