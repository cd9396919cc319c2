// Entries and pins: listing, looking up, deleting, unpinning. Each change is one transaction and answers the owners it ended.
import { PinnedError } from '../errors.ts'
import { addUsage, endPending, newOwnerId } from './owners.ts'
import { compareNames, entriesNamed, entriesOfContent, EntryRows } from './entry-rows.ts'
import type { Catalog } from './catalog.ts'
import type { CatalogChange } from './commit.ts'
import { keyRange, result } from './database.ts'
import { addPinnedBytes, holdersIn, pinsOf } from './pins.ts'
import { UNHELD, type EntryOwner, type EntryRow, type PinOwner } from './schema.ts'

export interface Listing {
  entry: EntryOwner
  holders: string[]
}

/** Entries under `path` by filename, then CID, from behind `after`, at most `limit`. */
export async function listEntries(
  catalog: Catalog,
  path: string,
  after: { filename: string; cid: string } | undefined,
  limit: number,
): Promise<Listing[]> {
  return catalog.read(['owners'], async (tx) => {
    const entries: EntryOwner[] = []
    for (const [lower, upper] of rangesUnder(path)) {
      if (entries.length >= limit) break
      let from = lower
      if (after !== undefined) {
        const start: [string, string] = [after.filename, after.cid]
        if (compareNames(start, upper) >= 0) continue
        if (compareNames(start, lower) >= 0) from = start
      }
      const isOpen = from !== lower
      const range = keyRange(tx, from, upper, isOpen, true)
      const isBefore = (name: [string, string]): boolean => compareNames(name, from) < (isOpen ? 1 : 0)
      entries.push(...(await entriesNamed(tx, range, isBefore, limit - entries.length)))
    }
    const holders = await Promise.all(entries.map((entry) => holdersIn(tx, entry.cid)))
    return entries.map((entry, index) => ({ entry, holders: holders[index] ?? [] }))
  })
}

/** The same entries as they are by now; undefined where one is gone. */
export async function listAgain(catalog: Catalog, listings: readonly Listing[]): Promise<(Listing | undefined)[]> {
  return catalog.read(['owners'], (tx) =>
    Promise.all(
      listings.map(async ({ entry: { filename, cid } }) => {
        const entry = (await entriesOfContent(tx, cid)).find((one) => one.filename === filename)
        return entry === undefined ? undefined : { entry, holders: await holdersIn(tx, cid) }
      }),
    ),
  )
}

/** The entries of one content. */
export function entriesOf(catalog: Catalog, cid: string): Promise<EntryOwner[]> {
  return catalog.read(['owners'], (tx) => entriesOfContent(tx, cid))
}

export function holdersOf(catalog: Catalog, cid: string): Promise<string[]> {
  return catalog.read(['owners'], (tx) => holdersIn(tx, cid))
}

/**
 * Ends the content's entries, or the one of that filename. With `force` every holder's pin goes as well.
 *
 * @throws PinnedError where the last entry of pinned content would go
 */
export async function deleteEntries(
  catalog: Catalog,
  cid: string,
  options: { filename?: string | undefined; force?: boolean | undefined },
): Promise<{ ended: string[]; changes: CatalogChange[] }> {
  return catalog.writeToFree(['owners', 'references'], async (tx) => {
    const owners = tx.objectStore('owners')
    const rows = new EntryRows(tx)
    const all = await rows.ofContent(cid)
    const going = options.filename === undefined ? all : all.filter((entry) => entry.filename === options.filename)
    const changes: CatalogChange[] = going.map(({ filename }) => ({ cid, filename, kind: 'deleted' }))
    const unpinned: string[] = []
    let pinned = 0
    if (going.length === 0) return { ended: [], changes }
    if (going.length === all.length) {
      const pins = await result<PinOwner[]>(owners.index('pin').getAll(pinsOf(tx, cid)))
      if (pins.length > 0 && options.force !== true) {
        const holders = pins.map((pin) => pin.holder)
        const names = holders.map((holder) => `'${holder}'`).join(', ')
        throw new PinnedError(`${cid} is pinned by ${names}: unpin it first, or delete with { force: true }`, cid, holders)
      }
      unpinned.push(...pins.map((pin) => pin.id))
      pinned = pins[0]?.size ?? 0
    }
    const ended = await Promise.all(going.map((entry) => rows.end(entry)))
    await Promise.all(unpinned.map((id) => endPending(tx, id, true)))
    rows.write()
    await addUsage(tx, { bytes: 0, blocks: 0, files: -going.length })
    if (unpinned.length > 0) await addPinnedBytes(tx, -pinned)
    return { ended: [...ended, ...unpinned], changes }
  })
}

/**
 * Ends all entries of contents, but of those that are pinned or were used later than said. Entries that shared a row go by one removal. Answers the
 * changes of each content by its CID.
 */
export async function endUnused(
  catalog: Catalog,
  contents: readonly { cid: string; lastUsed: number }[],
): Promise<{ ended: string[]; changes: Map<string, CatalogChange[]> }> {
  return catalog.writeToFree(['owners', 'references'], async (tx) => {
    const rows = new EntryRows(tx)
    const ended = new Set<string>()
    const changes = new Map<string, CatalogChange[]>()
    const together = newOwnerId()
    let files = 0
    for (const { cid, lastUsed } of contents) {
      const entries = await rows.ofContent(cid)
      if (entries.some((entry) => entry.lastUsed > lastUsed) || (await holdersIn(tx, cid)).length > 0) continue
      for (const entry of entries) ended.add(await rows.end(entry, together))
      files += entries.length
      changes.set(
        cid,
        entries.map(({ filename }) => ({ cid, filename, kind: 'deleted' })),
      )
    }
    rows.write()
    await addUsage(tx, { bytes: 0, blocks: 0, files: -files })
    return { ended: [...ended], changes }
  })
}

/** Ends one holder's pin, unless an entry of the content needs it. */
export async function endPin(
  catalog: Catalog,
  cid: string,
  holder: string,
  isNeeded: (entry: EntryOwner) => boolean = () => false,
): Promise<{ ended: string[]; changes: CatalogChange[] }> {
  return catalog.writeToFree(['owners', 'references'], async (tx) => {
    const owners = tx.objectStore('owners')
    const pin = await result<PinOwner | undefined>(owners.index('pin').get([cid, holder]))
    if (pin === undefined) return { ended: [], changes: [] }
    const rows = new EntryRows(tx)
    const entries = await rows.ofContent(cid)
    if (entries.some(isNeeded)) return { ended: [], changes: [] }
    await endPending(tx, pin.id, true)
    const isHeld = (await holdersIn(tx, cid)).length > 0
    if (!isHeld) for (const entry of entries) if (entry.implicit !== undefined) rows.replace({ ...entry, implicit: UNHELD })
    rows.write()
    await addPinnedBytes(tx, isHeld ? 0 : -(pin.size ?? 0))
    const kind = isHeld ? 'updated' : 'unpinned'
    return { ended: [pin.id], changes: entries.map(({ filename }) => ({ cid, filename, kind })) }
  })
}

/** Ends the entries that a pin made and that no pin holds any more. */
export async function endImplicitEntries(catalog: Catalog): Promise<{ ended: string[]; changes: CatalogChange[] }> {
  return catalog.writeToFree(['owners', 'references'], async (tx) => {
    const owners = tx.objectStore('owners')
    const ended: string[] = []
    const changes: CatalogChange[] = []
    // Where nobody noted which entries lost their pins, it is noted now.
    await addPinnedBytes(tx, 0)
    const rows = new EntryRows(tx)
    for (const { names } of await result<EntryRow[]>(owners.index('implicit').getAll(UNHELD))) {
      for (const [, cid] of names) {
        if ((await holdersIn(tx, cid)).length > 0) continue
        for (const entry of await rows.ofContent(cid)) {
          if (entry.implicit === undefined) continue
          ended.push(await rows.end(entry))
          changes.push({ cid, filename: entry.filename, kind: 'deleted' })
        }
      }
    }
    rows.write()
    await addUsage(tx, { bytes: 0, blocks: 0, files: -ended.length })
    return { ended, changes }
  })
}

/** Writes the times of last use that were gathered. */
export async function writeLastUsed(catalog: Catalog, times: ReadonlyMap<string, number>): Promise<void> {
  await catalog.write(['owners'], async (tx) => {
    const rows = new EntryRows(tx)
    await Promise.all(
      [...times].map(async ([cid, time]) => {
        for (const entry of await rows.ofContent(cid)) if (entry.lastUsed < time) rows.replace({ ...entry, lastUsed: time })
      }),
    )
    rows.write()
  })
}

type Bounds = [lower: [string, string] | [string] | [], upper: [string, string[]] | [string] | [string[]]]

/** Key ranges of a path's own name and of what lies under it, with and without a slash in front, in the order of the index. */
function rangesUnder(path: string): Bounds[] {
  const bare = path.replace(/^\/+|\/+$/g, '')
  if (bare === '') return [[[], [[]]]]
  return [bare, `/${bare}`]
    .flatMap((name): Bounds[] => [
      [[name], [name, []]],
      [[`${name}/`], [`${name}0`]],
    ])
    .toSorted((a, b) => compareNames(a[0], b[0]))
}
