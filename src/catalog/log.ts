// Chromium keeps all databases of an origin in one LevelDB. Where it is killed in the midst of a write, the log of that ends with a record that was cut
// off; the next start goes on behind it, and the one after that finds a damaged log and deletes every database of the origin
// (https://github.com/google/leveldb/issues/1287; seen in Chromium 156). A log that was filled up gives way to a new one, and is read no more.
import { LOG_RENEWAL_BYTES, LOG_RENEWAL_ROW_BYTES } from '../limits.ts'
import type { Catalog } from './catalog.ts'
import { result } from './database.ts'
import type { Held, Locks } from './locks.ts'

const KEYS = Array.from({ length: 16 }, (_, row) => `filling-${row}`)

/** What only engines have whose databases may be lost whole, as they say in this member. */
export function mayLoseLog(): boolean {
  return typeof IDBVersionChangeEvent !== 'undefined' && 'dataLoss' in IDBVersionChangeEvent.prototype
}

/**
 * Begins a new log where something was written since that was done last, and no other context has the storage open, so that the browser may have been
 * killed. Answers what says to others that this one has it open. Rejects with the signal's reason.
 */
export async function renewLog(catalog: Catalog, locks: Locks, signal: AbortSignal): Promise<Held | undefined> {
  const renew = async (): Promise<void> => {
    const { writtenBy } = catalog
    if (writtenBy === undefined) return
    let isRenewed = false
    try {
      for (let bytes = 0; bytes < LOG_RENEWAL_BYTES; bytes += KEYS.length * LOG_RENEWAL_ROW_BYTES) {
        signal.throwIfAborted()
        await fill(catalog)
      }
      // Where others can't be seen, they may rely on what was said.
      isRenewed = locks.crossContext
    } finally {
      await empty(catalog, isRenewed ? writtenBy : undefined)
    }
  }
  const held = await locks.open(renew, signal)
  catalog.markAgain()
  return held
}

/** The same rows each time, so that they take little room. */
function fill(catalog: Catalog): Promise<void> {
  // Nothing that could be made smaller.
  const filling = crypto.getRandomValues(new Uint8Array(LOG_RENEWAL_ROW_BYTES))
  return catalog.writeUnmarked(async (meta) => {
    await Promise.all(KEYS.map((key) => result(meta.put(filling, key))))
  })
}

/** What was written by then is safe; what others have written meanwhile says so anew. */
function empty(catalog: Catalog, writtenBy: string | undefined): Promise<void> {
  return catalog.writeUnmarked(async (meta) => {
    for (const key of KEYS) meta.delete(key)
    if (writtenBy !== undefined && (await result<unknown>(meta.get('written'))) === writtenBy) meta.delete('written')
  })
}
