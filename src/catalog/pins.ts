// Pins within a transaction: who holds a content, and the sum of what is held, kept in step with the pins.
import type { Catalog } from './catalog.ts'
import { keyRange, keysAmong, result } from './database.ts'
import { entriesOfContent } from './entry-rows.ts'
import { usageIn } from './owners.ts'
import { HELD, UNHELD, type EntryRow, type PinOwner, type Usage } from './schema.ts'

/** Every pin of a content in the index `pin`. */
export function pinsOf(tx: IDBTransaction, cid: string): IDBKeyRange {
  return keyRange(tx, [cid], [cid, []])
}

export async function holdersIn(tx: IDBTransaction, cid: string): Promise<string[]> {
  const pins = await result<PinOwner[]>(tx.objectStore('owners').index('pin').getAll(pinsOf(tx, cid)))
  return pins.map((pin) => pin.holder)
}

/**
 * Adds to the sum after the pins were changed, or counts it where the catalog was written by code that kept none. Must be part of every
 * transaction that changes pins.
 */
export async function addPinnedBytes(tx: IDBTransaction, delta: number): Promise<void> {
  const usage = await usageIn(tx)
  if (usage.pinnedBytes !== undefined && delta === 0) return
  const pinned = usage.pinnedBytes === undefined ? await settlePins(tx) : Math.max(0, usage.pinnedBytes + delta)
  tx.objectStore('meta').put({ ...usage, pinnedBytes: pinned } satisfies Usage, 'usage')
}

/** Bytes of the contents that are pinned, each content once. */
export function pinnedBytes(catalog: Catalog): Promise<number> {
  return catalog.read(['meta', 'owners'], async (tx) => (await usageIn(tx)).pinnedBytes ?? sum(await sizesOfPinned(tx)))
}

/** Bytes of the blocks that pins name, each once: less than pinnedBytes where contents share some. What is foreign does not count as kept. */
export function bytesOfPinnedBlocks(catalog: Catalog): Promise<number> {
  return catalog.read(['owners', 'references', 'foreign'], async (tx) => {
    const sizes = new Map<string, number>()
    for (const pin of await result<PinOwner[]>(tx.objectStore('owners').index('pin').getAll())) {
      for (const { blocks, sizes: lengths } of await catalog.referencesIn(tx, pin.id)) {
        blocks.forEach((block, index) => sizes.set(block, Math.max(sizes.get(block) ?? 0, lengths[index] ?? 0)))
      }
    }
    for (const block of await keysAmong(tx.objectStore('foreign'), [...sizes.keys()])) sizes.delete(block)
    return sum(sizes)
  })
}

/** Gives pins and entries what code without the sum did not write, and answers the sum. */
async function settlePins(tx: IDBTransaction): Promise<number> {
  const owners = tx.objectStore('owners')
  const sizes = await sizesOfPinned(tx)
  for (const pin of await result<PinOwner[]>(owners.index('pin').getAll())) owners.put({ ...pin, size: sizes.get(pin.pinned) ?? 0 })
  for (const row of await result<EntryRow[]>(owners.index('implicit').getAll(HELD))) {
    if (!row.names.some(([, cid]) => sizes.has(cid))) owners.put({ ...row, implicit: UNHELD } satisfies EntryRow)
  }
  return sum(sizes)
}

async function sizesOfPinned(tx: IDBTransaction): Promise<Map<string, number>> {
  const owners = tx.objectStore('owners')
  const pins = await result<PinOwner[]>(owners.index('pin').getAll())
  const cids = [...new Set(pins.map((pin) => pin.pinned))]
  const entries = await Promise.all(cids.map((cid) => entriesOfContent(tx, cid)))
  return new Map(cids.map((cid, index) => [cid, entries[index]?.[0]?.size ?? 0]))
}

function sum(sizes: ReadonlyMap<string, number>): number {
  return [...sizes.values()].reduce((total, size) => total + size, 0)
}
