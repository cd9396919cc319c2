// Verification: every block of content is hashed again, and what is damaged or lost is fetched where the network has it.
import * as Digest from 'multiformats/hashes/digest'
import { CID } from 'multiformats/cid'
import { canLink, DAG_PB, RAW } from './blocks/links.ts'
import { recountUsage } from './blocks/removal.ts'
import { blockKey, keyMultihash } from './blocks/records.ts'
import { entriesOf, listEntries } from './catalog/entries.ts'
import { endOrphans, recountEntries, recountPacks } from './catalog/lost-rows.ts'
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
        if (bytes === undefined) return
        answer.blocks++
        answer.bytes += bytes.byteLength
      })
      const noted = await operation.core.catalog.damaged(page)
      const healed = page.filter((key) => noted.has(key) && verdicts.get(key) === true)
      if (healed.length > 0) await operation.core.catalog.noteWhole(healed)
      // A block of a part that was never fetched is missing, not damaged.
      const bad = page.filter((key) => verdicts.get(key) !== true && (entry.complete || noted.has(key)))
      const repaired = await repair(
        operation,
        CID.parse(entry.cid),
        bad.map((key) => cidOf(key, entry, nodes)),
      )
      for (const [index, length] of repaired.entries()) {
        const key = bad[index] ?? ''
        if (length === undefined) {
          answer.damaged.push({ cid: entry.cid, block: cidOf(key, entry, nodes).toString() })
          continue
        }
        verdicts.set(key, true)
        answer.blocks++
        answer.bytes += length
      }
      options.onProgress?.({ bytes: answer.bytes, phase: 'verify' })
    }
  }
  const root = path === undefined ? undefined : await foundHere(operation, path)
  if (root === null) return answer
  const entries = root === undefined ? await allContents(operation) : (await entriesOf(operation.core.catalog, root.toString())).slice(0, 1)
  for (const entry of entries) await check(entry)
  const verdict = root !== undefined && entries.length === 0 ? await verifyDag(operation, root, options) : answer
  if (path === undefined) await settleCatalog(operation)
  operation.signal.throwIfAborted()
  return verdict
}

/** Frees what lost rows of the catalog left behind, and counts anew what there is. Where nothing can be written, the next one does it. */
async function settleCatalog({ core }: Operation): Promise<void> {
  try {
    const ended = await endOrphans(core.catalog)
    await recountEntries(core.catalog)
    const emptied = await recountPacks(core.catalog)
    await core.store.packs?.removeEmptied(emptied)
    await core.free(ended, true)
    if (ended.length === 0) await recountUsage(core.store)
  } catch (error) {
    if (!(error instanceof StorageError)) throw error
  }
}

/** What the catalog names of a content. Where rows of it are lost, it is named once more by the nodes that are here; else `isLost`. */
async function namedBlocks(operation: Operation, entry: EntryOwner): Promise<{ references: Reference[]; isLost: boolean }> {
  const { catalog } = operation.core
  const read = (): Promise<Reference[]> => catalog.read(['owners', 'references'], (tx) => catalog.referencesOfContent(tx, entry.cid))
  const references = await read()
  if (!entry.complete || isKnown(references, entry)) return { references, isLost: false }
  const root = CID.parse(entry.cid)
  const content = operation.content(root)
  await content.openWriter()
  await content.keep(root, [], true)
  const again = await read()
  return { references: again, isLost: !isKnown(again, entry) }
}

/** The lengths of those blocks that the network could replace. */
async function repair(operation: Operation, root: CID, blocks: readonly CID[]): Promise<(number | undefined)[]> {
  if (blocks.length === 0) return []
  const content = operation.content(root)
  try {
    const lengths = await content.repair(blocks)
    return blocks.map((cid) => lengths.get(cid))
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
  const keys = missing.map(blockKey)
  const [noted, owners] = await Promise.all([catalog.damaged(keys), catalog.ownersOf(keys)])
  const bad = missing.filter((cid, index) => {
    const isLost = owners[index]?.some((owner) => owner.kind === 'entry' && owner.complete) === true
    return isLost || noted.has(blockKey(cid))
  })
  const repaired = await repair(operation, root, bad)
  if (bad.some((cid, index) => canLink(cid) && repaired[index] !== undefined)) return verifyDag(operation, root, options)
  bad.forEach((cid, index) => {
    const length = repaired[index]
    if (length === undefined) answer.damaged.push({ cid: root.toString(), block: cid.toV1().toString() })
    else {
      answer.blocks++
      answer.bytes += length
    }
  })
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
