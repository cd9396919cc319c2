// Where blocks lie, kept in memory: what packs hold only ever gets less, and what their rows say is needed of them tells whether it did.
import type { BlockKey } from '../blocks/blocks.ts'
import { PLACES_CACHED } from '../limits.ts'
import { result } from './database.ts'
import type { Place, PackRow } from './schema.ts'

interface CachedPack {
  /** As the pack's row said when these places were read. */
  live: number
  places: Map<BlockKey, Place>
}

/** Places that were read from the catalog, by packs; those used least recently leave first. */
export class PlaceCache {
  readonly #packs = new Map<string, CachedPack>()
  readonly #packOf = new Map<BlockKey, string>()

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
    const lives = packs.map((pack) => this.#packs.get(pack)?.live)
    const current = await Promise.all(packs.map((pack) => result<PackRow | undefined>(tx.objectStore('packs').get(pack))))
    const over = new Set(packs.filter((_, index) => current[index]?.live !== lives[index]))
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
