// Settles what lost rows of the catalog, or owners that ended without a trace, left behind.
import { endOrphans, recountEntries, recountPacks } from '../catalog/lost-rows.ts'
import type { LocalBlockstore } from './local-blockstore.ts'
import { sweepPacks } from './pack-sweep.ts'
import { recountUsage, runRemoval, type PinnedByHelia } from './removal.ts'

/** Frees what no owner leads to, and counts anew what there is. */
export async function settleCatalog(store: LocalBlockstore, pinnedByHelia: PinnedByHelia, signal?: AbortSignal): Promise<void> {
  const { packs } = store
  // Packs whose row is lost get it again first.
  if (packs !== undefined) await sweepPacks(store, packs, { measure: false })
  signal?.throwIfAborted()
  for (const id of await endOrphans(store.catalog))
    await runRemoval(store, id, { pinnedByHelia, ...(signal === undefined ? {} : { signal }) })
  await recountEntries(store.catalog)
  if (packs !== undefined) {
    const files = await packs.directory.names().catch(() => undefined)
    if (files !== undefined) await packs.removeEmptied(await recountPacks(store.catalog, new Set(files)))
  }
  signal?.throwIfAborted()
  await recountUsage(store)
}
