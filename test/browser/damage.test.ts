// Damaged blocks: never answered, always told, healed by storing again or from the network.
import { CID } from 'multiformats/cid'
import { decode } from '@ipld/dag-pb'
import { afterEach, beforeEach, describe, expect, inject, it } from 'vitest'
import { CarError, IntegrityError, UnavailableError, type IPFSKitStorage } from '../../src/index.ts'
import { clearGateway, flip, gather, lose, nextEvent, readBlock, upload } from './support/outside.ts'
import {
  closeAll,
  countAll,
  freshName,
  localStorageOf,
  NOTHING,
  randomBytes,
  same,
  storageOf,
  TIER,
  waitForNothing,
} from './support/stores.ts'

const MIB = 1024 * 1024
const SIZE = 5 * MIB + 100
/** Five whole leaves, one of 100 bytes, and their root. */
const BLOCKS = 7

afterEach(closeAll)

interface Stored {
  name: string
  storage: IPFSKitStorage
  cid: string
  bytes: Uint8Array<ArrayBuffer>
  leaves: string[]
}

async function stored(): Promise<Stored> {
  const name = freshName()
  const storage = localStorageOf({ cacheDir: name })
  const bytes = randomBytes(SIZE)
  const cid = await storage.store(bytes, { filename: 'file' })
  expect(await countAll(name)).toMatchObject(
    TIER === 'packs' ? { records: 1, packed: BLOCKS - 1, packs: 1, packFiles: 1 } : { records: BLOCKS, packed: 0, packs: 0, packFiles: 0 },
  )
  const root = await readBlock(name, cid)
  const leaves = decode(root ?? new Uint8Array(0)).Links.map((link) => link.Hash.toString())
  return { name, storage, cid, bytes, leaves }
}

async function rejection(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    (value) => new Error(`did not reject, but answered ${String(value)}`),
    (error: unknown) => error,
  )
}

/** What a stream gave before it ended, and the error that it ended with. */
async function drain(stream: ReadableStream<Uint8Array> | null): Promise<{ bytes: Uint8Array<ArrayBuffer>; error: unknown }> {
  const parts: BlobPart[] = []
  let error: unknown
  try {
    // Not every engine iterates streams.
    const reader = stream?.getReader()
    for (let part = await reader?.read(); part?.value !== undefined; part = await reader?.read()) parts.push(new Uint8Array(part.value))
  } catch (cause) {
    error = cause
  }
  return { bytes: new Uint8Array(await new Blob(parts).arrayBuffer()), error }
}

/** The answer, or the drained stream's error, of everything that reads the file. */
async function readAll(storage: IPFSKitStorage, cid: string): Promise<unknown[]> {
  const [stream, car] = [await rejectionOrStream(storage.stream(cid)), await rejectionOrStream(storage.exportCar(cid))]
  return [await rejection(storage.retrieve(cid)), stream, await rejection(storage.blob(cid, { verify: true })), car]
}

async function rejectionOrStream(promise: Promise<ReadableStream<Uint8Array> | null>): Promise<unknown> {
  try {
    return (await drain(await promise)).error
  } catch (error) {
    return error
  }
}

function expectIntegrity(errors: readonly unknown[], cid: string): void {
  for (const error of errors) {
    expect(error).toBeInstanceOf(IntegrityError)
    expect(error).toMatchObject({ cid, code: 'integrity' })
  }
}

describe('one flipped byte', () => {
  it.each([0, 1, 5])('in leaf %i is an IntegrityError that names it', async (index) => {
    const { storage, name, cid, leaves, bytes } = await stored()
    const leaf = leaves[index] ?? ''
    const damaged = gather(storage, 'damaged')
    await flip(name, leaf, 50)
    expectIntegrity(await readAll(storage, cid), leaf)
    expect(damaged).toContainEqual({ cid, block: leaf })
    if (TIER === 'records') expectIntegrity([await rejection(storage.blob(cid))], leaf)
    else {
      // Read by the browser itself, as it lies there.
      const wrong = bytes.slice()
      wrong[index * MIB + 50] = (wrong[index * MIB + 50] ?? 0) ^ 1
      expect(same(new Uint8Array((await (await storage.blob(cid))?.arrayBuffer()) ?? new ArrayBuffer(0)), wrong)).toBe(true)
    }
    // The rest is what it was, and no byte of a stream is wrong.
    const other = index === 0 ? 1 : 0
    expect(same(await storage.retrieve(cid, { offset: other * MIB, length: MIB }), bytes.subarray(other * MIB, (other + 1) * MIB))).toBe(
      true,
    )
    const read = await drain(await storage.stream(cid).catch(() => null))
    expect(same(read.bytes, bytes.subarray(0, read.bytes.length))).toBe(true)
    expect(read.bytes.length).toBeLessThanOrEqual(index * MIB)
    expect(await storage.exists(cid)).toBe(false)
    const lost = index === 5 ? 100 : MIB
    expect(await storage.listFiles()).toMatchObject([{ cid, state: 'damaged', size: SIZE, localBytes: SIZE - lost }])
    expect(await storage.stat(cid)).toMatchObject({ blocks: BLOCKS, localBlocks: BLOCKS - 1 })
  })

  it('is whole again when it is stored again, also where there is no private file system', async () => {
    const storages = (navigator.storage as StorageManager | undefined) ?? {}
    // As in WebKitGTK and private windows.
    Object.assign(storages, { getDirectory: undefined })
    try {
      const storage = localStorageOf({ cacheDir: freshName(), config: { tier: 'records' } })
      const bytes = randomBytes(SIZE)
      const cid = await storage.store(bytes, { filename: 'file' })
      const { cacheDir } = await storage.getBackendStatus()
      await flip(cacheDir, cid, 20)
      expectIntegrity([await rejection(storage.retrieve(cid))], cid)
      expect(await storage.exists(cid)).toBe(false)
      expect(await storage.store(bytes, { filename: 'file' })).toBe(cid)
      expect(await storage.exists(cid)).toBe(true)
      expect(await storage.listFiles()).toMatchObject([{ cid, state: 'whole' }])
    } finally {
      Reflect.deleteProperty(storages, 'getDirectory')
    }
  })

  it('in a DAG node is an IntegrityError that names it', async () => {
    const { storage, name, cid } = await stored()
    const damaged = gather(storage, 'damaged')
    await flip(name, cid, 20)
    expectIntegrity([...(await readAll(storage, cid)), await rejection(storage.retrieve(cid, { offset: 5, length: 1 }))], cid)
    expectIntegrity([await rejection(storage.stat(cid))], cid)
    expect(damaged).toContainEqual({ cid, block: cid })
    expect(await storage.exists(cid)).toBe(false)
    expect(await storage.listFiles()).toMatchObject([{ cid, state: 'damaged', size: SIZE }])
  })

  it('in a directory, its files and what lies between is one too', async () => {
    const name = freshName()
    const storage = localStorageOf({ cacheDir: name })
    const root = await storage.storeDirectory([
      { path: 'a/b.bin', data: randomBytes(5 * MIB) },
      { path: 'c.txt', data: 'c' },
    ])
    const [folder, text] = (await storage.listDirectory(root)) ?? []
    const [file] = (await storage.listDirectory(`${root}/a`)) ?? []
    for (const block of [root, folder?.cid ?? '', file?.cid ?? '']) {
      await flip(name, block, 10)
      expectIntegrity([await rejection(storage.retrieve(`${root}/a/b.bin`))], block)
      if (block !== file?.cid) expectIntegrity([await rejection(storage.listDirectory(`${root}/a`))], block)
      const error = await rejectionOrStream(storage.exportCar(root))
      expectIntegrity([error], block)
      expect((await storage.verify(root)).damaged).toContainEqual({ cid: root, block })
      await flip(name, block, 10)
      expect((await storage.retrieve(`${root}/a/b.bin`))?.length).toBe(5 * MIB)
    }
    expect(new TextDecoder().decode((await storage.retrieve(text?.cid ?? '')) ?? undefined)).toBe('c')
  })

  it('in a file of one block is one too', async () => {
    const name = freshName()
    const storage = localStorageOf({ cacheDir: name })
    const cid = await storage.store('hello world')
    await flip(name, cid)
    expectIntegrity(await readAll(storage, cid), cid)
  })

  it('is found by verify(), of one content and of all', async () => {
    const { storage, name, cid, leaves } = await stored()
    const other = await storage.store('other')
    const [first, , third] = leaves
    await flip(name, first ?? '')
    await flip(name, third ?? '')
    const event = nextEvent(storage, 'damaged')
    const verdict = await storage.verify(cid)
    expect(verdict).toMatchObject({ blocks: BLOCKS - 2 })
    expect(verdict.damaged.map(({ block }) => block).toSorted()).toEqual([first, third].toSorted())
    expect(verdict.damaged.every((one) => one.cid === cid)).toBe(true)
    expect((await event).cid).toBe(cid)
    expect((await storage.verify()).damaged).toHaveLength(2)
    expect((await storage.verify(other)).damaged).toEqual([])
    expect((await storage.listFiles()).map((file) => [file.cid, file.state])).toContainEqual([cid, 'damaged'])
  })

  it('is seen by another storage of the same name', async () => {
    const { storage, name, cid, leaves } = await stored()
    const other = localStorageOf({ cacheDir: name })
    await flip(name, leaves[1] ?? '')
    await storage.verify()
    expect(await storage.pin(cid)).toBe(false)
    expect((await other.listFiles())[0]?.state).toBe('damaged')
    expectIntegrity([await rejection(other.retrieve(cid))], leaves[1] ?? '')
  })

  it('is answered where the caller asks not to verify, and noted nowhere', async () => {
    const { storage, name, cid, leaves, bytes } = await stored()
    await flip(name, leaves[0] ?? '', 7)
    const wrong = bytes.slice()
    wrong[7] = (wrong[7] ?? 0) ^ 1
    expect(same(await storage.retrieve(cid, { verify: false }), wrong)).toBe(true)
    expect(same((await drain(await storage.stream(cid, { verify: false }))).bytes, wrong)).toBe(true)
    expect((await storage.listFiles())[0]?.state).toBe('whole')
    expectIntegrity([await rejection(storage.retrieve(cid))], leaves[0] ?? '')
  })

  it('goes with its content', async () => {
    const { storage, name, cid, leaves } = await stored()
    await flip(name, leaves[0] ?? '')
    await flip(name, cid)
    await storage.verify()
    expect(await storage.delete(cid)).toBe(true)
    expect(await countAll(name)).toEqual(NOTHING)
    expect((await storage.getBackendStatus()).usage).toMatchObject({ blocks: 0, bytes: 0 })
  })

  it('in a CAR is a CarError, and nothing is stored', async () => {
    const { storage, cid } = await stored()
    const car = new Uint8Array(await new Response(await storage.exportCar(cid)).arrayBuffer())
    const name = freshName()
    const other = localStorageOf({ cacheDir: name })
    // In the header, in a CID, in the root node, in the first and in the last leaf.
    for (const at of [12, 70, 120, MIB, car.length - 1]) {
      const bad = car.slice()
      bad[at] = (bad[at] ?? 0) ^ 1
      expect(await rejection(other.importCar(bad))).toBeInstanceOf(CarError)
      await other.gc()
      expect(await countAll(name)).toEqual(NOTHING)
    }
    const bad = car.slice()
    bad[car.length - 1] = (bad[car.length - 1] ?? 0) ^ 1
    const error = await rejection(other.importCar(bad))
    expect((error as Error).cause).toMatchObject({ name: 'IntegrityError', cid: expect.stringMatching(/^bafkrei/) })
    expect(await other.importCar(car)).toEqual([cid])
  })
})

describe('a lost block', () => {
  it('is nowhere to be had, and listed as damage', async () => {
    const { storage, name, cid, leaves, bytes } = await stored()
    await lose(name, leaves[1] ?? '')
    expect(await storage.retrieve(cid)).toBe(null)
    expect(await storage.blob(cid)).toBe(null)
    expect(same(await storage.retrieve(cid, { length: MIB }), bytes.subarray(0, MIB))).toBe(true)
    expect(await storage.exists(cid)).toBe(false)
    expect(await storage.listFiles()).toMatchObject([{ cid, state: 'damaged', localBytes: SIZE - MIB }])
    expect((await storage.verify(cid)).damaged).toEqual([{ cid, block: leaves[1] }])
    expect(await rejectionOrStream(storage.exportCar(cid))).toBeInstanceOf(UnavailableError)
  })

  it('ends a stream that has begun with UnavailableError', async () => {
    const name = freshName()
    const storage = localStorageOf({ cacheDir: name })
    const bytes = randomBytes(40 * MIB)
    const cid = await storage.store(bytes)
    const leaves = decode((await readBlock(name, cid)) ?? new Uint8Array(0)).Links.map((link) => link.Hash.toString())
    await lose(name, leaves[39] ?? '')
    const read = await drain(await storage.stream(cid))
    expect(read.error).toBeInstanceOf(UnavailableError)
    expect(read.error).toMatchObject({ cid })
    expect(same(read.bytes, bytes.subarray(0, read.bytes.length))).toBe(true)
    expect(read.bytes.length).toBeGreaterThan(0)
  })
})

describe('storing it again', () => {
  it.each<[string, (one: Stored) => Promise<void>]>([
    [
      'a flipped leaf that was found',
      async ({ storage, name, cid, leaves }) => {
        await flip(name, leaves[1] ?? '')
        await rejection(storage.retrieve(cid))
      },
    ],
    ['a flipped leaf that nobody found', async ({ name, leaves }) => flip(name, leaves[1] ?? '')],
    ['a lost leaf', async ({ name, leaves }) => lose(name, leaves[1] ?? '')],
    [
      'a flipped DAG node that was found',
      async ({ storage, name, cid }) => {
        await flip(name, cid, 3)
        await rejection(storage.retrieve(cid))
      },
    ],
    ['a lost DAG node', async ({ name, cid }) => lose(name, cid)],
    [
      'everything that was found',
      async ({ storage, name, cid, leaves }) => {
        for (const block of [...leaves, cid]) await flip(name, block)
        await storage.verify()
      },
    ],
  ])('makes %s whole', async (_, spoil) => {
    const one = await stored()
    const { storage, name, cid, bytes } = one
    await spoil(one)
    expect(await storage.store(bytes, { filename: 'file' })).toBe(cid)
    expect(same(await storage.retrieve(cid), bytes)).toBe(true)
    expect(await storage.verify()).toEqual({ blocks: BLOCKS, bytes: expect.any(Number), damaged: [] })
    expect(await storage.listFiles()).toMatchObject([{ state: 'whole', localBytes: SIZE }])
    const counts = await countAll(name)
    expect(counts).toMatchObject({ blocks: BLOCKS, damaged: 0 })
    expect(counts.records + counts.packed).toBe(BLOCKS)
    await storage.delete(cid)
    expect(await countAll(name)).toEqual(NOTHING)
  })

  it('as a CAR makes it whole as well', async () => {
    const { storage, name, cid, bytes, leaves } = await stored()
    const car = await new Response(await storage.exportCar(cid)).blob()
    await flip(name, leaves[0] ?? '')
    await rejection(storage.retrieve(cid))
    await lose(name, leaves[2] ?? '')
    await storage.importCar(car, { filename: 'file' })
    expect(same(await storage.retrieve(cid), bytes)).toBe(true)
    expect((await storage.listFiles()).map((file) => file.state)).toEqual(['whole'])
  })
})

describe('the network', () => {
  const gateway = inject('gatewayBlocks')
  const open = (name: string, url = gateway): IPFSKitStorage =>
    storageOf({ cacheDir: name, config: { ipfs: { gateways: [url], delegatedRouters: [], retrieveTimeoutMs: 5_000 } } })

  beforeEach(() => clearGateway(gateway))

  it.each(['leaf', 'root'])('replaces a damaged %s', async (which) => {
    const { storage, name, cid, bytes, leaves } = await stored()
    await upload(gateway, name)
    await storage.close()
    const block = which === 'leaf' ? (leaves[1] ?? '') : cid
    await flip(name, block, 30)
    const online = open(name)
    const repaired = gather(online, 'repaired')
    expectIntegrity([await rejection(online.retrieve(cid, { localOnly: true }))], block)
    expect(same(await online.retrieve(cid), bytes)).toBe(true)
    expect(repaired).toEqual([{ cid, block, from: 'ipfs' }])
    expect(await online.verify()).toMatchObject({ blocks: BLOCKS, damaged: [] })
    expect(await online.listFiles()).toMatchObject([{ filename: 'file', state: 'whole', localBytes: SIZE }])
    await online.close()
    const offline = localStorageOf({ cacheDir: name })
    expect(same(await offline.retrieve(cid), bytes)).toBe(true)
    await offline.delete(cid)
    expect(await countAll(name)).toEqual(NOTHING)
  })

  it('replaces in verify() what is damaged and what is lost', async () => {
    const { storage, name, cid, bytes, leaves } = await stored()
    await upload(gateway, name)
    await storage.close()
    await flip(name, leaves[1] ?? '', 30)
    await flip(name, cid, 30)
    await lose(name, leaves[2] ?? '')
    const online = await open(name).ready()
    const repaired = gather(online, 'repaired')
    expect(await online.verify()).toMatchObject({ blocks: BLOCKS, damaged: [] })
    expect(repaired.map(({ block }) => block).toSorted()).toEqual([cid, leaves[1]].toSorted())
    expect(await online.listFiles()).toMatchObject([{ filename: 'file', state: 'whole', localBytes: SIZE }])
    await online.close()
    const offline = localStorageOf({ cacheDir: name })
    expect(await offline.verify()).toMatchObject({ blocks: BLOCKS, damaged: [] })
    expect(same(await offline.retrieve(cid), bytes)).toBe(true)
    await offline.delete(cid)
    await waitForNothing(name)
  })

  it('replaces in verify() what a file in a directory lacks', async () => {
    const { storage, name, cid, leaves, bytes } = await stored()
    const root = await storage.storeDirectory([{ path: 'inside', data: bytes }])
    await storage.delete(cid)
    await upload(gateway, name)
    await storage.close()
    await flip(name, leaves[1] ?? '', 30)
    const online = await open(name).ready()
    expect(await online.verify(`${root}/inside`)).toMatchObject({ blocks: BLOCKS, damaged: [] })
    expect(await online.retrieve(root + '/inside', { localOnly: true })).toEqual(bytes)
  })

  it('replaces a lost leaf', async () => {
    const { storage, name, cid, bytes, leaves } = await stored()
    await upload(gateway, name)
    await storage.close()
    await lose(name, leaves[0] ?? '')
    const online = open(name)
    expect(same((await drain(await online.stream(cid))).bytes, bytes)).toBe(true)
    await online.close()
    expect(same(await localStorageOf({ cacheDir: name }).retrieve(cid), bytes)).toBe(true)
  })

  it.each(['gatewayCorrupt', 'gateway404', 'gateway500'] as const)(
    'that has no right block (%s) leaves the damage an IntegrityError',
    async (server) => {
      const { storage, name, cid, leaves } = await stored()
      await upload(gateway, name)
      await storage.close()
      await flip(name, leaves[2] ?? '')
      const online = open(name, inject(server))
      expectIntegrity([await rejection(online.retrieve(cid)), await rejectionOrStream(online.stream(cid))], leaves[2] ?? '')
      expect(await online.listFiles()).toMatchObject([{ state: 'damaged' }])
    },
  )

  it('that sends other bytes than asked for is an UnavailableError, and nothing is kept', async () => {
    const { name: source, cid } = await stored()
    await upload(gateway, source)
    const name = freshName()
    const online = open(name, inject('gatewayCorrupt'))
    const error = await rejection(online.retrieve(cid))
    expect(error).toBeInstanceOf(UnavailableError)
    expect((error as UnavailableError).causes).toContainEqual(expect.objectContaining({ name: 'IntegrityError' }))
    expect(await online.pin(CID.parse(cid))).toBe(false)
    expect(await countAll(name)).toEqual(NOTHING)
  })
})
