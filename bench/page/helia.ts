// Helia with @helia/unixfs on three blockstores: blockstore-idb as published, the same with views copied, and blockstore-opfs.
import { unixfs } from '@helia/unixfs'
import { IDBBlockstore } from 'blockstore-idb'
import { OPFSBlockstore } from 'blockstore-opfs'
import { IDBDatastore } from 'datastore-idb'
import { createHeliaLight } from 'helia'
import { CID } from 'multiformats/cid'
import type { Bytes, Contender } from './contender.ts'
import { joined, streamOf } from './contender.ts'

export type HeliaStore = 'idb' | 'idb-copied' | 'opfs'

/** Structured clone of a view writes its whole underlying buffer: without the copy every block of a file writes the file. */
class CopyingBlockstore extends IDBBlockstore {
  override async put(...[cid, bytes, options]: Parameters<IDBBlockstore['put']>): Promise<CID> {
    return super.put(cid, bytes instanceof Uint8Array ? bytes.slice() : bytes, options)
  }
}

export async function openHelia(kind: HeliaStore): Promise<Contender> {
  const [blockstore, datastore] = [blockstoreOf(kind), new IDBDatastore('helia/data')]
  await Promise.all([blockstore.open(), datastore.open()])
  const node = createHeliaLight({ blockstore, datastore })
  await node.start()
  const fs = unixfs(node)
  const cat = (key: string, range?: { offset: number; length: number }): AsyncIterable<Uint8Array> => fs.cat(CID.parse(key), range)
  const storeAll = async (source: Bytes | ReadableStream<Bytes>): Promise<string> => {
    const cid = source instanceof Uint8Array ? await fs.addBytes(source) : await fs.addByteStream(source)
    return cid.toString()
  }
  return {
    store: async (_name, bytes) => storeAll(bytes),
    retrieve: async (key, size) => joined(cat(key), size),
    storeStream: async (_name, stream) => storeAll(stream),
    stream: async (key) => streamOf(cat(key)),
    ranges: async (key) => async (offset, length) => joined(cat(key, { offset, length }), length),
    async blob(key) {
      const parts: Blob[] = []
      for await (const part of cat(key)) parts.push(new Blob([part as Bytes]))
      return new Blob(parts)
    },
    async pin(key) {
      for await (const _ of node.pins.add(CID.parse(key)));
    },
    async unpin(key) {
      for await (const _ of node.pins.rm(CID.parse(key)));
    },
    // Helia has no deletion of a file: what no pin holds goes with gc().
    async gc() {
      await node.gc()
    },
  }
}

function blockstoreOf(kind: HeliaStore): IDBBlockstore | OPFSBlockstore {
  if (kind === 'opfs') return new OPFSBlockstore('helia-blocks')
  return kind === 'idb' ? new IDBBlockstore('helia/blocks') : new CopyingBlockstore('helia/blocks')
}
