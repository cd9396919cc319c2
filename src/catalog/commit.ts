// The one transaction after which something is stored: entries and pins with their references, and the end of the writer.
import { added, result } from './database.ts'
import { addUsage, endPending, mustLive, newOwnerId } from './owners.ts'
import { placePacks, type Placed } from './pack-rows.ts'
import { addPinnedBytes, pinsOf } from './pins.ts'
import { isRaw } from './raw-blocks.ts'
import { HELD, UNHELD, type Added, type EntryOwner, type PinOwner, type Reference, type SealedPack, type Usage } from './schema.ts'

export type EntryDraft = Omit<EntryOwner, 'id' | 'kind' | 'modified' | 'lastUsed' | 'replicas'>

/** One content that a commit keeps: as an entry, by a pin, or both. */
export interface KeptContent {
  cid: string
  references: Omit<Reference, 'owner'>[]
  entry?: EntryDraft & {
    /** The entry was there when the work began: where it is gone now, somebody deleted it, and it stays deleted. */
    existed?: boolean
  }
  /** `size`: bytes of the content. */
  pin?: { holder: string; size: number }
}

export interface Commit {
  /** The writer that ends with this commit; what it named beyond the contents becomes a removal where `leftovers` says there is any. */
  writer: string | undefined
  leftovers: boolean
  /** What the writer wrote since its last batch was named. */
  added: Added
  contents: KeptContent[]
  /** What the writer wrote into packs. */
  packs: SealedPack[]
}

export interface Committed {
  /** For the events. */
  changes: CatalogChange[]
  /** The writer's row became a removal. */
  leftovers: boolean
  /** Packs of the writer that nothing needs. */
  unused: string[]
  /** Packs of others in which nothing is needed any more. */
  emptied: string[]
  places: Placed['places']
}

export interface CatalogChange {
  cid: string
  filename: string
  kind: 'stored' | 'updated' | 'deleted' | 'pinned' | 'unpinned'
}

export async function commitIn(tx: IDBTransaction, commit: Commit): Promise<Committed> {
  const changes: CatalogChange[] = []
  const usage = { ...commit.added, files: 0, pinnedBytes: 0 }
  if (commit.writer !== undefined) await mustLive(tx, { id: commit.writer, kind: 'writer' })
  const contents = withoutRepeats(commit.contents)
  const kept = await Promise.all(contents.map((content) => keep(tx, content, changes, usage)))
  const leftovers = commit.leftovers || kept.includes(false)
  const needed = new Set<string>()
  if (commit.packs.length > 0) {
    contents.forEach((content, index) => {
      if (kept[index] === true) for (const { blocks } of content.references) for (const block of blocks) needed.add(block)
    })
  }
  const { blocks, bytes, deadBytes, ...placed } = await placePacks(tx, commit.packs, (block) => needed.has(block))
  if (commit.writer !== undefined) await endPending(tx, commit.writer, leftovers)
  await addUsage(tx, usage)
  // Apart, since what others counted anew meanwhile did not count these.
  await addUsage(tx, { blocks, bytes, deadBytes, files: 0 })
  await addPinnedBytes(tx, usage.pinnedBytes)
  return { changes, leftovers, ...placed }
}

type CommitUsage = Pick<Usage, 'files'> & { pinnedBytes: number }

async function keep(tx: IDBTransaction, content: KeptContent, changes: CatalogChange[], usage: CommitUsage): Promise<boolean> {
  const owners = tx.objectStore('owners')
  const references = tx.objectStore('references')
  const now = Date.now()
  const putAll = (owner: string): void => {
    for (const reference of content.references) references.put({ ...reference, owner })
  }
  const putForEntry = (owner: string): void => {
    if (!isRaw(content.cid)) putAll(owner)
  }
  let kept = false
  let { entry } = content
  if (entry?.implicit !== undefined && (await result(owners.index('content').getKey(content.cid))) !== undefined) {
    entry = undefined
    kept = true
  }
  if (entry !== undefined) {
    const { existed, ...draft } = entry
    const row: EntryOwner = { ...draft, id: newOwnerId(), kind: 'entry', modified: now, lastUsed: now, replicas: [] }
    const before =
      existed !== true && (await added(owners, row))
        ? row
        : await result<EntryOwner | undefined>(owners.index('name').get([draft.filename, content.cid]))
    if (before === row) {
      putForEntry(row.id)
      usage.files++
      changes.push({ cid: content.cid, filename: draft.filename, kind: 'stored' })
      kept = true
    } else if (before !== undefined) {
      const { implicit, ...rest } = before
      const after: EntryOwner = { ...rest, ...draft, complete: draft.complete || before.complete, modified: now, lastUsed: now }
      if (implicit !== undefined && draft.implicit !== undefined) after.implicit = implicit
      owners.put(after)
      putForEntry(before.id)
      changes.push({ cid: content.cid, filename: draft.filename, kind: 'updated' })
      kept = true
    }
  }
  if (content.pin !== undefined) {
    putAll(await keepPin(tx, content.cid, content.pin, changes, usage))
    kept = true
  }
  return kept
}

/** Answers the id of the holder's pin. */
async function keepPin(
  tx: IDBTransaction,
  cid: string,
  { holder, size }: NonNullable<KeptContent['pin']>,
  changes: CatalogChange[],
  usage: CommitUsage,
): Promise<string> {
  const owners = tx.objectStore('owners')
  const before = await result(owners.index('pin').getKey([cid, holder]))
  if (before !== undefined) return before as string
  const row: PinOwner = { id: newOwnerId(), kind: 'pin', holder, pinned: cid, size }
  owners.add(row)
  const pins = await result<PinOwner[]>(owners.index('pin').getAll(pinsOf(tx, cid)))
  const other = pins.find(({ id }) => id !== row.id)
  // Whichever pin goes last takes away from the sum what the first one added to it.
  if (other === undefined) usage.pinnedBytes += size
  else if (other.size !== undefined && other.size !== size) owners.put({ ...row, size: other.size })
  for (const entry of await result<EntryOwner[]>(owners.index('content').getAll(cid))) {
    if (entry.implicit === UNHELD) owners.put({ ...entry, implicit: HELD })
    changes.push({ cid, filename: entry.filename, kind: other === undefined ? 'pinned' : 'updated' })
  }
  return row.id
}

/** Each entry and each pin once, the later one of two winning, since rows are looked up before any of them is put. */
function withoutRepeats(contents: readonly KeptContent[]): KeptContent[] {
  const seen = new Set<string>()
  const once = (key: string): boolean => !seen.has(key) && seen.add(key) !== undefined
  return contents.toReversed().map(({ cid, references, entry, pin }) => ({
    cid,
    references,
    ...(entry !== undefined && once(JSON.stringify(['entry', entry.filename, cid])) ? { entry } : {}),
    ...(pin !== undefined && once(JSON.stringify(['pin', pin.holder, cid])) ? { pin } : {}),
  }))
}
