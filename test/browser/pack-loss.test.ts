// Packs that are lost, cut off or spoilt behind the storage's back, files that nobody needs, and writers that came to no end.
import { afterEach, describe, expect, it, vi } from 'vitest'
import type { IPFSKitStorage } from '../../src/index.ts'
import { flip, keyOf, losePack, ownersOfKind, placeOf, readRecord, spoilPack } from './support/outside.ts'
import { decode } from '@ipld/dag-pb'
import {
  closeAll,
  countAll,
  freshName,
  folderNames,
  localStorageOf,
  NOTHING,
  packFiles,
  packFolderOf,
  randomBytes,
  same,
  tiered,
  waitForNothing,
  within,
} from './support/stores.ts'

const MIB = 1024 * 1024
const SIZE = 9 * MIB + 17
/** Ten leaves and their root. */
const BLOCKS = 11
const WAIT_TIMEOUT_MS = 20_000

afterEach(closeAll)

interface Stored {
  name: string
  storage: IPFSKitStorage
  cid: string
  bytes: Uint8Array<ArrayBuffer>
  pack: string
  other: string
}

const OTHER = randomBytes(5 * MIB, 2)

/** Two files, each in a pack. */
async function stored(): Promise<Stored> {
  const name = freshName()
  const storage = localStorageOf({ cacheDir: name })
  const bytes = randomBytes(SIZE)
  const cid = await storage.store(bytes, { filename: 'file' })
  const [pack = ''] = await packFiles(name)
  const other = await storage.store(OTHER, { filename: 'other' })
  return { name, storage, cid, bytes, pack, other }
}

async function rejection(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    (value) => new Error(`did not reject, but answered ${String(value)}`),
    (error: unknown) => error,
  )
}

async function states(storage: IPFSKitStorage): Promise<string[][]> {
  return (await storage.listFiles()).map((file) => [file.filename, file.state])
}

/** A file in the folder of packs that somebody else put there. */
async function putFile(name: string, file: string): Promise<void> {
  const folder = await packFolderOf(name)
  const writable = await (await folder?.getFileHandle(file, { create: true }))?.createWritable()
  await writable?.write(new Uint8Array(1000))
  await writable?.close()
}

it('a pack that goes between its opening and its reading is nowhere to be had', async () => {
  const { name, storage, cid, pack, other } = await stored()
  await storage.close()
  const reader = localStorageOf({ cacheDir: name, config: { tier: 'records' } })
  await reader.ready()
  const open = vi.spyOn(FileSystemFileHandle.prototype, 'getFile').mockImplementation(async function (this: FileSystemFileHandle) {
    open.mockRestore()
    const file = await this.getFile()
    await losePack(name, pack)
    return file
  })
  expect(await reader.retrieve(cid, { offset: MIB, length: 10 })).toBe(null)
  expect(open.getMockImplementation()).toBeUndefined()
  expect(same(await reader.retrieve(other), OTHER)).toBe(true)
})

describe.each<[string, (one: Stored) => Promise<void>]>([
  ['is gone', ({ name, pack }) => losePack(name, pack)],
  ['is short', ({ name, pack }) => spoilPack(name, pack, (file) => file.truncate(5 * MIB + 5))],
  ['is empty', ({ name, pack }) => spoilPack(name, pack, (file) => file.truncate(0))],
])('a pack that %s', (_, spoil) => {
  it('at an opening is damage of its content alone, which storing again heals', async () => {
    const one = await stored()
    const { name, cid, bytes, other } = one
    await one.storage.close()
    await spoil(one)
    const storage = localStorageOf({ cacheDir: name })
    // Beside all else that an opening does.
    await vi.waitFor(
      async () =>
        expect(await states(storage)).toEqual([
          ['file', 'damaged'],
          ['other', 'whole'],
        ]),
      {
        timeout: WAIT_TIMEOUT_MS,
      },
    )
    await storage.gc()
    // Its file is of no use any more, and goes as well.
    expect(await countAll(name)).toMatchObject({ blocks: 1 + 6, packed: 5, packs: 1, packFiles: 1 })
    expect((await storage.getBackendStatus()).usage).toMatchObject({ blocks: 1 + 6, files: 2, deadBytes: 0 })
    expect(await storage.retrieve(cid)).toBe(null)
    expect(await storage.blob(cid)).toBe(null)
    expect(await storage.exists(cid)).toBe(false)
    expect(await storage.listFiles('file')).toMatchObject([{ size: SIZE, localBytes: 0 }])
    expect((await storage.verify(cid)).damaged).toHaveLength(BLOCKS - 1)
    expect(same(await storage.retrieve(other), OTHER)).toBe(true)
    expect(await storage.store(bytes, { filename: 'file' })).toBe(cid)
    expect(await states(storage)).toEqual([
      ['file', 'whole'],
      ['other', 'whole'],
    ])
    expect(same(await storage.retrieve(cid), bytes)).toBe(true)
    expect((await storage.getBackendStatus()).usage).toMatchObject({ blocks: BLOCKS + 6, files: 2, deadBytes: 0 })
    for (const content of [cid, other]) await storage.delete(content)
    expect(await countAll(name)).toEqual(NOTHING)
    expect((await storage.getBackendStatus()).usage).toMatchObject({ blocks: 0, bytes: 0, files: 0, deadBytes: 0 })
  })

  it('while the storage is open is nowhere to be had, and healed by storing again', async () => {
    const one = await stored()
    const { name, storage, cid, bytes, other } = one
    await spoil(one)
    expect(await storage.retrieve(cid)).toBe(null)
    expect(same(await storage.retrieve(other), OTHER)).toBe(true)
    expect(await storage.store(bytes, { filename: 'file' })).toBe(cid)
    expect(same(await storage.retrieve(cid), bytes)).toBe(true)
    await storage.gc()
    expect(same(await storage.retrieve(cid), bytes)).toBe(true)
    expect((await storage.verify()).damaged).toEqual([])
    expect(await countAll(name)).toMatchObject({ blocks: BLOCKS + 6, damaged: 0 })
    expect((await storage.getBackendStatus()).usage).toMatchObject({ blocks: BLOCKS + 6, files: 2, deadBytes: 0 })
    for (const content of [cid, other]) await storage.delete(content)
    expect(await countAll(name)).toEqual(NOTHING)
  })

  it('is healed by storing again without a read in between', async () => {
    const one = await stored()
    const { name, storage, cid, bytes } = one
    await spoil(one)
    expect(await storage.store(bytes, { filename: 'file' })).toBe(cid)
    expect(same(await storage.retrieve(cid), bytes)).toBe(true)
    await storage.gc()
    expect(await states(storage)).toEqual([
      ['file', 'whole'],
      ['other', 'whole'],
    ])
    expect(await countAll(name)).toMatchObject({ blocks: BLOCKS + 6, damaged: 0, packs: 2, packFiles: 2 })
  })

  it('can be deleted with its content', async () => {
    const one = await stored()
    const { name, storage, cid, other } = one
    await spoil(one)
    expect(await storage.delete(cid)).toBe(true)
    expect(await countAll(name)).toMatchObject({ blocks: 6, packs: 1, packFiles: 1 })
    expect(await storage.delete(other)).toBe(true)
    expect(await countAll(name)).toEqual(NOTHING)
    expect((await storage.getBackendStatus()).usage).toMatchObject({ blocks: 0, bytes: 0, deadBytes: 0 })
  })
})

describe('a flipped byte in a pack', () => {
  it('is an IntegrityError, and storing again makes a new pack of what is not whole', async () => {
    const { name, storage, cid, bytes, pack } = await stored()
    const root = await readRecord(`${name}/blocks`, cid)
    const leaves = decode(root ?? new Uint8Array(0)).Links.map((link) => link.Hash.toString())
    for (const leaf of leaves.slice(0, 6)) await flip(name, leaf, 100)
    expect(await rejection(storage.retrieve(cid))).toMatchObject({ name: 'IntegrityError' })
    expect(await states(storage)).toEqual([
      ['file', 'damaged'],
      ['other', 'whole'],
    ])
    expect(await storage.store(bytes, { filename: 'file' })).toBe(cid)
    expect(same(await storage.retrieve(cid), bytes)).toBe(true)
    expect(await states(storage)).toEqual([
      ['file', 'whole'],
      ['other', 'whole'],
    ])
    const places = await Promise.all(leaves.map((leaf) => placeOf(name, leaf)))
    expect(places.map((place) => place?.pack === pack)).toEqual(leaves.map((_, index) => index >= 6))
    expect(await countAll(name)).toMatchObject({ blocks: BLOCKS + 6, packed: 15, packs: 3, packFiles: 3, damaged: 0 })
    expect((await storage.getBackendStatus()).usage).toMatchObject({ blocks: BLOCKS + 6, deadBytes: 6 * MIB })
    await storage.delete(cid)
    expect(await countAll(name)).toMatchObject({ blocks: 6, packs: 1, packFiles: 1 })
    expect((await storage.getBackendStatus()).usage).toMatchObject({ blocks: 6, deadBytes: 0 })
  })

  it('in a leaf that lies whole in a record as well is passed over', async () => {
    const { name, storage, cid, bytes } = await stored()
    await storage.close()
    const records = localStorageOf({ cacheDir: name, config: { tier: 'records' } })
    await records.store(bytes, { filename: 'file' })
    const root = await readRecord(`${name}/blocks`, cid)
    await flip(name, decode(root ?? new Uint8Array(0)).Links[3]?.Hash.toString() ?? '')
    expect(same(await records.retrieve(cid), bytes)).toBe(true)
    expect((await records.verify()).damaged).toEqual([])
    const again = localStorageOf({ cacheDir: name })
    expect(same(await again.retrieve(cid), bytes)).toBe(true)
  })
})

describe('a file that nobody needs', () => {
  it('is swept at the next opening', async () => {
    const { name, storage, cid, bytes } = await stored()
    await storage.close()
    await putFile(name, 'orphan-0')
    await putFile(name, 'probe-orphan')
    const again = await localStorageOf({ cacheDir: name }).ready()
    await vi.waitFor(async () => expect(await folderNames(name)).toHaveLength(2), { timeout: WAIT_TIMEOUT_MS })
    expect(await packFiles(name)).toHaveLength(2)
    expect(same(await again.retrieve(cid), bytes)).toBe(true)
  })

  it('is swept by gc()', async () => {
    const { name, storage, cid, bytes } = await stored()
    await putFile(name, 'orphan-0')
    expect(await packFiles(name)).toHaveLength(3)
    await storage.gc()
    expect(await packFiles(name)).toHaveLength(2)
    expect(same(await storage.retrieve(cid), bytes)).toBe(true)
  })

  it('is swept where packs are only read', async () => {
    const { name, storage } = await stored()
    await storage.close()
    await putFile(name, 'orphan-0')
    await localStorageOf({ cacheDir: name, config: { tier: 'records' } }).gc()
    expect(await packFiles(name)).toHaveLength(2)
  })
})

describe('a writer', () => {
  it('that is at work keeps its file, whoever opens or collects', async () => {
    const name = freshName()
    const storage = localStorageOf({ cacheDir: name })
    let goOn = (): void => undefined
    const paused = new Promise<void>((resolve) => {
      goOn = resolve
    })
    const bytes = randomBytes(20 * MIB)
    async function* halting(): AsyncGenerator<Uint8Array> {
      yield bytes.subarray(0, 14 * MIB)
      await paused
      yield bytes.subarray(14 * MIB)
    }
    const storing = storage.store(halting())
    while ((await packFiles(name).catch(() => [])).length === 0);
    const other = await localStorageOf({ cacheDir: name }).ready()
    await other.gc()
    await storage.gc()
    expect(await packFiles(name)).toHaveLength(1)
    goOn()
    const cid = await storing
    await other.gc()
    expect(same(await other.retrieve(cid), bytes)).toBe(true)
    expect(await countAll(name)).toMatchObject({ blocks: 21, packs: 1, packFiles: 1 })
  })

  it('that was killed leaves nothing after the next opening', async () => {
    const name = freshName()
    const worker = new Worker(new URL('./fixtures/killed-worker.ts', import.meta.url), { type: 'module' })
    const half = new Promise((resolve) => {
      worker.addEventListener('message', (event) => resolve(event.data))
    })
    worker.postMessage({ options: tiered({ cacheDir: name, forceFallback: true }), after: 40 })
    expect(await half).toBe('half way')
    worker.terminate()
    const [writer = ''] = await ownersOfKind(name, 'writer')
    await navigator.locks.request(`ipfs-kit:${name}:owner:${writer}`, () => undefined)
    expect(await packFiles(name)).toHaveLength(1)
    // Its workers let go of the file when the browser gets there: an opening that comes before leaves it to the next.
    await vi.waitFor(
      async () => {
        const storage = await localStorageOf({ cacheDir: name }).ready()
        await storage.close()
        expect(await countAll(name)).toEqual(NOTHING)
      },
      { timeout: WAIT_TIMEOUT_MS },
    )
    expect((await localStorageOf({ cacheDir: name }).getBackendStatus()).usage).toMatchObject({ blocks: 0, bytes: 0, deadBytes: 0 })
  })

  it.each([
    ['before the first pack', 2],
    ['in a pack', 20],
    ['at a border of the pack', 4],
  ])('that is aborted %s leaves nothing', async (_, after) => {
    const name = freshName()
    const storage = localStorageOf({ cacheDir: name })
    const abort = new AbortController()
    const reason = new Error('enough')
    async function* source(): AsyncGenerator<Uint8Array> {
      for (let count = 0; ; count++) {
        yield randomBytes(MIB, 100 + count)
        if (count === after) abort.abort(reason)
      }
    }
    expect(await rejection(storage.store(source(), { signal: abort.signal }))).toBe(reason)
    expect(await countAll(name)).toEqual(NOTHING)
    expect((await storage.getBackendStatus()).usage).toMatchObject({ blocks: 0, bytes: 0, deadBytes: 0 })
    // And the next one is none the worse for it.
    const bytes = randomBytes(SIZE)
    expect(same(await storage.retrieve(await storage.store(bytes)), bytes)).toBe(true)
  })

  it('whose source ends with an error leaves nothing', async () => {
    const name = freshName()
    const storage = localStorageOf({ cacheDir: name })
    const failure = new TypeError('the network went away')
    async function* source(): AsyncGenerator<Uint8Array> {
      for (let count = 0; count < 20; count++) yield randomBytes(MIB, 200 + count)
      throw failure
    }
    expect(await rejection(storage.store(source()))).toBe(failure)
    expect(await countAll(name)).toEqual(NOTHING)
  })

  it('whose storage is closed leaves nothing', async () => {
    const name = freshName()
    const storage = localStorageOf({ cacheDir: name })
    async function* source(): AsyncGenerator<Uint8Array> {
      for (let count = 0; ; count++) {
        yield randomBytes(MIB, 300 + count)
        if (count === 20) void storage.close()
      }
    }
    expect(await rejection(storage.store(source()))).toHaveProperty('name', 'ClosedError')
    await storage.close()
    await localStorageOf({ cacheDir: name }).ready()
    await waitForNothing(name)
  })
})

describe('damage that was noted', () => {
  it('is forgotten with its content', async () => {
    const { name, storage, cid, other } = await stored()
    const root = await readRecord(`${name}/blocks`, cid)
    const leaf = decode(root ?? new Uint8Array(0)).Links[0]?.Hash.toString() ?? ''
    await flip(name, leaf)
    await storage.verify()
    expect(await within(`${name}/catalog`, 'damaged', 'readonly', (rows) => rows.getAllKeys())).toEqual([keyOf(leaf)])
    await storage.delete(cid)
    expect(await countAll(name)).toMatchObject({ damaged: 0, packs: 1, packFiles: 1 })
    await storage.delete(other)
    expect(await countAll(name)).toEqual(NOTHING)
  })
})
