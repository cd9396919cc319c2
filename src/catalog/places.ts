// Rows of places within a transaction: which pack a block lies in, many blocks a row.
import type { BlockKey } from '../blocks/blocks.ts'
import { KEYS_READ_FACTOR, PLACES_A_ROW } from '../limits.ts'
import { added, keyRange, result } from './database.ts'
import type { Place, PlacesRow, SealedPack } from './schema.ts'

/** Blocks up to which looking up each at once costs less than waiting for what the first one's row brings along. */
const FEW_BLOCKS = 8

/** Blocks looked up one by one before a row is hoped for again. */
const BLOCKS_TOGETHER = 64

/** Where blocks lie, those in no pack left out. Answers more than was asked for: all places of each row that was read. */
export async function placesIn(tx: IDBTransaction, blocks: readonly BlockKey[]): Promise<Map<BlockKey, Place>> {
  const found = new Map<BlockKey, Place>()
  for (const row of await rowsWith(tx, blocks)) for (const place of placesOfRow(row)) found.set(place.block, place)
  return found
}

/** Everything in one pack that is needed, in its order. */
export async function placesOfPack(tx: IDBTransaction, pack: string): Promise<Place[]> {
  const rows = await result<PlacesRow[]>(tx.objectStore('places').getAll(keyRange(tx, [pack], [pack, []])))
  return rows.flatMap(placesOfRow).toSorted((a, b) => a.offset - b.offset)
}

/** One boolean a block. */
export async function havePlaces(tx: IDBTransaction, blocks: readonly BlockKey[]): Promise<boolean[]> {
  if (blocks.length < FEW_BLOCKS) {
    const index = tx.objectStore('places').index('blocks')
    return Promise.all(blocks.map(async (block) => (await result(index.getKey(block))) !== undefined))
  }
  const found = await placesIn(tx, blocks)
  return blocks.map((block) => found.has(block))
}

/**
 * Adds rows for what lies in a pack. A block that has a place keeps it, unless it is among those to `replace`. Answers those that lie in this pack
 * now for the first time, those that were replaced, and where the latter lay before.
 */
export async function addPlaces(
  tx: IDBTransaction,
  pack: string,
  places: SealedPack['places'],
  replace: ReadonlySet<BlockKey>,
): Promise<{ fresh: Place[]; replaced: Place[]; left: Place[] }> {
  const store = tx.objectStore('places')
  const answer: Awaited<ReturnType<typeof addPlaces>> = { fresh: [], replaced: [], left: [] }
  const parts: Place[][] = []
  for (let from = 0; from < places.length; from += PLACES_A_ROW) {
    parts.push(places.slice(from, from + PLACES_A_ROW).map((place) => ({ ...place, pack })))
  }
  // The index allows a block one place: where one of a row has another, the row is refused.
  const whole = await Promise.all(parts.map((part) => added(store, rowOf(part))))
  for (const [index, part] of parts.entries()) {
    if (whole[index] === true) {
      answer.fresh.push(...part)
      continue
    }
    const before = await placesIn(
      tx,
      part.map(({ block }) => block),
    )
    const replaced = part.filter(({ block }) => before.has(block) && replace.has(block))
    answer.left.push(
      ...(await takePlaces(
        tx,
        replaced.map(({ block }) => block),
      )),
    )
    answer.replaced.push(...replaced)
    answer.fresh.push(...part.filter(({ block }) => !before.has(block)))
    const kept = part.filter(({ block }) => !before.has(block) || replace.has(block))
    if (kept.length > 0) await result(store.put(rowOf(kept)))
  }
  return answer
}

/** Takes blocks out of their rows. Answers where they lay. */
export async function takePlaces(tx: IDBTransaction, blocks: readonly BlockKey[]): Promise<Place[]> {
  if (blocks.length === 0) return []
  const store = tx.objectStore('places')
  const going = new Set(blocks)
  const taken: Place[] = []
  for (const row of await rowsWith(tx, blocks)) {
    const places = placesOfRow(row)
    const kept = places.filter(({ block }) => !going.has(block))
    if (kept.length === places.length) continue
    taken.push(...places.filter(({ block }) => going.has(block)))
    if (kept.length === 0) store.delete([row.pack, row.at])
    else store.put({ ...rowOf(kept), at: row.at } satisfies PlacesRow)
  }
  return taken
}

/** Rows in which the blocks lie, each once, and maybe others. Blocks of one file lie together, so that a few rows tell of many. */
async function rowsWith(tx: IDBTransaction, blocks: readonly BlockKey[]): Promise<PlacesRow[]> {
  const store = tx.objectStore('places')
  if (blocks.length >= FEW_BLOCKS) {
    // Most are asked for where few are in packs, or none: then one request tells.
    const limit = Math.ceil((blocks.length * KEYS_READ_FACTOR) / PLACES_A_ROW)
    const all = await result<PlacesRow[]>(store.getAll(null, limit + 1))
    if (all.length <= limit) return all
  }
  const rows = new Map<string, PlacesRow>()
  const known = new Set<BlockKey>()
  let together = blocks.length < FEW_BLOCKS ? BLOCKS_TOGETHER : 1
  for (let from = 0; from < blocks.length;) {
    const page: BlockKey[] = []
    for (; from < blocks.length && page.length < together; from++) {
      const block = blocks[from]
      if (block !== undefined && !known.has(block)) page.push(block)
    }
    const read = await rowsOfFew(store, page)
    for (const row of read) {
      rows.set(`${row.pack} ${row.at}`, row)
      for (const block of row.blocks) known.add(block)
    }
    together = read.length === 0 && together === 1 ? BLOCKS_TOGETHER : 1
  }
  return [...rows.values()]
}

async function rowsOfFew(store: IDBObjectStore, blocks: readonly BlockKey[]): Promise<PlacesRow[]> {
  const index = store.index('blocks')
  const [first] = blocks
  if (first === undefined) return []
  if (blocks.length === 1) {
    const row = await result<PlacesRow | undefined>(index.get(first))
    return row === undefined ? [] : [row]
  }
  // Their keys first: each row would come once for every block in it.
  const keys = await Promise.all(blocks.map((block) => result(index.getKey(block))))
  const once = new Map(keys.flatMap((key) => (key === undefined ? [] : [[(key as string[]).join(' '), key]])))
  return Promise.all([...once.values()].map((key) => result<PlacesRow>(store.get(key))))
}

function rowOf(places: readonly Place[]): PlacesRow {
  const [first] = places
  if (first === undefined) throw new RangeError('a row of places needs one at least: this cannot be')
  return {
    pack: first.pack,
    at: first.offset,
    blocks: places.map(({ block }) => block),
    offsets: places.map(({ offset }) => offset),
    lengths: places.map(({ length }) => length),
  }
}

function placesOfRow({ pack, blocks, offsets, lengths }: PlacesRow): Place[] {
  return blocks.map((block, index) => ({ block, pack, offset: offsets[index] ?? 0, length: lengths[index] ?? 0 }))
}
