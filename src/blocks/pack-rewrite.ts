// Rewriting: what is needed of a pack that is mostly dead is copied into a new one, so that its file can go.
import { result } from '../catalog/database.ts'
import { endPending, mustLive, newOwnerId } from '../catalog/owners.ts'
import { movePlaces, packsOf, placesInPack } from '../catalog/pack-rows.ts'
import { rawCid } from '../catalog/raw-blocks.ts'
import type { Place, PendingOwner, SealedPack } from '../catalog/schema.ts'
import { QuotaError, StorageError } from '../errors.ts'
import { PACK_BATCH_BYTES, WRITE_BATCH_BLOCKS } from '../limits.ts'
import type { Lanes } from '../packs/lanes.ts'
import type { LocalBlockstore } from './local-blockstore.ts'
import { packError } from './pack-errors.ts'
import type { PackStore } from './pack-store.ts'
import { joined } from './pack-writer.ts'

/** Whose lock is held by the one context that rewrites. */
const REWRITER = 'rewriter'

/**
 * Rewrites packs of which less than half is needed, unless another context is at it, or this one writes none. However little is needed of one goes
 * into a pack again: records would take two databases that must agree, and leaving it would keep 256 MiB for one leaf. Ends without a word where
 * the disk is full, since nothing is lost.
 */
export async function rewritePacks(store: LocalBlockstore, packs: PackStore, signal: AbortSignal): Promise<void> {
  const lanes = await packs.lanes()
  if (lanes === undefined) return
  const lock = await store.locks.own(REWRITER)
  if (lock === undefined) return
  try {
    // Those of which least is needed come first: on a disk that is nearly full each makes room for the next.
    const halfDead = (await packsOf(store.catalog)).filter(({ bytes, live }) => live > 0 && live < bytes / 2)
    for (const { id } of halfDead.toSorted((a, b) => a.live - b.live)) {
      signal.throwIfAborted()
      await rewritePack(store, packs, lanes, id, signal)
    }
  } catch (error) {
    if (!(error instanceof QuotaError)) throw error
  } finally {
    await lock.release()
  }
}

async function rewritePack(store: LocalBlockstore, packs: PackStore, lanes: Lanes, pack: string, signal: AbortSignal): Promise<void> {
  const { catalog } = store
  const there = await placesInPack(catalog, pack)
  // What is noted damaged is not read over and over: it stays, and the pack with it, until its content is stored again or deleted.
  const damaged = await catalog.damaged(there.map(({ block }) => block))
  const rows = there.filter(({ block }) => !damaged.has(block))
  if (rows.length === 0) return
  const emptied = await copyAndPoint(store, packs, lanes, rows, signal, (sealed, owner) =>
    catalog.writeToFree(['owners', 'references', 'damaged', 'packs', 'places'], async (tx) => {
      await mustLive(tx, { id: owner, kind: 'writer' })
      await endPending(tx, owner, false)
      return movePlaces(tx, rows, sealed)
    }),
  )
  // Whoever reads the old file keeps it: it goes when he lets go, or at the next sweep.
  await packs.removeEmptied(emptied).catch(() => undefined)
}

/** Copies blocks into a pack of an owner of its own, then runs `point`, which ends that owner, under the exclusive lock. */
export async function copyAndPoint<T>(
  store: LocalBlockstore,
  packs: PackStore,
  lanes: Lanes,
  blocks: readonly Pick<Place, 'block' | 'length'>[],
  signal: AbortSignal,
  point: (sealed: SealedPack, owner: string) => Promise<T>,
): Promise<T> {
  const { catalog, locks } = store
  const id = newOwnerId()
  const lock = await locks.own(id)
  const copy = `${id}-0`
  try {
    // Must be on record before the file exists: a sweep takes what no owner names.
    await catalog.begin({ id, kind: 'writer', pending: 'writer', lastUsed: Date.now() } satisfies PendingOwner)
    const sealed = await copyBlocks(store, lanes, blocks, copy, signal)
    // Whoever deduplicates holds the shared lock from his look at a row until his reference is there: he finds the old place or the new one.
    return await locks.exclusive(() => point(sealed, id), signal)
  } finally {
    // What fails here is left to the next sweep: the owner is dead by then.
    await tidy(store, packs, lanes, id, copy).catch(() => undefined)
    await lock?.release()
  }
}

/** A few leaves at a time, hashed on the way. Those that are damaged are noted and left out. */
async function copyBlocks(
  store: LocalBlockstore,
  lanes: Lanes,
  rows: readonly Pick<Place, 'block' | 'length'>[],
  copy: string,
  signal: AbortSignal,
): Promise<SealedPack> {
  try {
    await lanes.create(copy)
    const sealed: SealedPack = { id: copy, bytes: 0, places: [] }
    for (const batch of batchesOf(rows)) {
      const cids = batch.map(({ block }) => rawCid(block))
      const { blocks } = await store.examine(cids, { signal })
      const buffers: ArrayBuffer[] = []
      batch.forEach(({ block }, index) => {
        const bytes = blocks[index]
        if (bytes === undefined) return
        sealed.places.push({ block, offset: sealed.bytes, length: bytes.byteLength })
        sealed.bytes += bytes.byteLength
        buffers.push(bytes.buffer)
      })
      const { refusal } = await lanes.write(copy, joined(buffers))
      if (refusal !== undefined) throw new DOMException(refusal.message, refusal.name)
    }
    const bytes = await lanes.seal(copy)
    if (bytes !== sealed.bytes) throw new StorageError(`pack ${copy} has ${bytes} bytes where ${sealed.bytes} were written`)
    return sealed
  } catch (error) {
    throw packError(error, 'write')
  }
}

/** Ends the owner where that is not done, and removes the copy where nothing points at it. Whether something does only the catalog knows. */
async function tidy({ catalog }: LocalBlockstore, packs: PackStore, lanes: Lanes, id: string, copy: string): Promise<void> {
  await lanes.drop(copy).catch(() => undefined)
  const isNeeded = await catalog.read(['packs'], async (tx) => (await result(tx.objectStore('packs').getKey(copy))) !== undefined)
  if (isNeeded) return
  await packs.removeFile(copy)
  await catalog.writeToFree(['owners', 'references'], (tx) => endPending(tx, id, false))
}

function* batchesOf<T extends { length: number }>(rows: readonly T[]): Generator<T[]> {
  let batch: T[] = []
  let bytes = 0
  for (const row of rows) {
    batch.push(row)
    bytes += row.length
    if (bytes < PACK_BATCH_BYTES && batch.length < WRITE_BATCH_BLOCKS) continue
    yield batch
    batch = []
    bytes = 0
  }
  if (batch.length > 0) yield batch
}
