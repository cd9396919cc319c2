// Chromium keeps all databases of an origin in one LevelDB. Where it is killed in the midst of a write, the log of that ends with a record that was cut
// off; the next start goes on behind it, and the one after that finds a damaged log and deletes every database of the origin
// (https://github.com/google/leveldb/issues/1287; seen in Chromium 156). A log that was filled up gives way to a new one, and is read no more.
import { LOG_RENEWAL_BYTES, LOG_RENEWAL_ROW_BYTES } from '../limits.ts'
import type { Catalog } from './catalog.ts'
import type { Held, Locks } from './locks.ts'
import { keyRange, result } from './database.ts'

const KEY = 'filling-'
const ROWS = 16

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
      for (let bytes = 0; bytes < LOG_RENEWAL_BYTES; bytes += ROWS * LOG_RENEWAL_ROW_BYTES) await fill(catalog)
      isRenewed = true
    } finally {
      await empty(catalog, isRenewed ? writtenBy : undefined)
    }
  }
  return locks.open(renew, signal)
}

/** The same rows each time, so that they take little room. */
function fill(catalog: Catalog): Promise<void> {
  const filling = new Uint8Array(LOG_RENEWAL_ROW_BYTES)
  const work = async (tx: IDBTransaction): Promise<void> => {
    const meta = tx.objectStore('meta')
    await Promise.all(Array.from({ length: ROWS }, (_, row) => result(meta.put(filling, `${KEY}${row}`))))
  }
  return catalog.write([], work, 'relaxed')
}

/** What was written by then is safe; what others have written meanwhile says so anew. */
function empty(catalog: Catalog, writtenBy: string | undefined): Promise<void> {
  const work = async (tx: IDBTransaction): Promise<void> => {
    const meta = tx.objectStore('meta')
    meta.delete(keyRange(tx, KEY, `${KEY}~`))
    if (writtenBy !== undefined && (await result<unknown>(meta.get('written'))) === writtenBy) meta.delete('written')
  }
  return catalog.write([], work, 'relaxed')
}
