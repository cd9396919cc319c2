// What Helia's own pins hold, read from its datastore in the layout of datastore-idb, whether a node runs or not.
import { base36 } from 'multiformats/bases/base36'
import type { BlockKey } from '../blocks/blocks.ts'
import { keyMultihash } from '../blocks/records.ts'
import type { PinnedByHelia } from '../blocks/removal.ts'
import { Database, keyRange, keysAmong } from '../catalog/database.ts'

/** Prefix of the keys under which Helia counts the pins of a block. */
export const PINNED_BLOCK = '/pinned-block/'

/** The database of the datastore, of whatever version; it gets its layout here where Helia never ran. */
export function datastoreDatabase(name: string, factory: IDBFactory): Database {
  return new Database({ name, factory, upgrade: (db) => void db.createObjectStore(name) })
}

export function heliaPins(database: Database): PinnedByHelia {
  return async (keys) => {
    if (keys.length === 0) return []
    const db = await database.open()
    // Somebody's database of that name, in which Helia never ran.
    if (!db.objectStoreNames.contains(database.name)) return keys.map(() => false)
    return database.run(database.name, 'readonly', async (tx) => {
      const pins = keys.map(pinKey)
      const range = keyRange(tx, PINNED_BLOCK, `${PINNED_BLOCK}\uffff`)
      const pinned = await keysAmong(tx.objectStore(database.name), pins, range)
      return pins.map((pin) => pinned.has(pin))
    })
  }
}

/** The datastore's key under which Helia counts the pins of a block. */
export function pinKey(key: BlockKey): string {
  return PINNED_BLOCK + base36.encode(keyMultihash(key))
}
