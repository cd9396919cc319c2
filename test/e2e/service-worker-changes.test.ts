// The worker goes on serving whatever pages do meanwhile: store and delete, destroy the storage, and open it with a build of a later release.
import type { Page } from 'playwright'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { Kit } from './support/app.ts'
import { newer } from './support/newer-build.ts'
import { askWorker, openTab, register, startSite, STORAGE, visit, type Own, type Site, type Visit } from './support/site.ts'

let site: Site
let here: Visit
let page: Page

beforeAll(async () => {
  site = await startSite({ builds: { additive: newer(1), writer: newer(2) } })
})

afterAll(async () => {
  await site?.close()
})

beforeEach(async () => {
  here = await visit(site)
  page = here.page
})

afterEach(async () => {
  await here.context.close()
  if (here.errors.length > 0) throw new Error(here.errors.join('\n'))
})

/** Stores that many mebibytes of a seed. */
const store = (mebibytes: number, seed: number, tier: 'packs' | 'records' = 'packs'): Promise<string> =>
  page.evaluate(
    async ([options, mebibytes, seed, tier]) => {
      const { kit, bytes } = globalThis as unknown as Own
      const storage = new kit.IPFSKitStorage({ ...options, config: { tier } })
      const cid = await storage.store(bytes(mebibytes, seed))
      await storage.close()
      return cid
    },
    [STORAGE, mebibytes, seed, tier] as const,
  )

/** The status, and whether the bytes are those of the seed; or the error of the body. */
const read = (cid: string, seed: number, mebibytes: number): Promise<string> =>
  page
    .evaluate(
      async ([cid, seed, mebibytes]) => {
        const response = await fetch(`/ipfs/${cid}`)
        if (!response.ok) return response.status === 404 ? '404' : `${response.status} ${await response.text()}`
        const got = new Uint8Array(await response.arrayBuffer())
        const expected = (globalThis as unknown as Own).bytes(mebibytes, seed)
        return got.length === expected.length && got.every((byte, index) => byte === expected[index]) ? 'right' : 'wrong'
      },
      [cid, seed, mebibytes] as const,
    )
    .catch((error: Error) => error.message)

describe.each(['packs', 'records'] as const)('content in %s', (tier) => {
  it('that is deleted is not answered, and stored again it is', async () => {
    const cid = await store(9, 1, tier)
    await register(page)
    // By the worker, then by the browser.
    expect([await read(cid, 1, 9), await read(cid, 1, 9)]).toEqual(['right', 'right'])
    await page.evaluate((cid) => (globalThis as unknown as Own).storage.delete(cid), cid)
    expect(await read(cid, 1, 9)).toBe('404')
    expect(await store(9, 1, tier)).toBe(cid)
    expect([await read(cid, 1, 9), await read(cid, 1, 9)]).toEqual(['right', 'right'])
  })

  it('of a storage that is destroyed and made anew', async () => {
    const cid = await store(9, 1, tier)
    await register(page)
    expect([await read(cid, 1, 9), await read(cid, 1, 9)]).toEqual(['right', 'right'])
    await page.evaluate(async ({ cacheDir }) => {
      const { kit, storage } = globalThis as unknown as Own
      await storage.close()
      await kit.IPFSKitStorage.destroy(cacheDir)
    }, STORAGE)
    expect(await read(cid, 1, 9)).toBe('404')
    expect(await store(9, 1, tier)).toBe(cid)
    expect([await read(cid, 1, 9), await read(cid, 1, 9)]).toEqual(['right', 'right'])
    const other = await store(5, 2, tier)
    expect(await read(other, 2, 5)).toBe('right')
  })

  it('of a storage that is destroyed and made anew before anybody asks', async () => {
    const cid = await store(9, 1, tier)
    await register(page)
    expect([await read(cid, 1, 9), await read(cid, 1, 9)]).toEqual(['right', 'right'])
    await page.evaluate(async ({ cacheDir }) => {
      const { kit, storage } = globalThis as unknown as Own
      await storage.close()
      await kit.IPFSKitStorage.destroy(cacheDir)
    }, STORAGE)
    expect(await store(9, 1, tier)).toBe(cid)
    expect([await read(cid, 1, 9), await read(cid, 1, 9)]).toEqual(['right', 'right'])
  })

  it('that the browser takes away', async () => {
    const cid = await store(9, 1, tier)
    await register(page)
    expect([await read(cid, 1, 9), await read(cid, 1, 9)]).toEqual(['right', 'right'])
    const session = await here.context.newCDPSession(page)
    await session.send('Storage.clearDataForOrigin', { origin: new URL(site.url).origin, storageTypes: 'indexeddb,file_systems' })
    expect(await read(cid, 1, 9)).toBe('404')
    expect(await store(9, 1, tier)).toBe(cid)
    expect([await read(cid, 1, 9), await read(cid, 1, 9)]).toEqual(['right', 'right'])
  })
})

/** Stores by a build, and answers the CID or what it says. */
function storeBy(tab: Page, build: 'today' | 'additive' | 'writer', seed: number): Promise<string> {
  return tab.evaluate(
    async ([options, build, seed]) => {
      const own = globalThis as unknown as Own
      const kit = build === 'today' ? own.kit : ((await own.load(`/${build}.js`)) as Kit)
      const storage = await new kit.IPFSKitStorage(options).ready()
      return storage.store(own.bytes(5, seed)).catch((error: Error) => error.message)
    },
    [STORAGE, build, seed] as const,
  )
}

describe('a worker of this release', () => {
  it.each(['additive', 'writer'] as const)(
    'goes on serving beside a page of a later one whose catalog has a store more: %s',
    async (build) => {
      const [first, second] = [await store(9, 1), await store(9, 2, 'records')]
      await register(page)
      expect(await read(first, 1, 9)).toBe('right')
      const { life } = await askWorker(page)
      const tab = await openTab(here.context, site)
      const later = await storeBy(tab, build, 3)
      expect(await read(first, 1, 9)).toBe('right')
      expect(await read(second, 2, 9)).toBe('right')
      expect(await read(later, 3, 5)).toBe('right')
      expect((await askWorker(page)).life).toBe(life)
      // Woken, it opens what the later release has made of it.
      await here.killWorkers()
      expect(await read(first, 1, 9)).toBe('right')
      expect(await read(later, 3, 5)).toBe('right')
      await tab.evaluate((cid) => (globalThis as unknown as Own).storage.delete(cid).catch(() => false), later)
      expect(await read(later, 3, 5)).toBe(build === 'additive' ? '404' : 'right')
    },
  )
})

it('a worker of a later release serves beside a page of this one', async () => {
  const first = await store(9, 1)
  await register(page, {}, 'writer-worker.js')
  expect(await read(first, 1, 9)).toBe('right')
  // Which may not write what the worker has opened, and says so.
  expect(await storeBy(page, 'today', 2)).toContain('newer release')
  expect(await read(first, 1, 9)).toBe('right')
})

it('beside tabs that store, pin and delete, what stays is always answered, and what goes is right while it is', async () => {
  const kept = [await store(6, 1), await store(6, 2, 'records')] as const
  await register(page)
  const tabs = [await openTab(here.context, site), await openTab(here.context, site)]
  const working = tabs.map((tab, index) =>
    tab.evaluate(
      async ([kept, index]) => {
        const { storage, bytes } = globalThis as unknown as Own
        const gone: string[] = []
        for (let round = 0; round < 6; round++) {
          const cid = await storage.store(bytes(5, 100 + round))
          await storage.pin(kept[round % 2]!, { holder: `tab ${index}` })
          await storage.delete(cid)
          await storage.unpin(kept[round % 2]!, { holder: `tab ${index}` })
          if (round % 3 === 2) await storage.gc()
          gone.push(cid)
        }
        return gone
      },
      [kept, index] as const,
    ),
  )
  let isOver = false
  const worked = Promise.all(working).finally(() => {
    isOver = true
  })
  const passing = await page.evaluate(async () => {
    const { bytes, kit } = globalThis as unknown as Own
    const storage = new kit.IPFSKitStorage({ cacheDir: 'elsewhere', forceFallback: true })
    return Promise.all(Array.from({ length: 6 }, (_, round) => storage.store(bytes(5, 100 + round))))
  })
  const seen = { kept: new Set<string>(), passing: new Set<string>() }
  for (let round = 0; !isOver; round++) {
    seen.kept.add(await read(kept[round % 2]!, 1 + (round % 2), 6))
    seen.passing.add(await read(passing[round % 6]!, 100 + (round % 6), 5))
  }
  const [gone] = await worked
  expect(gone).toEqual(passing)
  expect([...seen.kept]).toEqual(['right'])
  // A body that is under way is cut where what it needs is freed.
  for (const outcome of seen.passing) expect(outcome).toMatch(/^right$|^404$|Failed to fetch|network error/)
  for (const cid of passing) expect(await read(cid, 0, 0)).toBe('404')
  for (const [index, cid] of kept.entries()) expect(await read(cid, 1 + index, 6)).toBe('right')
})
