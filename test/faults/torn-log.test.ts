// Promise: where a kill cuts off the browser's own log of its databases, nothing is lost of what was stored, though that browser would delete all of it at the
// second start after that.
import { mkdtemp, readdir, rm, stat, truncate } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Page } from 'playwright'
import { afterAll, beforeAll, expect, it } from 'vitest'
import type { IPFSKitStorage } from '../../src/index.ts'
import { serveApp, type Kit, type Served } from '../e2e/support/app.ts'
import { startKillable, type Killable } from './support/killable.ts'

const NAME = 'torn'
const MIB = 1024 * 1024
/** Of the log's last record, which is longer. */
const CUT_BYTES = 100
const RENEWAL_TIMEOUT_MS = 20_000

interface Tab {
  kit: Kit
  storage: IPFSKitStorage
}

type Tier = 'records' | 'packs'

let app: Served

beforeAll(async () => {
  app = await serveApp({})
})

afterAll(async () => {
  await app?.close()
})

/** Answers the names that are there, once what the storage does at its opening is done. */
async function open(page: Page, tier: Tier): Promise<string[]> {
  const names = await page.evaluate(
    async ([cacheDir, tier]) => {
      const own = globalThis as unknown as Tab
      own.storage = await new own.kit.IPFSKitStorage({ cacheDir, forceFallback: true, config: { tier } }).ready()
      return (await own.storage.listFiles()).map(({ filename, state }) => `${filename} ${state}`)
    },
    [NAME, tier] as const,
  )
  const isOpen = (): Promise<boolean> =>
    page.evaluate(async () =>
      ((await navigator.locks.query()).held ?? []).some(({ name, mode }) => name === 'ipfs-kit:torn:open' && mode === 'shared'),
    )
  await expect.poll(isOpen, { timeout: RENEWAL_TIMEOUT_MS }).toBe(true)
  return names
}

async function store(page: Page, filename: string, bytes: number): Promise<void> {
  await page.evaluate(
    async ([filename, bytes]) => {
      const data = new Uint8Array(bytes)
      for (let at = 0; at < bytes; at += 65_536) crypto.getRandomValues(data.subarray(at, at + 65_536))
      await (globalThis as unknown as Tab).storage.store(data, { filename })
    },
    [filename, bytes] as const,
  )
}

/** As the last thing in the log, something that may be lost. */
async function writeLast(page: Page): Promise<void> {
  await page.evaluate(async () => {
    const request = indexedDB.open('other', 1)
    request.onupgradeneeded = () => request.result.createObjectStore('rows')
    await new Promise((resolve) => (request.onsuccess = resolve))
    const tx = request.result.transaction('rows', 'readwrite', { durability: 'strict' })
    tx.objectStore('rows').put('x'.repeat(5000), 1)
    await new Promise((resolve) => (tx.oncomplete = resolve))
  })
}

/** Cuts the log off in the midst of its last record, as a kill does. */
async function cut(profile: string): Promise<void> {
  const databases = join(profile, 'Default', 'IndexedDB')
  const folder = (await readdir(databases)).find((name) => name.startsWith('http') && name.endsWith('.leveldb'))
  if (folder === undefined) throw new Error('there are no databases')
  const names = (await readdir(join(databases, folder))).filter((name) => name.endsWith('.log')).toSorted()
  const log = join(databases, folder, names.at(-1) ?? '')
  const { size } = await stat(log)
  expect(size).toBeGreaterThan(CUT_BYTES)
  await truncate(log, size - CUT_BYTES)
}

it.each(['records', 'packs'] as const)('on %s', { timeout: 240_000 }, async (tier) => {
  const profile = await mkdtemp(join(tmpdir(), 'ipfs-kit-web-torn-'))
  let browser: Killable | undefined
  try {
    browser = await startKillable(profile, app.url)
    await open(browser.page, tier)
    await store(browser.page, 'large', 6 * MIB)
    await store(browser.page, 'small', 1000)
    await writeLast(browser.page)
    await browser.kill()
    await cut(profile)
    // The browser goes on behind what was cut off. Whoever only reads must not be the one who loses it.
    browser = await startKillable(profile, app.url)
    expect(await open(browser.page, tier)).toEqual(['large whole', 'small whole'])
    await browser.kill()
    // The first thing that is written after that may be what is cut off: something of another database, or of the storage itself.
    for (const more of ['third', 'fourth', 'fifth']) {
      browser = await startKillable(profile, app.url)
      expect(await open(browser.page, tier)).toContain('large whole')
      await store(browser.page, more, 1000)
      if (more === 'third') await writeLast(browser.page)
      await browser.kill()
      await cut(profile)
    }
    for (let start = 0; start < 2; start++) {
      browser = await startKillable(profile, app.url)
      expect(await open(browser.page, tier)).toEqual(expect.arrayContaining(['large whole', 'small whole', 'third whole']))
      if (start === 0) await browser.kill()
    }
    const { damaged } = await browser.page.evaluate(() => (globalThis as unknown as Tab).storage.verify())
    expect(damaged).toEqual([])
  } finally {
    await browser?.kill()
    await rm(profile, { recursive: true, force: true })
  }
})
