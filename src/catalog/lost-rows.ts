// What rows of the catalog that were lost leave behind: found by a look at all of it, which only a verification takes.
import { keyRange, pagesOf, result } from './database.ts'
import type { Catalog } from './catalog.ts'
import { putRemoval, usageIn } from './owners.ts'
import { addPinnedBytes } from './pins.ts'
import type { PackRow, PlacesRow, Reference, Usage } from './schema.ts'

/** Makes removals of owners that have references and no row. Answers them. */
export async function endOrphans(catalog: Catalog): Promise<string[]> {
  const candidates = await catalog.read(['owners', 'references'], async (tx) => {
    const orphans: string[] = []
    let last: string | undefined
    for await (const page of pagesOf<Reference>(tx.objectStore('references'), ({ owner, node }) => [owner, node])) {
      for (const { owner } of page) {
        if (owner === last) continue
        last = owner
        if ((await keyOf(tx, owner)) === undefined) orphans.push(owner)
      }
    }
    return orphans
  })
  if (candidates.length === 0) return []
  return catalog.write(['owners', 'references'], async (tx) => {
    const ended: string[] = []
    for (const owner of candidates) {
      const references = await result(tx.objectStore('references').count(keyRange(tx, [owner], [owner, []])))
      // Meanwhile somebody may have ended it.
      if (references === 0 || (await keyOf(tx, owner)) !== undefined) continue
      putRemoval(tx, owner)
      ended.push(owner)
    }
    return ended
  })
}

/**
 * Counts anew what of each pack is needed, and drops places in packs that have neither row nor file. Answers the packs in which nothing is needed.
 */
export async function recountPacks(catalog: Catalog, files: ReadonlySet<string>): Promise<string[]> {
  const read = async (tx: IDBTransaction): Promise<{ rows: PackRow[]; live: Map<string, number> }> => {
    const live = new Map<string, number>()
    for await (const page of pagesOf<PlacesRow>(tx.objectStore('places'), ({ pack, at }) => [pack, at])) {
      for (const { pack, lengths } of page)
        live.set(
          pack,
          lengths.reduce((sum, length) => sum + length, live.get(pack) ?? 0),
        )
    }
    return { rows: await result<PackRow[]>(tx.objectStore('packs').getAll()), live }
  }
  const isRight = ({ rows, live }: Awaited<ReturnType<typeof read>>): boolean =>
    rows.every((row) => row.live === (live.get(row.id) ?? 0)) && [...live.keys()].every((id) => rows.some((row) => row.id === id))
  if (isRight(await catalog.read(['packs', 'places'], read))) return []
  return catalog.writeToFree(['packs', 'places'], async (tx) => {
    const { rows, live } = await read(tx)
    const ids = new Set(rows.map(({ id }) => id))
    for (const row of rows) tx.objectStore('packs').put({ ...row, live: live.get(row.id) ?? 0 } satisfies PackRow)
    for (const id of live.keys()) if (!ids.has(id) && !files.has(id)) tx.objectStore('places').delete(keyRange(tx, [id], [id, []]))
    return rows.filter(({ id }) => !live.has(id)).map(({ id }) => id)
  })
}

/** Counts entries and pinned bytes anew. */
export async function recountEntries(catalog: Catalog): Promise<void> {
  await catalog.write(['owners'], async (tx) => {
    const { pinnedBytes: _pinnedBytes, ...usage } = await usageIn(tx)
    const files = await result(tx.objectStore('owners').index('names').count())
    tx.objectStore('meta').put({ ...usage, files } satisfies Usage, 'usage')
    await addPinnedBytes(tx, 0)
  })
}

function keyOf(tx: IDBTransaction, owner: string): Promise<IDBValidKey | undefined> {
  return result<IDBValidKey | undefined>(tx.objectStore('owners').getKey(owner))
}
