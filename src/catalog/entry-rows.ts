// Rows of entries within a transaction: one entry, or many small ones that were stored together.
import { ENTRIES_A_ROW, NAMES_A_ROW_CHARACTERS } from '../limits.ts'
import { result } from './database.ts'
import { endPending, newOwnerId, putRemoval } from './owners.ts'
import { isRaw, referenceOfRaw } from './raw-blocks.ts'
import { MOVABLE, type EntryDetails, type EntryOwner, type EntryRow } from './schema.ts'

/** The CIDs that the index must hold: an entry whose name is its CID is found by that. A key of an index is what takes the time of storing many. */
function contentsOf(names: EntryRow['names']): string[] {
  return names.flatMap(([filename, cid]) => (filename === cid ? [] : [cid]))
}

/** Keys of the rows with entries of one content. */
export async function rowsWithContent(owners: IDBObjectStore, cid: string): Promise<string[]> {
  const [own, others] = await Promise.all([
    result<IDBValidKey | undefined>(owners.index('names').getKey([cid, cid])),
    result(owners.index('contents').getAllKeys(cid)),
  ])
  return [...new Set([...(own === undefined ? [] : [own]), ...others])] as string[]
}

export function rowOf(entries: readonly EntryOwner[]): EntryRow {
  const [first] = entries
  if (first === undefined) throw new RangeError('a row of entries needs one at least: this cannot be')
  const names = entries.map(({ filename, cid }): [string, string] => [filename, cid])
  return {
    id: first.id,
    kind: 'entry',
    names,
    contents: contentsOf(names),
    entries: entries.map(detailsOf),
    ...(first.implicit === undefined ? {} : { implicit: first.implicit }),
  }
}

/** Entries in the order of their names, in as few rows as may be: those of one raw block share one. */
export function rowsOf(entries: readonly EntryOwner[]): EntryRow[] {
  const sorted = entries.toSorted((a, b) => compareNames([a.filename, a.cid], [b.filename, b.cid]))
  const rows: EntryOwner[][] = []
  let characters = 0
  for (const entry of sorted) {
    const row = rows.at(-1)
    characters += entry.filename.length
    if (row !== undefined && row.length < ENTRIES_A_ROW && characters <= NAMES_A_ROW_CHARACTERS) row.push(entry)
    else {
      rows.push([entry])
      characters = entry.filename.length
    }
  }
  return rows.map((row) => {
    const id = newOwnerId()
    return rowOf(row.map((entry) => ({ ...entry, id })))
  })
}

export function entriesIn({ id, kind, names, entries, implicit }: EntryRow): EntryOwner[] {
  return names.flatMap(([filename, cid], index) => {
    const details = entries[index]
    return details === undefined ? [] : [{ ...details, id, kind, filename, cid, ...(implicit === undefined ? {} : { implicit }) }]
  })
}

/** Whether an entry may share its row with others: nothing but its name and its CID leads to it. */
export function mayShare({ cid, implicit }: Pick<EntryOwner, 'cid' | 'implicit'>): boolean {
  return implicit === undefined && isRaw(cid)
}

/** The entries of one content. */
export async function entriesOfContent(tx: IDBTransaction, cid: string): Promise<EntryOwner[]> {
  const owners = tx.objectStore('owners')
  const [own, others] = await Promise.all([
    result<EntryRow | undefined>(owners.index('names').get([cid, cid])),
    result<EntryRow[]>(owners.index('contents').getAll(cid)),
  ])
  const rows = new Map([...(own === undefined ? [] : [own]), ...others].map((row) => [row.id, row]))
  return [...rows.values()].flatMap(entriesIn).filter((entry) => entry.cid === cid)
}

/** The names in the range by filename, then CID, at most `limit`. */
export async function entriesNamed(
  tx: IDBTransaction,
  range: IDBKeyRange,
  isBefore: (name: [string, string]) => boolean,
  limit: number,
): Promise<EntryOwner[]> {
  const owners = tx.objectStore('owners')
  const names = owners.index('names')
  const most = Number.isFinite(limit) ? limit : undefined
  const ids = (await result(names.getAllKeys(range, most))) as string[]
  const once = [...new Set(ids)]
  if (once.length === ids.length) {
    const alone = await result<EntryRow[]>(names.getAll(range, most))
    if (alone.every((row) => row.names.length === 1)) return alone.flatMap(entriesIn)
  }
  // A row that holds several names comes once for each of them, in the order of the names.
  const rows = await Promise.all(once.map((id) => result<EntryRow>(owners.get(id))))
  const left = new Map(
    rows.map((row) => [
      row.id,
      entriesIn(row)
        .filter(({ filename, cid }) => !isBefore([filename, cid]))
        .toSorted((a, b) => compareNames([b.filename, b.cid], [a.filename, a.cid])),
    ]),
  )
  return ids.flatMap((id) => left.get(id)?.pop() ?? [])
}

/** IndexedDB's order of arrays of strings, in which an array is greater than any string. */
export function compareNames(a: readonly unknown[], b: readonly unknown[]): number {
  for (let index = 0; index < Math.min(a.length, b.length); index++) {
    const [left, right] = [a[index], b[index]]
    if (Array.isArray(left) || Array.isArray(right)) return Number(Array.isArray(left)) - Number(Array.isArray(right))
    if (left !== right) return (left as string) < (right as string) ? -1 : 1
  }
  return a.length - b.length
}

/** Changes of entries in one transaction, each row read once and written once: `write` must be called at the end. */
export class EntryRows {
  readonly #tx: IDBTransaction
  readonly #owners: IDBObjectStore
  readonly #reading = new Map<string, Promise<EntryRow>>()
  readonly #rows = new Map<string, EntryRow>()
  readonly #changed = new Set<EntryRow>()

  constructor(tx: IDBTransaction) {
    this.#tx = tx
    this.#owners = tx.objectStore('owners')
  }

  async ofContent(cid: string): Promise<EntryOwner[]> {
    const ids = await rowsWithContent(this.#owners, cid)
    const rows = await Promise.all(ids.map((id) => this.#row(id)))
    return rows.flatMap(entriesIn).filter((entry) => entry.cid === cid)
  }

  async named(filename: string, cid: string): Promise<EntryOwner | undefined> {
    const id = await result(this.#owners.index('names').getKey([filename, cid]))
    if (id === undefined) return undefined
    return entriesIn(await this.#row(id as string)).find((entry) => entry.filename === filename && entry.cid === cid)
  }

  /** Says something else of an entry that was read here. */
  replace(entry: EntryOwner): void {
    const [row, at] = this.#find(entry)
    row.entries[at] = detailsOf(entry)
    delete row.implicit
    if (entry.implicit !== undefined) row.implicit = entry.implicit
    this.#changed.add(row)
  }

  /** Says of a large file that its leaves may go into packs. */
  markMovable(entry: EntryOwner): void {
    const [row] = this.#find(entry)
    row.movable = MOVABLE
    this.#changed.add(row)
  }

  /** Makes an entry that was read here a removal, whose id is answered: `together` where it shares its row with others. */
  async end(entry: EntryOwner, together: string = newOwnerId()): Promise<string> {
    const [row, at] = this.#find(entry)
    const isAlone = row.names.length === 1
    const id = isAlone ? row.id : together
    const reference = referenceOfRaw(entry)
    if (reference !== undefined) this.#tx.objectStore('references').put({ ...reference, owner: id })
    if (isAlone) {
      this.#changed.delete(row)
      await endPending(this.#tx, id, true)
      return id
    }
    for (const list of [row.names, row.entries]) list.splice(at, 1)
    row.contents = contentsOf(row.names)
    this.#changed.add(row)
    putRemoval(this.#tx, id)
    return id
  }

  write(): void {
    for (const row of this.#changed) this.#owners.put(row)
  }

  /** The same object for all who ask for it, so that no change of one entry undoes that of another. */
  #row(id: string): Promise<EntryRow> {
    const reading =
      this.#reading.get(id) ??
      result<EntryRow>(this.#owners.get(id)).then((row) => {
        this.#rows.set(id, row)
        return row
      })
    this.#reading.set(id, reading)
    return reading
  }

  #find({ id, filename, cid }: EntryOwner): [EntryRow, number] {
    const row = this.#rows.get(id)
    const at = row?.names.findIndex((name) => name[0] === filename && name[1] === cid) ?? -1
    if (row === undefined || at < 0) throw new RangeError(`entry '${filename}' was not read in this transaction: this cannot be`)
    return [row, at]
  }
}

function detailsOf({ id: _id, kind: _kind, filename: _filename, cid: _cid, implicit: _implicit, ...details }: EntryOwner): EntryDetails {
  return details
}
