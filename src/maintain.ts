// What keeps, releases and checks content: pins, deletions, verification, garbage collection.
import * as Digest from 'multiformats/hashes/digest'
import { CID } from 'multiformats/cid'
import { canLink, DAG_PB, RAW } from './blocks/links.ts'
import { blockKey, keyMultihash } from './blocks/records.ts'
import { endDead, freeForeign } from './blocks/removal.ts'
import { deleteEntries, endImplicitEntries, endPin, entriesOf, listEntries } from './catalog/entries.ts'
import { entriesOfContent } from './catalog/entry-rows.ts'
import { HELD, type EntryOwner } from './catalog/schema.ts'
import { describeHere, nameHere, nameNode } from './naming.ts'
import { draftOf } from './content.ts'
import { foundHere, withFound, type Found } from './found.ts'
import type { Committed, KeptContent } from './catalog/commit.ts'
import type { Writer } from './blocks/writer.ts'
import { IntegrityError, UnavailableError } from './errors.ts'
import { raced } from './files/abort.ts'
import { walk } from './files/walk.ts'
import { LEAF_WINDOW_BLOCKS } from './limits.ts'
import type { Operation } from './operation.ts'
import type { Bytes, Cancellable, ContentPath } from './types.ts'

interface Verdict {
  blocks: number
  bytes: number
  damaged: { cid: string; block: string }[]
}

export async function remove(operation: Operation, path: ContentPath, options: { filename?: string; force?: boolean }): Promise<boolean> {
  const cid = await foundHere(operation, path)
  if (cid === null) return false
  const { ended, changes } = await deleteEntries(operation.core.catalog, cid.toString(), options)
  operation.core.announce(changes)
  await operation.core.free(ended)
  return ended.length > 0
}

export async function unpin(operation: Operation, path: ContentPath, options: { holder?: string }): Promise<boolean> {
  const cid = await foundHere(operation, path)
  if (cid === null) return false
  const { ended, changes } = await endPin(operation.core.catalog, cid.toString(), options.holder ?? '')
  operation.core.announce(changes)
  await operation.core.free(ended)
  return ended.length > 0
}

export async function pin(operation: Operation, path: ContentPath, options: Cancellable & { holder?: string }): Promise<boolean> {
  try {
    return (await withFound(operation, path, {}, (found) => pinFound(operation, found, options))) === true
  } catch (error) {
    // It can't be had: nobody could be asked, or what is here is damaged and nobody could replace it.
    if (error instanceof UnavailableError || error instanceof IntegrityError) return false
    throw error
  }
}

/**
 * What an entry or a pin that is whole says of its blocks is said once more for this holder, where all of them are here: no node is read. False where
 * that is not so.
 */
async function pinKnown(operation: Operation, cid: string, options: Cancellable & { holder?: string }): Promise<boolean> {
  const { core, signal } = operation
  // Under the lock nothing that was looked up can go before it is named again.
  const keep = async (): Promise<{ size: number; committed: Committed } | undefined> => {
    const { entries, references } = await core.catalog.read(['owners', 'references'], async (tx) => ({
      entries: await entriesOfContent(tx, cid),
      references: await core.catalog.referencesOfContent(tx, cid),
    }))
    const [entry] = entries
    if (entry === undefined || entries.some(({ complete }) => !complete)) return undefined
    const blocks = [...new Set(references.flatMap((reference) => reference.blocks))]
    if ((await core.store.lookUp(blocks)).here.size < blocks.length) return undefined
    const { type, size, fallback } = entry
    const implicit = { filename: cid, cid, type, size, fallback, complete: true, implicit: HELD }
    const content: KeptContent = {
      cid,
      references: references.map(({ owner: _owner, ...reference }) => reference),
      entry: implicit,
      pin: { holder: options.holder ?? '', size },
    }
    const added = { bytes: 0, blocks: 0, recounts: 0 }
    return {
      size,
      committed: await core.catalog.commit({
        writer: undefined,
        leftovers: false,
        added,
        contents: [content],
        packs: [],
        inRecords: false,
      }),
    }
  }
  const pinned = await core.store.withRoom(0, () => core.locks.shared(keep, signal), signal)
  if (pinned === undefined) return false
  core.announce(pinned.committed.changes)
  options.onProgress?.({ bytes: pinned.size, phase: 'download' })
  return true
}

async function pinFound(operation: Operation, found: Found, options: Cancellable & { holder?: string }): Promise<true | null> {
  const { core, signal } = operation
  const { content, parsed, cid: root, nodes } = found
  if (!content.isFetched && (await pinKnown(operation, root.toString(), options))) return true
  const writer = await content.openWriter()
  let bytes = 0
  const onProgress = (more: number): void => {
    bytes += more
    options.onProgress?.({ bytes, phase: 'download' })
  }
  for (const node of nodes) await nameNode(writer, core.store.lenient, node)
  if (!(await nameHere(writer, content, root, { ask: true, signal, onProgress }))) return null
  await writer.flush()
  const cid = root.toString()
  const references = writer.references(root)
  const fresh = { ...(await describeHere(core.store.lenient, root)), complete: true }
  const entries = await entriesOf(core.catalog, cid)
  const implicit = { filename: cid, cid, ...fresh, fallback: operation.fallback, implicit: HELD }
  const contents: KeptContent[] = [
    { cid, references, entry: implicit, pin: { holder: options.holder ?? '', size: fresh.size } },
    // What was there in part is whole now.
    ...entries.filter((entry) => !entry.complete).map((entry) => ({ cid, references, entry: { ...draftOf(entry), ...fresh } })),
    ...(content.isFetched ? await pathContents(operation, writer, parsed.cid, nodes) : []),
  ]
  const { changes, leftover } = await writer.commit(contents)
  core.announce(changes)
  await core.free([leftover])
  return true
}

/** The nodes of the path stay as a part of its root, so that the same path works offline. */
async function pathContents(operation: Operation, writer: Writer, root: CID, nodes: readonly CID[]): Promise<KeptContent[]> {
  if (nodes.length === 0) return []
  const { core } = operation
  const cid = root.toString()
  const entries = await entriesOf(core.catalog, cid)
  const references = writer.references(root)
  if (entries.length > 0) return entries.map((entry) => ({ cid, references, entry: draftOf(entry) }))
  const described = await describeHere(core.store.lenient, root)
  return [{ cid, references, entry: { filename: cid, cid, ...described, complete: false, fallback: operation.fallback } }]
}

export async function verify(operation: Operation, path: ContentPath | undefined, options: Cancellable): Promise<Verdict> {
  const answer: Verdict = { blocks: 0, bytes: 0, damaged: [] }
  const verdicts = new Map<string, boolean>()
  const check = async (entry: EntryOwner): Promise<void> => {
    const references = await operation.core.catalog.read(['owners', 'references'], (tx) =>
      operation.core.catalog.referencesOfContent(tx, entry.cid),
    )
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
  operation.signal.throwIfAborted()
  return verdict
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

export async function collect(
  operation: Operation,
  options: Cancellable & { foreign?: boolean },
): Promise<{ blocks: number; bytes: number }> {
  const { core, signal } = operation
  const implicit = await endImplicitEntries(core.catalog)
  core.announce(implicit.changes)
  // Without locks that other tabs see, freeing waits for an opening with nobody else (see Core.recover).
  if (!core.canFree) return { blocks: 0, bytes: 0 }
  await raced(core.settleRemovals(), signal)
  const { removals, uncounted } = await endDead(core.store, Date.now())
  const step = { pinnedByHelia: core.pinnedByHelia, signal }
  const freed = await core.freeNow(removals, {
    signal,
    recount: uncounted,
    onProgress: ({ bytes }) => options.onProgress?.({ bytes, phase: 'verify' }),
  })
  await core.sweepPacks()
  await core.rewritePacks(signal)
  if (options.foreign !== true) return freed
  const foreign = await freeForeign(core.store, step)
  return { blocks: freed.blocks + foreign.blocks, bytes: freed.bytes + foreign.bytes }
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
