// The network through the front: what gateways answer, what of it is kept, and every reason for the fallback.
import { importBytes } from 'ipfs-unixfs-importer'
import type { CID } from 'multiformats/cid'
import { afterEach, beforeAll, beforeEach, describe, expect, inject, it } from 'vitest'
import { UnavailableError, type BackendStatus, type IPFSKitStorage, type StorageConfig } from '../../src/index.ts'
import { clearGateway, gather, lose, nextEvent, upload } from './support/outside.ts'
import {
  closeAll,
  countAll,
  freshName,
  localStorageOf,
  NOTHING,
  randomBytes,
  rawOpen,
  same,
  storageOf,
  waitForNothing,
} from './support/stores.ts'
import type { GatewayStats } from '../setup/servers.ts'

const MIB = 1024 * 1024
const SIZE = 5 * MIB + 100
/** Six leaves and their root. */
const BLOCKS = 7
/** Content that nobody has. */
const ABSENT = 'bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e'
const TIMEOUT_MS = 1500
/** Below the default bound of 20 s, so that it is the one that was asked for which ends things. */
const BOUND_MS = 15_000

const blocks = inject('gatewayBlocks')

// The first to start Helia waits for its modules, one by one from a development server, for longer than TIMEOUT_MS where the machine is busy.
beforeAll(() => import('../../src/network/helia-node.ts'))
beforeEach(() => clearGateway(blocks))
afterEach(closeAll)

function online(gateway: string, name = freshName(), ipfs: StorageConfig['ipfs'] = {}): IPFSKitStorage {
  // One that answers is given the time that a slow engine takes to start Helia.
  const retrieveTimeoutMs = gateway === blocks ? BOUND_MS : TIMEOUT_MS
  const settings = { gateways: [gateway], delegatedRouters: [], retrieveTimeoutMs, ...ipfs }
  return storageOf({ cacheDir: name, config: { ipfs: settings } })
}

async function rejection(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    (value) => new Error(`did not reject, but answered ${String(value)}`),
    (error: unknown) => error,
  )
}

async function stats(): Promise<GatewayStats> {
  return (await (await fetch(`${blocks}/stats`)).json()) as GatewayStats
}

/** Puts a file and a directory on the gateway, and nowhere else. */
async function publish(): Promise<{ file: string; bytes: Uint8Array<ArrayBuffer>; directory: string }> {
  const name = freshName()
  const source = localStorageOf({ cacheDir: name })
  const bytes = randomBytes(SIZE, 1)
  const file = await source.store(bytes)
  const directory = await source.storeDirectory([
    { path: 'models/large.bin', data: randomBytes(5 * MIB, 2) },
    { path: 'models/small.txt', data: 'small' },
    { path: 'readme.txt', data: 'read me' },
  ])
  await upload(blocks, name)
  return { file, bytes, directory }
}

const text = (bytes: Uint8Array | null): string | null => (bytes === null ? null : new TextDecoder().decode(bytes))

describe('a gateway that accepts and never answers', () => {
  it.each<[string, (storage: IPFSKitStorage) => Promise<unknown>]>([
    ['retrieve', (storage) => storage.retrieve(ABSENT)],
    ['stream', (storage) => storage.stream(ABSENT)],
    ['blob', (storage) => storage.blob(ABSENT)],
    ['stat', (storage) => storage.stat(ABSENT)],
    ['listDirectory', (storage) => storage.listDirectory(ABSENT)],
    ['exportCar', (storage) => storage.exportCar(ABSENT)],
    ['retrieve of a path', (storage) => storage.retrieve(`${ABSENT.replace('bafkrei', 'bafybei')}/a`)],
  ])(
    'ends %s with UnavailableError within the bound',
    async (_, read) => {
      const storage = online(inject('gatewayHang'))
      const error = await rejection(read(storage))
      expect(error).toBeInstanceOf(UnavailableError)
      expect(error).toMatchObject({ code: 'unavailable', cid: expect.stringMatching(/^baf/) })
      expect((error as UnavailableError).causes.map(String).join()).toContain(inject('gatewayHang'))
    },
    BOUND_MS,
  )

  it(
    'ends pin with false within the bound, and nothing is left',
    async () => {
      const name = freshName()
      const storage = online(inject('gatewayHang'), name)
      expect(await storage.pin(ABSENT)).toBe(false)
      await storage.gc()
      expect(await countAll(name)).toEqual(NOTHING)
    },
    BOUND_MS,
  )

  it('holds up no local work', async () => {
    const storage = await online(inject('gatewayHang')).ready()
    const abort = new AbortController()
    const reason = new Error('waited long enough')
    let over = false
    // More than are asked at once. A signal of one's own takes the place of the bound.
    const waiting = Array.from({ length: 12 }, () =>
      rejection(storage.retrieve(ABSENT, { signal: abort.signal })).finally(() => {
        over = true
      }),
    )
    const bytes = randomBytes(2 * MIB)
    const cid = await storage.store(bytes, { filename: 'local' })
    expect(same(await storage.retrieve(cid), bytes)).toBe(true)
    const directory = await storage.storeDirectory([{ path: 'a', data: 'a' }])
    expect(text(await storage.retrieve(`${directory}/a`))).toBe('a')
    expect(await storage.pin(cid)).toBe(true)
    expect(await storage.listFiles()).toHaveLength(2)
    expect(await storage.retrieve(ABSENT, { localOnly: true })).toBe(null)
    await storage.delete(directory)
    await storage.gc()
    expect(over).toBe(false)
    abort.abort(reason)
    for (const error of await Promise.all(waiting)) expect(error).toBe(reason)
  })

  it('is passed over where another one has the block', async () => {
    const { file, bytes } = await publish()
    const storage = online(blocks, freshName(), { gateways: [inject('gatewayHang'), blocks], retrieveTimeoutMs: 20_000 })
    expect(same(await storage.retrieve(file), bytes)).toBe(true)
  })

  it('ends with ClosedError when the storage is closed', async () => {
    const storage = await online(inject('gatewayHang'), freshName(), { retrieveTimeoutMs: 60_000 }).ready()
    const waiting = [storage.retrieve(ABSENT), storage.stat(ABSENT), storage.pin(ABSENT)].map(rejection)
    await storage.getBackendStatus()
    await storage.close()
    for (const error of await Promise.all(waiting)) expect(error).toHaveProperty('name', 'ClosedError')
  })
})

describe('content that is nowhere', () => {
  it('is null where the gateway answers 404', async () => {
    const name = freshName()
    const storage = online(inject('gateway404'), name)
    expect(await storage.retrieve(ABSENT)).toBe(null)
    expect(await storage.stream(ABSENT)).toBe(null)
    expect(await storage.blob(ABSENT)).toBe(null)
    expect(await storage.stat(ABSENT)).toBe(null)
    expect(await storage.listDirectory(ABSENT)).toBe(null)
    expect(await storage.exportCar(ABSENT)).toBe(null)
    expect(await storage.pin(ABSENT)).toBe(false)
    expect(await storage.exists(ABSENT)).toBe(false)
    expect((await storage.getBackendStatus()).backends.ipfs).toBe(true)
    await storage.gc()
    expect(await countAll(name)).toEqual(NOTHING)
  })

  it('is UnavailableError where the gateway answers 500', async () => {
    const storage = online(inject('gateway500'))
    const error = await rejection(storage.retrieve(ABSENT))
    expect(error).toBeInstanceOf(UnavailableError)
    const { causes, cid } = error as UnavailableError
    expect(cid).toBe(ABSENT)
    expect(causes.map((cause) => cause.message).join()).toMatch(/500/)
    expect((await storage.getBackendStatus()).backends).toMatchObject({ ipfs: false, local: true })
  })

  it('is UnavailableError where nobody listens', async () => {
    const storage = online('http://127.0.0.1:9')
    const error = await rejection(storage.retrieve(ABSENT))
    expect(error).toBeInstanceOf(UnavailableError)
    expect((error as UnavailableError).causes.length).toBeGreaterThan(0)
  })

  it('is null without asking where only this machine counts', async () => {
    const { file } = await publish()
    const storage = await online(blocks).ready()
    for (const path of [file, `${file}/x`]) {
      expect(await storage.retrieve(path, { localOnly: true })).toBe(null)
      expect(await storage.stream(path, { localOnly: true })).toBe(null)
      expect(await storage.blob(path, { localOnly: true })).toBe(null)
      expect(await storage.stat(path, { localOnly: true })).toBe(null)
      expect(await storage.listDirectory(path, { localOnly: true })).toBe(null)
      expect(await storage.exists(path)).toBe(false)
      expect(await storage.delete(path)).toBe(false)
      expect(await storage.unpin(path)).toBe(false)
    }
    expect((await stats()).requests).toBe(0)
  })

  it('leaves nothing of what was fetched before that showed', async () => {
    const source = localStorageOf()
    const { cacheDir } = await source.getBackendStatus()
    const cid = await source.store(randomBytes(SIZE, 3))
    const leaf = await source.store(randomBytes(SIZE, 3).slice(5 * MIB))
    await lose(cacheDir, leaf)
    await upload(blocks, cacheDir)
    const name = freshName()
    const storage = online(blocks, name)
    expect(await storage.retrieve(cid)).toBe(null)
    expect(await storage.blob(cid)).toBe(null)
    expect(await storage.pin(cid)).toBe(false)
    expect((await stats()).hits).toBeGreaterThan(2)
    await storage.gc()
    expect(await countAll(name)).toEqual(NOTHING)
  })
})

describe('content that a gateway has', () => {
  it('is fetched whole, kept as an unpinned entry, and there without the network', async () => {
    const { file, bytes } = await publish()
    const name = freshName()
    const storage = online(blocks, name)
    const changes = gather(storage, 'change')
    expect(same(await storage.retrieve(file), bytes)).toBe(true)
    expect(await storage.listFiles()).toMatchObject([
      { cid: file, filename: file, type: 'file', size: SIZE, localBytes: SIZE, state: 'whole', pinned: false, fallback: false },
    ])
    expect(changes).toEqual([{ cid: file, filename: file, kind: 'stored' }])
    const { requests } = await stats()
    expect(requests).toBe(BLOCKS)
    expect(same(await storage.retrieve(file), bytes)).toBe(true)
    expect((await stats()).requests).toBe(requests)
    expect((await storage.getBackendStatus()).backends.ipfs).toBe(true)
    await storage.gc()
    await storage.close()
    const fallback = localStorageOf({ cacheDir: name })
    expect(await fallback.exists(file)).toBe(true)
    expect(same(await fallback.retrieve(file), bytes)).toBe(true)
    expect(await fallback.delete(file)).toBe(true)
    await waitForNothing(name)
  })

  it('is a partial entry after a range, and whole after the rest', async () => {
    const { file, bytes } = await publish()
    const name = freshName()
    const storage = online(blocks, name)
    expect(same(await storage.retrieve(file, { offset: MIB + 5, length: 10 }), bytes.subarray(MIB + 5, MIB + 15))).toBe(true)
    expect(await storage.listFiles()).toMatchObject([{ cid: file, size: SIZE, localBytes: MIB, state: 'partial', pinned: false }])
    expect(await storage.exists(file)).toBe(false)
    expect((await storage.verify()).damaged).toEqual([])
    await storage.gc()
    await storage.close()
    const fallback = localStorageOf({ cacheDir: name })
    expect(same(await fallback.retrieve(file, { offset: MIB, length: MIB }), bytes.subarray(MIB, 2 * MIB))).toBe(true)
    expect(await fallback.retrieve(file)).toBe(null)
    expect(await fallback.stat(file)).toMatchObject({ size: SIZE, blocks: BLOCKS, localBlocks: 2 })
    await fallback.close()
    const again = online(blocks, name)
    expect(same(await again.retrieve(file), bytes)).toBe(true)
    expect(await again.listFiles()).toMatchObject([{ cid: file, localBytes: SIZE, state: 'whole' }])
    expect((await countAll(name)).blocks).toBe(BLOCKS)
    expect(await again.delete(file)).toBe(true)
    await waitForNothing(name)
  })

  it('is kept as far as a stream was read', async () => {
    const { file, bytes } = await publish()
    const [whole, part] = [online(blocks), online(blocks)]
    const read = new Uint8Array(await new Response(await whole.stream(file)).arrayBuffer())
    expect(same(read, bytes)).toBe(true)
    expect(await whole.listFiles()).toMatchObject([{ cid: file, state: 'whole', localBytes: SIZE }])
    const stream = await part.stream(file, { length: 2 * MIB })
    const reader = stream?.getReader()
    await reader?.read()
    await reader?.cancel()
    expect(await part.listFiles()).toMatchObject([{ cid: file, state: 'partial', localBytes: 2 * MIB }])
  })

  it('is kept as a blob, with the bytes of a blob', async () => {
    const { file, bytes } = await publish()
    const storage = online(blocks)
    const blob = await storage.blob(file)
    expect(same(new Uint8Array((await blob?.arrayBuffer()) ?? new ArrayBuffer(0)), bytes)).toBe(true)
    expect(await storage.listFiles()).toMatchObject([{ cid: file, state: 'whole' }])
  })

  it('leaves its path as a partial entry of the root, which works without the network', async () => {
    const { directory } = await publish()
    const name = freshName()
    const storage = online(blocks, name)
    expect(text(await storage.retrieve(`${directory}/models/small.txt`))).toBe('small')
    const files = await storage.listFiles()
    expect(files).toMatchObject([{ cid: directory, filename: directory, type: 'directory', state: 'partial', pinned: false }])
    expect(files[0]?.localBytes).toBe(5)
    expect(await storage.retrieve(`${directory}/models/none.txt`)).toBe(null)
    await storage.gc()
    await storage.close()
    const fallback = localStorageOf({ cacheDir: name })
    expect(text(await fallback.retrieve(`${directory}/models/small.txt`))).toBe('small')
    expect(text(await fallback.retrieve(`/ipfs/${directory}/models/small.txt`))).toBe('small')
    expect(await fallback.retrieve(`${directory}/readme.txt`)).toBe(null)
    expect((await fallback.verify()).damaged).toEqual([])
    expect(await fallback.delete(directory)).toBe(true)
    await waitForNothing(name)
  })

  it('is told of by stat and listDirectory', async () => {
    const { file, directory } = await publish()
    const storage = online(blocks)
    expect(await storage.stat(file)).toMatchObject({ cid: file, type: 'file', size: SIZE, blocks: BLOCKS, pinned: false })
    expect(await storage.stat(directory)).toMatchObject({ type: 'directory', size: 5 * MIB + 12 })
    expect((await storage.listDirectory(directory))?.map((entry) => [entry.path, entry.type])).toEqual([
      [`${directory}/models`, 'directory'],
      [`${directory}/readme.txt`, 'file'],
    ])
    expect((await storage.listDirectory(`${directory}/models`))?.map((entry) => [entry.name, entry.size])).toEqual([
      ['large.bin', 5 * MIB],
      ['small.txt', 5],
    ])
    expect((await storage.listFiles()).every((entry) => entry.state === 'partial')).toBe(true)
  })

  it('is fetched by a pin, and stays while it is pinned', async () => {
    const { directory } = await publish()
    const name = freshName()
    const storage = online(blocks, name)
    let bytes = 0
    expect(await storage.pin(directory, { holder: 'test', onProgress: (progress) => (bytes = progress.bytes) })).toBe(true)
    expect(bytes).toBeGreaterThanOrEqual(5 * MIB)
    expect(await storage.listFiles()).toMatchObject([{ cid: directory, pinned: true, state: 'whole', localBytes: 5 * MIB + 12 }])
    expect((await storage.getBackendStatus()).usage.pinnedBytes).toBe(5 * MIB + 12)
    await storage.gc()
    await storage.close()
    const fallback = localStorageOf({ cacheDir: name })
    expect(same(await fallback.retrieve(`${directory}/models/large.bin`), randomBytes(5 * MIB, 2))).toBe(true)
    expect(await fallback.exists(directory)).toBe(true)
    await expect(fallback.delete(directory)).rejects.toMatchObject({ name: 'PinnedError', holders: ['test'] })
    expect(await fallback.unpin(directory, { holder: 'test' })).toBe(true)
    await fallback.gc()
    await waitForNothing(name)
  })

  it('is exported as a CAR', async () => {
    const { directory } = await publish()
    const storage = online(blocks)
    const car = await new Response(await storage.exportCar(directory)).blob()
    const other = localStorageOf()
    expect(await other.importCar(car)).toEqual([directory])
    expect(text(await other.retrieve(`${directory}/readme.txt`))).toBe('read me')
    expect(await storage.listFiles()).toMatchObject([{ cid: directory, state: 'whole' }])
  })

  it('may be of another layout, and is an entry under its CIDv1', async () => {
    const bytes = randomBytes(MIB, 4)
    const sent: Promise<unknown>[] = []
    const put = async (cid: CID, block: Uint8Array): Promise<CID> => {
      sent.push(fetch(`${blocks}/block/${cid.toString()}`, { method: 'PUT', body: new Uint8Array(block) }))
      return cid
    }
    const { cid } = await importBytes(bytes, { put }, { profile: 'unixfs-v0-2015' })
    await Promise.all(sent)
    const storage = online(blocks)
    expect(cid.toString()).toMatch(/^Qm/)
    expect(same(await storage.retrieve(cid.toString()), bytes)).toBe(true)
    expect(await storage.listFiles()).toMatchObject([{ cid: cid.toV1().toString(), size: MIB, localBytes: MIB, state: 'whole' }])
    expect(same(await storage.retrieve(cid, { offset: 300_000, length: 5, localOnly: true }), bytes.subarray(300_000, 300_005))).toBe(true)
  })

  it('is one entry when two ask for it at once, and one that is deleted meanwhile stays deleted', async () => {
    const { file, bytes } = await publish()
    const name = freshName()
    const [one, two] = [online(blocks, name), online(blocks, name)]
    await Promise.all([one.ready(), two.ready()])
    const [first, second] = await Promise.all([one.retrieve(file), two.retrieve(file)])
    expect(same(first, bytes) && same(second, bytes)).toBe(true)
    expect(await one.listFiles()).toMatchObject([{ cid: file, state: 'whole' }])
    expect((await countAll(name)).blocks).toBe(BLOCKS)
    await one.delete(file)
    await one.retrieve(file, { length: 1 })
    // The stream has fetched what it gives, and another tab deletes the entry before the stream ends.
    const reader = (await one.stream(file))?.getReader()
    await reader?.read()
    expect(await two.delete(file)).toBe(true)
    while ((await reader?.read())?.done !== true);
    expect(await two.listFiles()).toEqual([])
    await two.gc()
    await waitForNothing(name)
  })

  it('is let go of when its retrieval is aborted, with the reason', async () => {
    const { file } = await publish()
    const name = freshName()
    const storage = await online(blocks, name).ready()
    const abort = new AbortController()
    const reason = new Error('changed my mind')
    const error = await rejection(storage.retrieve(file, { signal: abort.signal, onProgress: () => abort.abort(reason) }))
    expect(error).toBe(reason)
    const early = new AbortController()
    const pinning = rejection(storage.pin(file, { signal: early.signal }))
    early.abort(reason)
    expect(await pinning).toBe(reason)
    await storage.gc()
    expect(await countAll(name)).toEqual(NOTHING)
  })
})

describe('the fallback', () => {
  const globals = globalThis as { IPFS_KIT_DISABLE?: unknown }

  afterEach(() => {
    delete globals.IPFS_KIT_DISABLE
  })

  async function expectFallback(storage: IPFSKitStorage, reason: BackendStatus['fallbackReason']): Promise<BackendStatus> {
    await storage.ready()
    const status = await storage.getBackendStatus()
    expect(status).toMatchObject({
      ipfsKitAvailable: false,
      usingFallback: true,
      fallbackReason: reason,
      backends: { local: true, ipfs: false },
    })
    expect(await storage.isAvailable()).toBe(false)
    expect(await storage.helia()).toBe(null)
    const cid = await storage.store('local all the same')
    expect(text(await storage.retrieve(cid))).toBe('local all the same')
    expect(await storage.listFiles()).toMatchObject([{ fallback: true }])
    return status
  }

  it('is forced by forceFallback', async () => {
    const storage = localStorageOf()
    expect((await expectFallback(storage, 'forced')).fallbackDetail).toBeUndefined()
    expect(await storage.retrieve(ABSENT)).toBe(null)
  })

  it('is chosen by enableIpfsKit and enableIpfs', async () => {
    await expectFallback(storageOf({ cacheDir: freshName(), enableIpfsKit: false }), 'disabled')
    await expectFallback(storageOf({ cacheDir: freshName(), config: { enableIpfs: false } }), 'disabled')
  })

  it.each(['1', 'true', 'yes', 'YES', true])('is chosen by globalThis.IPFS_KIT_DISABLE = %j', async (value) => {
    globals.IPFS_KIT_DISABLE = value
    const storage = online(blocks)
    await expectFallback(storage, 'disabled')
    expect(await storage.retrieve(ABSENT)).toBe(null)
    expect((await stats()).requests).toBe(0)
  })

  it.each(['0', 'false', 'no', ''])('is not chosen by globalThis.IPFS_KIT_DISABLE = %j', async (value) => {
    globals.IPFS_KIT_DISABLE = value
    const storage = await online(blocks).ready()
    expect(await storage.getBackendStatus()).toMatchObject({ ipfsKitAvailable: true, usingFallback: false })
  })

  it('holds while Helia starts, and says so at once', async () => {
    const storage = online(blocks)
    const started = nextEvent(storage, 'status', (status) => status.ipfsKitAvailable)
    expect(await storage.getBackendStatus()).toMatchObject({ usingFallback: true, fallbackReason: 'starting' })
    const cid = await storage.store('before Helia runs')
    expect(text(await storage.retrieve(cid))).toBe('before Helia runs')
    expect(await started).toMatchObject({ usingFallback: false, backends: { ipfs: true } })
    const status = await storage.getBackendStatus()
    expect([status.fallbackReason, status.fallbackDetail]).toEqual([undefined, undefined])
    expect(await storage.isAvailable()).toBe(true)
    expect((await storage.helia())?.status).toBe('started')
  })

  it('is settled on where Helia is too slow, and left when it runs', async () => {
    const storage = online(blocks, freshName(), { startTimeoutMs: 1 })
    const started = nextEvent(storage, 'status', (status) => status.ipfsKitAvailable)
    const failed = await nextEvent(storage, 'status', (status) => status.fallbackReason === 'helia-failed')
    expect(failed.fallbackDetail).toContain('1 ms')
    await started
    expect(await storage.getBackendStatus()).toMatchObject({ usingFallback: false })
  })

  it('is settled on where Helia fails to start, and its error told', async () => {
    const name = freshName()
    // What Helia keeps its keys and pins in was written by something newer.
    const newer = await rawOpen(`${name}/data`, 5)
    newer.close()
    const storage = online(blocks, name)
    const status = await expectFallback(storage, 'helia-failed')
    expect(status.fallbackDetail).toMatch(/version/i)
    const error = await rejection(storage.retrieve(ABSENT))
    expect(error).toBeInstanceOf(UnavailableError)
    expect((error as UnavailableError).causes[0]?.message).toMatch(/version/i)
    expect(await storage.retrieve(ABSENT, { localOnly: true })).toBe(null)
  })

  it('holds again once whoever holds the node stops it', async () => {
    const storage = await online(blocks).ready()
    const node = (await storage.helia()) as unknown as { stop(): Promise<void> }
    await node.stop()
    expect(await storage.getBackendStatus()).toMatchObject({ ipfsKitAvailable: false, fallbackReason: 'helia-failed' })
    expect(await storage.isAvailable()).toBe(false)
    expect(await rejection(storage.retrieve(ABSENT))).toBeInstanceOf(UnavailableError)
  })
})
