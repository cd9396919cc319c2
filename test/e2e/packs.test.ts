// Packs where real tabs, policies and quotas come in.
import type { Page } from 'playwright'
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import type { IPFSKitStorage, StorageConfig } from '../../src/index.ts'
import { openOnDisk, openTabs, startApp, type App, type Kit } from './support/app.ts'

const NAME = 'packs'
const LET_GO_TIMEOUT_MS = 20_000
const MIB = 1024 * 1024

/** What the tests keep in a tab. */
interface Tab {
  kit: Kit
  storage: IPFSKitStorage
  bytes: (mebibytes: number, seed: number) => Uint8Array<ArrayBuffer>
  same: (a: Uint8Array | null, b: Uint8Array) => boolean
  files: () => Promise<number>
  blob?: Blob | null
  going?: Promise<unknown>
  goOn?: () => void
}

let app: App
let errors: string[] = []
let close = async (): Promise<void> => undefined

beforeAll(async () => {
  app = await startApp()
})

afterAll(async () => {
  await app?.close()
})

afterEach(async () => {
  await close()
  if (errors.length > 0) throw new Error(errors.join('\n'))
})

async function openAt(path: string, count: number): Promise<[Page, ...Page[]]> {
  return used(await openTabs(app, count, path))
}

/** Tabs that are closed after the test, which fails where something went wrong in them unseen. */
function used(opened: Awaited<ReturnType<typeof openTabs>>): [Page, ...Page[]] {
  ;({ errors, close } = opened)
  const [first, ...others] = opened.tabs
  if (first === undefined) throw new Error('no tab was opened')
  return [first, ...others]
}

/** Makes the storage of a tab. It opens behind the tab's back. `ownWorker`: it gets a createWorker. */
async function make(tab: Page, config: StorageConfig = {}, ownWorker = false): Promise<void> {
  await tab.evaluate(
    async ([cacheDir, config, ownWorker]) => {
      const own = globalThis as unknown as Tab
      const maker = ownWorker ? { createWorker: () => new Worker('/pack-worker.js', { type: 'module' }) } : {}
      own.storage = new own.kit.IPFSKitStorage({ cacheDir, forceFallback: true, config: { ...config, ...maker } })
      own.bytes = (mebibytes, seed) => {
        const words = new Uint32Array(mebibytes * 262_144)
        let state = seed * 2_654_435_761
        for (let index = 0; index < words.length; index++) {
          state = (Math.imul(state ^ (state >>> 15), 0x2c1b3c6d) + 0x9e3779b9) | 0
          words[index] = state
        }
        return new Uint8Array(words.buffer)
      }
      own.same = (a, b) => a !== null && a.byteLength === b.byteLength && a.every((byte, index) => byte === b[index])
      own.files = async () => {
        let count = 0
        let folder = await navigator.storage.getDirectory()
        for (const name of ['ipfs-kit-web', `s-${cacheDir}`]) folder = await folder.getDirectoryHandle(name)
        const names = (folder as FileSystemDirectoryHandle & { keys(): AsyncIterable<string> }).keys()
        for await (const name of names) if (!name.startsWith('probe-')) count++
        return count
      }
    },
    [NAME, config, ownWorker] as const,
  )
}

const files = (tab: Page): Promise<number> => tab.evaluate(() => (globalThis as unknown as Tab).files())
const statusOf = (tab: Page): ReturnType<IPFSKitStorage['getBackendStatus']> =>
  tab.evaluate(() => (globalThis as unknown as Tab).storage.getBackendStatus())
const collect = (tab: Page): Promise<unknown> => tab.evaluate(() => (globalThis as unknown as Tab).storage.gc())

/** What storing so many MiB answers: the CID, or what went wrong. */
const store = (tab: Page, mebibytes: number, seed: number): Promise<string> =>
  tab.evaluate(
    async ([mebibytes, seed]) => {
      const { storage, bytes } = globalThis as unknown as Tab
      return storage.store(bytes(mebibytes, seed)).catch((error: Error) => error.name)
    },
    [mebibytes, seed] as const,
  )

const isWhole = (tab: Page, cid: string, mebibytes: number, seed: number): Promise<boolean> =>
  tab.evaluate(
    async ([cid, mebibytes, seed]) => {
      const { storage, bytes, same } = globalThis as unknown as Tab
      return same(await storage.retrieve(cid), bytes(mebibytes, seed))
    },
    [cid, mebibytes, seed] as const,
  )

describe('a policy that lets no worker be made from text', () => {
  it("leaves 'auto' with records, and 'packs' with an error", async () => {
    const [tab, other] = await openAt('strict', 2)
    await make(tab)
    const cid = await store(tab, 5, 1)
    expect(await statusOf(tab)).toMatchObject({ tier: 'records', tierDetail: expect.stringContaining('worker'), usage: { blocks: 6 } })
    expect(await isWhole(tab, cid, 5, 1)).toBe(true)
    await make(other!, { tier: 'packs' })
    const refused = await other!.evaluate(() => (globalThis as unknown as Tab).storage.ready().then(String, (error: Error) => error.name))
    expect(refused).toBe('NotSupportedError')
    expect(await store(other!, 5, 2)).toBe('NotSupportedError')
  })

  it('lets createWorker write packs', async () => {
    const [tab] = await openAt('strict', 1)
    await make(tab, { tier: 'packs' }, true)
    const cid = await store(tab, 5, 1)
    expect(await statusOf(tab)).toMatchObject({ tier: 'packs', usage: { blocks: 6 } })
    expect(await files(tab)).toBe(1)
    expect(await isWhole(tab, cid, 5, 1)).toBe(true)
  })
})

describe('a full disk', () => {
  it.each(['records', 'packs'] as const)('on %s is a QuotaError that leaves nothing', async (tier) => {
    const [tab] = used(await openOnDisk(app))
    const session = await tab.context().newCDPSession(tab)
    const origin = new URL(app.url).origin
    // Before anything is written: IndexedDB remembers for a while how much room there was.
    await session.send('Storage.overrideQuotaForOrigin', { origin, quotaSize: 60 * MIB })
    await make(tab, { tier })
    const kept = await store(tab, 5, 1)
    // Else it would make room.
    await tab.evaluate((cid) => (globalThis as unknown as Tab).storage.pin(cid), kept)
    expect(await store(tab, 100, 2)).toBe('QuotaError')
    expect(await statusOf(tab)).toMatchObject({ usage: { blocks: 6, files: 1, deadBytes: 0 } })
    await collect(tab)
    expect(await statusOf(tab)).toMatchObject({ usage: { blocks: 6, files: 1, deadBytes: 0 } })
    if (tier === 'packs') expect(await files(tab)).toBe(1)
    expect(await isWhole(tab, kept, 5, 1)).toBe(true)
    // Deleting needs no room, and what fits goes in.
    expect(await tab.evaluate((cid) => (globalThis as unknown as Tab).storage.delete(cid, { force: true }), kept)).toBe(true)
    expect(await statusOf(tab)).toMatchObject({ usage: { blocks: 0, bytes: 0, files: 0, deadBytes: 0 } })
    const again = await store(tab, 20, 3)
    expect(await isWhole(tab, again, 20, 3)).toBe(true)
  })

  it('leaves a pack that is mostly dead as it is until there is room for what is needed of it', async () => {
    const [tab] = used(await openOnDisk(app))
    const session = await tab.context().newCDPSession(tab)
    const origin = new URL(app.url).origin
    await session.send('Storage.overrideQuotaForOrigin', { origin, quotaSize: 70 * MIB })
    await make(tab, { tier: 'packs' })
    const [deleted, kept] = await tab.evaluate(async () => {
      const { storage, bytes } = globalThis as unknown as Tab
      const cids = [await storage.store([bytes(24, 1), bytes(26, 2)]), await storage.store([bytes(24, 1), bytes(5, 3)])]
      await storage.delete(cids[0] ?? '')
      return cids
    })
    expect(deleted).not.toBe(kept)
    const isKept = (): Promise<boolean> =>
      tab.evaluate(async (cid) => {
        const { storage, bytes, same } = globalThis as unknown as Tab
        return same(await storage.retrieve(cid), new Uint8Array(await new Blob([bytes(24, 1), bytes(5, 3)]).arrayBuffer()))
      }, kept ?? '')
    expect(await collect(tab)).toEqual({ blocks: 0, bytes: 0 })
    expect(await statusOf(tab)).toMatchObject({ usage: { blocks: 30, files: 1, deadBytes: 26 * MIB } })
    expect(await files(tab)).toBe(2)
    expect(await isKept()).toBe(true)
    await session.send('Storage.overrideQuotaForOrigin', { origin, quotaSize: 200 * MIB })
    await collect(tab)
    expect(await statusOf(tab)).toMatchObject({ usage: { blocks: 30, files: 1, deadBytes: 0 } })
    expect(await files(tab)).toBe(2)
    expect(await isKept()).toBe(true)
  })
})

describe('two tabs', () => {
  async function two(): Promise<[Page, Page]> {
    const [one, other] = await openAt('', 2)
    for (const tab of [one, other!]) await make(tab)
    return [one, other!]
  }

  it('that store one content at once end with one copy', async () => {
    const [one, other] = await two()
    const [first, second] = await Promise.all([store(one, 40, 1), store(other, 40, 1)])
    expect(first).toBe(second)
    expect(await files(one)).toBe(1)
    expect(await statusOf(other)).toMatchObject({ tier: 'packs', usage: { blocks: 41, files: 1, deadBytes: 0 } })
    for (const tab of [one, other]) expect(await isWhole(tab, first, 40, 1)).toBe(true)
  })

  it('leave each other what is being written', async () => {
    const [one, other] = await two()
    await one.evaluate(() => {
      const own = globalThis as unknown as Tab
      const all = own.bytes(20, 3)
      const source = new ReadableStream<Uint8Array>({
        start(controller) {
          controller.enqueue(all.slice(0, 14 * 1_048_576))
          own.goOn = () => {
            controller.enqueue(all.slice(14 * 1_048_576))
            controller.close()
          }
        },
      })
      own.going = own.storage.store(source)
    })
    await one.waitForFunction(async () => (await (globalThis as unknown as Tab).files().catch(() => 0)) === 1)
    await collect(other)
    // An opening sweeps as well.
    await other.reload()
    await other.waitForFunction(() => 'kit' in globalThis)
    await make(other)
    await collect(other)
    expect(await files(other)).toBe(1)
    const cid = await one.evaluate(async () => {
      const own = globalThis as unknown as Tab
      own.goOn?.()
      return own.going as Promise<string>
    })
    await collect(other)
    expect(await isWhole(other, cid, 20, 3)).toBe(true)
  })

  it('read a Blob whose content the other deleted, until the tab that has it is closed', async () => {
    const [one, other] = await two()
    const cid = await store(one, 8, 4)
    await one.evaluate(async (cid) => {
      const own = globalThis as unknown as Tab
      own.blob = await own.storage.blob(cid)
    }, cid)
    expect(await other.evaluate((cid) => (globalThis as unknown as Tab).storage.delete(cid), cid)).toBe(true)
    await collect(other)
    expect(await files(other)).toBe(1)
    expect(await statusOf(other)).toMatchObject({ usage: { blocks: 0, bytes: 0, deadBytes: 8 * MIB } })
    const whole = await one.evaluate(async () => {
      const { blob, same, bytes } = globalThis as unknown as Tab
      return same(new Uint8Array((await blob?.arrayBuffer()) ?? new ArrayBuffer(0)), bytes(8, 4))
    })
    expect(whole).toBe(true)
    await one.close()
    // The browser lets go of a closed tab's locks when it gets there.
    await vi.waitFor(
      async () => {
        await collect(other)
        expect(await files(other)).toBe(0)
      },
      { timeout: LET_GO_TIMEOUT_MS },
    )
    expect(await statusOf(other)).toMatchObject({ usage: { deadBytes: 0 } })
  })

  it('free a pack that the other has read, as soon as it lets go', async () => {
    const [one, other] = await two()
    const cid = await store(one, 8, 5)
    expect(await isWhole(other, cid, 8, 5)).toBe(true)
    expect(await one.evaluate((cid) => (globalThis as unknown as Tab).storage.delete(cid), cid)).toBe(true)
    await vi.waitFor(async () => expect(await files(one)).toBe(0), { timeout: LET_GO_TIMEOUT_MS })
    expect(await statusOf(one)).toMatchObject({ usage: { blocks: 0, deadBytes: 0 } })
  })

  it('destroy a storage that the other has open, packs and all', async () => {
    const [one, other] = await two()
    const cid = await store(one, 8, 6)
    expect(await isWhole(other, cid, 8, 6)).toBe(true)
    await one.evaluate((name) => (globalThis as unknown as Tab).kit.IPFSKitStorage.destroy(name), NAME)
    const left = await one.evaluate(async () => {
      const root = await navigator.storage.getDirectory()
      const folder = (await root.getDirectoryHandle('ipfs-kit-web')) as FileSystemDirectoryHandle & { keys(): AsyncIterable<string> }
      const names: string[] = []
      for await (const name of folder.keys()) names.push(name)
      return [names, (await indexedDB.databases()).map((database) => database.name)]
    })
    expect(left).toEqual([[], []])
    const read = await other.evaluate(
      (cid) => (globalThis as unknown as Tab).storage.retrieve(cid).then(String, (error: Error) => error.name),
      cid,
    )
    expect(read).toBe('DatabaseError')
    await make(other)
    expect(await isWhole(other, await store(other, 8, 6), 8, 6)).toBe(true)
  })
})
