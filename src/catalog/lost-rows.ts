// What rows of the catalog that were lost leave behind: found by a look at all of it, which only a verification takes.
import { keyRange, pagesOf, result } from './database.ts'
import type { Catalog } from './catalog.ts'
import { putRemoval, usageIn } from './owners.ts'
import { addPinnedBytes } from './pins.ts'
import type { Reference, Usage } from './schema.ts'

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
