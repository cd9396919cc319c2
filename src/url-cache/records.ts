// What is kept of URLs, in the catalog: entries that are named by their URL and say when it answered so.
import { entriesNamed, EntryRows } from '../catalog/entry-rows.ts'
import { keyRange } from '../catalog/database.ts'
import type { EntryOwner, UrlSource } from '../catalog/schema.ts'
import type { Core } from '../core.ts'
import { PinnedError } from '../errors.ts'
import { remove, unpin } from '../maintain.ts'
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

/** Ends what is kept of a URL, but for `except`, with the pins of `holder`. What others have pinned stays. */
export async function endUrl(operation: Operation, url: string, holder: string, except?: string): Promise<boolean> {
  let ended = false
  for (const { cid } of await named(operation.core, [url], [url, []])) {
    if (cid === except) continue
    try {
      await unpin(operation, cid, { holder })
      ended = (await remove(operation, cid, { filename: url })) || ended
    } catch (error) {
      if (!(error instanceof PinnedError)) throw error
    }
  }
  return ended
}

function named(core: Core, from: unknown[], to: unknown[]): Promise<UrlEntry[]> {
  return core.catalog.read(['owners'], async (tx) => {
    const range = keyRange(tx, from, to, false, true)
    const entries = await entriesNamed(tx, range, () => false, Number.POSITIVE_INFINITY)
    return entries.filter((entry): entry is UrlEntry => entry.source !== undefined && entry.complete)
  })
}
