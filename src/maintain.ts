// What keeps and releases content: pins, deletions, garbage collection.
import type { CID } from 'multiformats/cid'
import { endDead, freeForeign } from './blocks/removal.ts'
import { deleteEntries, endImplicitEntries, endPin, entriesOf } from './catalog/entries.ts'
import { entriesOfContent } from './catalog/entry-rows.ts'
import { isKnown } from './catalog/raw-blocks.ts'
import { HELD } from './catalog/schema.ts'
import { describeHere, nameHere, nameNode } from './naming.ts'
import { draftOf } from './content.ts'
import { foundHere, withFound, type Found } from './found.ts'
import type { Committed, KeptContent } from './catalog/commit.ts'
import type { Writer } from './blocks/writer.ts'
import { IntegrityError, QuotaError, UnavailableError } from './errors.ts'
import { raced } from './files/abort.ts'
import type { Operation } from './operation.ts'
import type { Cancellable, ContentPath } from './types.ts'
import { load } from './lazy.ts'

export async function remove(operation: Operation, path: ContentPath, options: { filename?: string; force?: boolean }): Promise<boolean> {
  const cid = await foundHere(operation, path)
  if (cid === null) return false
  const { core } = operation
  let hasFreed = false
  const end = (): ReturnType<typeof deleteEntries> => deleteEntries(core.catalog, cid.toString(), options)
  const { ended, changes } = await end().catch(async (error: unknown) => {
    // Without locks that other tabs see, freeing waits for an opening with nobody else.
    if (!(error instanceof QuotaError) || !core.canFree) throw error
    // Of several entries one: the others keep it all.
    const entries = await entriesOf(core.catalog, cid.toString())
    if (options.filename !== undefined && entries.some(({ filename }) => filename !== options.filename)) throw error
    const { endOverQuota } = await load('eviction')
    const going = { contents: [{ cid: cid.toString(), lastUsed: Infinity, force: options.force }], pinnedByHelia: core.pinnedByHelia }
    const done = await endOverQuota(core.store, going, async () => Promise.reject(error))
    hasFreed = (done.bytes ?? 0) > 0
    return { ended: done.ended, changes: [...done.changes.values()].flat() }
  })
  core.announce(changes)
  if (hasFreed) core.announceFreed()
  await core.free(ended)
  return changes.length > 0
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
    if (entry === undefined || entries.some(({ complete }) => !complete) || !isKnown(references, entry)) return undefined
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
  // What is about to be kept is not what room is made of.
  operation.touch(root)
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
