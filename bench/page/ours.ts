// This library: the storage in the page, or in a worker behind connect(), on packs or on records.
import { IPFSKitStorage } from '../../src/index.ts'
import type { ContentStorage, StorageConfig } from '../../src/index.ts'
import { connect } from '../../src/worker/index.ts'
import type { Contender } from './contender.ts'
import { present } from './contender.ts'

export type Tier = NonNullable<StorageConfig['tier']>

export async function openOurs(tier: Tier, place: 'page' | 'worker'): Promise<Contender> {
  const storage: ContentStorage =
    place === 'page'
      ? new IPFSKitStorage({ cacheDir: 'ours', forceFallback: true, config: { tier } })
      : connect(new Worker(`storage-worker.js?tier=${tier}`, { type: 'module' }))
  await storage.ready()
  const { tier: got } = await storage.getBackendStatus()
  if (got !== tier) throw new Error(`the storage chose ${got}`)
  return {
    store: async (_name, bytes) => storage.store(bytes),
    retrieve: async (cid) => present(await storage.retrieve(cid), cid),
    retrieveUnverified: async (cid) => present(await storage.retrieve(cid, { verify: false }), cid),
    storeStream: async (_name, stream) => storage.store(stream),
    download: async (url) => storage.storeUrl(url),
    stream: async (cid) => present(await storage.stream(cid), cid),
    ranges: async (cid) => async (offset, length) => present(await storage.retrieve(cid, { offset, length }), cid),
    blob: async (cid) => present(await storage.blob(cid), cid),
    async pin(cid) {
      if (!(await storage.pin(cid))) throw new Error('pin() answered false')
    },
    async unpin(cid) {
      await storage.unpin(cid)
    },
    async delete(cid) {
      await storage.delete(cid)
    },
    async gc() {
      await storage.gc()
    },
    storeSmall: async (items) => storage.storeMany(items.map((data) => ({ data }))),
    retrieveSmall: async (cid) => present(await storage.retrieve(cid), cid),
  }
}
