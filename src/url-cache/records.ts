// What is kept of URLs, in the catalog: entries that are named by their URL and say when it answered so.
import { endPin } from '../catalog/entries.ts'
import { entriesNamed, EntryRows } from '../catalog/entry-rows.ts'
import { keyRange } from '../catalog/database.ts'
import type { EntryOwner, UrlSource } from '../catalog/schema.ts'
import type { Core } from '../core.ts'
import { PinnedError } from '../errors.ts'
import { remove } from '../maintain.ts'
import type { Operation } from '../operation.ts'

export interface UrlEntry extends EntryOwner {
  source: UrlSource
}

/** What is kept of a URL: the newest, where another one could not go yet. */
export async function findUrl(core: Core, url: string): Promise<UrlEntry | undefined> {
  const entries = await named(core, [url], [url, []])
  return entries.toSorted((a, b) => b.modified - a.modified)[0]
}

/** Everything that is kept, by URL. */
export function listUrls(core: Core): Promise<UrlEntry[]> {
  return named(core, ['http'], ['httq'])
}

/** Puts on record what happened to entries since. One that is gone stays gone. */
export async function noteUrls(
  core: Core,
  notes: readonly { url: string; cid: string; hits: number; checked?: number | undefined }[],
): Promise<void> {
  await core.catalog.write(['owners'], async (tx) => {
    const rows = new EntryRows(tx)
    for (const { url, cid, hits, checked } of notes) {
      const entry = await rows.named(url, cid)
      if (entry?.source === undefined) continue
      const source = { ...entry.source, hits: entry.source.hits + hits, checked: Math.max(entry.source.checked, checked ?? 0) }
      rows.replace({ ...entry, source })
    }
    rows.write()
  })
}

/**
 * Ends what is kept of a URL, with the pins that were made for it; of what is older than `except`, where that is given. What others have pinned stays, and is
 * no more what the URL answers.
 */
export async function endUrl(operation: Operation, url: string, except?: string): Promise<boolean> {
  let ended = false
  const entries = await named(operation.core, [url], [url, []])
  // Another tab may have kept a newer one meanwhile, and ends this one.
  const before = except === undefined ? Number.POSITIVE_INFINITY : (entries.find(({ cid }) => cid === except)?.modified ?? 0)
  for (const { cid, source, modified } of entries) {
    if (cid === except || modified >= before) continue
    await endPinOf(operation, cid, source.holder, url)
    try {
      ended = (await remove(operation, cid, { filename: url })) || ended
    } catch (error) {
      if (!(error instanceof PinnedError)) throw error
      await disown(operation.core, url, cid)
      ended = true
    }
  }
  return ended
}

/** Ends a pin that was made for what a URL answered, unless it was for what another one answered as well. `url` is one that needs it no more. */
export async function endPinOf({ core }: Operation, cid: string, holder: string | undefined, url?: string): Promise<void> {
  if (holder === undefined) return
  const { ended, changes } = await endPin(
    core.catalog,
    cid,
    holder,
    ({ filename, source }) => source?.holder === holder && filename !== url,
  )
  core.announce(changes)
  await core.free(ended)
}

/** Leaves an entry that its URL has nothing to do with any more. */
async function disown(core: Core, url: string, cid: string): Promise<void> {
  await core.catalog.write(['owners'], async (tx) => {
    const rows = new EntryRows(tx)
    const entry = await rows.named(url, cid)
    if (entry === undefined) return
    const { source: _source, ...rest } = entry
    rows.replace(rest)
    rows.write()
  })
}

function named(core: Core, from: unknown[], to: unknown[]): Promise<UrlEntry[]> {
  return core.catalog.read(['owners'], async (tx) => {
    const range = keyRange(tx, from, to, false, true)
    const entries = await entriesNamed(tx, range, () => false, Number.POSITIVE_INFINITY)
    return entries.filter((entry): entry is UrlEntry => entry.source !== undefined && entry.complete)
  })
}
