// What keeps, releases and checks content: pins, deletions, verification, garbage collection.
import * as Digest from 'multiformats/hashes/digest'
import { CID } from 'multiformats/cid'
import { canLink, DAG_PB, RAW } from './blocks/links.ts'
import { blockKey, keyMultihash } from './blocks/records.ts'
import { endDead, freeForeign } from './blocks/removal.ts'
import { deleteEntries, endImplicitEntries, endPin, entriesOf, listEntries } from './catalog/entries.ts'
import type { EntryOwner } from './catalog/schema.ts'
import { parseContentPath } from './cid.ts'
import { describeHere, nameHere } from './content.ts'
import { IntegrityError, UnavailableError } from './errors.ts'
import { MissingBlockError } from './blocks/blocks.ts'
import { resolvePath } from './files/directory.ts'
import { walk } from './files/walk.ts'
import { READ_WINDOW_BLOCKS } from './limits.ts'
import type { Operation } from './operation.ts'
import type { Bytes, Cancellable, ContentPath } from './types.ts'

interface Verdict {
  blocks: number
  bytes: number
  damaged: { cid: string; block: string }[]
}

export async function remove(operation: Operation, path: ContentPath, options: { filename?: string; force?: boolean }): Promise<boolean> {
  const cid = await resolveHere(operation, path)
  if (cid === null) return false
  const { ended, changes } = await deleteEntries(operation.core.catalog, cid.toString(), options)
  operation.core.announce(changes)
  await operation.core.free(ended)
  return ended.length > 0
}

export async function unpin(operation: Operation, path: ContentPath, options: { holder?: string }): Promise<boolean> {
  const cid = await resolveHere(operation, path)
  if (cid === null) return false
  const { ended, changes } = await endPin(operation.core.catalog, cid.toString(), options.holder ?? '')
  operation.core.announce(changes)
  await operation.core.free(ended)
  return ended.length > 0
}

export async function pin(operation: Operation, path: ContentPath, options: Cancellable & { holder?: string }): Promise<boolean> {
  const { core, signal } = operation
  const parsed = parseContentPath(path)
  const content = operation.content(parsed.cid)
  try {
    const resolved = await resolvePath(content, parsed.cid, parsed.segments, { signal })
    if (resolved === null) {
      await content.drop()
      return false
    }
    const root = resolved.cid
    const writer = await content.openWriter()
    let bytes = 0
    const whole = await nameHere(writer, content, root, {
      ask: true,
      signal,
      onProgress: (more) => {
        bytes += more
        options.onProgress?.({ bytes, phase: 'download' })
      },
    })
    if (!whole) {
      await content.drop()
      return false
    }
    const cid = root.toString()
    await writer.flush()
    const { type, size } = await describeHere(core.store, root)
    const entry = { filename: cid, cid, type, size, complete: true, fallback: operation.fallback, implicit: 1 as const }
    const { changes, leftover } = await writer.commit([
      { cid, references: writer.references(root), entry, pin: { holder: options.holder ?? '' } },
    ])
    core.announce(changes)
    await core.free([leftover])
    return true
  } catch (error) {
    await content.drop()
    if (error instanceof MissingBlockError || error instanceof UnavailableError) return false
    throw error
  }
}

export async function verify(operation: Operation, path: ContentPath | undefined, options: Cancellable): Promise<Verdict> {
  const answer: Verdict = { blocks: 0, bytes: 0, damaged: [] }
  const verdicts = new Map<string, boolean>()
  const check = async (entry: EntryOwner): Promise<void> => {
    const references = await operation.core.catalog.referencesOf(entry.id)
    const nodes = new Set(references.map((reference) => reference.node))
    const keys = [...new Set(references.flatMap((reference) => reference.blocks))]
    for (let from = 0; from < keys.length; from += READ_WINDOW_BLOCKS) {
      operation.signal.throwIfAborted()
      const page = keys.slice(from, from + READ_WINDOW_BLOCKS)
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
      const noted = await operation.core.catalog.damaged()
      for (const key of page) {
        // A block of a part that was never fetched is missing, not damaged.
        if (verdicts.get(key) === true || (!entry.complete && !noted.has(key))) continue
        answer.damaged.push({ cid: entry.cid, block: cidOf(key, entry, nodes).toString() })
      }
      options.onProgress?.({ bytes: answer.bytes, phase: 'verify' })
    }
  }
  if (path === undefined) {
    for (const entry of await allContents(operation)) await check(entry)
    return answer
  }
  const root = await resolveHere(operation, path)
  if (root === null) return answer
  const [entry] = await entriesOf(operation.core.catalog, root.toString())
  if (entry !== undefined) await check(entry)
  else await verifyDag(operation, root, answer, options)
  return answer
}

/** Content that has no entry of its own, such as a file in a directory: its DAG is walked. */
async function verifyDag(operation: Operation, root: CID, answer: Verdict, options: Cancellable): Promise<void> {
  const { store } = operation.core
  const { signal } = operation
  let leaves: CID[] = []
  const count = (cid: CID, bytes: Bytes | undefined): void => {
    if (bytes === undefined) {
      answer.damaged.push({ cid: root.toString(), block: cid.toString() })
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
  for await (const { cid } of walk(store.lenient, root, { signal, onNode: count, onMissing: (missing) => count(missing, undefined) })) {
    if (!canLink(cid)) leaves.push(cid)
    if (leaves.length >= READ_WINDOW_BLOCKS) await checkLeaves()
  }
  await checkLeaves()
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
  await core.settleRemovals()
  const removals = await endDead(core.store, Date.now())
  const step = { pinnedByHelia: core.pinnedByHelia, signal }
  const freed = await core.freeNow(removals, { signal, onProgress: ({ bytes }) => options.onProgress?.({ bytes, phase: 'verify' }) })
  if (options.foreign !== true) return freed
  const foreign = await freeForeign(core.store, step)
  return { blocks: freed.blocks + foreign.blocks, bytes: freed.bytes + foreign.bytes }
}

async function resolveHere(operation: Operation, path: ContentPath): Promise<CID | null> {
  const parsed = parseContentPath(path)
  if (parsed.segments.length === 0) return parsed.cid
  try {
    const resolved = await resolvePath(operation.core.store, parsed.cid, parsed.segments, { signal: operation.signal })
    return resolved?.cid ?? null
  } catch (error) {
    if (error instanceof MissingBlockError || error instanceof IntegrityError) return null
    throw error
  }
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
