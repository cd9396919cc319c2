// A Helia node over stores in memory, which keep nothing of what a fetch of ours brings, as the real view does.
import { MemoryDatastore } from 'datastore-core'
import type { Blockstore } from 'interface-blockstore'
import { CID } from 'multiformats/cid'
import * as raw from 'multiformats/codecs/raw'
import { createBlockFetcher } from '../../../src/network/block-fetcher.ts'
import type { BlockFetcher } from '../../../src/network/block-fetcher.ts'
import { FETCHED } from '../../../src/network/fetch.ts'
import type { FetchOptions } from '../../../src/network/fetch.ts'
import { HeliaBackend } from '../../../src/network/helia.ts'
import { resolveOptions } from '../../../src/options.ts'
import type { StorageConfig } from '../../../src/types.ts'

type Put = Uint8Array | Iterable<Uint8Array> | AsyncIterable<Uint8Array>

/** Only what Helia calls. By multihash, as the real one. */
export class MemoryBlocks {
  readonly blocks = new Map<string, Uint8Array>()

  async put(cid: CID, bytes: Put, options?: FetchOptions): Promise<CID> {
    if (!(bytes instanceof Uint8Array)) throw new Error('only whole blocks here')
    const receiver = options?.[FETCHED]
    if (receiver === undefined) this.blocks.set(key(cid), bytes)
    else receiver.deliver(bytes)
    return cid
  }

  async *get(cid: CID): AsyncGenerator<Uint8Array> {
    const bytes = this.blocks.get(key(cid))
    if (bytes === undefined) throw Object.assign(new Error('not here'), { name: 'NotFoundError' })
    yield bytes
  }

  async has(cid: CID, options?: FetchOptions): Promise<boolean> {
    return options?.[FETCHED] === undefined && this.blocks.has(key(cid))
  }

  async *getAll(): AsyncGenerator<{ cid: CID; bytes: AsyncGenerator<Uint8Array> }> {
    for (const name of this.blocks.keys()) {
      const cid = CID.parse(name)
      yield { cid, bytes: this.get(cid) }
    }
  }

  async delete(cid: CID): Promise<void> {
    this.blocks.delete(key(cid))
  }
}

export interface MemoryNode {
  backend: HeliaBackend
  fetcher: BlockFetcher
  store: MemoryBlocks
}

/** Starts a node with these settings; to be stopped. */
export async function startMemoryNode(ipfs: NonNullable<StorageConfig['ipfs']>): Promise<MemoryNode> {
  const settings = resolveOptions({ config: { ipfs } }).ipfs
  const store = new MemoryBlocks()
  const stores = { blockstore: store as unknown as Blockstore, datastore: new MemoryDatastore(), close: async () => {} }
  const backend = new HeliaBackend({ settings, openStores: async () => stores, onChange: () => {} })
  backend.start()
  await backend.settled()
  return { backend, fetcher: createBlockFetcher(backend, { timeoutMs: settings.retrieveTimeoutMs }), store }
}

function key(cid: CID): string {
  return CID.createV1(raw.code, cid.multihash).toString()
}
