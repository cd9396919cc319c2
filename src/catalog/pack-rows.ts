// Rows of packs within a transaction: which file of leaves a block lies in, and how much of each file is still needed.
import type { BlockKey } from '../blocks/blocks.ts'
import type { Catalog } from './catalog.ts'
import { keysAmong, result } from './database.ts'
import { addUsage } from './owners.ts'
import type { PlaceCache, Stretch } from './place-cache.ts'
import { addPlaces, havePlaces, placesIn, placesOfPack, takePlaces } from './places.ts'
import type { PackRow, Place, SealedPack } from './schema.ts'

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
  places: { pack: string; live: number; rows: Place[] }[]
}

/**
 * Points blocks at the packs that were just sealed. One that lies whole elsewhere stays there; one noted damaged is pointed anew. The transaction
 * covers `packs`, `places` and `damaged`.
 */
export async function placePacks(tx: IDBTransaction, sealed: readonly SealedPack[], isKept: (block: BlockKey) => boolean): Promise<Placed> {
  const placed: Placed = { blocks: 0, bytes: 0, deadBytes: 0, unused: [], emptied: [], places: [] }
  if (sealed.length === 0) return placed
  const kept = sealed.map((pack) => pack.places.filter(({ block }) => isKept(block)))
  const damaged = await keysAmong(
    tx.objectStore('damaged'),
    kept.flatMap((places) => places.map(({ block }) => block)),
  )
  const left = new Map<string, number>()
  for (const [index, { id, bytes }] of sealed.entries()) {
    const { fresh, replaced, left: before } = await addPlaces(tx, id, kept[index] ?? [], damaged)
    const there = [...fresh, ...replaced]
    placed.blocks += fresh.length
    placed.bytes += lengthOf(fresh)
    addLengths(left, before)
    for (const { block } of there) if (damaged.has(block)) tx.objectStore('damaged').delete(block)
    const live = lengthOf(there)
    if (live === 0) {
      placed.unused.push(id)
      continue
    }
    placed.deadBytes += bytes - live
    tx.objectStore('packs').put({ id, bytes, live } satisfies PackRow)
    placed.places.push({ pack: id, live, rows: there })
  }
  placed.emptied = await leavePacks(tx, left)
  placed.deadBytes += sumOf(left)
  return placed
}

/**
 * Points blocks at their copies in another pack, those that still lie where they were copied from. `copied` may hold more places than the copy has.
 * Answers the packs in which nothing is needed any more. The transaction covers `packs`, `places` and `damaged`.
 */
export async function movePlaces(tx: IDBTransaction, copied: readonly Place[], { id, bytes, places }: SealedPack): Promise<string[]> {
  const from = new Map(copied.map((place) => [place.block, place]))
  const before = await placesIn(
    tx,
    places.map(({ block }) => block),
  )
  const moved = places.filter(({ block }) => {
    const [there, was] = [before.get(block), from.get(block)]
    return there !== undefined && there.pack === was?.pack && there.offset === was.offset
  })
  const left = new Map<string, number>()
  addLengths(
    left,
    await takePlaces(
      tx,
      moved.map(({ block }) => block),
    ),
  )
  const live = sumOf(left)
  if (live === 0) return []
  await addPlaces(tx, id, moved, new Set())
  // Noted since it was copied: the copy is whole.
  for (const { block } of moved) tx.objectStore('damaged').delete(block)
  tx.objectStore('packs').put({ id, bytes, live } satisfies PackRow)
  await addUsage(tx, { bytes: 0, blocks: 0, files: 0, deadBytes: bytes })
  return leavePacks(tx, left)
}

/** Drops places of blocks. Answers the lengths of those that had one, and the packs in which nothing is needed any more. */
export async function dropPlaces(
  tx: IDBTransaction,
  blocks: readonly BlockKey[],
): Promise<{ dropped: Map<BlockKey, number>; emptied: string[] }> {
  const taken = await takePlaces(tx, blocks)
  const left = new Map<string, number>()
  addLengths(left, taken)
  const emptied = await leavePacks(tx, left)
  if (left.size > 0) await addUsage(tx, { bytes: 0, blocks: 0, files: 0, deadBytes: sumOf(left) })
  return { dropped: new Map(taken.map(({ block, length }) => [block, length])), emptied }
}

/** Where blocks lie; undefined for those in no pack. */
export function placesOf(catalog: Catalog, blocks: readonly BlockKey[]): Promise<(Place | undefined)[]> {
  if (blocks.length === 0) return Promise.resolve([])
  return catalog.read(['packs', 'places'], (tx) => placesKnown(tx, blocks, catalog.places))
}

/** Where all of a file lies, in its order, as far as that is remembered and still holds. */
export function placesOfFile(catalog: Catalog, root: BlockKey): Promise<readonly Stretch[] | undefined> {
  return catalog.read(['packs'], (tx) => catalog.places.findFile(tx, root))
}

/** As placesOf, and which of the blocks are noted damaged. */
export function examinePlaces(
  catalog: Catalog,
  blocks: readonly BlockKey[],
): Promise<{ rows: (Place | undefined)[]; damaged: ReadonlySet<BlockKey> }> {
  return catalog.read(['packs', 'places', 'damaged'], async (tx) => {
    const [rows, damaged] = await Promise.all([placesKnown(tx, blocks, catalog.places), keysAmong(tx.objectStore('damaged'), blocks)])
    return { rows, damaged }
  })
}

/** With what the cache knows of it, and the cache learns the rest. The transaction covers `packs` and `places`. */
async function placesKnown(tx: IDBTransaction, blocks: readonly BlockKey[], cache: PlaceCache): Promise<(Place | undefined)[]> {
  const known = await cache.find(tx, blocks)
  const unknown = blocks.filter((block) => !known.has(block))
  if (unknown.length === 0) return blocks.map((block) => known.get(block))
  const read = new Map<string, Place[]>()
  for (const place of (await placesIn(tx, unknown)).values()) {
    known.set(place.block, place)
    const ofPack = read.get(place.pack)
    if (ofPack === undefined) read.set(place.pack, [place])
    else ofPack.push(place)
  }
  await Promise.all(
    [...read].map(async ([pack, found]) => {
      const row = await result<PackRow | undefined>(tx.objectStore('packs').get(pack))
      if (row !== undefined) cache.add(pack, row.live, found)
    }),
  )
  return blocks.map((block) => known.get(block))
}

/** One boolean a block. */
export function arePacked(catalog: Catalog, blocks: readonly BlockKey[]): Promise<boolean[]> {
  if (blocks.length === 0) return Promise.resolve([])
  return catalog.read(['places'], (tx) => havePlaces(tx, blocks))
}

export function packsOf(catalog: Catalog): Promise<PackRow[]> {
  return catalog.read(['packs'], (tx) => result<PackRow[]>(tx.objectStore('packs').getAll()))
}

/** Everything in one pack that is needed, in its order. */
export function placesInPack(catalog: Catalog, pack: string): Promise<Place[]> {
  return catalog.read(['places'], (tx) => placesOfPack(tx, pack))
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

function addLengths(left: Map<string, number>, places: readonly Place[]): void {
  for (const { pack, length } of places) left.set(pack, (left.get(pack) ?? 0) + length)
}

export function lengthOf(places: readonly Pick<Place, 'length'>[]): number {
  return places.reduce((sum, { length }) => sum + length, 0)
}

function sumOf(left: ReadonlyMap<string, number>): number {
  return [...left.values()].reduce((sum, bytes) => sum + bytes, 0)
}
