// The one transaction after which something is stored: entries and pins with their references, and the end of the writer.
import { DatabaseError, QuotaError } from '../errors.ts'
import { PACK_MIN_BYTES } from '../limits.ts'
import { added, result } from './database.ts'
import { EntryRows, mayShare, rowOf, rowsOf, rowsWithContent } from './entry-rows.ts'
import { addUsage, endPending, mustLive, newOwnerId, ownedBy, putReference, usageIn } from './owners.ts'
import { placePacks, type Placed } from './pack-rows.ts'
import { addPinnedBytes, pinsOf } from './pins.ts'
import { isRaw } from './raw-blocks.ts'
import {
  HELD,
  MOVABLE,
  UNHELD,
  type Added,
  type EntryOwner,
  type EntryRow,
  type PendingOwner,
  type PinOwner,
  type Reference,
  type Resume,
  type SealedPack,
  type Usage,
} from './schema.ts'

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
  /** A resumable owner that keeps it until it is whole. */
  owner?: string
}

/** A resumable download that goes on or ends with a commit. */
export interface Resumed {
  id: string
  run: string
  /** Its record after this commit. Where that is `done`, what it named is named by others. */
  update: (before: Resume) => Resume
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
  /** Leaves of large files, if any, went into records: they may be moved into packs. */
  inRecords: boolean
  /** Bytes of blocks that may be kept after it, where it added some. */
  maxBytes?: number | undefined
  resumed?: Resumed | undefined
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
  if (commit.resumed !== undefined) await resume(tx, commit.resumed)
  const rows = new EntryRows(tx)
  const contents = withoutRepeats(commit.contents)
  const together = await addTogether(tx, contents, changes)
  usage.files += together.size
  const kept = await Promise.all(
    contents.map(
      async (content) => together.has(content) || (await keep(tx, rows, content, { changes, usage, inRecords: commit.inRecords })),
    ),
  )
  rows.write()
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
  if (commit.maxBytes !== undefined) {
    const all = (await usageIn(tx)).bytes
    if (all > commit.maxBytes) throw new MaxBytesReached(commit.maxBytes, all - bytes, bytes)
  }
  return { changes, leftovers, ...placed }
}

/** @throws DatabaseError where another context goes on with it, or it was cancelled */
async function resume(tx: IDBTransaction, { id, run, update }: Resumed): Promise<void> {
  const row = await mustLive(tx, { id, kind: 'resumable' })
  if (row.resume?.run !== run) throw new DatabaseError('another tab goes on with this download: wait for it there', tx.db.name)
  const after = update(row.resume)
  if (after.done !== undefined) tx.objectStore('references').delete(ownedBy(tx, id))
  tx.objectStore('owners').put({ ...row, lastUsed: Date.now(), resume: after } satisfies PendingOwner)
}

type CommitUsage = Pick<Usage, 'files'> & { pinnedBytes: number }

/** Adds entries that may share a row with others, but for rows that hold a name which is there: each of those is kept by itself. */
async function addTogether(tx: IDBTransaction, contents: readonly KeptContent[], changes: CatalogChange[]): Promise<Set<KeptContent>> {
  const drafts = new Map<string, KeptContent>()
  const entries = contents.flatMap((content) => {
    const { entry, pin } = content
    if (entry === undefined || entry.existed === true || pin !== undefined || !mayShare(entry)) return []
    drafts.set(JSON.stringify([entry.filename, entry.cid]), content)
    return [newEntry(entry, '')]
  })
  if (entries.length < 2) return new Set()
  const rows = rowsOf(entries)
  const whole = await Promise.all(rows.map((row) => added(tx.objectStore('owners'), row)))
  const names = rows.filter((_, index) => whole[index] === true).flatMap((row) => row.names)
  for (const [filename, cid] of names) changes.push({ cid, filename, kind: 'stored' })
  return new Set(names.flatMap((name) => drafts.get(JSON.stringify(name)) ?? []))
}

function newEntry({ existed: _existed, ...draft }: NonNullable<KeptContent['entry']>, id: string): EntryOwner {
  const now = Date.now()
  return { ...draft, id, kind: 'entry', modified: now, lastUsed: now, replicas: [] }
}

/** Whether leaves of this content are worth a pack, and not wanted as records. */
function mayMove({ type, complete, size, records }: EntryOwner): boolean {
  return type === 'file' && complete && size >= PACK_MIN_BYTES && records !== true
}

async function keep(
  tx: IDBTransaction,
  rows: EntryRows,
  content: KeptContent,
  { changes, usage, inRecords }: { changes: CatalogChange[]; usage: CommitUsage; inRecords: boolean },
): Promise<boolean> {
  const owners = tx.objectStore('owners')
  const putAll = (owner: string): void => {
    for (const reference of content.references) putReference(tx, { ...reference, owner })
  }
  const putForEntry = (owner: string): void => {
    if (!isRaw(content.cid)) putAll(owner)
  }
  let kept = false
  let { entry } = content
  if (entry?.implicit !== undefined && (await rowsWithContent(owners, content.cid)).length > 0) {
    entry = undefined
    kept = true
  }
  if (entry !== undefined) {
    const { existed, ...draft } = entry
    const fresh = newEntry(entry, newOwnerId())
    const row: EntryRow = { ...rowOf([fresh]), ...(inRecords && mayMove(fresh) ? { movable: MOVABLE } : {}) }
    const before = existed !== true && (await added(owners, row)) ? fresh : await rows.named(draft.filename, content.cid)
    if (before === fresh) {
      putForEntry(fresh.id)
      usage.files++
      changes.push({ cid: content.cid, filename: draft.filename, kind: 'stored' })
      kept = true
    } else if (before !== undefined) {
      const { implicit, ...rest } = before
      const after: EntryOwner = {
        ...rest,
        ...draft,
        complete: draft.complete || before.complete,
        modified: fresh.modified,
        lastUsed: fresh.lastUsed,
      }
      if (implicit !== undefined && draft.implicit !== undefined) after.implicit = implicit
      rows.replace(after)
      if (inRecords && mayMove(after)) rows.markMovable(after)
      putForEntry(before.id)
      changes.push({ cid: content.cid, filename: draft.filename, kind: 'updated' })
      kept = true
    }
  }
  if (content.pin !== undefined) {
    putAll(await keepPin(tx, rows, content.cid, content.pin, changes, usage))
    kept = true
  }
  if (content.owner !== undefined) {
    putAll(content.owner)
    kept = true
  }
  return kept
}

/** Answers the id of the holder's pin. */
async function keepPin(
  tx: IDBTransaction,
  rows: EntryRows,
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
  for (const entry of await rows.ofContent(cid)) {
    if (entry.implicit === UNHELD) rows.replace({ ...entry, implicit: HELD })
    changes.push({ cid, filename: entry.filename, kind: other === undefined ? 'pinned' : 'updated' })
  }
  return row.id
}

/** Each entry and each pin once, the later one of two winning, since rows are looked up before any of them is put. */
function withoutRepeats(contents: readonly KeptContent[]): KeptContent[] {
  const seen = new Set<string>()
  const once = (key: string): boolean => !seen.has(key) && seen.add(key) !== undefined
  return contents.toReversed().map(({ cid, references, entry, pin, owner }) => ({
    cid,
    references,
    ...(entry !== undefined && once(JSON.stringify(['entry', entry.filename, cid])) ? { entry } : {}),
    ...(pin !== undefined && once(JSON.stringify(['pin', pin.holder, cid])) ? { pin } : {}),
    ...(owner === undefined ? {} : { owner }),
  }))
}

/** More than `maxBytes` would be kept. */
export class MaxBytesReached extends QuotaError {
  /** Bytes that must go so that those which are needed can stay. */
  readonly missing: number
  /** `usedBytes` are those of what is pinned: whatever else is given up, there is no room. */
  readonly isFinal: boolean

  constructor(maxBytes: number, usedBytes: number, needed: number, { isFinal = false }: { isFinal?: boolean } = {}) {
    super(
      `${needed} bytes more are too many: this storage keeps ${maxBytes} (option 'maxBytes'), ${usedBytes} are ${isFinal ? 'pinned' : 'there, and what is pinned stays'}; delete or unpin something, or allow more`,
      { needed, available: Math.max(0, maxBytes - usedBytes) },
    )
    this.missing = usedBytes + needed - maxBytes
    this.isFinal = isFinal
  }
}
