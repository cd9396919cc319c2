// Promise: after a power cut, which takes what the system had not yet put on the disk, an entry is whole, absent or 'damaged', never answered with wrong
// bytes; the storage opens, and storing the content again heals it.
import { mkdtemp, readdir, rm, stat, truncate } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Page } from 'playwright'
import { afterAll, beforeAll, expect, it } from 'vitest'
import type { IPFSKitStorage } from '../../src/index.ts'
import { serveApp, type Kit, type Served } from '../e2e/support/app.ts'
import { startKillable, type Killable } from './support/killable.ts'
import { randomOf, type Random } from './support/random.ts'

const NAME = 'cut'
/** Of each tier. */
const CUTS = Math.ceil(Number(process.env['FAULTS_KILLS'] ?? 4) / 2)
const SEED = Number(process.env['FAULTS_SEED'] ?? Date.now() % 1_000_000)
/** Mebibytes of the files that are stored, one after the other. */
const FILES = [5, 1, 9, 3]
const CUT_FILES = 4
/** So many that what the catalog says of their directory is more than the browser keeps in a row itself. */
const FOLDER_FILES = 2_000

interface Tab {
  kit: Kit
  storage: IPFSKitStorage
  bytes: (mebibytes: number, seed: number) => Uint8Array<ArrayBuffer>
}

let app: Served

beforeAll(async () => {
  app = await serveApp()
})

afterAll(async () => {
  await app?.close()
})

async function open(page: Page, tier: 'records' | 'packs'): Promise<void> {
  await page.evaluate(
    async ([cacheDir, tier]) => {
      const own = globalThis as unknown as Tab
      own.storage = await new own.kit.IPFSKitStorage({ cacheDir, forceFallback: true, config: { tier } }).ready()
    },
    [NAME, tier] as const,
  )
}

/** Stores a file under its seed as a name. */
function store(page: Page, mebibytes: number, seed: number): Promise<string> {
  return page.evaluate(
    ([mebibytes, seed]) => {
      const { storage, bytes } = globalThis as unknown as Tab
      return storage.store(bytes(mebibytes, seed), { filename: `${seed}` })
    },
    [mebibytes, seed] as const,
  )
}

/** What reading a file comes to: 'right', 'wrong', 'null' or the name of the error; by retrieve() and by a Blob that is checked. */
function read(page: Page, cid: string, mebibytes: number, seed: number): Promise<string[]> {
  return page.evaluate(
    async ([cid, mebibytes, seed]) => {
      const { storage, bytes } = globalThis as unknown as Tab
      const right = bytes(mebibytes, seed)
      const judge = (read: Uint8Array | null): string =>
        read === null
          ? 'null'
          : read.byteLength === right.byteLength && read.every((byte, index) => byte === right[index])
            ? 'right'
            : 'wrong'
      const name = (error: Error): string => error.name
      return [
        await storage.retrieve(cid).then(judge, name),
        await storage.blob(cid, { verify: true }).then(async (blob) => judge(blob && new Uint8Array(await blob.arrayBuffer())), name),
      ]
    },
    [cid, mebibytes, seed] as const,
  )
}

/** Stores a directory of many small files. */
function storeFolder(page: Page): Promise<string> {
  return page.evaluate((count) => {
    const { storage } = globalThis as unknown as Tab
    const entries = Array.from({ length: count }, (_, index) => ({ path: `${index}`, data: `file ${index}` }))
    return storage.storeDirectory(entries, { filename: 'folder' })
  }, FOLDER_FILES)
}

/** What reading some of those files comes to. */
function readFolder(page: Page, cid: string): Promise<string[]> {
  return page.evaluate(
    async ([cid, count]) => {
      const { storage } = globalThis as unknown as Tab
      const answers = new Set<string>()
      for (let index = 0; index < count; index += 97) {
        try {
          const bytes = await storage.retrieve(`${cid}/${index}`)
          answers.add(bytes === null ? 'null' : new TextDecoder().decode(bytes) === `file ${index}` ? 'right' : 'wrong')
        } catch (error) {
          answers.add((error as Error).name)
        }
      }
      return [...answers]
    },
    [cid, FOLDER_FILES] as const,
  )
}

async function states(page: Page): Promise<Map<string, string>> {
  const files = await page.evaluate(async () => {
    const { storage } = globalThis as unknown as Tab
    return (await storage.listFiles()).map(({ filename, state }) => [filename, state] as const)
  })
  return new Map(files)
}

/** Spoils some of the files of a profile that were written last and hold blocks: values of IndexedDB and files of the private file system. */
async function cut(profile: string, random: Random): Promise<string[]> {
  const found: { path: string; written: number; size: number }[] = []
  const walk = async (folder: string): Promise<void> => {
    for (const entry of await readdir(folder, { withFileTypes: true })) {
      const path = join(folder, entry.name)
      if (entry.isDirectory()) await walk(path)
      else if (/\.indexeddb\.blob|File System/.test(path) && !/Paths|Origins|leveldb/.test(path)) {
        const { mtimeMs, size } = await stat(path)
        if (size > 0) found.push({ path, written: mtimeMs, size })
      }
    }
  }
  await walk(profile)
  const done: string[] = []
  for (const { path, size } of found.toSorted((a, b) => b.written - a.written).slice(0, CUT_FILES)) {
    const how = random.below(3)
    if (how === 0) await rm(path)
    else await truncate(path, how === 1 ? 0 : Math.floor(size / 2))
    done.push(`${['removed', 'emptied', 'halved'][how]} ${path.slice(profile.length)}`)
  }
  return done
}

it.each(['records', 'packs'] as const)(
  `on %s, cut ${CUTS} times`,
  async (tier) => {
    console.log(`power cut on ${tier}: FAULTS_SEED=${SEED}`)
    const random = randomOf(SEED)
    for (let round = 0; round < CUTS; round++) {
      const profile = await mkdtemp(join(tmpdir(), 'ipfs-kit-web-cut-'))
      let browser: Killable | undefined
      try {
        browser = await startKillable(profile, app.url)
        await open(browser.page, tier)
        const folder = await storeFolder(browser.page)
        const cids: string[] = []
        for (const [seed, mebibytes] of FILES.entries()) cids.push(await store(browser.page, mebibytes, seed + 1))
        // One more is under way, as it may be.
        const late = store(browser.page, 20, 99).catch(() => undefined)
        await new Promise((resolve) => setTimeout(resolve, random.below(300)))
        await browser.kill()
        await late
        const spoilt = await cut(profile, random)
        const about = `round ${round}, FAULTS_SEED=${SEED}, ${spoilt.join(', ')}`
        expect(spoilt.length, about).toBeGreaterThan(0)
        browser = await startKillable(profile, app.url)
        const { page } = browser
        await open(page, tier)
        for (const [index, cid] of cids.entries()) {
          const answers = await read(page, cid, FILES[index] ?? 0, index + 1)
          for (const answer of answers) expect(answer, about).toMatch(/^(right|IntegrityError|null)$/)
          // What was found damaged is listed so from then on.
          const state = (await states(page)).get(`${index + 1}`)
          if (answers.includes('right')) expect(state, about).toBe('whole')
          else expect(state, about).toBe('damaged')
        }
        const parts = await readFolder(page, folder)
        for (const part of parts) expect(part, about).toMatch(/^(right|IntegrityError|null)$/)
        expect((await states(page)).get('folder'), about).toMatch(parts.join() === 'right' ? /^(whole|damaged)$/ : /^damaged$/)
        expect(await storeFolder(page), about).toBe(folder)
        expect(await readFolder(page, folder), about).toEqual(['right'])
        expect((await states(page)).get('folder'), about).toBe('whole')
        for (const [index, mebibytes] of FILES.entries()) expect(await store(page, mebibytes, index + 1), about).toBe(cids[index])
        for (const [index, cid] of cids.entries())
          expect(await read(page, cid, FILES[index] ?? 0, index + 1), about).toEqual(['right', 'right'])
        const found = await states(page)
        for (const index of cids.keys()) expect(found.get(`${index + 1}`), about).toBe('whole')
        const damaged = await page.evaluate(async () => {
          const { storage } = globalThis as unknown as Tab
          // The late one may be there, and spoilt.
          for (const { cid } of await storage.listFiles('99')) await storage.delete(cid)
          await storage.gc()
          return (await storage.verify()).damaged
        })
        expect(damaged, about).toEqual([])
      } finally {
        await browser?.kill()
        await rm(profile, { recursive: true, force: true })
      }
    }
  },
  60_000 + CUTS * 120_000,
)
