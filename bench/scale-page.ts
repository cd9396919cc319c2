// The page of scale.mjs: fills the databases of a storage with many entries, then measures what the storage does among them.
import * as dagPb from '@ipld/dag-pb'
import { sha256 } from '@noble/hashes/sha2.js'
import { UnixFS } from 'ipfs-unixfs'
import { CID } from 'multiformats/cid'
import * as Digest from 'multiformats/hashes/digest'
import { blockKey } from '../src/blocks/records.ts'
import { mayShare, rowOf, rowsOf } from '../src/catalog/entry-rows.ts'
import { newOwnerId } from '../src/catalog/owners.ts'
import { addPlaces } from '../src/catalog/places.ts'
import type { EntryOwner, EntryRow, PackRow, PinOwner, Reference, Usage } from '../src/catalog/schema.ts'
import { packFolder } from '../src/packs/directory.ts'
import { IPFSKitStorage, type BackendStatus } from '../src/index.ts'

const CACHE_DIR = 'scale'
const MIB = 1024 * 1024

const RAW = 0x55
const SHA2_256 = 0x12

/** Small entries of one folder. */
const FOLDER_ENTRIES = 50
/** Every tenth small entry is pinned; every second one of those is there only because it was. */
const PINNED_EVERY = 10
const IMPLICIT_EVERY = 20
const LEAVES_PER_FILE = 1024
const LEAVES_PER_PACK = 256

/** Entries whose rows go into one transaction: measured, larger ones gain nothing. */
const FILL_BATCH_ENTRIES = 4000

interface Small {
  cid: CID
  key: string
  filename: string
  bytes: Uint8Array<ArrayBuffer>
}

/** A file of 1 GiB of which there is all but the leaves' bytes. */
interface Large {
  cid: CID
  key: string
  filename: string
  bytes: Uint8Array<ArrayBuffer>
  leaves: string[]
}

type Samples = Record<string, number>

/** Each step is called by the script. What is measured is answered in milliseconds by name. */
class Steps {
  #storage: IPFSKitStorage | undefined
  #entries = 0
  #largeFiles = 0
  #turn = 0

  /** The same content each time: what was filled earlier is known again by its numbers. */
  describe(entries: number, largeFiles: number): void {
    this.#entries = entries
    this.#largeFiles = largeFiles
  }

  async fill(): Promise<void> {
    const storage = await new IPFSKitStorage({ cacheDir: CACHE_DIR, forceFallback: true }).ready()
    await storage.close()
    const usage: Usage = { bytes: 0, blocks: 0, files: 0 }
    await withDatabases(async (catalog, blocks) => {
      for (let from = 0; from < this.#entries; from += FILL_BATCH_ENTRIES) {
        const writing = new Batch(catalog, blocks)
        const together: EntryOwner[] = []
        for (let index = from; index < Math.min(this.#entries, from + FILL_BATCH_ENTRIES); index++) {
          const { cid, key, filename, bytes } = smallAt(index)
          const reference = { node: key, blocks: [key], sizes: [bytes.byteLength], own: bytes.byteLength }
          writing.block(key, bytes)
          const entry = entryOf(cid, filename, bytes.byteLength, isImplicit(index))
          if (isStoredTogether(index) && mayShare(entry)) together.push(entry)
          else writing.entry(entry)
          if (isPinned(index)) {
            writing.pin({ id: newOwnerId(), kind: 'pin', holder: '', pinned: cid.toString() }, reference)
          }
          usage.bytes += bytes.byteLength
          usage.blocks++
          usage.files++
        }
        for (const row of rowsOf(together)) writing.row(row)
        await writing.end()
      }
      const writing = new Batch(catalog, blocks)
      for (let index = 0; index < this.#largeFiles; index++) {
        const { cid, key, filename, bytes, leaves } = largeAt(index)
        writing.block(key, bytes)
        writing.entry(entryOf(cid, filename, leaves.length * MIB, false), {
          node: key,
          blocks: [key, ...leaves],
          sizes: [bytes.byteLength, ...leaves.map(() => MIB)],
          own: 0,
        })
        usage.bytes += bytes.byteLength + leaves.length * MIB
        usage.blocks += 1 + leaves.length
        usage.files++
      }
      writing.usage(usage)
      await writing.end()
      await fillPacks(catalog, this.#largeFiles)
    })
  }

  /** Opens the storage and looks for one entry. */
  async open(): Promise<Samples> {
    const { cid } = smallAt(this.#next())
    // The browser's own opening of what it keeps for this origin comes first and apart: nothing that asks for it can make it shorter.
    const before = performance.now()
    const databases = await Promise.all([rawOpen(`${CACHE_DIR}/catalog`), rawOpen(`${CACHE_DIR}/blocks`)])
    const began = performance.now()
    const storage = await new IPFSKitStorage({ cacheDir: CACHE_DIR, forceFallback: true }).ready()
    const opened = performance.now()
    must(await storage.exists(cid), 'exists() after opening')
    const ended = performance.now()
    this.#storage = storage
    for (const db of databases) db.close()
    return { 'indexedDB.open alone': began - before, 'opening: ready()': opened - began, 'opening: the first exists()': ended - began }
  }

  async close(): Promise<void> {
    await this.#storage?.close()
    this.#storage = undefined
  }

  /** One measure, `count` times, each on another entry. */
  async sample(name: string, count: number): Promise<Samples[]> {
    const measure = MEASURES[name]
    if (measure === undefined || this.#storage === undefined) throw new Error(`open() comes before sample('${name}')`)
    const samples: Samples[] = []
    for (let done = 0; done < count; done++) samples.push(await measure(this.#storage, this.#next(), this.#entries))
    return samples
  }

  /** A named and unpinned entry, anywhere. */
  #next(): number {
    this.#turn += 1 + Math.floor(this.#entries * 0.618)
    const index = this.#turn % this.#entries
    return isPinned(index) ? index + 1 : index
  }
}

type Measure = (storage: IPFSKitStorage, index: number, entries: number) => Promise<Samples>

const MEASURES: Record<string, Measure> = {
  list: async (storage, index, entries) => {
    const middle = smallAt(entries / 2 + 1)
    // Odd folders have the same number of entries.
    const folder = folderOf((Math.floor(index / FOLDER_ENTRIES) | 1) * FOLDER_ENTRIES)
    return {
      'listFiles: first 100': await timed(async () => must((await storage.listFiles('', { limit: 100 })).length === 100, 'first page')),
      'listFiles: 40 in the middle': await timed(async () => {
        const page = await storage.listFiles('', { after: { filename: middle.filename, cid: middle.cid.toString() }, limit: 40 })
        must(page.length === 40, 'page in the middle')
      }),
      'listFiles: a folder of 48': await timed(async () => must((await storage.listFiles(folder)).length === 48, folder)),
    }
  },
  read: async (storage, index) => {
    const { cid, bytes } = smallAt(index)
    return {
      exists: await timed(async () => must(await storage.exists(cid), 'exists')),
      stat: await timed(async () => must((await storage.stat(cid))?.blocks === 1, 'stat')),
      'retrieve: a small file': await timed(async () => must((await storage.retrieve(cid))?.byteLength === bytes.byteLength, 'retrieve')),
    }
  },
  pin: async (storage, index) => {
    const { cid } = smallAt(index)
    return {
      pin: await timed(async () => must(await storage.pin(cid), 'pin')),
      unpin: await timed(async () => must(await storage.unpin(cid), 'unpin')),
    }
  },
  delete: async (storage, index) => {
    const { cid, bytes, filename } = smallAt(index)
    const status = nextStatus(storage)
    const began = performance.now()
    must(await storage.delete(cid), 'delete')
    const deleted = performance.now()
    await status
    const told = performance.now()
    return {
      delete: deleted - began,
      'delete: until the status event': told - began,
      'store: a small file': await timed(async () => must((await storage.store(bytes, { filename })) === cid.toString(), 'store')),
    }
  },
  status: async (storage, _index, entries) => ({
    getBackendStatus: await timed(async () => must((await storage.getBackendStatus()).usage.files > entries, 'status')),
  }),
  gc: async (storage) => ({ 'gc: without garbage': await timed(async () => must((await storage.gc()).blocks === 0, 'gc')) }),
  // Linear in their own 1,024 leaves; what is looked at here is that the other files make no difference.
  large: async (storage) => {
    const { cid } = largeAt(0)
    return {
      'exists: 1 GiB': await timed(async () => must(await storage.exists(cid), 'exists of a large file')),
      'listFiles: one of 1 GiB': await timed(async () =>
        must((await storage.listFiles('weights', { limit: 1 }))[0]?.state === 'whole', 'large'),
      ),
    }
  },
}

function must(isSo: boolean, what: string): void {
  if (!isSo) throw new Error(`${what} answered something else`)
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const began = performance.now()
  await work()
  return performance.now() - began
}

function nextStatus(storage: IPFSKitStorage): Promise<BackendStatus> {
  return new Promise((resolve) => storage.addEventListener('status', (event) => resolve(event.detail), { once: true }))
}

/** Packs and their index. The files are empty, which their rows say too: a pack that is gone or short would be dropped. */
async function fillPacks(catalog: IDBDatabase, largeFiles: number): Promise<void> {
  let directory = await navigator.storage.getDirectory()
  for (const name of packFolder(CACHE_DIR)) directory = await directory.getDirectoryHandle(name, { create: true })
  for (let index = 0; index < largeFiles; index++) {
    const owner = newOwnerId()
    const tx = catalog.transaction(['packs', 'places'], 'readwrite', { durability: 'relaxed' })
    const packs: string[] = []
    const { leaves } = largeAt(index)
    for (let from = 0; from < leaves.length; from += LEAVES_PER_PACK) {
      const id = `${owner}-${packs.length}`
      packs.push(id)
      const places = leaves.slice(from, from + LEAVES_PER_PACK).map((block, leaf) => ({ block, offset: leaf * MIB, length: MIB }))
      await addPlaces(tx, id, places, new Set())
      tx.objectStore('packs').put({ id, bytes: 0, live: places.length * MIB } satisfies PackRow)
    }
    await complete(tx)
    for (const id of packs) await directory.getFileHandle(id, { create: true })
  }
}

/** Rows of many entries on their way into both databases. */
class Batch {
  readonly #catalog: IDBTransaction
  readonly #blocks: IDBTransaction

  constructor(catalog: IDBDatabase, blocks: IDBDatabase) {
    this.#catalog = catalog.transaction(['meta', 'owners', 'references'], 'readwrite', { durability: 'relaxed' })
    this.#blocks = blocks.transaction(blocks.name, 'readwrite', { durability: 'relaxed' })
  }

  block(key: string, bytes: Uint8Array): void {
    this.#blocks.objectStore(this.#blocks.db.name).put(bytes, key)
  }

  /** An entry of one raw block has no reference. */
  entry(entry: EntryOwner, reference?: Omit<Reference, 'owner'>): void {
    this.row(rowOf([entry]))
    if (reference !== undefined) this.#catalog.objectStore('references').put({ ...reference, owner: entry.id } satisfies Reference)
  }

  row(row: EntryRow): void {
    this.#catalog.objectStore('owners').put(row)
  }

  pin(pin: PinOwner, reference: Omit<Reference, 'owner'>): void {
    this.#catalog.objectStore('owners').put(pin)
    this.#catalog.objectStore('references').put({ ...reference, owner: pin.id } satisfies Reference)
  }

  usage(usage: Usage): void {
    this.#catalog.objectStore('meta').put(usage, 'usage')
  }

  async end(): Promise<void> {
    await Promise.all([complete(this.#catalog), complete(this.#blocks)])
  }
}

function complete(tx: IDBTransaction): Promise<void> {
  return new Promise((resolve, reject) => {
    tx.oncomplete = () => resolve()
    tx.onabort = () => reject(tx.error ?? new Error('aborted'))
  })
}

async function withDatabases(work: (catalog: IDBDatabase, blocks: IDBDatabase) => Promise<void>): Promise<void> {
  const opened = await Promise.all([rawOpen(`${CACHE_DIR}/catalog`), rawOpen(`${CACHE_DIR}/blocks`)])
  try {
    await work(...opened)
  } finally {
    for (const db of opened) db.close()
  }
}

function rawOpen(name: string): Promise<IDBDatabase> {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open(name)
    request.onsuccess = () => resolve(request.result)
    request.onerror = () => reject(request.error ?? new Error('open failed'))
  })
}

function entryOf(cid: CID, filename: string, size: number, implicit: boolean): EntryOwner {
  const now = Date.now()
  return {
    id: newOwnerId(),
    kind: 'entry',
    filename,
    cid: cid.toString(),
    type: 'file',
    size,
    modified: now,
    lastUsed: now,
    fallback: true,
    complete: true,
    replicas: [],
    ...(implicit ? { implicit: 1 as const } : {}),
  }
}

function isPinned(index: number): boolean {
  return index % PINNED_EVERY === 0
}

function isImplicit(index: number): boolean {
  return index % IMPLICIT_EVERY === 0
}

/** Every second thousand: the others were stored one by one. */
function isStoredTogether(index: number): boolean {
  return Math.floor(index / 1000) % 2 === 0
}

function folderOf(index: number): string {
  return `small/${String(Math.floor(index / FOLDER_ENTRIES)).padStart(5, '0')}`
}

function smallAt(index: number): Small {
  const bytes = new TextEncoder().encode(`entry ${index} of a storage with many`)
  const cid = cidOf(RAW, bytes)
  const filename = isImplicit(index) ? cid.toString() : `${folderOf(index)}/${String(index).padStart(6, '0')}.txt`
  return { cid, key: blockKey(cid), filename, bytes }
}

function largeAt(index: number): Large {
  // Nobody has bytes of these hashes, and nobody reads them.
  const leaves = Array.from({ length: LEAVES_PER_FILE }, (_, leaf) => cidOf(RAW, new TextEncoder().encode(`leaf ${leaf} of ${index}`)))
  const file = new UnixFS({ type: 'file', blockSizes: leaves.map(() => BigInt(MIB)) })
  const links = leaves.map((leaf) => ({ Name: '', Tsize: MIB, Hash: leaf }))
  const bytes = new Uint8Array(dagPb.encode(dagPb.prepare({ Data: file.marshal(), Links: links })))
  const cid = cidOf(dagPb.code, bytes)
  return { cid, key: blockKey(cid), filename: `weights/${String(index).padStart(2, '0')}.bin`, bytes, leaves: leaves.map(blockKey) }
}

function cidOf(codec: number, bytes: Uint8Array): CID {
  return CID.createV1(codec, Digest.create(SHA2_256, sha256(bytes)))
}

Object.assign(globalThis, { steps: new Steps() })
