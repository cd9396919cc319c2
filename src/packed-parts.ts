// Which of a file lies in packs, for a Blob that reads nothing: slices of packs, and between them what lies elsewhere.
import type { LocalBlockstore } from './blocks/local-blockstore.ts'
import { MissingBlockError, type BlockKey } from './blocks/blocks.ts'
import type { PackStore } from './blocks/pack-store.ts'
import type { Place } from './catalog/schema.ts'
import { IntegrityError } from './errors.ts'
import { leavesOf, leavesOfRoot, type FileLayout, type Leaf } from './files/read.ts'

export interface PackedParts {
  /**
   * `readElse` makes a Blob of bytes that lie in no pack.
   *
   * @throws NotFoundError where a pack is gone by now
   */
  open(readElse: (from: number, to: number) => Promise<Blob>): Promise<{ parts: Blob[]; locks: string[] }>
  /** To be called at the end: lets go of the packs, which what was opened keeps by locks of its own. */
  close(): void
}

interface Segment {
  from: number
  to: number
  rows: Place[]
}

interface HeldPlaces {
  places: ReadonlyMap<BlockKey, Place>
  release: () => void
}

/** Where the leaves of a file lie in packs, which stay until `release` is called: a stream over them finishes, whoever deletes its content. */
export async function holdPlaces(store: LocalBlockstore, file: FileLayout, signal: AbortSignal): Promise<HeldPlaces | undefined> {
  const { packs } = store
  if (packs === undefined || file.root.children.count === 0) return undefined
  for (let tries = 0; ; tries++) {
    const places = await placesOfFile(store, packs, file, signal)
    if (places === undefined || places.size === 0) return undefined
    const one = [...new Map([...places.values()].map((place) => [place.pack, place])).values()]
    const release = await packs.keepOpen(one.map(({ pack }) => pack))
    // A pack may have been rewritten before it was held: then what is there now is another.
    const still = await packs.locate(one.map(({ block }) => block)).catch((error: unknown) => {
      release()
      throw error
    })
    if (tries === HOLD_TRIES || one.every(({ pack }, index) => still[index]?.pack === pack)) return { places, release }
    release()
  }
}

/** Tries to hold packs that are rewritten again and again, which nobody does: then reading finds the rest by itself. */
const HOLD_TRIES = 3

/** undefined where nodes of the file are not here. */
async function placesOfFile(
  store: LocalBlockstore,
  packs: PackStore,
  file: FileLayout,
  signal: AbortSignal,
): Promise<Map<BlockKey, Place> | undefined> {
  const places = new Map<BlockKey, Place>()
  try {
    for await (const window of windowsOf(store, file, signal)) {
      for (const row of await packs.locate(window.map(({ key }) => key))) if (row !== undefined) places.set(row.block, row)
    }
    return places
  } catch (error) {
    if (error instanceof MissingBlockError || error instanceof IntegrityError) return undefined
    throw error
  }
}

/** undefined where nothing of the file lies in packs, or its nodes are not all here. */
export async function packedParts(store: LocalBlockstore, file: FileLayout, signal: AbortSignal): Promise<PackedParts | undefined> {
  const { packs } = store
  if (packs === undefined || file.root.children.count === 0) return undefined
  const segments: Segment[] = []
  const locks = new Set<string>()
  const files = packs.files()
  try {
    for await (const window of windowsOf(store, file, signal)) {
      const keys = window.map(({ key }) => key)
      // What is remembered is opened while the catalog is asked whether it still holds.
      packs.openGuessed(keys, files)
      const rows = await packs.locate(keys)
      for (const [index, { from, to, whole }] of window.entries()) {
        const row = rows[index]
        const isPacked = row !== undefined && whole && row.length === to - from
        const last = segments.at(-1)
        const joins = last !== undefined && last.rows.length > 0 === isPacked
        if (!joins) segments.push({ from, to, rows: isPacked ? [row] : [] })
        else {
          last.to = to
          if (isPacked) last.rows.push(row)
        }
      }
    }
  } catch (error) {
    files.release()
    // A node is missing or damaged: whoever reads asks the network, or says so.
    if (error instanceof MissingBlockError || error instanceof IntegrityError) return undefined
    throw error
  }
  if (segments.every((segment) => segment.rows.length === 0)) {
    files.release()
    return undefined
  }
  return {
    close: () => files.release(),
    async open(readElse) {
      const parts: Blob[] = []
      for (const { from, to, rows } of segments) {
        if (rows.length === 0) {
          parts.push(await readElse(from, to))
          continue
        }
        const slices = await packs.slices(rows, files)
        parts.push(...slices.parts)
        for (const lock of slices.locks) locks.add(lock)
      }
      return { parts, locks: [...locks] }
    },
  }
}

async function* windowsOf(store: LocalBlockstore, file: FileLayout, signal: AbortSignal): AsyncGenerator<Leaf[], void, undefined> {
  const leaves = leavesOfRoot(file)
  if (leaves === undefined) return yield* leavesOf(store, file, { signal })
  yield leaves
}
