// The page of memory.mjs: stores and retrieves one large file, step by step, as it is told.
import { unixfs } from '@helia/unixfs'
import { IDBBlockstore } from 'blockstore-idb'
import { IDBDatastore } from 'datastore-idb'
import { createHeliaLight } from 'helia'
import type { CID } from 'multiformats/cid'
import { IPFSKitStorage } from '../src/index.ts'

const MIB = 1024 * 1024

type Library = 'ours' | 'stock'
type Form = 'Uint8Array' | 'Blob' | 'stream'
type Content = Uint8Array<ArrayBuffer> | Blob | ReadableStream<Uint8Array<ArrayBuffer>>

interface Store {
  store(source: Content): Promise<void>
  /** Answers how many bytes came, in the form that they were stored from. */
  retrieve(form: Form): Promise<number>
}

/** Each step is called by the script, which collects garbage and looks at the memory in between. */
class Steps {
  #source: Content | undefined
  #store: Store | undefined

  async open(library: Library): Promise<void> {
    this.#store = await (library === 'ours' ? openOurs() : openStock())
  }

  make(form: Form, size: number): void {
    this.#source = contentOf(form, size)
  }

  async store(): Promise<void> {
    const source = this.#source
    if (source === undefined) throw new Error('make() comes before store()')
    await this.#store?.store(source)
  }

  forget(): void {
    this.#source = undefined
  }

  async retrieve(form: Form): Promise<number> {
    return (await this.#store?.retrieve(form)) ?? 0
  }
}

async function openOurs(): Promise<Store> {
  const storage = await new IPFSKitStorage({ cacheDir: 'ours', forceFallback: true }).ready()
  let cid = ''
  return {
    async store(source) {
      cid = await storage.store(source)
    },
    async retrieve(form) {
      if (form === 'stream') return drained(await storage.stream(cid))
      if (form === 'Blob') return (await storage.blob(cid))?.size ?? 0
      return (await storage.retrieve(cid))?.byteLength ?? 0
    },
  }
}

/** Helia on blockstore-idb, both as published. */
async function openStock(): Promise<Store> {
  const [blockstore, datastore] = [new IDBBlockstore('stock/blocks'), new IDBDatastore('stock/data')]
  await Promise.all([blockstore.open(), datastore.open()])
  const node = createHeliaLight({ blockstore, datastore })
  await node.start()
  const fs = unixfs(node)
  let cid: CID | undefined
  let size = 0
  return {
    async store(source) {
      if (!(source instanceof Uint8Array)) throw new Error('only a Uint8Array is stored by the stock')
      size = source.byteLength
      cid = await fs.addBytes(source)
    },
    async retrieve() {
      if (cid === undefined) throw new Error('store() comes before retrieve()')
      const bytes = new Uint8Array(size)
      let at = 0
      for await (const part of fs.cat(cid)) {
        bytes.set(part, at)
        at += part.byteLength
      }
      return at
    },
  }
}

function contentOf(form: Form, size: number): Content {
  if (form === 'Uint8Array') return incompressible(size)
  if (form === 'Blob') return new Blob(Array.from({ length: size / MIB }, () => new Blob([incompressible(MIB)])))
  let left = size
  return new ReadableStream({
    pull(controller) {
      if (left === 0) return controller.close()
      controller.enqueue(incompressible(MIB))
      left -= MIB
    },
  })
}

/** Chromium compresses what goes into IndexedDB: zeros would flatter it. */
function incompressible(length: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(length)
  for (let at = 0; at < length; at += 65_536) crypto.getRandomValues(bytes.subarray(at, at + 65_536))
  return bytes
}

async function drained(stream: ReadableStream<Uint8Array> | null): Promise<number> {
  const reader = stream?.getReader()
  let bytes = 0
  for (let part = await reader?.read(); part?.done === false; part = await reader?.read()) bytes += part.value.byteLength
  return bytes
}

Object.assign(globalThis, { steps: new Steps() })
