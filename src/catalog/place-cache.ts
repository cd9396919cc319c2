// Where blocks lie, kept in memory: what packs hold only ever gets less, and what their rows say is needed of them tells whether it did.
import type { BlockKey } from '../blocks/blocks.ts'
import { FILES_PLACED_CACHED, PLACES_CACHED } from '../limits.ts'
import { result } from './database.ts'
import type { Place, PackRow } from './schema.ts'

/** Neighbours in one pack, in the order of a file. */
export interface Stretch {
  pack: string
  at: number
  end: number
}

/** A file in more than so many is looked up each time. */
const STRETCHES_A_FILE = 64

/** All of a file, and what the rows of its packs said when that was so. */
interface CachedFile {
  stretches: Stretch[]
  lives: ReadonlyMap<string, number>
}

interface CachedPack {
  /** As the pack's row said when these places were read. */
  live: number
  places: Map<BlockKey, Place>
}

/** Places that were read from the catalog, by packs; those used least recently leave first. */
export class PlaceCache {
  readonly #packs = new Map<string, CachedPack>()
  readonly #packOf = new Map<BlockKey, string>()
  /** By their roots. */
  readonly #files = new Map<BlockKey, CachedFile>()

  /** What is remembered, which may be over by now. */
  guess(blocks: readonly BlockKey[]): Place[] {
    const rows: Place[] = []
    for (const block of blocks) {
      const row = this.#place(block)
      if (row !== undefined) rows.push(row)
    }
    return rows
  }

  /** Places that still hold: one request a pack. The transaction covers `packs`. */
  async find(tx: IDBTransaction, blocks: readonly BlockKey[]): Promise<Map<BlockKey, Place>> {
    const found = new Map(this.guess(blocks).map((row) => [row.block, row]))
    const packs = [...new Set([...found.values()].map((row) => row.pack))]
    const over = await changed(tx, new Map(packs.map((pack) => [pack, this.#packs.get(pack)?.live])))
    for (const pack of packs) {
      if (over.has(pack)) this.#drop(pack)
      else this.#use(pack)
    }
    return over.size === 0 ? found : new Map([...found].filter(([, row]) => !over.has(row.pack)))
  }

  /** Remembers rows of one pack. `live` is what the pack's row says in the same transaction. */
  add(pack: string, live: number, rows: readonly Place[]): void {
    if (rows.length > PLACES_CACHED) return
    if (this.#packs.get(pack)?.live !== live) this.#drop(pack)
    const cached = this.#packs.get(pack) ?? { live, places: new Map<BlockKey, Place>() }
    this.#packs.set(pack, cached)
    for (const row of rows) {
      cached.places.set(row.block, row)
      this.#packOf.set(row.block, pack)
    }
    this.#use(pack)
    for (const oldest of this.#packs.keys()) {
      if (this.#packOf.size <= PLACES_CACHED) return
      this.#drop(oldest)
    }
  }

  /** Where all of a file is remembered to lie, which may be over by now. */
  guessFile(root: BlockKey): readonly Stretch[] | undefined {
    return this.#files.get(root)?.stretches
  }

  /** As guessFile, where it still holds. The transaction covers `packs`. */
  async findFile(tx: IDBTransaction, root: BlockKey): Promise<readonly Stretch[] | undefined> {
    const cached = this.#files.get(root)
    if (cached === undefined) return undefined
    this.#files.delete(root)
    if ((await changed(tx, cached.lives)).size > 0) return undefined
    this.#files.set(root, cached)
    return cached.stretches
  }

  /** Remembers a file whose leaves, in its order, all lie where their places here say; of another one nothing. */
  addFile(root: BlockKey, leaves: readonly BlockKey[]): void {
    const stretches: Stretch[] = []
    for (const leaf of leaves) {
      const place = this.#place(leaf)
      if (place === undefined) return
      stretch(stretches, place)
    }
    if (stretches.length === 0 || stretches.length > STRETCHES_A_FILE) return
    const lives = new Map(stretches.flatMap(({ pack }) => [[pack, this.#packs.get(pack)?.live ?? -1] as const]))
    this.#files.delete(root)
    this.#files.set(root, { stretches, lives })
    for (const oldest of this.#files.keys()) {
      if (this.#files.size <= FILES_PLACED_CACHED) return
      this.#files.delete(oldest)
    }
  }

  #place(block: BlockKey): Place | undefined {
    const pack = this.#packOf.get(block)
    return pack === undefined ? undefined : this.#packs.get(pack)?.places.get(block)
  }

  #use(pack: string): void {
    const cached = this.#packs.get(pack)
    if (cached === undefined) return
    this.#packs.delete(pack)
    this.#packs.set(pack, cached)
  }

  #drop(pack: string): void {
    for (const block of this.#packs.get(pack)?.places.keys() ?? []) if (this.#packOf.get(block) === pack) this.#packOf.delete(block)
    this.#packs.delete(pack)
  }
}

/** Adds a place behind the last one. */
export function stretch(stretches: Stretch[], { pack, offset, length }: Place): void {
  const last = stretches.at(-1)
  if (last !== undefined && last.pack === pack && last.end === offset) last.end += length
  else stretches.push({ pack, at: offset, end: offset + length })
}

/** Packs whose rows say otherwise. */
async function changed(tx: IDBTransaction, lives: ReadonlyMap<string, number | undefined>): Promise<Set<string>> {
  const over = new Set<string>()
  await Promise.all(
    [...lives].map(async ([pack, live]) => {
      if ((await result<PackRow | undefined>(tx.objectStore('packs').get(pack)))?.live !== live) over.add(pack)
    }),
  )
  return over
}
