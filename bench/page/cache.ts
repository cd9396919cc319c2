// The Cache API, as model runtimes use it: a Response under a URL. Once as it is, once with a SHA-256 of the whole file both ways.
import type { Bytes, Contender } from './contender.ts'
import { present, rangesOf } from './contender.ts'

const CACHE_NAME = 'bench'

export async function openCache(): Promise<Contender> {
  const cache = await caches.open(CACHE_NAME)
  const match = async (key: string): Promise<Response> => present(await cache.match(key), key)
  const put = async (name: string, body: BodyInit): Promise<string> => {
    const key = `/cached/${name}`
    await cache.put(key, new Response(body))
    return key
  }
  return {
    store: put,
    retrieve: async (key) => new Uint8Array(await (await match(key)).arrayBuffer()),
    storeStream: put,
    async download(url) {
      await cache.put(url, await fetch(url))
      return url
    },
    stream: async (key) => present((await match(key)).body, key) as ReadableStream<Bytes>,
    ranges: async (key) => rangesOf(await (await match(key)).blob()),
    blob: async (key) => (await match(key)).blob(),
    async delete(key) {
      await cache.delete(key)
    },
    async storeSmall(items) {
      const keys: string[] = []
      for (const [index, item] of items.entries()) keys.push(await put(`small/${index}`, item))
      return keys
    },
    retrieveSmall: async (key) => new Uint8Array(await (await match(key)).arrayBuffer()),
  }
}

/** crypto.subtle takes a file only whole, so there is no stream of it. */
export async function openHashedCache(): Promise<Contender> {
  const { store, retrieve, delete: remove } = await openCache()
  const hashes = new Map<string, string>()
  return {
    async store(name, bytes) {
      const hash = await hashOf(bytes)
      const key = await store(name, bytes)
      hashes.set(key, hash)
      return key
    },
    async retrieve(key, size) {
      const bytes = await retrieve(key, size)
      if ((await hashOf(bytes)) !== hashes.get(key)) throw new Error(`${key} came back damaged`)
      return bytes
    },
    ...(remove === undefined ? {} : { delete: remove }),
  }
}

async function hashOf(bytes: Bytes): Promise<string> {
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes))
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, '0')).join('')
}
