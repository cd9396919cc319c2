// The worker goes on serving whatever pages do meanwhile: store and delete, destroy the storage, and open it with a build of a later release.
import type { Page } from 'playwright'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { register, startSite, STORAGE, visit, type Own, type Site, type Visit } from './support/site.ts'

let site: Site
let here: Visit
let page: Page

beforeAll(async () => {
  site = await startSite()
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
        if (!response.ok) return `${response.status}`
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
