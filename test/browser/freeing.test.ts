// What is needed is never freed, and what nobody needs any more goes: counted in the databases, from outside.
import { unixfs } from '@helia/unixfs'
import type { Helia } from 'helia'
import { CID } from 'multiformats/cid'
import { afterEach, beforeEach, describe, expect, inject, it } from 'vitest'
import { CarError, NotSupportedError, PinnedError, type IPFSKitStorage, type Source } from '../../src/index.ts'
import { ageSessions, bytesOf, clearGateway, keyOf, ownersOfKind, seeded, upload } from './support/outside.ts'
import {
  blockKeys,
  closeAll,
  countAll,
  freshName,
  localStorageOf,
  NOTHING,
  packFiles,
  randomBytes,
  same,
  storageOf,
  TIER,
  tiered,
  waitForNothing,
} from './support/stores.ts'

const MIB = 1024 * 1024
const QUIET = { config: { ipfs: { gateways: [], delegatedRouters: [] } } }
const PROFILE = { profile: 'unixfs-v1-2025' } as const

afterEach(closeAll)

async function withNode(cacheDir: string): Promise<{ storage: IPFSKitStorage; node: Helia }> {
  const storage = await storageOf({ cacheDir, ...QUIET }).ready()
  return { storage, node: (await storage.helia()) as Helia }
}

/** Every block of every entry is here and whole. */
async function expectWhole(storage: IPFSKitStorage): Promise<void> {
  expect((await storage.verify()).damaged).toEqual([])
  for (const file of await storage.listFiles()) expect([file.filename, file.state]).toEqual([file.filename, 'whole'])
}

async function rejection(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => new Error('did not reject'),
    (error: unknown) => error,
  )
}

describe('nothing needed is freed', () => {
  it('by the gc() of Helia', async () => {
    const name = freshName()
    const { storage, node } = await withNode(name)
    const file = await storage.store(randomBytes(5 * MIB + 9, 1), { filename: 'file' })
    await storage.storeDirectory([
      { path: 'a/b', data: randomBytes(4 * MIB, 2) },
      { path: 'c', data: 'c' },
    ])
    const pinned = await storage.store('pinned', { pin: true })
    const before = await blockKeys(name)
    // What Helia read, was told to be here, or added beside an entry is as little its own.
    await bytesOf(unixfs(node).cat(CID.parse(file)))
    expect(await node.blockstore.has(CID.parse(file))).toBe(true)
    expect((await unixfs(node).addBytes(randomBytes(5 * MIB + 9, 1), PROFILE)).toString()).toBe(file)
    await node.gc()
    expect(await blockKeys(name)).toEqual(before)
    await expectWhole(storage)
    expect(await storage.exists(pinned)).toBe(true)
  })

  it('by our gc() while Helia works, nor after that within its day', async () => {
    const name = freshName()
    const { storage, node } = await withNode(name)
    const bytes = randomBytes(2 * MIB + 1, 3)
    const added = await unixfs(node).addBytes(bytes, PROFILE)
    expect(await storage.gc()).toEqual({ blocks: 0, bytes: 0 })
    expect(same(await bytesOf(unixfs(node).cat(added)), bytes)).toBe(true)
    await storage.close()
    const fallback = localStorageOf({ cacheDir: name })
    expect(await fallback.gc()).toEqual({ blocks: 0, bytes: 0 })
    expect(same(await fallback.retrieve(added), bytes)).toBe(true)
  })

  it('by deleting what Helia added as well', async () => {
    const name = freshName()
    const { storage, node } = await withNode(name)
    const bytes = randomBytes(4 * MIB + 1, 4)
    const cid = await storage.store(bytes)
    const added = await unixfs(node).addBytes(bytes, PROFILE)
    expect(added.toString()).toBe(cid)
    expect(await storage.delete(cid)).toBe(true)
    await storage.gc()
    expect(same(await bytesOf(unixfs(node).cat(added)), bytes)).toBe(true)
    // Nobody else needs it now, and Helia says that it does not either.
    await node.gc()
    expect((await countAll(name)).blocks).toBe(0)
  })

  it("of what Helia's pins hold, however long ago that was", async () => {
    const name = freshName()
    const { storage, node } = await withNode(name)
    const [kept, gone] = [randomBytes(2 * MIB + 1, 5), randomBytes(2 * MIB + 1, 6)]
    const pinned = await unixfs(node).addBytes(kept, PROFILE)
    await unixfs(node).addBytes(gone, PROFILE)
    for await (const _ of node.pins.add(pinned)) void _
    expect(await storage.gc()).toEqual({ blocks: 0, bytes: 0 })
    await storage.close()
    expect(await ageSessions(name)).toBe(1)
    const fallback = localStorageOf({ cacheDir: name })
    await fallback.gc()
    await fallback.gc()
    expect((await countAll(name)).blocks).toBe(4)
    expect(same(await fallback.retrieve(pinned), kept)).toBe(true)
    await fallback.close()
    const again = await withNode(name)
    expect(same(await bytesOf(unixfs(again.node).cat(pinned, { offline: true })), kept)).toBe(true)
    for await (const _ of again.node.pins.rm(pinned)) void _
    await again.storage.gc()
    await again.storage.close()
    await ageSessions(name)
    await localStorageOf({ cacheDir: name }).gc()
    expect(await countAll(name)).toEqual(NOTHING)
  })

  it("while Helia's session is alive, however long ago it began", async () => {
    const name = freshName()
    const { node } = await withNode(name)
    const bytes = randomBytes(MIB + 1, 7)
    const added = await unixfs(node).addBytes(bytes, PROFILE)
    await ageSessions(name)
    const other = localStorageOf({ cacheDir: name })
    expect(await other.gc()).toEqual({ blocks: 0, bytes: 0 })
    expect(same(await bytesOf(unixfs(node).cat(added)), bytes)).toBe(true)
  })

  it('by gc() while another stores the same and other content', async () => {
    const name = freshName()
    const [one, two] = [localStorageOf({ cacheDir: name }), localStorageOf({ cacheDir: name })]
    const [shared, other] = [randomBytes(20 * MIB, 8), randomBytes(20 * MIB, 9)]
    const stored = Promise.all([one.store(shared, { filename: 'a' }), two.store(shared, { filename: 'b' }), two.store(other)])
    let over = false
    const ended = stored.finally(() => (over = true))
    // The first begins while they are stored, however long it takes.
    for (let rounds = 0; !over || rounds < 2; rounds++) await (rounds % 2 === 0 ? one : two).gc()
    const [a, b, c] = await ended
    expect(a).toBe(b)
    expect(same(await one.retrieve(a), shared)).toBe(true)
    expect(same(await one.retrieve(c), other)).toBe(true)
    expect(await countAll(name)).toMatchObject({ blocks: 42, damaged: 0 })
    expect((await one.getBackendStatus()).usage).toMatchObject({ blocks: 42, files: 3 })
  })

  it('by deleting one of two entries of one content', async () => {
    const name = freshName()
    const storage = localStorageOf({ cacheDir: name })
    const bytes = randomBytes(4 * MIB + 1)
    const cid = await storage.store(bytes, { filename: 'a' })
    expect(await storage.store(bytes, { filename: 'b' })).toBe(cid)
    expect(await storage.delete(cid, { filename: 'a' })).toBe(true)
    expect(await storage.delete(cid, { filename: 'a' })).toBe(false)
    await storage.gc()
    expect((await storage.listFiles()).map((file) => [file.filename, file.state])).toEqual([['b', 'whole']])
    expect(same(await storage.retrieve(cid), bytes)).toBe(true)
    expect(await storage.delete(cid, { filename: 'b' })).toBe(true)
    expect(await countAll(name)).toEqual(NOTHING)
  })

  it('by deleting one of two files that share leaves', async () => {
    const name = freshName()
    const storage = localStorageOf({ cacheDir: name })
    const [head, one, two] = [randomBytes(5 * MIB, 10), randomBytes(MIB, 11), randomBytes(5 * MIB, 12)]
    const first = await storage.store([head, one])
    const second = await storage.store([head, two])
    // A leaf that is a file of its own counts as well.
    const leaf = await storage.store(head.slice(0, MIB))
    expect(await countAll(name)).toMatchObject(
      TIER === 'packs' ? { records: 2, packed: 11, packs: 2, packFiles: 2 } : { records: 13, packed: 0, packs: 0, packFiles: 0 },
    )
    expect(await storage.delete(first)).toBe(true)
    await storage.gc()
    expect(await countAll(name)).toMatchObject(
      TIER === 'packs' ? { records: 1, packed: 10, packs: 2, packFiles: 2 } : { records: 11, packed: 0, packs: 0, packFiles: 0 },
    )
    expect(same(await storage.retrieve(second), new Uint8Array(await new Blob([head, two]).arrayBuffer()))).toBe(true)
    await storage.delete(second)
    await storage.gc()
    expect(same(await storage.retrieve(leaf), head.subarray(0, MIB))).toBe(true)
    await storage.delete(leaf)
    expect(await countAll(name)).toEqual(NOTHING)
  })

  it('by deleting a file that holds a content of one block as a leaf, which is no stranger to anybody', async () => {
    const name = freshName()
    const storage = localStorageOf({ cacheDir: name })
    const [leaf, rest] = [randomBytes(MIB, 13), randomBytes(5 * MIB, 14)]
    const content = await storage.store(leaf, { filename: 'one' })
    expect(await storage.store(leaf, { filename: 'two' })).toBe(content)
    const file = await storage.store([leaf, rest])
    expect((await countAll(name)).foreign).toBe(0)
    await storage.delete(file)
    await storage.delete(content, { filename: 'one' })
    await storage.gc()
    expect(await countAll(name)).toMatchObject({ blocks: 1, owners: 1, foreign: 0 })
    expect(same(await storage.retrieve(content), leaf)).toBe(true)
    // A removal that has not come to it frees nothing that was stored again meanwhile.
    const deleted = storage.delete(content)
    const again = storage.store(leaf, { pin: true })
    await Promise.allSettled([deleted, again])
    await storage.gc()
    const left = await storage.listFiles()
    expect(await storage.retrieve(content)).toEqual(left.length === 0 ? null : leaf)
    await storage.delete(content, { force: true })
    expect(await countAll(name)).toEqual(NOTHING)
  })

  it('by deleting what another is just storing again or importing', async () => {
    const name = freshName()
    const [one, two] = [localStorageOf({ cacheDir: name }), localStorageOf({ cacheDir: name })]
    const bytes = randomBytes(40 * MIB, 13)
    const cid = await one.store(bytes)
    const car = new Uint8Array(await new Response(await one.exportCar(cid)).arrayBuffer())
    for (const [again, source] of [
      [(data: Source) => two.store(data), bytes],
      [async (data: Source) => (await two.importCar(data))[0], car],
    ] as const) {
      let goOn = (): void => undefined
      const paused = new Promise<void>((resolve) => {
        goOn = resolve
      })
      async function* halting(): AsyncGenerator<Uint8Array> {
        yield source.subarray(0, 36 * MIB)
        await paused
        yield source.subarray(36 * MIB)
      }
      const storing = again(halting())
      // It has named what it found here, and not all of it yet.
      while ((await ownersOfKind(name, 'writer')).length === 0);
      expect(await one.delete(cid)).toBe(true)
      expect(await one.exists(cid)).toBe(false)
      await one.gc()
      goOn()
      expect(await storing).toBe(cid)
      expect(same(await one.retrieve(cid), bytes)).toBe(true)
      await expectWhole(one)
      expect((await countAll(name)).blocks).toBe(41)
    }
    await two.delete(cid)
    await waitForNothing(name)
  })

  it('by unpinning what is an entry, or what another holder pins', async () => {
    const name = freshName()
    const storage = localStorageOf({ cacheDir: name })
    const cid = await storage.store(randomBytes(4 * MIB + 1), { pin: true, holder: 'a' })
    const file = `${await storage.storeDirectory([{ path: 'x', data: 'inside' }], { filename: 'directory' })}/x`
    await storage.pin(file, { holder: 'a' })
    await storage.pin(file, { holder: 'b' })
    expect(await storage.unpin(cid, { holder: 'a' })).toBe(true)
    expect(await storage.unpin(file, { holder: 'a' })).toBe(true)
    await storage.gc()
    expect(await storage.exists(cid)).toBe(true)
    const directory = (await storage.listFiles()).find((entry) => entry.filename === 'directory')
    await storage.delete(directory?.cid ?? '')
    await storage.gc()
    // The pin of 'b' has the entry that it made.
    expect((await storage.listFiles()).filter((entry) => entry.pinned)).toHaveLength(1)
    expect((await countAll(name)).blocks).toBe(7)
  })

  it.each([1, 2, 3])('whatever two storages do at the same time (schedule %i)', async (seed) => {
    const name = freshName()
    const both = [localStorageOf({ cacheDir: name }), localStorageOf({ cacheDir: name })] as const
    const next = seeded(seed)
    const pick = (below: number): number => Math.floor(next() * below)
    const contents = await sharingDirectories()
    const failures: unknown[] = []
    const act = async (): Promise<unknown> => {
      const storage = both[pick(2)] ?? both[0]
      const { cid, entries } = contents[pick(contents.length)] ?? { cid: '', entries: [] }
      const filename = ['x', 'y'][pick(2)] ?? ''
      switch (pick(9)) {
        case 0:
        case 1:
        case 2:
          return storage.storeDirectory(entries, { filename })
        case 3:
          return storage.storeDirectory(entries, { filename, pin: true, holder: 'store' })
        case 4:
        case 5:
          return storage.delete(cid, { filename })
        case 6:
          return storage.delete(cid, { force: true })
        case 7:
          return next() < 0.5 ? storage.pin(cid, { holder: 'h' }) : storage.unpin(cid, { holder: ['h', 'store'][pick(2)] ?? '' })
        default:
          return storage.gc()
      }
    }
    for (let round = 0; round < 25; round++) {
      const ended = await Promise.allSettled(Array.from({ length: 2 + pick(4) }, act))
      for (const each of ended) if (each.status === 'rejected' && !(each.reason instanceof PinnedError)) failures.push(each.reason)
      await expectWhole(both[0])
    }
    expect(failures).toEqual([])
    await both[1].gc()
    const needed = new Set((await both[0].listFiles()).flatMap((file) => contents.find(({ cid }) => cid === file.cid)?.keys ?? []))
    expect(await blockKeys(name)).toEqual([...needed].toSorted())
    expect((await both[0].getBackendStatus()).usage).toMatchObject({ blocks: needed.size, files: (await both[0].listFiles()).length })
    expect([await ownersOfKind(name, 'writer'), await ownersOfKind(name, 'removal')]).toEqual([[], []])
    for (const { cid } of await both[0].listFiles()) await both[0].delete(cid, { force: true })
    await both[0].gc()
    expect(await countAll(name)).toEqual(NOTHING)
    expect((await both[0].getBackendStatus()).usage).toMatchObject({ bytes: 0, blocks: 0, files: 0, pinnedBytes: 0 })
  })
})

describe('a verification beside which content is deleted', () => {
  it('takes none of it for damaged, and brings none of it back', async () => {
    const name = freshName()
    const [storage, other] = [localStorageOf({ cacheDir: name }), localStorageOf({ cacheDir: name })]
    const inside = randomBytes(2 * MIB + 10, 2)
    await storage.store(randomBytes(24 * MIB, 1), { filename: 'a' })
    await storage.storeDirectory([{ path: 'file', data: inside }], { filename: 'b' })
    // All of one stays, as a part of a directory, and nothing of the other.
    const goes = [
      await storage.store(inside, { filename: 'c' }),
      await storage.store(randomBytes(5 * MIB, 3), { filename: 'd' }),
      await storage.storeDirectory([{ path: 'file', data: 'of d' }], { filename: 'e' }),
    ]
    let deleting: Promise<unknown> | undefined
    const { damaged } = await storage.verify(undefined, {
      onProgress: () => {
        deleting ??= Promise.all(goes.map((cid) => other.delete(cid)))
      },
    })
    await deleting
    expect(damaged).toEqual([])
    expect((await storage.listFiles()).map(({ filename, state }) => [filename, state])).toEqual([
      ['a', 'whole'],
      ['b', 'whole'],
    ])
    expect((await storage.verify()).damaged).toEqual([])
  })
})

describe('everything unneeded is freed', () => {
  const gateway = inject('gatewayBlocks')
  const fetching = { config: { ipfs: { gateways: [gateway], delegatedRouters: [] } } }
  beforeEach(() => clearGateway(gateway))

  it('when two removals share blocks', async () => {
    const name = freshName()
    const [one, two] = [localStorageOf({ cacheDir: name }), localStorageOf({ cacheDir: name })]
    const head = randomBytes(5 * MIB, 20)
    const first = await one.store([head, 'one'].map(utf8))
    const second = await one.store([head, 'two'].map(utf8))
    expect(await Promise.all([one.delete(first), two.delete(second)])).toEqual([true, true])
    await one.gc()
    expect(await countAll(name)).toEqual(NOTHING)
  })

  it('after the unpin of what was fetched', async () => {
    const source = localStorageOf()
    const bytes = randomBytes(5 * MIB + 5, 21)
    const cid = await source.store(bytes)
    await upload(gateway, (await source.getBackendStatus()).cacheDir)
    const name = freshName()
    const storage = storageOf({ cacheDir: name, ...fetching })
    expect(await storage.pin(cid)).toBe(true)
    expect((await storage.listFiles()).map((file) => [file.cid, file.state, file.pinned])).toEqual([[cid, 'whole', true]])
    // What comes block by block goes into records on both tiers.
    expect(await countAll(name)).toMatchObject({ records: 7, packed: 0 })
    expect(await storage.gc()).toEqual({ blocks: 0, bytes: 0 })
    expect(await storage.unpin(cid)).toBe(true)
    expect((await storage.gc()).blocks).toBe(7)
    expect(await storage.listFiles()).toEqual([])
    expect(await countAll(name)).toEqual(NOTHING)
  })

  it('after a store that was aborted half way', async () => {
    const name = freshName()
    const storage = localStorageOf({ cacheDir: name })
    const abort = new AbortController()
    const reason = new Error('enough')
    async function* source(): AsyncGenerator<Uint8Array> {
      for (let count = 0; ; count++) {
        yield randomBytes(MIB, 100 + count)
        if (count === 40) abort.abort(reason)
      }
    }
    expect(await rejection(storage.store(source(), { signal: abort.signal }))).toBe(reason)
    await storage.gc()
    expect(await countAll(name)).toEqual(NOTHING)
  })

  it('after a store whose source failed half way', async () => {
    const name = freshName()
    const storage = localStorageOf({ cacheDir: name })
    const failure = new TypeError('the network went away')
    async function* source(): AsyncGenerator<Uint8Array> {
      for (let count = 0; count < 20; count++) yield randomBytes(MIB, 200 + count)
      throw failure
    }
    expect(await rejection(storage.store(source()))).toBe(failure)
    expect(
      await rejection(
        storage.storeDirectory([
          { path: 'a', data: 'a' },
          { path: 'b', data: source() },
        ]),
      ),
    ).toBe(failure)
    expect(await rejection(storage.storeMany([{ data: 'a' }, { data: source() }]))).toBe(failure)
    await storage.gc()
    expect(await countAll(name)).toEqual(NOTHING)
  })

  it('after a CAR that is damaged, cut off or incomplete', async () => {
    const source = localStorageOf()
    const cid = await source.store(randomBytes(20 * MIB, 22))
    const car = new Uint8Array(await new Response(await source.exportCar(cid)).arrayBuffer())
    const spoilt = car.slice()
    spoilt[car.length - 5] = (spoilt[car.length - 5] ?? 0) ^ 1
    const name = freshName()
    const storage = localStorageOf({ cacheDir: name })
    for (const bad of [spoilt, car.subarray(0, car.length - 10), withoutLastBlock(car)]) {
      expect(await rejection(storage.importCar(bad))).toBeInstanceOf(CarError)
      await storage.gc()
      expect(await countAll(name)).toEqual(NOTHING)
    }
    expect(await storage.importCar(car)).toEqual([cid])
  })

  /** Answers when a writer has been killed half way and the browser has let go of its lock. */
  async function killWriter(cacheDir: string): Promise<void> {
    const before = new Set(await ownersOfKind(cacheDir, 'writer').catch(() => []))
    const worker = new Worker(new URL('./fixtures/killed-worker.ts', import.meta.url), { type: 'module' })
    const half = new Promise((resolve, reject) => {
      worker.addEventListener('message', (event) => resolve(event.data))
      worker.addEventListener('error', (event) => reject(new Error(event.message)))
    })
    worker.postMessage({ options: tiered({ cacheDir, forceFallback: true }), after: 40 })
    expect(await half).toBe('half way')
    worker.terminate()
    const [writer] = (await ownersOfKind(cacheDir, 'writer')).filter((id) => !before.has(id))
    expect(writer).toBeDefined()
    await navigator.locks.request(`ipfs-kit:${cacheDir}:owner:${writer}`, () => undefined)
  }

  it('after a writer was killed', async () => {
    const name = freshName()
    await killWriter(name)
    const left = await countAll(name)
    expect(left).toMatchObject(TIER === 'packs' ? { blocks: 0, packs: 0, packFiles: 1 } : { packs: 0, packFiles: 0 })
    if (TIER === 'records') expect(left.blocks).toBeGreaterThan(0)
    const storage = localStorageOf({ cacheDir: name })
    await storage.gc()
    expect(await countAll(name)).toEqual(NOTHING)
    expect((await storage.getBackendStatus()).usage).toMatchObject({ blocks: 0, bytes: 0, files: 0 })
  })

  it('after a writer was killed, and the usage tells what another one wrote meanwhile', async () => {
    const name = freshName()
    const storage = localStorageOf({ cacheDir: name })
    const kept = await storage.store(randomBytes(5 * MIB, 30))
    let goOn = (): void => undefined
    const paused = new Promise<void>((resolve) => {
      goOn = resolve
    })
    async function* source(): AsyncGenerator<Uint8Array> {
      for (let count = 0; count < 40; count++) {
        yield randomBytes(MIB, 400 + count)
        if (count === 36) await paused
      }
    }
    const storing = storage.store(source())
    // What was written of it lies there, but the last batch is not counted before the next one. A pack is not even in the index.
    if (TIER === 'packs') for (let files = 0; files < 2; files = (await packFiles(name)).length);
    else for (let blocks = 0; blocks < 35; { blocks } = await countAll(name));
    await killWriter(name)
    await localStorageOf({ cacheDir: name }).gc()
    goOn()
    const other = await storing
    expect(await countAll(name)).toMatchObject(
      TIER === 'packs' ? { blocks: 6 + 41, packed: 5 + 40, packs: 2, packFiles: 2 } : { blocks: 6 + 41, packed: 0 },
    )
    expect((await storage.getBackendStatus()).usage.blocks).toBe(6 + 41)
    await storage.delete(other)
    expect((await storage.getBackendStatus()).usage).toMatchObject({ blocks: 6, files: 1 })
    await storage.delete(kept)
    expect((await storage.getBackendStatus()).usage).toMatchObject({ blocks: 0, bytes: 0, files: 0 })
  })

  it('after a writer was killed, and the usage tells contents of one block as well', async () => {
    const name = freshName()
    const storage = localStorageOf({ cacheDir: name })
    const sizes = [3, 1000, MIB]
    for (const [index, size] of sizes.entries()) await storage.store(randomBytes(size, 40 + index), { filename: `${index}` })
    await storage.store(randomBytes(3, 40), { filename: 'the same again' })
    await killWriter(name)
    await localStorageOf({ cacheDir: name }).gc()
    const { usage } = await storage.getBackendStatus()
    expect(usage).toMatchObject({ blocks: 3, bytes: 3 + 1000 + MIB, files: 4 })
    expect((await storage.listFiles()).map((file) => [file.state, file.localBytes])).toEqual([...sizes, 3].map((size) => ['whole', size]))
    for (const { cid } of await storage.listFiles()) await storage.delete(cid)
    expect(await countAll(name)).toEqual(NOTHING)
  })

  it('when a storage is closed while it stores', async () => {
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
    await localStorageOf({ cacheDir: name }).gc()
    expect(await countAll(name)).toEqual(NOTHING)
  })
})

describe('without Web Locks', () => {
  // Packs need locks: where a storage may choose it takes records.
  const withoutLocks = (name: string): IPFSKitStorage =>
    localStorageOf({ cacheDir: name, config: { tier: TIER === 'packs' ? 'auto' : TIER } })

  beforeEach(() => {
    Object.defineProperty(navigator, 'locks', { configurable: true, value: undefined })
  })

  afterEach(async () => {
    await closeAll()
    // What hid the one of the prototype.
    delete (navigator as { locks?: unknown }).locks
  })

  it('entries come and go as usual, and blocks are freed by an opening that is alone', async () => {
    const name = freshName()
    const one = withoutLocks(name)
    const kept = await one.store(randomBytes(4 * MIB + 1, 40))
    const gone = await one.store(randomBytes(4 * MIB + 2, 41))
    expect(await one.delete(gone)).toBe(true)
    expect((await one.listFiles()).map((file) => file.cid)).toEqual([kept])
    expect(await one.gc()).toEqual({ blocks: 0, bytes: 0 })
    expect((await countAll(name)).blocks).toBe(12)
    const two = await withoutLocks(name).ready()
    await two.gc()
    expect((await countAll(name)).blocks).toBe(12)
    await one.close()
    await two.close()
    const three = await withoutLocks(name).ready()
    expect((await countAll(name)).blocks).toBe(6)
    expect(await three.exists(kept)).toBe(true)
    expect((await three.getBackendStatus()).usage).toMatchObject({ blocks: 6, files: 1 })
    await three.delete(kept)
    await three.close()
    await withoutLocks(name).ready()
    expect(await countAll(name)).toEqual(NOTHING)
  })

  it('two that open at once free nothing that one of them stores', async () => {
    const name = freshName()
    const before = withoutLocks(name)
    const bytes = randomBytes(5 * MIB, 42)
    await before.delete(await before.store(bytes))
    await before.close()
    const both = [withoutLocks(name), withoutLocks(name)]
    const cids = await Promise.all(both.map((storage, index) => storage.store(bytes, { filename: `${index}` })))
    for (const [index, storage] of both.entries()) expect(same(await storage.retrieve(cids[index] ?? ''), bytes)).toBe(true)
    expect((await both[0]?.verify())?.damaged).toEqual([])
  })

  it('there are no packs', async () => {
    const storage = localStorageOf({ config: { tier: 'auto' } })
    await storage.store(randomBytes(5 * MIB))
    expect(await storage.getBackendStatus()).toMatchObject({ tier: 'records', tierDetail: expect.stringContaining('packs') })
    const asked = localStorageOf({ config: { tier: 'packs' } })
    expect(await rejection(asked.ready())).toBeInstanceOf(NotSupportedError)
    expect(await rejection(asked.store(randomBytes(5 * MIB)))).toBeInstanceOf(NotSupportedError)
  })
})

function utf8(part: string | Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  return typeof part === 'string' ? new TextEncoder().encode(part) : part
}

/** A CAR without its last block: whole in itself, but its root's DAG is not. */
function withoutLastBlock(car: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  let at = 0
  let last = 0
  while (at < car.length) {
    last = at
    let [length, shift, byte] = [0, 0, 0x80]
    while (byte >= 0x80) {
      byte = car[at++] ?? 0
      length += (byte & 0x7f) * 2 ** shift
      shift += 7
    }
    at += length
  }
  return car.slice(0, last)
}

/** Small directories that share files, and the keys of each one's blocks as a storage of its own has them. */
async function sharingDirectories(): Promise<{ cid: string; entries: { path: string; data: string }[]; keys: string[] }[]> {
  const contents = []
  for (let index = 0; index < 6; index++) {
    const entries = [0, 1, 2].map((step) => ({ path: `f${step}`, data: `file ${(index + step) % 6}` }))
    const name = freshName()
    const storage = localStorageOf({ cacheDir: name })
    const cid = await storage.storeDirectory(entries)
    contents.push({ cid, entries, keys: await blockKeys(name) })
    expect(contents.at(-1)?.keys).toContain(keyOf(cid))
  }
  return contents
}
