// Which of a file lies in packs, for a Blob that reads nothing: slices of packs, and between them what lies elsewhere.
import type { CID } from 'multiformats/cid'
import { DAG_PB } from './blocks/links.ts'
import type { LocalBlockstore } from './blocks/local-blockstore.ts'
import { MissingBlockError, type BlockKey } from './blocks/blocks.ts'
import type { PackFiles, PackStore } from './blocks/pack-store.ts'
import { blockKey } from './blocks/records.ts'
import { stretch, type Stretch } from './catalog/place-cache.ts'
import type { Place } from './catalog/schema.ts'
import { IntegrityError, LimitError, UnsupportedContentError } from './errors.ts'
import { leavesOf, leavesOfRoot, LEAVES_PER_LOOK_UP, type FileLayout, type Leaf } from './files/read.ts'
import { walk } from './files/walk.ts'

export interface PackedParts {
  /** Nothing of the file lies elsewhere. */
  isWhole: boolean
  /**
   * `readElse` makes a Blob of bytes that lie in no pack.
   *
   * @throws NotFoundError where a pack is gone by now
   */
  open(readElse: (from: number, to: number) => Promise<Blob>): Promise<{ parts: Blob[]; locks: string[] }>
  /** To be called at the end: lets go of the packs, which what was opened keeps by locks of its own. */
  close(): void
}

/** Bytes `from` to `to` of a file, and where in packs they lie: nowhere, or all of them. */
interface Segment {
  from: number
  to: number
  stretches: readonly Stretch[]
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
    if (places.size === 0) return undefined
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

/** Of each block once, since one may stand for any number of places. Of none below a node that is not here or can't be read. */
async function placesOfFile(
  store: LocalBlockstore,
  packs: PackStore,
  file: FileLayout,
  signal: AbortSignal,
): Promise<Map<BlockKey, Place>> {
  const places = new Map<BlockKey, Place>()
  const locate = async (keys: readonly BlockKey[]): Promise<void> => {
    for (const row of await packs.locate(keys)) if (row !== undefined) places.set(row.block, row)
  }
  const known = leavesOfRoot(file)
  if (known !== undefined) {
    await locate(known.map(({ key }) => key))
    return places
  }
  let keys: BlockKey[] = []
  try {
    for await (const { cid } of walk(store.lenient, file.cid, { signal, onMissing: () => undefined })) {
      keys.push(blockKey(cid))
      if (keys.length < LEAVES_PER_LOOK_UP) continue
      await locate(keys)
      keys = []
    }
  } catch (error) {
    // Whoever reads so far says so.
    if (!(error instanceof UnsupportedContentError || error instanceof LimitError)) throw error
  }
  await locate(keys)
  return places
}

/** All of a file that is remembered to lie in packs as a whole; undefined for any other. */
export async function wholeInPacks({ packs }: LocalBlockstore, cid: CID): Promise<PackedParts | undefined> {
  // The same block under another codec is other content.
  if (packs === undefined || cid.code !== DAG_PB) return undefined
  const files = packs.files()
  try {
    const stretches = await packs.locateFile(blockKey(cid), files)
    if (stretches !== undefined) return partsOf(packs, files, [{ from: 0, to: Number.POSITIVE_INFINITY, stretches }])
  } catch (error) {
    files.release()
    throw error
  }
  files.release()
  return undefined
}

/**
 * undefined where nothing of the file lies in packs, or its nodes are not all here. `wholeOnly`: also where not all of it does, or it has more leaves than
 * whoever waits for the first byte should wait for.
 */
export async function packedParts(
  store: LocalBlockstore,
  file: FileLayout,
  signal: AbortSignal,
  { wholeOnly = false }: { wholeOnly?: boolean } = {},
): Promise<PackedParts | undefined> {
  const { packs } = store
  if (packs === undefined || file.root.children.count === 0) return undefined
  const files = packs.files()
  try {
    const segments = await segmentsOf(store, packs, files, file, signal, wholeOnly)
    if (segments?.some(({ stretches }) => stretches.length > 0)) return partsOf(packs, files, segments)
  } catch (error) {
    files.release()
    // A node is missing or damaged: whoever reads asks the network, or says so.
    if (error instanceof MissingBlockError || error instanceof IntegrityError) return undefined
    throw error
  }
  files.release()
  return undefined
}

function partsOf(packs: PackStore, files: PackFiles, segments: readonly Segment[]): PackedParts {
  return {
    isWhole: segments.every(({ stretches }) => stretches.length > 0),
    close: () => files.release(),
    async open(readElse) {
      const parts: Blob[] = []
      const locks = new Set<string>()
      for (const { from, to, stretches } of segments) {
        if (stretches.length === 0) {
          parts.push(await readElse(from, to))
          continue
        }
        const slices = await packs.slices(stretches, files)
        parts.push(...slices.parts)
        for (const lock of slices.locks) locks.add(lock)
      }
      return { parts, locks: [...locks] }
    },
  }
}

/** Windows of LEAVES_PER_LOOK_UP, so 64 GiB of the usual leaves. A few blocks may stand for any number of them. */
const WHOLE_WINDOWS = 64

async function segmentsOf(
  store: LocalBlockstore,
  packs: PackStore,
  files: PackFiles,
  file: FileLayout,
  signal: AbortSignal,
  wholeOnly: boolean,
): Promise<Segment[] | undefined> {
  const segments: (Segment & { stretches: Stretch[] })[] = []
  let windows = 0
  let keys: BlockKey[] = []
  for await (const window of windowsOf(store, file, signal)) {
    windows++
    if (wholeOnly && windows > WHOLE_WINDOWS) return undefined
    // Asked often of what lies elsewhere, of which one leaf tells.
    if (wholeOnly && windows === 1 && (await packs.locate(window.slice(0, 1).map(({ key }) => key)))[0] === undefined) return undefined
    keys = window.map(({ key }) => key)
    // What is remembered is opened while the catalog is asked whether it still holds.
    packs.openGuessed(keys, files)
    const rows = await packs.locate(keys)
    for (const [index, { from, to, whole }] of window.entries()) {
      const row = rows[index]
      const place = row !== undefined && whole && row.length === to - from ? row : undefined
      if (wholeOnly && place === undefined) return undefined
      let last = segments.at(-1)
      if (last === undefined || last.stretches.length > 0 !== (place !== undefined)) {
        last = { from, to, stretches: [] }
        segments.push(last)
      }
      last.to = to
      if (place !== undefined) stretch(last.stretches, place)
    }
  }
  const [only] = segments
  if (windows === 1 && segments.length === 1 && only !== undefined && only.stretches.length > 0)
    packs.rememberFile(blockKey(file.cid), keys)
  return segments
}

async function* windowsOf(store: LocalBlockstore, file: FileLayout, signal: AbortSignal): AsyncGenerator<Leaf[], void, undefined> {
  const leaves = leavesOfRoot(file)
  if (leaves === undefined) return yield* leavesOf(store, file, { signal })
  yield leaves
}
