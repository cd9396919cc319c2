// idb-keyval: the whole file as one IndexedDB record, each put in a transaction of its own. Its default durability is the browser's: relaxed.
import { createStore, del, get, set } from 'idb-keyval'
import type { Bytes, Contender } from './contender.ts'
import { present } from './contender.ts'

export async function openKeyval(): Promise<Contender> {
  const store = createStore('keyval', 'files')
  const read = async (key: string): Promise<Bytes> => present(await get<Bytes>(key, store), key)
  const put = async (key: string, bytes: Bytes): Promise<string> => {
    await set(key, bytes, store)
    return key
  }
  // The database is opened with the first request.
  await get('nothing', store)
  return {
    store: put,
    retrieve: read,
    // A record comes whole or not at all.
    ranges: async (key) => async (offset, length) => (await read(key)).slice(offset, offset + length),
    blob: async (key) => new Blob([await read(key)]),
    delete: async (key) => del(key, store),
    async storeSmall(items) {
      const keys: string[] = []
      for (const [index, item] of items.entries()) keys.push(await put(`small/${index}`, item))
      return keys
    },
    retrieveSmall: read,
  }
}
