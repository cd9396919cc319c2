// Real tabs of one origin over one storage: nothing needed is freed, everything unneeded is, and none hangs on another.
import type { Page } from 'playwright'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import type { ContentStorage, IPFSKitStorage } from '../../src/index.ts'
import { openTabs, startApp, type App, type Kit } from './support/app.ts'

const NAME = 'tabs'
const LET_GO_TIMEOUT_MS = 20_000

type Tier = 'records' | 'packs'

interface Counts {
  blocks: number
  packed: number
  packFiles: number
  owners: number
  references: number
}

/** What the tests keep in a tab. */
interface Tab {
  kit: Kit
  storage: IPFSKitStorage
  bytes: (mebibytes: number, seed: number) => Uint8Array<ArrayBuffer>
  same: (a: Uint8Array | null, b: Uint8Array) => boolean
  /** What lies there: different blocks wherever they are, and files of packs. */
  count: () => Promise<Counts>
  heard: unknown[]
  going?: Promise<unknown>
  goOn?: () => void
}

let app: App
let tabs: Page[] = []
let errors: string[] = []
let close = async (): Promise<void> => undefined

beforeAll(async () => {
  app = await startApp()
})

afterAll(async () => {
  await app?.close()
})

beforeEach(async () => {
  ;({ tabs, errors, close } = await openTabs(app, 2))
})

afterEach(async () => {
  await close()
  if (errors.length > 0) throw new Error(errors.join('\n'))
})

/** Opens the storage in a tab, with what the tests need there beside it. */
async function open(tab: Page, tier: Tier): Promise<void> {
  await tab.evaluate(
    async ([cacheDir, tier]) => {
      const own = globalThis as unknown as Tab
      own.storage = new own.kit.IPFSKitStorage({ cacheDir, forceFallback: true, config: { tier } })
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
      own.heard = []
      for (const type of ['change', 'status'] as const) {
        own.storage.addEventListener(type, (event: Event) => own.heard.push({ type, ...(event as CustomEvent<object>).detail }))
      }
      const ask = <T>(name: string, store: string, what: (records: IDBObjectStore) => IDBRequest<T>): Promise<T> =>
        new Promise((resolve, reject) => {
          const opening = indexedDB.open(name)
          opening.onerror = () => reject(opening.error ?? new Error(name))
          opening.onsuccess = () => {
            const asking = what(opening.result.transaction(store).objectStore(store))
            asking.onsuccess = () => resolve(asking.result)
            asking.onerror = () => reject(asking.error ?? new Error(store))
            opening.result.close()
          }
        })
      const keys = (name: string, store: string): Promise<IDBValidKey[]> => ask(name, store, (records) => records.getAllKeys())
      const packedKeys = async (): Promise<string[]> => {
        const rows = await ask<{ blocks: string[] }[]>(`${cacheDir}/catalog`, 'places', (places) => places.getAll())
        return rows.flatMap(({ blocks }) => blocks)
      }
      const files = async (): Promise<number> => {
        let count = 0
        try {
          let folder = await navigator.storage.getDirectory()
          for (const name of ['ipfs-kit-web', `s-${cacheDir}`]) folder = await folder.getDirectoryHandle(name)
          const names = (folder as FileSystemDirectoryHandle & { keys(): AsyncIterable<string> }).keys()
          for await (const name of names) if (!name.startsWith('probe-')) count++
        } catch (error) {
          if ((error as DOMException).name !== 'NotFoundError') throw error
        }
        return count
      }
      own.count = async () => {
        const [recorded, packed] = [await keys(`${cacheDir}/blocks`, `${cacheDir}/blocks`), await packedKeys()]
        return {
          blocks: new Set([...recorded, ...packed]).size,
          packed: packed.length,
          packFiles: await files(),
          owners: (await keys(`${cacheDir}/catalog`, 'owners')).length,
          references: (await keys(`${cacheDir}/catalog`, 'references')).length,
        }
      }
      await own.storage.ready()
    },
    [NAME, tier] as const,
  )
}

const NOTHING: Counts = { blocks: 0, packed: 0, packFiles: 0, owners: 0, references: 0 }
const count = (tab: Page): Promise<object> => tab.evaluate(() => (globalThis as unknown as Tab).count())

function both(): [Page, Page] {
  const [one, two] = tabs
  if (one === undefined || two === undefined) throw new Error('two tabs should be open')
  return [one, two]
}

describe.each<Tier>(['records', 'packs'])('two tabs, on %s', (tier) => {
  const isPacked = tier === 'packs'

  beforeEach(async () => {
    for (const tab of tabs) await open(tab, tier)
  })

  it('free nothing of each other: gc() in one while the other stores the same and other content', async () => {
    const [one, two] = both()
    const storing = one.evaluate(async () => {
      const { storage, bytes } = globalThis as unknown as Tab
      return [await storage.store(bytes(24, 1), { filename: 'same' }), await storage.store(bytes(24, 2), { filename: 'other' })]
    })
    const [cid, rounds] = await two.evaluate(async () => {
      const { storage, bytes } = globalThis as unknown as Tab
      let over = false
      const storing = storage.store(bytes(24, 1), { filename: 'same too' }).finally(() => (over = true))
      let rounds = 0
      for (; !over; rounds++) await storage.gc()
      return [await storing, rounds] as const
    })
    const [same, other] = await storing
    expect(rounds).toBeGreaterThan(0)
    expect(cid).toBe(same)
    await two.evaluate(() => (globalThis as unknown as Tab).storage.gc())
    const whole = await two.evaluate(
      async ([a, b]) => {
        const { storage, bytes, same: equal } = globalThis as unknown as Tab
        return [
          equal(await storage.retrieve(a ?? ''), bytes(24, 1)),
          equal(await storage.retrieve(b ?? ''), bytes(24, 2)),
          (await storage.verify()).damaged,
        ]
      },
      [same, other] as const,
    )
    expect(whole).toEqual([true, true, []])
    expect(await count(one)).toMatchObject({ blocks: 50, packed: isPacked ? 48 : 0, packFiles: isPacked ? 2 : 0 })
  })

  it('free nothing of each other: one deletes while the other deduplicates against it', async () => {
    const [one, two] = both()
    // Both go through the same contents, each in an order of its own, so that every store may meet a deletion half way.
    const rounds = 12
    const run = (tab: Page, seed: number): Promise<string[]> =>
      tab.evaluate(
        async ([seed, rounds]) => {
          const { storage, bytes, same } = globalThis as unknown as Tab
          const failures: string[] = []
          let state = seed
          const next = (below: number): number => {
            state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
            return Math.floor((state / 2 ** 32) * below)
          }
          const [head, tails] = [bytes(2, 50), [0, 1, 2].map((tail) => bytes(3, 60 + tail))]
          for (let round = 0; round < rounds; round++) {
            const tail = tails[next(3)] ?? head
            const filename = `tab ${seed} round ${round}`
            const cid = await storage.store([head, tail], { filename })
            if (next(2) === 0) await storage.gc()
            const read = await storage.retrieve(cid)
            if (!same(read?.subarray(0, head.length) ?? null, head) || !same(read?.subarray(head.length) ?? null, tail))
              failures.push(filename)
            const { damaged } = await storage.verify(cid)
            if (damaged.length > 0) failures.push(`${filename}: ${JSON.stringify(damaged)}`)
            if (!(await storage.delete(cid, { filename }))) failures.push(`${filename} was not there to delete`)
          }
          return failures
        },
        [seed, rounds] as const,
      )
    expect(await Promise.all([run(one, 1), run(two, 2)])).toEqual([[], []])
    await one.evaluate(() => (globalThis as unknown as Tab).storage.gc())
    // A pack that the other tab has just read goes when that lets go of it.
    await vi.waitFor(async () => expect(await count(one)).toEqual(NOTHING), { timeout: LET_GO_TIMEOUT_MS })
    expect((await one.evaluate(() => (globalThis as unknown as Tab).storage.getBackendStatus())).usage).toMatchObject({
      blocks: 0,
      bytes: 0,
    })
  })

  it('free nothing of each other: one deletes what the other has half stored again', async () => {
    const [one, two] = both()
    const cid = await one.evaluate(async () => {
      const { storage, bytes } = globalThis as unknown as Tab
      return storage.store(bytes(20, 70))
    })
    await two.evaluate(() => {
      const own = globalThis as unknown as Tab
      const all = own.bytes(20, 70)
      const source = new ReadableStream<Uint8Array>({
        start(controller) {
          controller.enqueue(all.slice(0, 18 * 1_048_576))
          own.goOn = () => {
            controller.enqueue(all.slice(18 * 1_048_576))
            controller.close()
          }
        },
      })
      own.going = own.storage.store(source)
    })
    // It has named a batch of what it found here.
    await two.waitForFunction(async () => (await (globalThis as unknown as Tab).count()).owners === 2)
    const gone = await one.evaluate(async (cid) => {
      const { storage } = globalThis as unknown as Tab
      const answer = [await storage.delete(cid), await storage.exists(cid)]
      await storage.gc()
      return answer
    }, cid)
    expect(gone).toEqual([true, false])
    const again = await two.evaluate(async () => {
      const own = globalThis as unknown as Tab
      own.goOn?.()
      return own.going
    })
    expect(again).toBe(cid)
    const whole = await one.evaluate(async (cid) => {
      const { storage, bytes, same } = globalThis as unknown as Tab
      return [same(await storage.retrieve(cid), bytes(20, 70)), (await storage.verify()).damaged]
    }, cid)
    expect(whole).toEqual([true, []])
    // gc() may have rewritten the first pack, which then goes when the other tab lets go of it.
    const left = { blocks: 21, owners: 1, packed: isPacked ? 20 : 0, packFiles: isPacked ? 2 : 0 }
    await expect.poll(() => count(one), { timeout: LET_GO_TIMEOUT_MS }).toMatchObject(left)
  })

  it('free what a tab that was closed half way left, once it is gone', async () => {
    const [one, two] = both()
    await one.evaluate(
      () =>
        new Promise<void>((resolve, reject) => {
          const own = globalThis as unknown as Tab
          async function* endless(): AsyncGenerator<Uint8Array> {
            for (let seed = 100; ; seed++) {
              yield own.bytes(1, seed)
              if (seed < 140) continue
              resolve()
              await new Promise(() => undefined)
            }
          }
          own.going = own.storage.store(endless()).catch(reject)
        }),
    )
    const keep = await two.evaluate(async () => {
      const { storage, bytes } = globalThis as unknown as Tab
      // It shares blocks with the one that will never be finished.
      const cid = await storage.store([bytes(1, 100), bytes(4, 101)])
      await storage.gc()
      return cid
    })
    expect(await count(two)).toMatchObject({ owners: 2, packFiles: isPacked ? 2 : 0 })
    await one.close()
    // The browser lets go of a closed tab's locks when it gets there.
    await two.evaluate(async () => {
      for (;;) {
        const { held = [] } = await navigator.locks.query()
        const foreign = held.filter((lock) => lock.name?.includes(':owner:') === true)
        if (foreign.length === 0) return
        await navigator.locks.request(foreign[0]?.name ?? '', () => undefined)
      }
    })
    const whole = await two.evaluate(async (cid) => {
      const { storage } = globalThis as unknown as Tab
      await storage.gc()
      return [await storage.exists(cid), (await storage.verify()).damaged]
    }, keep)
    expect(whole).toEqual([true, []])
    expect(await count(two)).toMatchObject({ blocks: 6, owners: 1, packed: isPacked ? 5 : 0 })
    // Its workers let go of the file when the browser gets there.
    await vi.waitFor(
      async () => {
        await two.evaluate(() => (globalThis as unknown as Tab).storage.gc())
        expect(await count(two)).toMatchObject({ packFiles: isPacked ? 1 : 0 })
      },
      { timeout: LET_GO_TIMEOUT_MS },
    )
  })

  it('hear of each other, and a storage destroyed in one is gone in both', async () => {
    const [one, two] = both()
    const cid = await one.evaluate(() => (globalThis as unknown as Tab).storage.store('told', { filename: 'told' }))
    await two.waitForFunction((cid) => JSON.stringify((globalThis as unknown as Tab).heard).includes(cid), cid)
    expect(
      await two.evaluate(() => (globalThis as unknown as Tab).heard.filter((one) => (one as { type: string }).type === 'change')),
    ).toEqual([{ type: 'change', cid, filename: 'told', kind: 'stored' }])
    await one.evaluate((name) => (globalThis as unknown as Tab).kit.IPFSKitStorage.destroy(name), NAME)
    const calls = await two.evaluate(async (cid) => {
      const { storage } = globalThis as unknown as Tab
      const calls = [
        () => storage.retrieve(cid),
        () => storage.store('x'),
        () => storage.listFiles(),
        () => storage.gc(),
        () => storage.delete(cid),
      ]
      return Promise.all(calls.map((call) => call().then(String, (error: Error) => error.name)))
    }, cid)
    expect(calls).toEqual(Array.from({ length: 5 }, () => 'DatabaseError'))
    await two.waitForFunction(() =>
      (globalThis as unknown as Tab).heard.some((event) => (event as { backends?: { local: boolean } }).backends?.local === false),
    )
    const names = await one.evaluate(async () => (await indexedDB.databases()).map((database) => database.name))
    expect(names).toEqual([])
    await open(two, tier)
    expect(await two.evaluate(() => (globalThis as unknown as Tab).storage.listFiles())).toEqual([])
  })

  it('wait for no tab that holds a database: destroy() says so, and it goes when that tab closes', async () => {
    const [one, two] = both()
    await two.evaluate(async (name) => {
      const own = globalThis as unknown as Tab & { holder: IDBDatabase }
      await own.storage.store('to be destroyed')
      await own.storage.close()
      own.holder = await new Promise((resolve, reject) => {
        const opening = indexedDB.open(`${name}/blocks`)
        opening.onsuccess = () => resolve(opening.result)
        opening.onerror = () => reject(opening.error ?? new Error(name))
      })
    }, NAME)
    const error = await one.evaluate(async (name) => {
      const { kit, storage } = globalThis as unknown as Tab
      await storage.close()
      return kit.IPFSKitStorage.destroy(name).then(String, (error: Error) => `${error.name}: ${error.message}`)
    }, NAME)
    expect(error).toMatch(/^DatabaseError: .*another tab.*next opening/)
    await two.close()
    await open(one, tier)
    expect(await one.evaluate(() => (globalThis as unknown as Tab).storage.listFiles())).toEqual([])
    expect(await count(one)).toEqual(NOTHING)
  })

  it('go on after the browser took the storage away', async () => {
    const [one, two] = both()
    const cid = await one.evaluate(() => (globalThis as unknown as Tab).storage.store('cleared by the user'))
    const session = await one.context().newCDPSession(one)
    await session.send('Storage.clearDataForOrigin', { origin: new URL(app.url).origin, storageTypes: 'indexeddb' })
    for (const tab of [one, two]) {
      const seen = await tab.evaluate(
        async ([cid, tier]) => {
          const { kit } = globalThis as unknown as Tab
          const storage: ContentStorage = (globalThis as unknown as Tab).storage
          const read = await storage.retrieve(cid).then(String, (error: Error) => error.name)
          // Whatever the open one says, a new one begins empty and works.
          const fresh = new kit.IPFSKitStorage({ cacheDir: 'tabs', forceFallback: true, config: { tier } })
          const again = await fresh.store('stored again')
          const answer = [read, await fresh.retrieve(cid), await fresh.exists(again)]
          await fresh.delete(again)
          await fresh.close()
          return answer
        },
        [cid, tier] as const,
      )
      expect(['null', 'DatabaseError']).toContain(seen[0])
      expect(seen.slice(1)).toEqual([null, true])
    }
  })
})
