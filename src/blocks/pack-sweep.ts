// Packs held against their index: rows whose file is gone or short are dropped, files that nothing names are removed.
import { result } from '../catalog/database.ts'
import { addUsage } from '../catalog/owners.ts'
import { dropPlaces, lengthOf, packsOf, placesInPack } from '../catalog/pack-rows.ts'
import { placesIn, placesOfPack } from '../catalog/places.ts'
import type { Owner, PackRow } from '../catalog/schema.ts'
import { REMOVAL_STEP_BLOCKS } from '../limits.ts'
import { isNamed } from '../packs/directory.ts'
import type { LocalBlockstore } from './local-blockstore.ts'
import type { PackStore } from './pack-store.ts'

/**
 * Answers the bytes of files that were removed. Where the folder can't be read nothing is known, and nothing is touched. `measure`: files are looked
 * at for their size too, which takes time for each of them.
 */
export async function sweepPacks(store: LocalBlockstore, packs: PackStore, { measure }: { measure: boolean }): Promise<number> {
  const before = await packsOf(store.catalog)
  // Must be listed before the catalog is read: a file made meanwhile has an owner by then.
  const names = await packs.directory.names().catch(() => undefined)
  if (names === undefined) return 0
  const { rows, orphans } = await store.catalog.read(['packs', 'owners'], async (tx) => {
    const all = await result<PackRow[]>(tx.objectStore('packs').getAll())
    const known = new Set(all.map((row) => row.id))
    const unknown = names.filter((name) => !known.has(name))
    const owners = await Promise.all(unknown.map((name) => result<Owner | undefined>(tx.objectStore('owners').get(ownerOf(name)))))
    // One whose writer became a removal was left by it: whoever aborts removes its files before.
    return { rows: all, orphans: unknown.filter((_, index) => owners[index] === undefined || owners[index].kind === 'removal') }
  })
  let bytes = 0
  for (const name of orphans) {
    const size = await sizeOf(packs, name)
    // One that can't be looked at now is left to the next sweep.
    if (size === undefined || (size > 0 && (await isPointedAt(store, name, size)))) continue
    if (await packs.removeFile(name)) bytes += size
  }
  const files = new Set(names)
  const wasThere = new Set(before.map((row) => row.id))
  for (const row of rows) {
    if (!wasThere.has(row.id) || row.live === 0) continue
    if (!files.has(row.id) || (measure && (await isShort(packs, row)))) await dropPack(store, row.id)
  }
  const emptied = rows.filter((row) => row.live === 0)
  const held = new Set(await packs.removeEmptied(emptied.map((row) => row.id)))
  return emptied.reduce((sum, row) => sum + (held.has(row.id) ? 0 : row.bytes), bytes)
}

/** A pack whose row was lost gets it again. */
async function isPointedAt(store: LocalBlockstore, id: string, bytes: number): Promise<boolean> {
  if ((await placesInPack(store.catalog, id)).length === 0) return false
  return store.catalog.writeToFree(['packs', 'places'], async (tx) => {
    const live = lengthOf(await placesOfPack(tx, id))
    if (live > 0) tx.objectStore('packs').put({ id, bytes, live } satisfies PackRow)
    return live > 0
  })
}

function sizeOf(packs: PackStore, name: string): Promise<number | undefined> {
  return packs.directory.file(name).then(
    (file) => file.size,
    (error: unknown) => (isNamed(error, 'NotFoundError') ? 0 : undefined),
  )
}

/** A pack is named after the writer that made it. */
function ownerOf(name: string): string {
  return name.split('-')[0] ?? name
}

async function isShort(packs: PackStore, row: PackRow): Promise<boolean> {
  try {
    return (await packs.directory.file(row.id)).size < row.bytes
  } catch (error) {
    // Removed or rewritten meanwhile, rows and all.
    if (isNamed(error, 'NotFoundError')) return true
    throw error
  }
}

/** What lies in a file that is gone or short is not here: its blocks count as absent from now on. */
async function dropPack(store: LocalBlockstore, pack: string): Promise<void> {
  const places = await placesInPack(store.catalog, pack)
  for (let from = 0; from < places.length; from += REMOVAL_STEP_BLOCKS) {
    const step = places.slice(from, from + REMOVAL_STEP_BLOCKS)
    await store.locks.exclusive(async () => {
      const recorded = await store.records.hasMany(step.map((place) => place.block))
      await store.catalog.writeToFree(['packs', 'places', 'damaged'], async (tx) => {
        // Those that point elsewhere by now are fine.
        const blocks = step.map((place) => place.block)
        const there = await placesIn(tx, blocks)
        const gone = blocks.filter((block) => there.get(block)?.pack === pack)
        const { dropped } = await dropPlaces(tx, gone)
        const lost = [...dropped].filter(([block]) => recorded[step.findIndex((place) => place.block === block)] !== true)
        await addUsage(tx, { bytes: -lost.reduce((sum, [, length]) => sum + length, 0), blocks: -lost.length, files: 0 })
      })
    })
  }
  await store.packs?.removeEmptied([pack])
}
