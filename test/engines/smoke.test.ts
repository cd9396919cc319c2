// What every engine must do in every circumstance: a private window, http on a name that is no loopback, an isolated page.
import { afterEach, describe, expect, it, vi } from 'vitest'
import { IPFSKitStorage, NotSupportedError, type ContentStorage } from '../../src/index.ts'
import { connect } from '../../src/worker/index.ts'
import { SCRIPT } from '../browser/fixtures/script.ts'
import { nextEvent } from '../browser/support/outside.ts'
import { closeAll, freshName, localStorageOf, randomBytes, same } from '../browser/support/stores.ts'
import { probeInWorker } from './worker-probes.ts'

const HELLO = 'bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e'
const SIZE = 5 * 1024 * 1024 + 17
/** As the stock ipfs-unixfs-importer has it for randomBytes(SIZE). */
const CID = 'bafybeidatjdru2svr2nl5yxvup3v6coqp2luitipdjh3oos5ipunn44exa'

const FREED_TIMEOUT_MS = 20_000

const AUTO = { config: { tier: 'auto' } } as const

const endings: (() => void | Promise<void>)[] = []

afterEach(async () => {
  for (const ending of endings.splice(0).reverse()) await ending()
  await closeAll()
})

async function expectWhole(storage: ContentStorage): Promise<void> {
  const bytes = randomBytes(SIZE)
  expect(same(await storage.retrieve(CID), bytes)).toBe(true)
  expect(await storage.retrieve(CID, { offset: 1024 * 1024 - 2, length: 5 })).toEqual(bytes.slice(1024 * 1024 - 2, 1024 * 1024 + 3))
  expect(same(new Uint8Array(await new Response(await storage.stream(CID)).arrayBuffer()), bytes)).toBe(true)
  expect(same(new Uint8Array((await (await storage.blob(CID))?.arrayBuffer()) ?? new ArrayBuffer(0)), bytes)).toBe(true)
  expect(await storage.verify()).toMatchObject({ blocks: 7, damaged: [] })
}

describe('a storage', () => {
  it('stores, reads, pins, exports, imports and deletes', async () => {
    const storage = localStorageOf(AUTO)
    expect(await storage.store('hello world')).toBe(HELLO)
    expect(await storage.delete(HELLO)).toBe(true)
    expect(await storage.store(randomBytes(SIZE), { filename: 'models/a', pin: true })).toBe(CID)
    await expectWhole(storage)
    expect(await storage.listFiles('models')).toMatchObject([{ filename: 'models/a', cid: CID, size: SIZE, state: 'whole', pinned: true }])
    await expect(storage.delete(CID)).rejects.toHaveProperty('name', 'PinnedError')
    const car = await new Response(await storage.exportCar(CID)).blob()
    expect(await storage.delete(CID, { force: true })).toBe(true)
    expect(await storage.listFiles()).toEqual([])
    expect(await storage.importCar(car)).toEqual([CID])
    await expectWhole(storage)
  })

  it('frees what was deleted: at once, or without Web Locks when it is opened alone', async () => {
    const cacheDir = freshName()
    const deleting = localStorageOf({ cacheDir, ...AUTO })
    await deleting.store(randomBytes(SIZE))
    expect(await deleting.delete(CID)).toBe(true)
    const atOnce = 'locks' in navigator
    if (!atOnce) await deleting.close()
    const storage = atOnce ? deleting : localStorageOf({ cacheDir, ...AUTO })
    await vi.waitFor(async () => expect(await storage.retrieve(CID)).toBeNull(), { timeout: FREED_TIMEOUT_MS })
    await storage.gc()
    expect((await storage.getBackendStatus()).usage).toMatchObject({ blocks: 0, bytes: 0, files: 0 })
  })

  it('is there again after it was closed', async () => {
    const cacheDir = freshName()
    const storage = localStorageOf({ cacheDir, ...AUTO })
    await storage.store(randomBytes(SIZE), { filename: 'a' })
    const before = await storage.getBackendStatus()
    await storage.close()
    const again = localStorageOf({ cacheDir, ...AUTO })
    expect((await again.getBackendStatus()).tier).toBe(before.tier)
    await expectWhole(again)
    expect(await again.listFiles()).toHaveLength(1)
    await again.close()
    await IPFSKitStorage.destroy(cacheDir)
    const fresh = localStorageOf({ cacheDir, ...AUTO })
    expect(await fresh.listFiles()).toEqual([])
  })

  it('is the same to another one of its name, which hears of changes', async () => {
    const cacheDir = freshName()
    const [one, two] = [localStorageOf({ cacheDir, ...AUTO }), localStorageOf({ cacheDir, ...AUTO })]
    await two.ready()
    const heard = nextEvent(two, 'change')
    await one.store(randomBytes(SIZE), { filename: 'a' })
    await heard
    await expectWhole(two)
  })

  it('works in a worker', async () => {
    const cacheDir = freshName()
    const options = { cacheDir, forceFallback: true, ...AUTO }
    const worker = new Worker(SCRIPT, { type: 'module', name: JSON.stringify(options) })
    const client = connect(worker)
    endings.push(
      () => IPFSKitStorage.destroy(cacheDir),
      () => worker.terminate(),
      () => client.close(),
    )
    expect(await client.store(randomBytes(SIZE))).toBe(CID)
    await expectWhole(client)
    const page = localStorageOf(options)
    await expectWhole(page)
  })
})

describe('where something is missing', () => {
  it('the status says on which tier the storage is, and why on no better one', async () => {
    const storage = localStorageOf(AUTO)
    await storage.ready()
    const { tier, tierDetail } = await storage.getBackendStatus()
    const able = await canWritePacks()
    expect(tier).toBe(able ? 'packs' : 'records')
    if (able) expect(tierDetail).toBeUndefined()
    else expect(tierDetail).toMatch(/\w+ \w+/)
  })

  it("tier 'packs' is refused by name, and small files are kept", async () => {
    const storage = localStorageOf({ config: { tier: 'packs' } })
    expect(await storage.store('hello world')).toBe(HELLO)
    if (await canWritePacks()) expect(await storage.store(randomBytes(SIZE))).toBe(CID)
    else await expect(storage.store(randomBytes(SIZE))).rejects.toBeInstanceOf(NotSupportedError)
    expect(new TextDecoder().decode((await storage.retrieve(HELLO)) ?? undefined)).toBe('hello world')
  })

  it('persist() is refused by name', async () => {
    const manager = navigator.storage as StorageManager | undefined
    // Where it is there it is not called: Firefox asks its user.
    if (manager?.persist === undefined) await expect(localStorageOf(AUTO).persist()).rejects.toBeInstanceOf(NotSupportedError)
    else expect(await manager.persisted()).toBe(false)
  })
})

/** What packs want, as README.md has it: Web Locks, and sync handles in workers. */
async function canWritePacks(): Promise<boolean> {
  const { both, worker } = await probeInWorker()
  return both['Web Locks'] === 'yes' && worker['OPFS, createSyncAccessHandle'] === 'yes'
}
