// A database that a stock Helia wrote on blockstore-idb is taken over and shared with it, and loses nothing.
import { unixfs } from '@helia/unixfs'
import { IDBBlockstore } from 'blockstore-idb'
import { IDBDatastore } from 'datastore-idb'
import { createHeliaLight, type Helia } from 'helia'
import { CID } from 'multiformats/cid'
import { afterEach, describe, expect, it } from 'vitest'
import { IPFSKitStorage } from '../../src/index.ts'
import { needs, SYNC_HANDLES } from './support/needs.ts'
import { bytesOf, flipRecord } from './support/outside.ts'
import {
  closeAll,
  countAll,
  freshName,
  localStorageOf,
  NOTHING,
  packedKeys,
  packFiles,
  randomBytes,
  recordKeys,
  same,
  storageOf,
  TIER,
  within,
} from './support/stores.ts'

const MIB = 1024 * 1024
const QUIET = { gateways: [], delegatedRouters: [] }
const DELETE_TIMEOUT_MS = 10_000

const databases = new Set<string>()

afterEach(async () => {
  await closeAll()
  for (const name of databases) await deleteDatabase(name)
  databases.clear()
})

function deleteDatabase(name: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`'${name}' is still open somewhere`)), DELETE_TIMEOUT_MS)
    const request = indexedDB.deleteDatabase(name)
    request.onsuccess = () => {
      clearTimeout(timer)
      resolve()
    }
    request.onerror = () => reject(request.error ?? new Error('deletion failed'))
  })
}

/** Runs a stock Helia on databases of these names, and stops it again. */
async function stock<T>(blocks: string, data: string, work: (node: Helia) => Promise<T>): Promise<T> {
  databases.add(blocks).add(data)
  const [blockstore, datastore] = [new IDBBlockstore(blocks), new IDBDatastore(data)]
  await blockstore.open()
  await datastore.open()
  const node = createHeliaLight({ blockstore, datastore })
  await node.start()
  try {
    return await work(node)
  } finally {
    await node.stop()
    await blockstore.close()
    await datastore.close()
  }
}

interface Adopted {
  cacheDir: string
  blocks: string
  /** What stock Helia added, by CID. */
  files: Map<string, Uint8Array<ArrayBuffer>>
  pinned: string
  unpinned: string
  directory: string
  before: string[]
}

async function writtenByStock(): Promise<Adopted> {
  const [cacheDir, blocks] = [freshName(), freshName()]
  const files = new Map<string, Uint8Array<ArrayBuffer>>()
  const [first, second] = [randomBytes(3 * MIB + 7, 1), randomBytes(2 * MIB + 7, 2)]
  const cids = await stock(blocks, `${cacheDir}/data`, async (node) => {
    const fs = unixfs(node)
    const pinned = await fs.addBytes(first)
    for await (const _ of node.pins.add(pinned)) void _
    const unpinned = await fs.addBytes(second)
    const directory = await fs.addFile({ path: 'inside.txt', content: new TextEncoder().encode('inside') })
    return { pinned: pinned.toString(), unpinned: unpinned.toString(), directory: directory.toString() }
  })
  files.set(cids.pinned, first).set(cids.unpinned, second)
  return { cacheDir, blocks, files, ...cids, before: (await recordKeys(blocks)).toSorted() }
}

function adopt({ cacheDir, blocks }: Adopted): IPFSKitStorage {
  return localStorageOf({ cacheDir, config: { blocksDatabase: blocks } })
}

/** Stock Helia has all that it had, byte for byte. */
async function expectAllByStock({ cacheDir, blocks, files, pinned, directory }: Adopted): Promise<void> {
  await stock(blocks, `${cacheDir}/data`, async (node) => {
    for (const [cid, bytes] of files) expect(same(await bytesOf(unixfs(node).cat(CID.parse(cid))), bytes)).toBe(true)
    expect(await bytesOf(unixfs(node).cat(CID.parse(directory), { path: 'inside.txt' }))).toEqual(new TextEncoder().encode('inside'))
    const pins = []
    for await (const pin of node.pins.ls()) pins.push(pin.cid.toString())
    expect(pins).toEqual([pinned])
  })
}

/** Rows that say something of content, in the catalog alone. */
async function rows(cacheDir: string): Promise<number[]> {
  const count = (store: string): Promise<number> => within(`${cacheDir}/catalog`, store, 'readonly', (records) => records.count())
  return [await count('owners'), await count('references')]
}

describe('a database of stock Helia', () => {
  it('is read', async () => {
    const adopted = await writtenByStock()
    const storage = adopt(adopted)
    for (const [cid, bytes] of adopted.files) {
      const read = await storage.retrieve(cid)
      expect(same(read, bytes)).toBe(true)
      expect(await storage.exists(cid)).toBe(true)
      const range = await storage.retrieve(cid, { offset: MIB - 3, length: 6 })
      expect(range).toEqual(bytes.slice(MIB - 3, MIB + 3))
      expect(range?.buffer.byteLength).toBe(6)
    }
    expect(await storage.stat(adopted.directory)).toMatchObject({ type: 'directory', size: 6, blocks: 2, localBlocks: 2 })
    expect(new TextDecoder().decode((await storage.retrieve(`${adopted.directory}/inside.txt`)) ?? undefined)).toBe('inside')
    // Reading makes nothing ours.
    expect(await storage.listFiles()).toEqual([])
    expect(await storage.gc()).toEqual({ blocks: 0, bytes: 0 })
    expect((await recordKeys(adopted.blocks)).toSorted()).toEqual(adopted.before)
    await storage.close()
    await expectAllByStock(adopted)
  })

  it('is added to, shares content, and gives back only what was added', async () => {
    const adopted = await writtenByStock()
    const storage = adopt(adopted)
    const bytes = adopted.files.get(adopted.pinned) ?? new Uint8Array(0)
    expect(await storage.store(bytes, { filename: 'again' })).toBe(adopted.pinned)
    expect((await recordKeys(adopted.blocks)).toSorted()).toEqual(adopted.before)
    // Shares two leaves with what was there.
    const own = await storage.store([bytes.slice(0, 2 * MIB), randomBytes(5 * MIB, 3)])
    // A root and five leaves, of which packs take the leaves.
    expect(await recordKeys(adopted.blocks)).toHaveLength(adopted.before.length + (TIER === 'packs' ? 1 : 6))
    expect(await packedKeys(adopted.cacheDir)).toHaveLength(TIER === 'packs' ? 5 : 0)
    expect((await storage.getBackendStatus()).usage).toMatchObject({ files: 2, blocks: 6 })
    await storage.pin(adopted.unpinned)
    expect((await storage.verify()).damaged).toEqual([])
    await expectAllByStock(adopted)
    expect(await storage.delete(adopted.pinned)).toBe(true)
    expect(await storage.delete(own)).toBe(true)
    expect(await storage.unpin(adopted.unpinned)).toBe(true)
    await storage.gc()
    expect((await recordKeys(adopted.blocks)).toSorted()).toEqual(adopted.before)
    expect(await rows(adopted.cacheDir)).toEqual([0, 0])
    expect(await packedKeys(adopted.cacheDir)).toEqual([])
    expect(await packFiles(adopted.cacheDir)).toEqual([])
    expect((await storage.getBackendStatus()).usage).toMatchObject({ files: 0, blocks: 0, bytes: 0 })
    await storage.close()
    await expectAllByStock(adopted)
  })

  it('keeps what is foreign over many turns', async () => {
    const adopted = await writtenByStock()
    for (let turn = 0; turn < 3; turn++) {
      const storage = adopt(adopted)
      for (const bytes of adopted.files.values()) await storage.store(bytes, { filename: `turn ${turn}` })
      for (const { cid } of await storage.listFiles()) await storage.delete(cid)
      await storage.gc()
      await storage.close()
      expect((await recordKeys(adopted.blocks)).toSorted()).toEqual(adopted.before)
    }
    await expectAllByStock(adopted)
  })

  it("loses the rest by gc({ foreign: true }), but neither what is ours nor what Helia's pins hold", async () => {
    const adopted = await writtenByStock()
    const storage = adopt(adopted)
    const own = await storage.store(randomBytes(5 * MIB, 4))
    await storage.pin(`${adopted.directory}/inside.txt`)
    const unpinned = adopted.files.get(adopted.unpinned) ?? new Uint8Array(0)
    const freed = await storage.gc({ foreign: true })
    // The unpinned file, and the directory around the pinned one.
    expect(freed.blocks).toBe(5)
    expect(freed.bytes).toBeGreaterThan(unpinned.byteLength)
    expect(await storage.exists(adopted.unpinned)).toBe(false)
    expect(await storage.exists(adopted.pinned)).toBe(true)
    expect(await storage.exists(own)).toBe(true)
    expect((await storage.listFiles()).map((file) => file.state)).toEqual(['whole', 'whole'])
    // What comes again is ours.
    expect(await storage.store(unpinned)).toBe(adopted.unpinned)
    await storage.delete(adopted.unpinned)
    expect(await storage.exists(adopted.unpinned)).toBe(false)
    await storage.close()
    adopted.files.delete(adopted.unpinned)
    await stock(adopted.blocks, `${adopted.cacheDir}/data`, async (node) => {
      const bytes = adopted.files.get(adopted.pinned) ?? new Uint8Array(0)
      expect(same(await bytesOf(unixfs(node).cat(CID.parse(adopted.pinned))), bytes)).toBe(true)
    })
  })

  it('stays when the storage is destroyed', async () => {
    const adopted = await writtenByStock()
    const storage = adopt(adopted)
    await storage.store('ours')
    await storage.close()
    await IPFSKitStorage.destroy(adopted.cacheDir)
    expect(await recordKeys(adopted.blocks)).toHaveLength(adopted.before.length + 1)
    const again = adopt(adopted)
    expect(await again.listFiles()).toEqual([])
    for (const [cid, bytes] of adopted.files) expect(same(await again.retrieve(cid), bytes)).toBe(true)
  })

  it('is collected harmlessly by a Helia of ours', async () => {
    const adopted = await writtenByStock()
    const storage = await storageOf({ cacheDir: adopted.cacheDir, config: { blocksDatabase: adopted.blocks, ipfs: QUIET } }).ready()
    const node = (await storage.helia()) as Helia
    expect(
      same(await bytesOf(unixfs(node).cat(CID.parse(adopted.unpinned))), adopted.files.get(adopted.unpinned) ?? new Uint8Array(0)),
    ).toBe(true)
    await unixfs(node).addBytes(adopted.files.get(adopted.unpinned) ?? new Uint8Array(0), { profile: 'unixfs-v1-2025' })
    await node.gc()
    await storage.gc()
    await storage.close()
    expect((await recordKeys(adopted.blocks)).toSorted()).toEqual(adopted.before)
    await expectAllByStock(adopted)
  })

  it("takes packs beside it where tier 'auto' has them", async ({ skip }) => {
    await needs(skip, SYNC_HANDLES)
    const adopted = await writtenByStock()
    const storage = localStorageOf({ cacheDir: adopted.cacheDir, config: { tier: 'auto', blocksDatabase: adopted.blocks } })
    const bytes = randomBytes(5 * MIB, 7)
    const cid = await storage.store(bytes)
    expect((await storage.getBackendStatus()).tier).toBe('packs')
    expect(await recordKeys(adopted.blocks)).toHaveLength(adopted.before.length + 1)
    expect(await packedKeys(adopted.cacheDir)).toHaveLength(5)
    expect(same(await storage.retrieve(cid), bytes)).toBe(true)
    for (const [file, content] of adopted.files) expect(same(await storage.retrieve(file), content)).toBe(true)
    expect(await storage.delete(cid)).toBe(true)
    await storage.gc({ foreign: true })
    expect(await packFiles(adopted.cacheDir)).toEqual([])
    expect(await storage.exists(adopted.pinned)).toBe(true)
  })

  it('is healed where it is damaged, and what was healed stays foreign', async () => {
    const adopted = await writtenByStock()
    const storage = adopt(adopted)
    await flipRecord(adopted.blocks, adopted.unpinned)
    await expect(storage.retrieve(adopted.unpinned)).rejects.toMatchObject({ name: 'IntegrityError', cid: adopted.unpinned })
    await storage.store(adopted.files.get(adopted.unpinned) ?? new Uint8Array(0))
    await storage.delete(adopted.unpinned)
    await storage.gc()
    await storage.close()
    await expectAllByStock(adopted)
  })
})

describe('our database', () => {
  it('is one that stock Helia reads', async () => {
    const name = freshName()
    const storage = localStorageOf({ cacheDir: name })
    const bytes = randomBytes(2 * MIB + 1, 5)
    const cid = await storage.store(bytes)
    const data = freshName()
    await stock(`${name}/blocks`, data, async (node) => {
      expect(same(await bytesOf(unixfs(node).cat(CID.parse(cid))), bytes)).toBe(true)
      const added = await unixfs(node).addBytes(new TextEncoder().encode('added by another'))
      expect(new TextDecoder().decode((await storage.retrieve(added)) ?? undefined)).toBe('added by another')
    })
    databases.delete(`${name}/blocks`)
    await storage.delete(cid)
    expect(await countAll(name)).toEqual({ ...NOTHING, blocks: 1, records: 1 })
  })

  it('hides from stock Helia what lies in packs, and nothing else', async () => {
    const name = freshName()
    const storage = localStorageOf({ cacheDir: name })
    const bytes = randomBytes(5 * MIB, 6)
    const cid = await storage.store(bytes)
    await stock(`${name}/blocks`, freshName(), async (node) => {
      const read = bytesOf(unixfs(node).cat(CID.parse(cid), { offline: true })).catch((error: Error) => error.name)
      if (TIER === 'packs') expect(await read).toMatch(/NotFound/)
      else expect(same((await read) as Uint8Array, bytes)).toBe(true)
    })
    databases.delete(`${name}/blocks`)
  })
})
