// Verification: every block of content is hashed again, and what is damaged or lost is fetched where the network has it.
import * as Digest from 'multiformats/hashes/digest'
import { CID } from 'multiformats/cid'
import { canLink, DAG_PB, RAW } from './blocks/links.ts'
import { blockKey, keyMultihash } from './blocks/records.ts'
import { settleCatalog } from './blocks/settle.ts'
import { entriesOf, listEntries } from './catalog/entries.ts'
import { entriesOfContent } from './catalog/entry-rows.ts'
import { isKnown } from './catalog/raw-blocks.ts'
import type { EntryOwner, Reference } from './catalog/schema.ts'
import { StorageError } from './errors.ts'
import { foundHere } from './found.ts'
import { walk } from './files/walk.ts'
import { LEAF_WINDOW_BLOCKS } from './limits.ts'
import type { Operation } from './operation.ts'
import type { Bytes, Cancellable, ContentPath } from './types.ts'

interface Verdict {
  blocks: number
  bytes: number
  damaged: { cid: string; block: string }[]
}

export async function verify(operation: Operation, path: ContentPath | undefined, options: Cancellable): Promise<Verdict> {
  const answer: Verdict = { blocks: 0, bytes: 0, damaged: [] }
  const verdicts = new Map<string, boolean>()
  const count = (length: number): void => {
    answer.blocks++
    answer.bytes += length
  }
  const check = async (entry: EntryOwner): Promise<void> => {
    const { references, isLost } = await namedBlocks(operation, entry)
    if (isLost) answer.damaged.push({ cid: entry.cid, block: entry.cid })
    const nodes = new Set(references.map((reference) => reference.node))
    const keys = [...new Set(references.flatMap((reference) => reference.blocks))]
    for (let from = 0; from < keys.length; from += LEAF_WINDOW_BLOCKS) {
      operation.signal.throwIfAborted()
      const page = keys.slice(from, from + LEAF_WINDOW_BLOCKS)
      const fresh = page.filter((key) => !verdicts.has(key))
      const { blocks } = await operation.core.store.examine(
        fresh.map((key) => cidOf(key, entry, nodes)),
        { signal: operation.signal },
      )
      fresh.forEach((key, index) => {
        const bytes = blocks[index]
        verdicts.set(key, bytes !== undefined)
        if (bytes !== undefined) count(bytes.byteLength)
      })
      const noted = await operation.core.catalog.damaged(page)
      const healed = page.filter((key) => noted.has(key) && verdicts.get(key) === true)
      if (healed.length > 0) await operation.core.catalog.noteWhole(healed)
      const toCid = (key: string): CID => cidOf(key, entry, nodes)
      const bad = page.filter((key) => verdicts.get(key) !== true)
      const spoilt = bad.filter((key) => noted.has(key)).map(toCid)
      // A block of a part that was never fetched is missing, not damaged.
      const absent = bad.filter((key) => entry.complete && !noted.has(key)).map(toCid)
      const isNeeded = async (): Promise<boolean> => (await entriesOf(operation.core.catalog, entry.cid)).length > 0
      const lengths = await lengthsNow(operation, absent, async () => ((await isNeeded()) ? absent : []))
      await repair(operation, CID.parse(entry.cid), spoilt, lengths)
      for (const [cid, length] of lengths) {
        if (length === undefined) {
          answer.damaged.push({ cid: entry.cid, block: cid.toString() })
          continue
        }
        verdicts.set(blockKey(cid), true)
        count(length)
      }
      options.onProgress?.({ bytes: answer.bytes, phase: 'verify' })
    }
  }
  const root = path === undefined ? undefined : await foundHere(operation, path)
  if (root === null) return answer
  const entries = root === undefined ? await allContents(operation) : (await entriesOf(operation.core.catalog, root.toString())).slice(0, 1)
  for (const entry of entries) await check(entry)
  const verdict = root !== undefined && entries.length === 0 ? await verifyDag(operation, root, options) : answer
  if (path === undefined) await settled(operation)
  operation.signal.throwIfAborted()
  return verdict
}

/** Where nothing can be written, the next one does it. */
async function settled({ core }: Operation): Promise<void> {
  // Without locks that other tabs see, freeing waits for an opening with nobody else.
  if (!core.canFree) return
  try {
    await settleCatalog(core.store, core.pinnedByHelia)
  } catch (error) {
    if (!(error instanceof StorageError)) throw error
  }
}

/**
 * What the catalog names of a content. Where rows of it are lost, it is named once more by the nodes that are here; else `isLost`. Of one that was
 * deleted meanwhile nothing is.
 */
async function namedBlocks(operation: Operation, entry: EntryOwner): Promise<{ references: Reference[]; isLost: boolean }> {
  const { catalog } = operation.core
  const read = (): Promise<{ references: Reference[]; isLost: boolean }> =>
    catalog.read(['owners', 'references'], async (tx) => {
      const entries = await entriesOfContent(tx, entry.cid)
      const references = await catalog.referencesOfContent(tx, entry.cid)
      return { references, isLost: entries.length > 0 && entry.complete && !isKnown(references, entry) }
    })
  const named = await read()
  if (!named.isLost) return named
  const root = CID.parse(entry.cid)
  const content = operation.content(root)
  try {
    await content.openWriter(true)
    await content.keep(root, [], true)
    return await read()
  } catch (error) {
    // No room, or a catalog that only newer code writes: said to be damaged, and the rest is looked at.
    if (!(error instanceof StorageError)) throw error
    return named
  }
}

/** Lengths of blocks in the order in which they are said, undefined where they can't be had. */
type Lengths = Map<CID, number | undefined>

/**
 * Lengths of those blocks, which were not found, that are `needed`: undefined where they are not here now either. Asked under the lock, since what others
 * delete or store just then is no damage.
 */
async function lengthsNow({ core, signal }: Operation, blocks: readonly CID[], needed: () => Promise<CID[]>): Promise<Lengths> {
  if (blocks.length === 0) return new Map()
  return core.locks.shared(async () => {
    const asked = await needed()
    const found = await core.store.examine(asked, { signal })
    return new Map(asked.map((cid, index) => [cid, found.blocks[index]?.byteLength]))
  }, signal)
}

/** Adds the lengths of those blocks that the network could replace: of some that are damaged, and of those that are known not to be here. */
async function repair(operation: Operation, root: CID, damaged: readonly CID[], lengths: Lengths): Promise<void> {
  for (const cid of damaged) lengths.set(cid, undefined)
  const lost = [...lengths].flatMap(([cid, length]) => (length === undefined ? [cid] : []))
  if (lost.length === 0) return
  const content = operation.content(root)
  try {
    for (const [cid, length] of await content.repair(lost)) lengths.set(cid, length)
  } finally {
    // What was fetched is named by the entry that needs it.
    await content.drop()
  }
}

/** Content that has no entry of its own, such as a file in a directory: its DAG is walked, again where a node of it was replaced. */
async function verifyDag(operation: Operation, root: CID, options: Cancellable): Promise<Verdict> {
  const answer: Verdict = { blocks: 0, bytes: 0, damaged: [] }
  const { store, catalog } = operation.core
  const { signal } = operation
  let leaves: CID[] = []
  const missing: CID[] = []
  const count = (cid: CID, bytes: Bytes | undefined): void => {
    if (bytes === undefined) {
      missing.push(cid)
      return
    }
    answer.blocks++
    answer.bytes += bytes.byteLength
  }
  const checkLeaves = async (): Promise<void> => {
    const { blocks } = await store.examine(leaves, { signal })
    leaves.forEach((cid, index) => count(cid, blocks[index]))
    leaves = []
    options.onProgress?.({ bytes: answer.bytes, phase: 'verify' })
  }
  for await (const { cid } of walk(store.lenient, root, { signal, onNode: count, onMissing: (absent) => count(absent, undefined) })) {
    if (!canLink(cid)) leaves.push(cid)
    if (leaves.length >= LEAF_WINDOW_BLOCKS) await checkLeaves()
  }
  await checkLeaves()
  // What was never here is no damage: it is where it was noted, or where content that was whole needs it.
  const noted = await catalog.damaged(missing.map(blockKey))
  const spoilt = missing.filter((cid) => noted.has(blockKey(cid)))
  const absent = missing.filter((cid) => !noted.has(blockKey(cid)))
  const lengths = await lengthsNow(operation, absent, async () => {
    const owners = await catalog.ownersOf(absent.map(blockKey))
    return absent.filter((_, index) => owners[index]?.some((owner) => owner.kind === 'entry' && owner.complete) === true)
  })
  await repair(operation, root, spoilt, lengths)
  if ([...lengths].some(([cid, length]) => canLink(cid) && length !== undefined)) return verifyDag(operation, root, options)
  for (const [cid, length] of lengths) {
    if (length === undefined) answer.damaged.push({ cid: root.toString(), block: cid.toV1().toString() })
    else {
      answer.blocks++
      answer.bytes += length
    }
  }
  return answer
}

/** One entry a content: several names of one content have the same blocks. */
async function allContents(operation: Operation): Promise<EntryOwner[]> {
  const all = await listEntries(operation.core.catalog, '', undefined, Number.POSITIVE_INFINITY)
  return [...new Map(all.map(({ entry }) => [entry.cid, entry])).values()]
}

/** The CID of a block that references name by multihash: the root's own, dag-pb where it has a record as a node, else a raw leaf. */
function cidOf(key: string, entry: EntryOwner, nodes: ReadonlySet<string>): CID {
  const root = CID.parse(entry.cid)
  if (key === blockKey(root)) return root
  return CID.createV1(nodes.has(key) ? DAG_PB : RAW, Digest.decode(keyMultihash(key)))
}
