// Settles what lost rows of the catalog, or owners that ended without a trace, left behind.
import { endOrphans, recountEntries, recountPacks } from '../catalog/lost-rows.ts'
import type { LocalBlockstore } from './local-blockstore.ts'
import { recountUsage, runRemoval, type PinnedByHelia } from './removal.ts'

/** Frees what no owner leads to, and counts anew what there is. */
export async function settleCatalog(store: LocalBlockstore, pinnedByHelia: PinnedByHelia): Promise<void> {
  for (const id of await endOrphans(store.catalog)) await runRemoval(store, id, { pinnedByHelia })
  await recountEntries(store.catalog)
  await store.packs?.removeEmptied(await recountPacks(store.catalog))
  await recountUsage(store)
}
