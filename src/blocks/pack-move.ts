// Moving: leaves of large files that lie in records, since nobody could write packs when they came, go into packs once somebody can.
import { keysAmong, result } from '../catalog/database.ts'
import { addUsage, endPending, mustLive } from '../catalog/owners.ts'
import { placesOf } from '../catalog/pack-rows.ts'
import { addPlaces } from '../catalog/places.ts'
import { MOVABLE, type EntryRow, type PackRow } from '../catalog/schema.ts'
import { QuotaError } from '../errors.ts'
import { CHUNK_SIZE_BYTES, MOVE_GRACE_MS, PACK_MAX_BLOCKS, PACK_MAX_BYTES, PACK_MIN_BYTES } from '../limits.ts'
import type { Lanes } from '../packs/lanes.ts'
import type { Bytes } from '../types.ts'
import type { BlockKey } from './blocks.ts'
import type { LocalBlockstore } from './local-blockstore.ts'
import { copyAndPoint } from './pack-rewrite.ts'
import type { PackStore } from './pack-store.ts'
import type { PinnedByHelia } from './removal.ts'

/** Whose lock is held by the one context that moves. */
const MOVER = 'mover'

/** Files looked at in one transaction, and leaves. */
const FILES_TOGETHER = 16
const LEAVES_TOGETHER = 256

/** Records compared and deleted under one hold of the exclusive lock, so that writers wait for milliseconds only. */
const STEP_BYTES: number = 4 * CHUNK_SIZE_BYTES
const STEP_BLOCKS = 256

interface Mover {
  store: LocalBlockstore
  packs: PackStore
  lanes: Lanes
  pinnedByHelia: PinnedByHelia
  signal: AbortSignal
}

interface Leaf {
  block: BlockKey
  length: number
}

/**
 * Moves what is marked movable, file by file, unless another context is at it. First the leaves are copied into packs; their records go
 * a while later, so that whoever looked into the packs before and into the records after finds them. What a crash leaves of that is there twice, and
 * done the next time. Ends without a word where the disk is full.
 */
export async function moveRecords(
  store: LocalBlockstore,
  packs: PackStore,
  pinnedByHelia: PinnedByHelia,
  signal: AbortSignal,
): Promise<void> {
  const lanes = await packs.lanes()
  if (lanes === undefined) return
  const lock = await store.locks.own(MOVER)
  if (lock === undefined) return
  const mover = { store, packs, lanes, pinnedByHelia, signal }
  try {
    for (let after = ''; ;) {
      const rows = await movableAfter(store, after)
      for (const row of rows) {
        signal.throwIfAborted()
        await moveFile(mover, row)
      }
      const last = rows.at(-1)
      if (last === undefined || rows.length < FILES_TOGETHER) return
      after = last.id
    }
  } catch (error) {
    if (!(error instanceof QuotaError)) throw error
  } finally {
    await lock.release()
  }
}

async function movableAfter(store: LocalBlockstore, after: string): Promise<EntryRow[]> {
  return store.catalog.read(['owners'], async (tx) => {
    const index = tx.objectStore('owners').index('movable')
    const ids = (await result(index.getAllKeys(MOVABLE))) as string[]
    const page = ids.filter((id) => id > after).slice(0, FILES_TOGETHER)
    return Promise.all(page.map((id) => result<EntryRow>(tx.objectStore('owners').get(id))))
  })
}

async function moveFile(mover: Mover, row: EntryRow): Promise<void> {
  const { store } = mover
  const leaves = await leavesOf(store, row)
  const movable = await mayGo(mover, leaves)
  const rows = await placesOf(
    store.catalog,
    movable.map(({ block }) => block),
  )
  // What is there twice goes first: a full disk must not keep it so.
  await dropAfterGrace(
    mover,
    movable.filter((_, index) => rows[index] !== undefined),
  )
  const toCopy = movable.filter((_, index) => rows[index] === undefined)
  if (bytesOf(toCopy) >= PACK_MIN_BYTES) {
    for (const part of partsOf(toCopy, PACK_MAX_BYTES, PACK_MAX_BLOCKS)) {
      await copyPart(mover, part)
      await dropAfterGrace(mover, part)
    }
  }
  await store.catalog.write(['owners'], async (tx) => {
    const owners = tx.objectStore('owners')
    const now = await result<EntryRow | undefined>(owners.get(row.id))
    if (now?.movable === undefined) return
    const { movable: _movable, ...rest } = now
    owners.put(rest)
  })
}

async function dropAfterGrace(mover: Mover, leaves: readonly Leaf[]): Promise<void> {
  if (leaves.length === 0) return
  await grace(mover.signal)
  for (const step of partsOf(leaves, STEP_BYTES, STEP_BLOCKS)) await dropRecords(mover, step)
}

/** Raw leaves below the file, with their lengths: what its references name and that are no nodes. */
async function leavesOf(store: LocalBlockstore, { id }: EntryRow): Promise<Leaf[]> {
  const references = await store.catalog.referencesOf(id)
  const nodes = new Set(references.map(({ node }) => node))
  const leaves = new Map<BlockKey, number>()
  for (const { blocks, sizes } of references) {
    blocks.forEach((block, index) => {
      const length = sizes[index] ?? -1
      // A length that nobody told: it is left where it is.
      if (!nodes.has(block) && length > 0) leaves.set(block, length)
    })
  }
  return [...leaves].map(([block, length]) => ({ block, length }))
}

/** Those that lie whole in records, that this storage wrote, that Helia does not pin, and that no entry wants as records. */
async function mayGo({ store, pinnedByHelia, signal }: Mover, leaves: readonly Leaf[]): Promise<Leaf[]> {
  const answer: Leaf[] = []
  for (let from = 0; from < leaves.length; from += LEAVES_TOGETHER) {
    signal.throwIfAborted()
    const page = leaves.slice(from, from + LEAVES_TOGETHER)
    const keys = page.map(({ block }) => block)
    const [recorded, pinned, owners, marked] = await Promise.all([
      store.records.hasMany(keys),
      pinnedByHelia(keys),
      store.catalog.ownersOf(keys),
      store.catalog.read(['damaged', 'foreign'], async (tx) => {
        const [damaged, foreign] = await Promise.all([
          keysAmong(tx.objectStore('damaged'), keys),
          keysAmong(tx.objectStore('foreign'), keys),
        ])
        return new Set([...damaged, ...foreign])
      }),
    ])
    page.forEach((leaf, index) => {
      // Whoever is storing may want it as a record as well.
      const isWanted =
        owners[index]?.some((owner) => owner.kind === 'writer' || (owner.kind === 'entry' && owner.records === true)) === true
      if (recorded[index] === true && pinned[index] !== true && !marked.has(leaf.block) && !isWanted) answer.push(leaf)
    })
  }
  return answer
}

/** Copies leaves into one pack, and points those at it that are still here by then. */
async function copyPart({ store, packs, lanes, signal }: Mover, leaves: readonly Leaf[]): Promise<void> {
  await copyAndPoint(store, packs, lanes, leaves, signal, async ({ id, bytes, places }, owner) => {
    // What was freed meanwhile has no record any more, and nothing is freed while this lock is held.
    const here = await store.records.hasMany(places.map(({ block }) => block))
    await store.catalog.write(['owners', 'references', 'packs', 'places'], async (tx) => {
      await mustLive(tx, { id: owner, kind: 'writer' })
      await endPending(tx, owner, false)
      const kept = places.filter((_, index) => here[index] === true)
      const live = bytesOf((await addPlaces(tx, id, kept, new Set())).fresh)
      if (live === 0) return
      tx.objectStore('packs').put({ id, bytes, live } satisfies PackRow)
      await addUsage(tx, { bytes: 0, blocks: 0, files: 0, deadBytes: bytes - live })
    })
  })
}

/** Records of leaves that lie whole in packs. */
async function dropRecords(mover: Mover, leaves: readonly Leaf[]): Promise<void> {
  const { store, signal } = mover
  await store.locks.exclusive(async () => {
    // Asked again under the lock: somebody may want them as records by now.
    const keys = (await mayGo(mover, leaves)).map(({ block }) => block)
    const rows = new Map((await placesOf(store.catalog, keys)).flatMap((row) => (row === undefined ? [] : [[row.block, row] as const])))
    const there = keys.filter((key) => rows.has(key))
    const bytes = await store.records.getMany(there)
    const blocks = new Map<BlockKey, Bytes>(there.flatMap((key, index) => (bytes[index] === undefined ? [] : [[key, bytes[index]]])))
    await store.records.deleteMany([...((await store.packs?.compare([...rows.values()], blocks)) ?? [])])
  }, signal)
}

/** Parts of at most so many bytes and blocks each, or of one leaf. */
function partsOf(leaves: readonly Leaf[], maxBytes: number, maxBlocks: number): Leaf[][] {
  const parts: Leaf[][] = []
  let [part, bytes] = [[] as Leaf[], 0]
  for (const leaf of leaves) {
    if (part.length > 0 && (bytes + leaf.length > maxBytes || part.length >= maxBlocks)) {
      parts.push(part)
      part = []
      bytes = 0
    }
    part.push(leaf)
    bytes += leaf.length
  }
  return part.length > 0 ? [...parts, part] : parts
}

function bytesOf(leaves: readonly { length: number }[]): number {
  return leaves.reduce((sum, { length }) => sum + length, 0)
}

function grace(signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const end = (): void => {
      clearTimeout(timer)
      reject(signal.reason as Error)
    }
    const timer = setTimeout(() => {
      signal.removeEventListener('abort', end)
      resolve()
    }, MOVE_GRACE_MS)
    signal.addEventListener('abort', end, { once: true })
    if (signal.aborted) end()
  })
}
