// The front over real IndexedDB, without a network.
import { afterEach, describe, expect, it } from 'vitest'
import {
  getStorage,
  InvalidCidError,
  InvalidOptionsError,
  IPFSKitStorage,
  NotAFileError,
  PinnedError,
  resetStorage,
  UnsupportedContentError,
  type Source,
} from '../../src/index.ts'
import { closeAll, countAll, freshName, localStorageOf, NOTHING, randomBytes, same, tiered } from './support/stores.ts'

const HELLO = 'bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e'
const MIB = 1024 * 1024

afterEach(closeAll)

describe('store and retrieve', () => {
  it('answers the official CID and the bytes', async () => {
    const storage = localStorageOf()
    expect(await storage.store('hello world')).toBe(HELLO)
    expect(new TextDecoder().decode((await storage.retrieve(HELLO)) ?? undefined)).toBe('hello world')
    expect(await storage.retrieve(HELLO, { offset: 6, length: 3 })).toEqual(new TextEncoder().encode('wor'))
    expect(await storage.exists(HELLO)).toBe(true)
    expect(await storage.retrieve('bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku')).toBe(null)
  })

  it.each<[string, (bytes: Uint8Array<ArrayBuffer>) => Source]>([
    ['Uint8Array', (bytes) => bytes],
    ['ArrayBuffer', (bytes) => bytes.slice().buffer],
    ['Blob', (bytes) => new Blob([bytes])],
    ['Response', (bytes) => new Response(bytes)],
    ['ReadableStream', (bytes) => new Blob([bytes]).stream() as ReadableStream<Uint8Array>],
    ['Iterable', (bytes) => [bytes.subarray(0, 100), bytes.subarray(100)]],
    [
      'AsyncIterable',
      async function* (bytes) {
        yield bytes.subarray(0, 2 * MIB)
        yield bytes.subarray(2 * MIB)
      },
    ],
  ])('stores a %s of several chunks', async (_, make) => {
    const storage = localStorageOf()
    const bytes = randomBytes(5 * MIB + 17)
    const cid = await storage.store(make(bytes), { filename: 'a.bin' })
    expect(same(await storage.retrieve(cid), bytes)).toBe(true)
    expect(await storage.retrieve(cid, { offset: MIB - 5, length: 10 })).toEqual(bytes.slice(MIB - 5, MIB + 5))
    const [info] = await storage.listFiles()
    expect(info).toMatchObject({
      cid,
      filename: 'a.bin',
      size: bytes.length,
      localBytes: bytes.length,
      state: 'whole',
      type: 'file',
      pinned: false,
      fallback: true,
    })
    const blob = await storage.blob(cid)
    expect(same(new Uint8Array((await blob?.arrayBuffer()) ?? new ArrayBuffer(0)), bytes)).toBe(true)
    const stream = await storage.stream(cid, { offset: 5 })
    expect(same(new Uint8Array(await new Response(stream).arrayBuffer()), bytes.slice(5))).toBe(true)
    expect(await storage.stat(cid)).toMatchObject({ type: 'file', size: bytes.length, blocks: 7, localBlocks: 7 })
  })

  it('answers no part of what was deleted, though another file has its leaves', async () => {
    const storage = localStorageOf()
    const [common, end] = [randomBytes(MIB, 1), randomBytes(MIB, 2)]
    const cid = await storage.store(new Blob([common, end]))
    await storage.store(new Blob([common, randomBytes(MIB, 3)]))
    const part = { offset: 10, length: 100 }
    expect(await storage.retrieve(cid, part)).toEqual(common.slice(10, 110))
    expect(await storage.retrieve(cid, part)).toEqual(common.slice(10, 110))
    await storage.delete(cid)
    expect(await storage.retrieve(cid, part)).toBeNull()
    await storage.store(new Blob([common, end]))
    expect(await storage.retrieve(cid, part)).toEqual(common.slice(10, 110))
  })

  it('leaves nothing after deletion', async () => {
    const name = freshName()
    const storage = localStorageOf({ cacheDir: name })
    const first = await storage.store(randomBytes(5 * MIB), { filename: 'a' })
    const second = await storage.store('x', { pin: true })
    expect((await storage.getBackendStatus()).usage).toMatchObject({ files: 2, blocks: 7, pinnedBytes: 1 })
    await expect(storage.delete(second)).rejects.toThrow(PinnedError)
    expect(await storage.delete(second, { force: true })).toBe(true)
    expect(await storage.delete(first)).toBe(true)
    expect(await storage.delete(first)).toBe(false)
    expect(await countAll(name)).toEqual(NOTHING)
    expect((await storage.getBackendStatus()).usage).toMatchObject({ files: 0, blocks: 0, bytes: 0, pinnedBytes: 0 })
  })

  it('stores many and directories', async () => {
    const storage = localStorageOf()
    const cids = await storage.storeMany([
      { data: 'a', filename: 'x/a' },
      { data: 'b', pin: true },
      { data: 'a', filename: 'x/a' },
    ])
    expect(cids[0]).toBe(cids[2])
    expect((await storage.listFiles('x')).map((file) => file.filename)).toEqual(['x/a'])
    const root = await storage.storeDirectory([
      { path: 'model.json', data: '{}' },
      { path: 'weights/1', data: randomBytes(5 * MIB) },
    ])
    expect((await storage.listDirectory(root))?.map((entry) => [entry.name, entry.type])).toEqual([
      ['model.json', 'file'],
      ['weights', 'directory'],
    ])
    expect(await storage.retrieve(`${root}/weights/1`, { length: 5 })).toEqual(randomBytes(5 * MIB).slice(0, 5))
    expect(await storage.retrieve(`${root}/nothing`)).toBe(null)
    await expect(storage.retrieve(root)).rejects.toThrow(NotAFileError)
  })

  it('moves a directory by CAR', async () => {
    const storage = localStorageOf()
    const root = await storage.storeDirectory([{ path: 'a', data: randomBytes(5 * MIB) }], { filename: 'd' })
    const car = await new Response(await storage.exportCar(root)).blob()
    const other = localStorageOf()
    expect(await other.importCar(car, { filename: 'e' })).toEqual([root])
    expect(await other.exists(root)).toBe(true)
    expect(await other.listFiles()).toMatchObject([{ filename: 'e', type: 'directory', size: 5 * MIB, state: 'whole' }])
  })

  it('takes a CID in any of the usual bases', async () => {
    const storage = localStorageOf()
    const cid = await storage.store('hello world')
    for (const other of [cid.toUpperCase(), `/ipfs/${cid}`, `ipfs://${cid}`]) expect(await storage.exists(other)).toBe(true)
    expect((await storage.stat(cid.toUpperCase()))?.cid).toBe(cid)
  })

  it('pins by holder', async () => {
    const storage = localStorageOf()
    const cid = await storage.store('pinned')
    expect(await storage.pin(cid, { holder: 'a' })).toBe(true)
    expect(await storage.pin(cid, { holder: 'b' })).toBe(true)
    expect(await storage.unpin(cid, { holder: 'a' })).toBe(true)
    expect(await storage.unpin(cid, { holder: 'a' })).toBe(false)
    expect((await storage.stat(cid))?.pinned).toBe(true)
    expect(await storage.verify()).toEqual({ blocks: 1, bytes: 6, damaged: [] })
    expect(await storage.pin(HELLO)).toBe(false)
  })
})

describe('bad input', () => {
  it('is a typed error', async () => {
    const storage = localStorageOf()
    for (const bad of ['', 'bafynonexistent', '../x', null, 5]) {
      await expect(storage.retrieve(bad as string)).rejects.toThrow(InvalidCidError)
    }
    await expect(storage.retrieve(HELLO, { offset: -1 })).rejects.toThrow(RangeError)
    await expect(storage.store('x', { filname: 'x' } as object)).rejects.toThrow(InvalidOptionsError)
    await expect(storage.retrieve('bafkr4iae4c5tt4yldi76xcpvg3etxykqkvec352im5fqbutolj2xo5yc5e')).rejects.toThrow(UnsupportedContentError)
  })
})

describe('getStorage', () => {
  it('answers one storage a realm', async () => {
    const cacheDir = freshName()
    const storage = getStorage(tiered({ cacheDir, forceFallback: true }))
    expect(getStorage()).toBe(storage)
    expect(() => getStorage({ cacheDir: 'other' })).toThrow(InvalidOptionsError)
    await resetStorage()
    const next = getStorage(tiered({ cacheDir, forceFallback: true }))
    expect(next).not.toBe(storage)
    await next.close()
    expect(getStorage(tiered({ cacheDir, forceFallback: true }))).not.toBe(next)
    await resetStorage()
    await IPFSKitStorage.destroy(cacheDir)
  })
})
