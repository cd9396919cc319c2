// The network goes and comes back, without a reload: in a page, and in a worker that only its page tells of it.
import { CID } from 'multiformats/cid'
import { sha256 } from 'multiformats/hashes/sha2'
import type { BrowserContext, Page } from 'playwright'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, inject, it } from 'vitest'
import type { BackendStatus, ContentStorage, StorageOptions } from '../../src/index.ts'
import { openTabs, startApp, type App, type Kit } from './support/app.ts'

/** Nothing waits this long: it is there so that a wait would be seen. */
const RETRIEVE_TIMEOUT_MS = 30_000

interface Tab {
  kit: Kit
  storage: ContentStorage
  statuses: BackendStatus[]
}

const gateway = inject('gatewayBlocks')

let app: App
let tab: Page
let context: BrowserContext
let errors: string[] = []
let close = async (): Promise<void> => undefined

beforeAll(async () => {
  app = await startApp()
})

afterAll(async () => {
  await app?.close()
})

beforeEach(async () => {
  const opened = await openTabs(app, 1)
  const [page] = opened.tabs
  if (page === undefined) throw new Error('no tab was opened')
  ;[tab, context, errors, close] = [page, page.context(), opened.errors, opened.close]
})

afterEach(async () => {
  await context.setOffline(false)
  await close()
  if (errors.length > 0) throw new Error(errors.join('\n'))
})

async function publish(text: string): Promise<string> {
  const body = new TextEncoder().encode(text)
  const cid = CID.createV1(0x55, await sha256.digest(body)).toString()
  expect((await fetch(`${gateway}/block/${cid}`, { method: 'PUT', body })).ok).toBe(true)
  return cid
}

async function open(kind: 'page' | 'dedicated worker' | 'shared worker'): Promise<void> {
  const options: StorageOptions = {
    cacheDir: 'offline',
    config: { ipfs: { gateways: [gateway], delegatedRouters: [], retrieveTimeoutMs: RETRIEVE_TIMEOUT_MS } },
  }
  await tab.evaluate(
    ([kind, options]) => {
      const own = globalThis as unknown as Tab
      const script = [new URL('/worker.js', location.href), { type: 'module', name: JSON.stringify(options) }] as const
      if (kind === 'page') own.storage = new own.kit.IPFSKitStorage(options)
      else own.storage = own.kit.connect(kind === 'shared worker' ? new SharedWorker(...script) : new Worker(...script))
      own.statuses = []
      own.storage.addEventListener('status', (event) => void own.statuses.push(event.detail))
    },
    [kind, options] as const,
  )
}

/** Waits until the storage says that of itself, by event or asked. */
async function until(wanted: Partial<BackendStatus>): Promise<void> {
  await tab.waitForFunction(async (wanted) => {
    const status = await (globalThis as unknown as Tab).storage.getBackendStatus()
    return Object.entries(wanted).every(([key, value]) => status[key as keyof BackendStatus] === value)
  }, wanted)
}

/** What retrieve() answers: text, null or the error's name and causes. */
const retrieve = (cid: string): Promise<string | null> =>
  tab.evaluate(async (cid) => {
    const { storage } = globalThis as unknown as Tab
    return storage.retrieve(cid).then(
      (bytes) => (bytes === null ? null : new TextDecoder().decode(bytes)),
      (error: Error & { causes?: Error[] }) => `${error.name}: ${(error.causes ?? []).map((cause) => cause.message).join('; ')}`,
    )
  }, cid)

const store = (text: string): Promise<string> => tab.evaluate((text) => (globalThis as unknown as Tab).storage.store(text), text)

describe.each(['page', 'dedicated worker', 'shared worker'] as const)('a storage in a %s', (kind) => {
  it('goes offline and comes back', async () => {
    const [before, after] = [await publish(`${kind} before`), await publish(`${kind} after`)]
    await open(kind)
    await until({ ipfsKitAvailable: true })
    expect(await retrieve(before)).toBe(`${kind} before`)

    await context.setOffline(true)
    await until({ ipfsKitAvailable: false, usingFallback: true, fallbackReason: 'offline' })
    expect(await retrieve(after)).toMatch(/^UnavailableError: .*offline/)
    expect(await retrieve(before)).toBe(`${kind} before`)
    const local = await store('stored offline')
    expect(await retrieve(local)).toBe('stored offline')
    expect(await tab.evaluate(() => (globalThis as unknown as Tab).storage.isAvailable())).toBe(false)
    const files = await tab.evaluate(async () =>
      (await (globalThis as unknown as Tab).storage.listFiles()).map((file) => [file.cid, file.fallback]),
    )
    expect(files.toSorted()).toEqual(
      [
        [before, false],
        [local, true],
      ].toSorted(),
    )

    await context.setOffline(false)
    await until({ ipfsKitAvailable: true, usingFallback: false })
    expect(await retrieve(after)).toBe(`${kind} after`)
    const told = await tab.evaluate(() => (globalThis as unknown as Tab).statuses.map((status) => status.fallbackReason ?? 'running'))
    expect(told.filter((reason, index) => reason !== told[index - 1] && reason !== 'starting')).toEqual(['running', 'offline', 'running'])
  })

  it('that is opened offline works, and starts Helia when the network comes', async () => {
    const cid = await publish(`${kind} first`)
    // Must be loaded before: a script that is nowhere can't be had offline by anybody.
    await tab.evaluate(() => fetch('/worker.js'))
    if (kind === 'page') await context.setOffline(true)
    await open(kind)
    if (kind !== 'page') {
      await store('is loaded')
      await context.setOffline(true)
    }
    await until({ usingFallback: true, fallbackReason: 'offline' })
    const local = await store('stored offline')
    expect(await retrieve(local)).toBe('stored offline')
    expect(await retrieve(cid)).toMatch(/^UnavailableError/)
    await context.setOffline(false)
    await until({ ipfsKitAvailable: true })
    expect(await retrieve(cid)).toBe(`${kind} first`)
  })

  it('ends what it was fetching when the network goes', async () => {
    const absent = CID.createV1(0x55, await sha256.digest(new TextEncoder().encode(`${kind} nobody has this`))).toString()
    await tab.evaluate(
      ([gateway, kind]) => {
        const own = globalThis as unknown as Tab
        const options = { cacheDir: 'waiting', config: { ipfs: { gateways: [gateway], delegatedRouters: [] } } }
        const script = [new URL('/worker.js', location.href), { type: 'module', name: JSON.stringify(options) }] as const
        if (kind === 'page') own.storage = new own.kit.IPFSKitStorage(options)
        else own.storage = own.kit.connect(kind === 'shared worker' ? new SharedWorker(...script) : new Worker(...script))
      },
      [inject('gatewayHang'), kind] as const,
    )
    await until({ ipfsKitAvailable: true })
    const waiting = retrieve(absent)
    await tab.evaluate(() => (globalThis as unknown as Tab).storage.getBackendStatus())
    await context.setOffline(true)
    expect(await waiting).toMatch(/^UnavailableError: .*offline/)
  })
})
