// Promise: a storage whose content the browser took away says so, and works on as an empty one.
import type { CDPSession, Page } from 'playwright'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { BackendStatus, IPFSKitStorage } from '../../src/index.ts'
import { openOnDisk, startApp, type App, type Kit } from '../e2e/support/app.ts'

const TIMEOUT_MS = 20_000
/** What the browser takes when it is short of space; it leaves localStorage. */
const EVICTED = 'indexeddb,file_systems,cache_storage,service_workers'

interface Tab {
  kit: Kit
  storage: IPFSKitStorage
  bytes: (mebibytes: number, seed: number) => Uint8Array<ArrayBuffer>
  heard: BackendStatus[]
}

let app: App
let tab: Page
let session: CDPSession
let errors: string[] = []
let close = async (): Promise<void> => undefined

beforeAll(async () => {
  app = await startApp()
})

afterAll(async () => {
  await app?.close()
})

beforeEach(async () => {
  const opened = await openOnDisk(app)
  ;({ errors, close } = opened)
  const [first] = opened.tabs
  if (first === undefined) throw new Error('no tab was opened')
  tab = first
  session = await tab.context().newCDPSession(tab)
})

afterEach(async () => {
  await close()
  if (errors.length > 0) throw new Error(errors.join('\n'))
})

async function open(tier: 'records' | 'packs'): Promise<BackendStatus> {
  return tab.evaluate(async (tier) => {
    const own = globalThis as unknown as Tab
    own.storage = await new own.kit.IPFSKitStorage({ cacheDir: 'taken', forceFallback: true, config: { tier } }).ready()
    own.heard = []
    own.storage.addEventListener('status', ({ detail }) => own.heard.push(detail))
    return own.storage.getBackendStatus()
  }, tier)
}

/** Stores under the seed as a name, and answers what is listed. */
function store(seed: number): Promise<string[]> {
  return tab.evaluate(async (seed) => {
    const { storage, bytes } = globalThis as unknown as Tab
    await storage.store(bytes(10, seed), { filename: `${seed}` })
    const [first] = await storage.storeMany([{ data: `small ${seed}`, filename: `small ${seed}` }])
    if (first === undefined || (await storage.retrieve(first)) === null) throw new Error('what was stored is not there')
    await storage.verify()
    return (await storage.listFiles()).map(({ filename, state }) => `${filename} ${state}`)
  }, seed)
}

const take = (storageTypes: string): Promise<unknown> =>
  session.send('Storage.clearDataForOrigin', { origin: new URL(app.url).origin, storageTypes })

const closeStorage = (): Promise<void> => tab.evaluate(() => (globalThis as unknown as Tab).storage.close())

describe.each(['records', 'packs'] as const)('a storage on %s', (tier) => {
  it('that is taken away while it is open says so, and works on', async () => {
    expect(await open(tier)).not.toHaveProperty('storageEvicted')
    expect(await store(1)).toEqual(['1 whole', 'small 1 whole'])
    await take(EVICTED)
    await tab.waitForFunction(() => (globalThis as unknown as Tab).heard.some(({ storageEvicted }) => storageEvicted === true), undefined, {
      timeout: TIMEOUT_MS,
    })
    expect(await store(2)).toEqual(['2 whole', 'small 2 whole'])
    expect(await tab.evaluate(async () => (await (globalThis as unknown as Tab).storage.getBackendStatus()).storageEvicted)).toBe(true)
    await closeStorage()
    // The next opening finds what is there.
    expect(await open(tier)).not.toHaveProperty('storageEvicted')
    expect(await store(3)).toEqual(['2 whole', '3 whole', 'small 2 whole', 'small 3 whole'])
  })

  it('that was taken away while it was closed says so at the next opening, and only then', async () => {
    await open(tier)
    await store(1)
    await closeStorage()
    await take(EVICTED)
    expect(await open(tier)).toMatchObject({ storageEvicted: true, usage: { files: 0 } })
    expect(await store(2)).toEqual(['2 whole', 'small 2 whole'])
    await closeStorage()
    expect(await open(tier)).not.toHaveProperty('storageEvicted')
  })

  it('that was destroyed, or cleared with all else that the site had, says nothing', async () => {
    await open(tier)
    await store(1)
    await closeStorage()
    await tab.evaluate(() => (globalThis as unknown as Tab).kit.IPFSKitStorage.destroy('taken'))
    expect(await open(tier)).not.toHaveProperty('storageEvicted')
    await store(1)
    await closeStorage()
    await take('all')
    // The browser leaves a page that is open then with locks of its own.
    await tab.reload()
    await tab.waitForFunction(() => 'kit' in globalThis)
    expect(await open(tier)).not.toHaveProperty('storageEvicted')
  })
})
