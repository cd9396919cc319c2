// Downloads into packs: a worker asks for the parts, hashes and writes them, and none of their bytes enters the page, unless they must.
import { afterEach, describe, expect, it, vi } from 'vitest'
import type { IPFSKitStorage } from '../../src/index.ts'
import { MIB, remote, type Remote } from './support/downloads.ts'
import { flip } from './support/outside.ts'
import { closeAll, countAll, freshName, localStorageOf, NOTHING, same } from './support/stores.ts'

/** More than the part that the page asks for itself, to see what the server can. */
const SIZE = 40 * MIB + 5

afterEach(async () => {
  vi.unstubAllGlobals()
  await closeAll()
})

/** How often this thread asked for it. */
function askedHere({ url }: Remote): number {
  return performance.getEntriesByType('resource').filter(({ name }) => name === url).length
}

async function expectKept(storage: IPFSKitStorage, cid: string, bytes: Uint8Array<ArrayBuffer>): Promise<void> {
  expect(same(await storage.retrieve(cid), bytes)).toBe(true)
  expect((await storage.verify()).damaged).toEqual([])
  expect(await storage.downloads()).toEqual([])
}

describe('a download into packs', () => {
  it('is asked for by workers', async () => {
    const name = freshName()
    const storage = localStorageOf({ cacheDir: name })
    const file = remote(SIZE)
    performance.clearResourceTimings()
    const cid = await storage.storeUrl(file.url)
    expect(askedHere(file)).toBe(1)
    expect((await file.stats()).asked.length).toBeGreaterThan(1)
    await expectKept(storage, cid, file.bytes)
    expect(cid).toBe(await localStorageOf().store(file.bytes))
    await storage.delete(cid)
    await storage.gc()
    expect(await countAll(name)).toEqual(NOTHING)
  })

  // Behind the break wait pulls of further leaves, of which the last one is the smallest.
  it.each([{ cut: 40, after: MIB / 2 }, { cut: 20, after: MIB + 10 }, { cut: 6, after: 3 }, { ranges: 'short' }])(
    'is right though answers end in the midst of leaves: %o',
    async (how) => {
      for (const size of [18 * MIB + 5, 17 * MIB + MIB / 2 + 1]) {
        const storage = localStorageOf()
        const file = remote(size, how)
        const cid = await storage.storeUrl(file.url, { maxConnections: 1 })
        await expectKept(storage, cid, file.bytes)
      }
    },
  )

  it.each(['wrapped', 'bound'])("goes through the application's own fetch() where there is one: %s", async (kind) => {
    const storage = localStorageOf()
    const file = remote(SIZE)
    const browsers = globalThis.fetch
    const own = (input: RequestInfo | URL, init?: RequestInit): Promise<Response> => {
      const headers = new Headers(init?.headers)
      headers.set('x-from', 'application')
      return browsers(input, { ...init, headers })
    }
    vi.stubGlobal('fetch', kind === 'bound' ? own.bind(globalThis) : own)
    const cid = await storage.storeUrl(file.url)
    vi.unstubAllGlobals()
    const { asked, from } = await file.stats()
    expect(from).toEqual(asked.map(() => 'application'))
    await expectKept(storage, cid, file.bytes)
  })

  it('sends what a Request says', async () => {
    const storage = localStorageOf()
    const file = remote(SIZE)
    const cid = await storage.storeUrl(new Request(file.url, { headers: { 'x-from': 'request' } }))
    const { asked, from } = await file.stats()
    expect(from).toEqual(asked.map(() => 'request'))
    await expectKept(storage, cid, file.bytes)
  })

  const SHUT_OUT: [string, () => Worker][] = [
    ['let ask', () => new Worker(new URL('./fixtures/offline-pack-worker.ts', import.meta.url), { type: 'module' })],
    ['answered', () => new Worker(new URL('./fixtures/unanswered-pack-worker.ts', import.meta.url), { type: 'module' })],
  ]
  it.each(SHUT_OUT)('goes through the page where workers are not %s', async (_, createWorker) => {
    const storage = localStorageOf({ config: { createWorker } })
    const file = remote(SIZE)
    performance.clearResourceTimings()
    const cid = await storage.storeUrl(file.url)
    expect(askedHere(file)).toBe((await file.stats()).asked.length)
    await expectKept(storage, cid, file.bytes)
  })

  it('does with one worker where a second one does not start', async () => {
    let count = 0
    const createWorker = (): Worker =>
      count++ === 0
        ? new Worker(new URL('./fixtures/pack-worker.ts', import.meta.url), { type: 'module' })
        : new Worker('/no/such/script.js', { type: 'module' })
    const storage = localStorageOf({ config: { createWorker } })
    const file = remote(SIZE)
    const cid = await storage.storeUrl(file.url)
    expect(count).toBeGreaterThan(1)
    await expectKept(storage, cid, file.bytes)
  })

  it('fails where its workers are ended, and goes on without them', async () => {
    const workers: Worker[] = []
    const createWorker = (): Worker => {
      const worker = new Worker(new URL('./fixtures/pack-worker.ts', import.meta.url), { type: 'module' })
      workers.push(worker)
      return worker
    }
    const storage = localStorageOf({ config: { tier: 'auto', createWorker } })
    const file = remote(SIZE)
    const ending = storage.storeUrl(file.url, {
      onProgress: ({ bytes }) => {
        if (bytes > 20 * MIB) for (const worker of workers) worker.terminate()
      },
    })
    await expect(ending).rejects.toMatchObject({ name: 'DatabaseError' })
    // The end of one of them may be noticed after that of the other: then it is to be tried again, as the error says.
    let cid = ''
    const again = async (): Promise<string> => {
      cid = await storage.storeUrl(file.url).catch((error: Error) => {
        if (error.name === 'DatabaseError') return ''
        throw error
      })
      return cid
    }
    await expect.poll(again, { timeout: 20_000 }).not.toBe('')
    await expectKept(storage, cid, file.bytes)
  })

  it('keeps one copy of leaves that are here or repeat', async () => {
    const name = freshName()
    const storage = localStorageOf({ cacheDir: name })
    const file = remote(SIZE)
    // Those behind the first part, which the page asks for.
    const before = await storage.store(file.bytes.slice(20 * MIB, 30 * MIB), { filename: 'before' })
    const cid = await storage.storeUrl(file.url, { filename: 'after' })
    await expectKept(storage, cid, file.bytes)
    expect((await storage.getBackendStatus()).usage).toMatchObject({ deadBytes: 0 })
    expect(await countAll(name)).toMatchObject({ packed: 41 })
    await storage.delete(cid)
    expect(same(await storage.retrieve(before), file.bytes.slice(20 * MIB, 30 * MIB))).toBe(true)
    await storage.delete(before)
    const repeats = remote(SIZE - 5, { repeat: 2 * MIB })
    const repeated = await storage.storeUrl(repeats.url)
    const two = repeats.bytes.subarray(0, 2 * MIB)
    const all = new Uint8Array(SIZE - 5)
    for (let at = 0; at < all.byteLength; at += two.byteLength) all.set(two, at)
    await expectKept(storage, repeated, all)
    expect((await countAll(name)).packed).toBeLessThanOrEqual(2)
    await storage.delete(repeated)
    await storage.gc()
    expect(await countAll(name)).toEqual(NOTHING)
  })

  it('takes a leaf that is damaged here for one that is not', async () => {
    const name = freshName()
    const storage = localStorageOf({ cacheDir: name })
    const file = remote(SIZE)
    const part = file.bytes.slice(20 * MIB, 30 * MIB)
    const before = await storage.store(part, { filename: 'before' })
    await storage.close()
    const leaf = await localStorageOf().store(file.bytes.slice(23 * MIB, 24 * MIB))
    await flip(name, leaf, 7)
    const again = localStorageOf({ cacheDir: name })
    const cid = await again.storeUrl(file.url)
    await expectKept(again, cid, file.bytes)
    expect(same(await again.retrieve(before), part)).toBe(true)
  })
})
