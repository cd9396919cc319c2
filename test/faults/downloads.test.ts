// Promise: a download over a connection that is cut ten times, with a reload, a kill and a change of tab in between, ends with the right CID; what came is
// not fetched twice, but for what was not on record yet when its tab ended; and there are never more requests at once than were allowed.
import { createHash } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { importer } from 'ipfs-unixfs-importer'
import type { CID } from 'multiformats/cid'
import type { Page } from 'playwright'
import { afterAll, beforeAll, expect, it } from 'vitest'
import type { IPFSKitStorage } from '../../src/index.ts'
import { DOWNLOAD_CHECKPOINT_BYTES } from '../../src/limits.ts'
import { serveApp, type Kit, type Served } from '../e2e/support/app.ts'
import { bytesOf } from '../setup/download-bytes.ts'
import { downloadServer, type DownloadStats } from '../setup/download-server.ts'
import { startKillable, type Killable } from './support/killable.ts'

const MIB = 1024 * 1024
const SIZE = Number(process.env['DOWNLOAD_MIB'] ?? 256) * MIB
const CUTS = 10
const CONNECTIONS = 2
/** Bytes of one connection that a server has sent and nobody has read, when that ends: buffers of the system's and the browser's. */
const ON_THE_WAY_BYTES = 4 * MIB
const NAME = 'downloaded'

interface Own {
  kit: Kit
  storage: IPFSKitStorage
  bytes: number
  call: Promise<string>
}

let app: Served

beforeAll(async () => {
  app = await serveApp({}, {}, downloadServer())
})

afterAll(async () => {
  await app?.close()
})

/** What store() answers for the file, and its SHA-256. */
async function expected(seed: number): Promise<{ cid: string; sha256: string }> {
  const hash = createHash('sha256')
  const content = async function* (): AsyncGenerator<Uint8Array> {
    for (let at = 0; at < SIZE; at += MIB) {
      const bytes = bytesOf(seed, at, MIB)
      hash.update(bytes)
      yield bytes
    }
  }
  let root: CID | undefined
  const nowhere = { put: async (cid: CID) => cid }
  for await (const { cid } of importer([{ content: content() }], nowhere, { profile: 'unixfs-v1-2025' })) root = cid
  return { cid: String(root), sha256: hash.digest('hex') }
}

/** Begins, or goes on with it, in a page. */
function begin(page: Page, url: string, tier: 'records' | 'packs', sha256: string): Promise<void> {
  return page.evaluate(
    async ([cacheDir, url, tier, maxConnections, sha256]) => {
      const own = globalThis as unknown as Own
      own.storage = await new own.kit.IPFSKitStorage({ cacheDir, forceFallback: true, config: { tier } }).ready()
      own.bytes = 0
      const onProgress = ({ bytes }: { bytes: number }): void => void (own.bytes = bytes)
      own.call = own.storage.storeUrl(url, { maxConnections, sha256, filename: 'file', onProgress })
      own.call.catch(() => undefined)
    },
    [NAME, url, tier, CONNECTIONS, sha256] as const,
  )
}

/** Waits until that part of it has come, by what a page was told. */
async function until(page: Page, part: number): Promise<void> {
  await page.waitForFunction((bytes) => (globalThis as unknown as Own).bytes >= bytes, part * SIZE, { polling: 10 })
}

function onRecord(page: Page): Promise<number> {
  return page.evaluate(async () => (await (globalThis as unknown as Own).storage.downloads())[0]?.bytes ?? 0)
}

it.each(['records', 'packs'] as const)(
  `on %s, of ${SIZE / MIB} MiB`,
  async (tier) => {
    const seed = tier === 'packs' ? 11 : 12
    const profile = await mkdtemp(join(tmpdir(), 'ipfs-kit-web-downloads-'))
    const file = `file-${tier}`
    const url = `${app.url}${file}?size=${SIZE}&seed=${seed}&cut=${CUTS}&after=${Math.floor(SIZE / 40) + 4321}&pace=1`
    const { cid, sha256 } = await expected(seed)
    let browser: Killable | undefined
    try {
      browser = await startKillable(profile, app.url)
      await begin(browser.page, url, tier, sha256)
      await until(browser.page, 0.3)
      await browser.page.reload()
      await browser.page.waitForFunction(() => 'kit' in globalThis)

      await begin(browser.page, url, tier, sha256)
      await until(browser.page, 0.55)
      await browser.kill()

      browser = await startKillable(profile, app.url)
      const { page } = browser
      const other = await page.context().newPage()
      await other.goto(app.url)
      await other.waitForFunction(() => 'kit' in globalThis)
      await begin(page, url, tier, sha256)
      await until(page, 0.6)
      await begin(other, url, tier, sha256)
      expect(await onRecord(other)).toBeGreaterThan(SIZE / 4)
      await until(page, 0.8)
      await page.close()

      expect(await other.evaluate(() => (globalThis as unknown as Own).call)).toBe(cid)
      const files = await other.evaluate(async () => (globalThis as unknown as Own).storage.listFiles())
      expect(files).toMatchObject([{ filename: 'file', cid, sha256, size: SIZE, state: 'whole' }])
      const look = await other.evaluate(async () => {
        const { storage } = globalThis as unknown as Own
        await storage.gc()
        return [(await storage.verify()).damaged, (await storage.downloads()).length, (await storage.getBackendStatus()).usage.deadBytes]
      })
      expect(look).toEqual([[], 0, 0])

      const stats = (await (await fetch(`${app.url}${file}/stats`)).json()) as DownloadStats
      const twice = stats.sent - SIZE
      console.log(
        `download on ${tier}: ${stats.asked.length} requests, ${(twice / MIB).toFixed(1)} MiB of ${SIZE / MIB} twice, ${stats.most} at once`,
      )
      expect(stats.most).toBeLessThanOrEqual(CONNECTIONS)
      // Each end of a tab costs a connection what it has not put on record; a cut less than a chunk.
      expect(twice).toBeLessThanOrEqual(3 * CONNECTIONS * (DOWNLOAD_CHECKPOINT_BYTES + ON_THE_WAY_BYTES) + CUTS * MIB)
      expect(stats.asked.some((range) => range.includes(' if "'))).toBe(true)
    } finally {
      await browser?.kill()
      await rm(profile, { recursive: true, force: true })
    }
  },
  180_000,
)
