// Promise: a disk that is full in the middle of a store costs nothing but that store, and nothing at all where unpinned content can make room for it.
import { execFile } from 'node:child_process'
import { mkdtemp, rmdir } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { Page } from 'playwright'
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import type { Key } from 'interface-datastore'
import type { IPFSKitStorage } from '../../src/index.ts'
import { openOnDisk, startApp, type App, type Kit } from '../e2e/support/app.ts'

const MIB = 1024 * 1024
/** Of one store. */
const LARGE = 256
/** A browser's own files take a tenth of it. */
const DISK_MIB = 320

/** What the tests keep in the tab. */
interface Tab {
  kit: Kit
  storage: IPFSKitStorage
  bytes: (mebibytes: number, seed: number) => Uint8Array<ArrayBuffer>
  evicted: { filename: string; bytes: number }[]
  held: (Blob | null)[]
  /** What the status said was used each time that it changed. */
  freed: number[]
}

let app: App
let tab: Page
let errors: string[] = []
let close = async (): Promise<void> => undefined

beforeAll(async () => {
  app = await startApp()
})

afterAll(async () => {
  await app?.close()
})

afterEach(async () => {
  await close()
  if (errors.length > 0) throw new Error(errors.join('\n'))
})

/** A file system of so many MiB, and what ends it; undefined where this machine does not allow it. */
async function mountSmallDisk(mebibytes: number): Promise<{ folder: string; unmount: () => Promise<void> } | undefined> {
  const folder = await mkdtemp(join(tmpdir(), 'ipfs-kit-web-disk-'))
  const run = promisify(execFile)
  try {
    await run('mount', ['-t', 'tmpfs', '-o', `size=${mebibytes}m`, 'tmpfs', folder])
  } catch {
    await rmdir(folder)
    return undefined
  }
  return {
    folder,
    unmount: async () => {
      await run('umount', ['--lazy', folder])
      await rmdir(folder)
    },
  }
}

/** A tab with a storage, in a browser that gives its origin so many MiB, or has a disk of its own. */
async function open(tier: 'records' | 'packs', quotaMiB: number, disk?: { folder: string; unmount: () => Promise<void> }): Promise<void> {
  const opened = await openOnDisk(app, 1, disk?.folder)
  ;({ errors } = opened)
  close = async () => {
    await opened.close()
    await disk?.unmount()
  }
  const [first] = opened.tabs
  if (first === undefined) throw new Error('no tab was opened')
  tab = first
  if (disk === undefined) {
    const session = await tab.context().newCDPSession(tab)
    // Before anything is written: IndexedDB remembers for a while how much room there was.
    await session.send('Storage.overrideQuotaForOrigin', { origin: new URL(app.url).origin, quotaSize: quotaMiB * MIB })
  }
  await tab.evaluate(async (tier) => {
    const own = globalThis as unknown as Tab
    own.storage = await new own.kit.IPFSKitStorage({ cacheDir: 'full', forceFallback: true, config: { tier } }).ready()
    own.evicted = []
    own.storage.addEventListener('evicted', ({ detail }) => own.evicted.push(detail))
  }, tier)
}

async function setQuota(mebibytes: number): Promise<void> {
  const session = await tab.context().newCDPSession(tab)
  await session.send('Storage.overrideQuotaForOrigin', { origin: new URL(app.url).origin, quotaSize: mebibytes * MIB })
}

/** Stores so many MiB under their seed as a name. Answers the error's name, or undefined. */
function store(mebibytes: number, seed: number, pin = false): Promise<string | undefined> {
  return tab.evaluate(
    async ([mebibytes, seed, pin]) => {
      const { storage, bytes } = globalThis as unknown as Tab
      return storage.store(bytes(mebibytes, seed), { filename: `${seed}`, pin }).then(
        () => undefined,
        (error: Error) => error.name,
      )
    },
    [mebibytes, seed, pin] as const,
  )
}

function remove(filename: string): Promise<boolean> {
  return tab.evaluate(async (filename) => {
    const { storage } = globalThis as unknown as Tab
    const file = (await storage.listFiles()).find((one) => one.filename === filename)
    return file !== undefined && storage.delete(file.cid)
  }, filename)
}

/** Whether the browser takes a record of 70 kB, which is taken away again. */
function fits(): Promise<boolean> {
  return tab.evaluate(
    () =>
      new Promise<boolean>((resolve, reject) => {
        const opening = indexedDB.open('probe', 1)
        opening.onupgradeneeded = () => opening.result.createObjectStore('probe')
        opening.onerror = () => resolve(false)
        opening.onsuccess = () => {
          const tx = opening.result.transaction('probe', 'readwrite', { durability: 'strict' })
          tx.objectStore('probe').put(crypto.getRandomValues(new Uint8Array(60_000)), 1)
          tx.objectStore('probe').delete(1)
          tx.oncomplete = () => {
            opening.result.close()
            resolve(true)
          }
          tx.onabort = () => {
            opening.result.close()
            if (tx.error?.name === 'QuotaExceededError') resolve(false)
            else reject(tx.error ?? new Error('aborted'))
          }
        }
      }),
  )
}

/** Names and states of what is there. */
function listed(): Promise<string[]> {
  return tab.evaluate(async () => {
    const { storage } = globalThis as unknown as Tab
    return (await storage.listFiles()).map(({ filename, state }) => `${filename} ${state}`)
  })
}

function usage(): Promise<Awaited<ReturnType<IPFSKitStorage['getBackendStatus']>>['usage']> {
  return tab.evaluate(async () => (await (globalThis as unknown as Tab).storage.getBackendStatus()).usage)
}

function damaged(): Promise<unknown[]> {
  return tab.evaluate(async () => (await (globalThis as unknown as Tab).storage.verify()).damaged)
}

function evicted(): Promise<string[]> {
  return tab.evaluate(() => (globalThis as unknown as Tab).evicted.map(({ filename }) => filename))
}

describe.each(['records', 'packs'] as const)('a full disk, on %s,', (tier) => {
  it('leaves what is pinned, and of what did not fit nothing', async () => {
    await open(tier, 320)
    for (const seed of [1, 2, 3]) expect(await store(40, seed, true)).toBeUndefined()
    const before = await usage()
    expect(await store(LARGE, 4)).toBe('QuotaError')
    const { quota: _now, ...after } = await usage()
    const { quota: _before, ...expected } = before
    expect(after).toEqual(expected)
    expect(await listed()).toEqual(['1 whole', '2 whole', '3 whole'])
    expect(await damaged()).toEqual([])
    expect(await evicted()).toEqual([])
    // What fits still goes in.
    expect(await store(20, 5)).toBeUndefined()
    expect(await damaged()).toEqual([])
  })

  it('makes room for what is stored, by what was used least recently and no pin holds', async () => {
    await open(tier, 400)
    expect(await store(40, 1, true)).toBeUndefined()
    for (const seed of [2, 3, 4, 5, 6, 7]) expect(await store(40, seed)).toBeUndefined()
    expect(await store(LARGE, 8)).toBeUndefined()
    const gone = await evicted()
    // Those that were stored first, in their order, and not all.
    expect(gone).toEqual(['2', '3', '4', '5', '6', '7'].slice(0, gone.length))
    expect(gone.length).toBeGreaterThanOrEqual(4)
    expect(await listed()).toEqual(
      ['1', '2', '3', '4', '5', '6', '7', '8'].filter((name) => !gone.includes(name)).map((name) => `${name} whole`),
    )
    expect(await damaged()).toEqual([])
  })

  it.runIf(tier === 'packs')('takes nothing whose bytes would not come back, since a Blob holds them', async () => {
    await open(tier, 400)
    expect(await store(40, 1, true)).toBeUndefined()
    for (const seed of [2, 3, 4, 5, 6, 7]) expect(await store(40, seed)).toBeUndefined()
    await tab.evaluate(async () => {
      const own = globalThis as unknown as Tab
      own.held = []
      for (const { cid, filename } of await own.storage.listFiles())
        if (['2', '3'].includes(filename)) own.held.push(await own.storage.blob(cid))
      // Used later than these.
      for (const { cid, filename } of await own.storage.listFiles()) {
        if (!['1', '2', '3'].includes(filename)) await own.storage.retrieve(cid, { length: 1 })
      }
    })
    expect(await store(LARGE, 8)).toBeUndefined()
    const gone = await evicted()
    expect(gone).not.toContain('2')
    expect(gone).not.toContain('3')
    expect(await damaged()).toEqual([])
  })

  it('of the machine leaves what is pinned, makes room by what is not, and is no damage', async ({ skip }) => {
    const disk = await mountSmallDisk(DISK_MIB)
    if (disk === undefined) return skip('a file system of a few MiB can not be mounted here')
    await open(tier, 0, disk)
    expect(await store(40, 1, true)).toBeUndefined()
    for (const seed of [2, 3, 4]) expect(await store(40, seed)).toBeUndefined()
    // More than the disk has: all that may go goes, and then it is said.
    expect(await store(DISK_MIB, 5)).toBe('QuotaError')
    expect((await listed())[0]).toBe('1 whole')
    expect((await listed()).every((line) => line.endsWith(' whole'))).toBe(true)
    expect(await damaged()).toEqual([])
    for (const seed of [6, 7, 8, 9, 10, 11, 12, 13, 14]) expect(await store(40, seed), `${seed}`).toBeUndefined()
    expect((await evicted()).length).toBeGreaterThan(3)
    expect(await evicted()).not.toContain('1')
    expect(await listed()).toContain('1 whole')
    expect(await listed()).toContain('14 whole')
    expect(await damaged()).toEqual([])
  })

  it("gives the data of Helia's node room as well, or says what the matter is", async () => {
    await open(tier, 160)
    for (const seed of [1, 2]) expect(await store(40, seed, true)).toBeUndefined()
    expect(await store(40, 3)).toBeUndefined()
    const outcomes = await tab.evaluate(async () => {
      const { kit, storage } = globalThis as unknown as Tab
      await storage.close()
      const own = ((globalThis as unknown as Tab).storage = new kit.IPFSKitStorage({
        cacheDir: 'full',
        config: { ipfs: { gateways: [], delegatedRouters: [] } },
      }))
      const node = await own.helia()
      if (node === null) throw new Error('there is no node')
      const key = (name: string): Key => ({ toString: () => `/local/${name}` }) as Key
      const bytes = (name: string): Uint8Array => (globalThis as unknown as Tab).bytes(1, Number(name) + 10)
      // The browser may let a little more in than it says.
      const untilFull = async (put: (name: string) => unknown): Promise<string[]> => {
        const told: string[] = []
        while (told.length < 200 && !told.includes('QuotaError')) {
          try {
            await put(`${told.length}`)
            told.push('done')
          } catch (error) {
            told.push((error as Error).name)
          }
        }
        return told
      }
      const one = await untilFull((name) => node.datastore.put(key(name), bytes(name)))
      const many = await untilFull((name) => {
        const batch = node.datastore.batch()
        batch.put(key(`batch ${name}`), bytes(name))
        return batch.commit()
      })
      return { one, many }
    })
    expect(outcomes.one.length).toBeGreaterThan(40)
    expect([outcomes.one.at(-1), outcomes.many.at(-1)]).toEqual(['QuotaError', 'QuotaError'])
    expect(await listed()).toEqual(['1 whole', '2 whole'])
    expect(await damaged()).toEqual([])
  })

  it('that is fuller than it may be, since the browser allows less by now, lets go of what is deleted, and of what room is made of', async () => {
    await open(tier, 400)
    for (const seed of [1, 2, 3]) expect(await store(40, seed, seed === 1)).toBeUndefined()
    // One block each.
    for (const seed of [5, 6]) expect(await store(1, seed)).toBeUndefined()
    await setQuota(70)
    // The browser goes by what it allowed before for as long as it remembers.
    await vi.waitFor(async () => expect(await fits()).toBe(false), { timeout: 60_000, interval: 200 })
    expect(await listed()).toEqual(['1 whole', '2 whole', '3 whole', '5 whole', '6 whole'])
    await tab.evaluate(() => {
      const own = globalThis as unknown as Tab
      own.freed = []
      own.storage.addEventListener('status', ({ detail }) => own.freed.push(detail.usage.bytes))
    })
    expect(await remove('5')).toBe(true)
    expect(await remove('6')).toBe(true)
    expect(await remove('2')).toBe(true)
    expect(await listed()).toEqual(['1 whole', '3 whole'])
    await tab.waitForFunction(() => (globalThis as unknown as Tab).freed.length > 0)
    // Room is made of what is left.
    expect(await store(5, 9, true)).toBeUndefined()
    expect(await evicted()).toEqual(['3'])
    expect(await damaged()).toEqual([])
    expect(await listed()).toEqual(['1 whole', '9 whole'])
    expect(await usage()).toMatchObject({ files: 2, pinnedBytes: 45 * MIB, deadBytes: 0 })
    // The browser counts lazily.
    await vi.waitFor(async () => expect(await store(10, 4)).toBeUndefined(), { timeout: 60_000, interval: 500 })
    expect(await damaged()).toEqual([])
  })
})
