// Promise: a storage whose content the browser took away says so, and works on as an empty one.
import type { CDPSession, Page } from 'playwright'
import type { Key } from 'interface-datastore'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { BackendStatus, HeliaNode, IPFSKitStorage } from '../../src/index.ts'
import type * as Cids from '../browser/fixtures/cids.ts'
import { openOnDisk, startApp, type App, type Kit } from '../e2e/support/app.ts'

const TIMEOUT_MS = 20_000
/** What the browser takes when it is short of space; it leaves localStorage. */
const EVICTED = 'indexeddb,file_systems,cache_storage,service_workers'

interface Tab {
  kit: Kit
  storage: IPFSKitStorage
  bytes: (mebibytes: number, seed: number) => Uint8Array<ArrayBuffer>
  heard: BackendStatus[]
  node: HeliaNode
  load: (script: string) => Promise<typeof Cids>
}

let app: App
let tab: Page
let session: CDPSession
let errors: string[] = []
let close = async (): Promise<void> => undefined

beforeAll(async () => {
  app = await startApp({ cids: 'test/browser/fixtures/cids.ts', destroyer: 'test/browser/fixtures/destroying-worker.ts' })
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

  it('that a worker destroys, while a page has it open, says nothing', async () => {
    await open(tier)
    await store(1)
    const told = await tab.evaluate(
      () =>
        new Promise<unknown>((resolve) => {
          const worker = new Worker('/destroyer.js', { type: 'module', name: 'taken' })
          worker.onmessage = ({ data }) => resolve(data)
        }),
    )
    expect(told).toBe('destroyed')
    await closeStorage()
    expect(await open(tier)).not.toHaveProperty('storageEvicted')
    expect(await store(2)).toEqual(['2 whole', 'small 2 whole'])
    await closeStorage()
    await take(EVICTED)
    expect(await open(tier)).toMatchObject({ storageEvicted: true })
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

describe("Helia's node over a storage that is taken away while it is open", () => {
  const [first, second] = [
    ['bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e', 'hello world'],
    ['bafkreibm6jg3ux5qumhcn2b3flc3tyu6dmlb4xa7u5bf44yegnrjhc4yeq', 'hello'],
  ] as const

  /** Puts a block and a value, and answers what the node's stores then hold. */
  const put = ([cid, text]: readonly [string, string]): Promise<{ blocks: string[]; values: string[] }> =>
    tab.evaluate(
      async ({ cid, text }) => {
        const { load, node } = globalThis as unknown as Tab
        const { CID } = await load('/cids.js')
        const bytes = new TextEncoder().encode(text)
        const key = (name: string): Key => ({ toString: () => `/local/${name}` }) as Key
        const { blockstore, datastore } = node
        await blockstore.put(CID.parse(cid), bytes)
        if (!(await blockstore.has(CID.parse(cid)))) throw new Error('a block that was put is not there')
        await datastore.put(key(text), bytes)
        const batch = datastore.batch()
        batch.put(key(`batch of ${text}`), bytes)
        await batch.commit()
        if (!(await datastore.has(key(text))) || (await datastore.get(key(text))).byteLength !== bytes.byteLength)
          throw new Error('a value that was put is not there')
        const [blocks, values]: string[][] = [[], []]
        for await (const found of blockstore.getAll()) blocks?.push(found.cid.toString())
        for await (const found of datastore.queryKeys({ prefix: '/local' })) values?.push(found.toString())
        return { blocks: blocks ?? [], values: values?.toSorted() ?? [] }
      },
      { cid, text },
    )

  const held = ([cid, text]: readonly [string, string]): Awaited<ReturnType<typeof put>> => ({
    blocks: [cid],
    values: [`/local/batch of ${text}`, `/local/${text}`],
  })

  const openOnline = (): Promise<void> =>
    tab.evaluate(async () => {
      const own = globalThis as unknown as Tab
      own.storage = new own.kit.IPFSKitStorage({ cacheDir: 'taken', config: { ipfs: { gateways: [], delegatedRouters: [] } } })
      own.heard = []
      own.storage.addEventListener('status', ({ detail }) => own.heard.push(detail))
      const node = await own.storage.helia()
      if (node === null) throw new Error('there is no node')
      own.node = node
    })

  it('works on with it', async () => {
    await openOnline()
    expect(await put(first)).toEqual(held(first))
    await take(EVICTED)
    await tab.waitForFunction(() => (globalThis as unknown as Tab).heard.some(({ storageEvicted }) => storageEvicted === true), undefined, {
      timeout: TIMEOUT_MS,
    })
    expect(await put(second)).toEqual(held(second))
    const after = await tab.evaluate(async () => {
      const { storage, node } = globalThis as unknown as Tab
      await storage.gc()
      const { usage, ipfsKitAvailable } = await storage.getBackendStatus()
      return { blocks: usage.blocks, ipfsKitAvailable, status: node.status }
    })
    expect(after).toEqual({ blocks: 1, ipfsKitAvailable: true, status: 'started' })
    await closeStorage()
    // What the node put is its session's, which goes on.
    await openOnline()
    expect(await put(second)).toEqual(held(second))
    await closeStorage()
  })
})
