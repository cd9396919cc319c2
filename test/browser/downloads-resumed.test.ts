// Downloads that are interrupted: what has come is kept, hidden from lists of files, gone on with, given up, and at last expires.
import { afterEach, describe, expect, it } from 'vitest'
import { ClosedError, type IPFSKitStorage } from '../../src/index.ts'
import { changedBytes, MIB, remote, sha256Of, type Remote } from './support/downloads.ts'
import { losePack } from './support/outside.ts'
import { closeAll, countAll, localStorageOf, NOTHING, packFiles, same, TIER, within } from './support/stores.ts'

const SIZE = 64 * MIB
const DAY_MS = 24 * 60 * 60 * 1000

afterEach(closeAll)

async function nameOf(storage: IPFSKitStorage): Promise<string> {
  return (await storage.getBackendStatus()).cacheDir
}

/** Begins a download and interrupts it once so much has come. Answers what it rejected with. */
async function interrupted(storage: IPFSKitStorage, file: Remote, options: object = {}, after = SIZE / 2): Promise<unknown> {
  const abort = new AbortController()
  const reason = new Error('for now')
  const call = storage.storeUrl(file.url, {
    // One at a time: another request could reach the server when those are counted that come after it.
    maxConnections: 1,
    ...options,
    signal: abort.signal,
    onProgress: ({ bytes }) => {
      if (bytes >= after) abort.abort(reason)
    },
  })
  const error = await call.then(
    () => 'it was not interrupted',
    (caught: unknown) => caught,
  )
  expect(error).toBe(reason)
  return error
}

async function reopened(storage: IPFSKitStorage): Promise<IPFSKitStorage> {
  const cacheDir = await nameOf(storage)
  await storage.close()
  return localStorageOf({ cacheDir })
}

async function expectWhole(storage: IPFSKitStorage, cid: string, bytes: Uint8Array<ArrayBuffer>): Promise<void> {
  expect(cid).toBe(await localStorageOf().store(bytes))
  expect(same(await storage.retrieve(cid), bytes)).toBe(true)
  expect(await storage.downloads()).toEqual([])
}

/** Bytes of the parts that were asked for after so many requests. What a server sends of a part that nobody reads any more is no measure. */
async function askedAfter(file: Remote, requests: number): Promise<number> {
  const parts = (await file.stats()).asked.slice(requests)
  return parts.reduce((sum, part) => {
    const [, from, to] = /^bytes=(\d+)-(\d+)$/.exec(part) ?? []
    return sum + Number(to) + 1 - Number(from)
  }, 0)
}

describe('an interrupted download', () => {
  it('is listed among downloads and not among files, and goes on from where it was', async () => {
    const storage = localStorageOf()
    const file = remote(SIZE, { type: 'model/x' })
    const sha256 = await sha256Of(file.bytes)
    await interrupted(storage, file, { filename: 'a', pin: true, holder: 'h', sha256 })
    expect(await storage.listFiles()).toEqual([])
    const [download, ...others] = await storage.downloads()
    expect(others).toEqual([])
    expect(download).toMatchObject({ url: file.url, filename: 'a', state: 'interrupted', total: SIZE })
    expect(download?.bytes).toBeGreaterThan(SIZE / 2 - 5 * MIB)
    // WebKit holds nobody back: all of it may have come.
    expect(download?.bytes).toBeLessThanOrEqual(SIZE)
    await storage.gc()
    expect((await storage.verify()).damaged).toEqual([])
    const { asked } = await file.stats()
    const cid = (await download?.resume()) ?? ''
    expect(await storage.listFiles()).toMatchObject([{ filename: 'a', cid, pinned: true, sha256, mediaType: 'model/x', state: 'whole' }])
    await expectWhole(storage, cid, file.bytes)
    expect(await askedAfter(file, asked.length)).toBe(SIZE - (download?.bytes ?? 0))
  })

  it('goes on in another storage, as after a reload, by a call for the same URL with wishes of its own', async () => {
    const first = localStorageOf()
    const file = remote(SIZE)
    await interrupted(first, file, { filename: 'a' })
    const storage = await reopened(first)
    await storage.ready()
    const reported: number[] = []
    const { asked } = await file.stats()
    const cid = await storage.storeUrl(file.url, { filename: 'b', onProgress: ({ bytes }) => reported.push(bytes) })
    expect(reported[0]).toBeGreaterThan(SIZE / 2 - 5 * MIB)
    expect((await storage.listFiles()).map(({ filename }) => filename)).toEqual(['b'])
    await expectWhole(storage, cid, file.bytes)
    expect(await askedAfter(file, asked.length)).toBe(SIZE - (reported[0] ?? 0))
    await storage.delete(cid)
    await storage.gc()
    expect(await countAll(await nameOf(storage))).toEqual(NOTHING)
  })

  it('is interrupted by closing the storage', async () => {
    const first = localStorageOf()
    const file = remote(SIZE)
    let close = Promise.resolve()
    const cacheDir = await nameOf(first)
    const call = first.storeUrl(file.url, {
      maxConnections: 1,
      onProgress: ({ bytes }) => {
        if (bytes === SIZE / 2) close = first.close()
      },
    })
    await expect(call).rejects.toBeInstanceOf(ClosedError)
    await close
    const storage = localStorageOf({ cacheDir })
    const [download] = await storage.downloads()
    expect(download?.bytes).toBeGreaterThanOrEqual(SIZE / 2)
    const { asked } = await file.stats()
    await expectWhole(storage, (await download?.resume()) ?? '', file.bytes)
    expect(await askedAfter(file, asked.length)).toBe(SIZE - (download?.bytes ?? 0))
  })

  it('begins again where the content changed', async () => {
    const storage = localStorageOf()
    const file = remote(SIZE)
    await interrupted(storage, file)
    await file.change()
    const cid = await storage.storeUrl(file.url)
    await expectWhole(storage, cid, changedBytes(file))
    await storage.delete(cid)
    await storage.gc()
    expect(await countAll(await nameOf(storage))).toEqual(NOTHING)
  })

  it('of which a part is lost asks for that part again', async () => {
    const first = localStorageOf()
    const file = remote(SIZE)
    await interrupted(first, file)
    const cacheDir = await nameOf(first)
    await first.close()
    const before = (await file.stats()).sent
    if (TIER === 'packs') {
      const [pack] = await packFiles(cacheDir)
      await losePack(cacheDir, pack ?? '')
    } else {
      const keys = await within(`${cacheDir}/blocks`, `${cacheDir}/blocks`, 'readonly', (store) => store.getAllKeys())
      await within(`${cacheDir}/blocks`, `${cacheDir}/blocks`, 'readwrite', (store) => store.delete(keys[0] ?? ''))
    }
    const storage = localStorageOf({ cacheDir })
    await storage.ready()
    await storage.gc()
    await expectWhole(storage, await storage.storeUrl(file.url), file.bytes)
    expect((await file.stats()).sent - before).toBeLessThan(SIZE)
  })

  it('expires after a week, and its space comes back', async () => {
    const storage = localStorageOf()
    const file = remote(SIZE)
    await interrupted(storage, file)
    const cacheDir = await nameOf(storage)
    await storage.gc()
    expect((await countAll(cacheDir)).blocks).toBeGreaterThan(20)
    const owners = (await within(`${cacheDir}/catalog`, 'owners', 'readonly', (store) => store.getAll())) as { lastUsed: number }[]
    for (const row of owners) {
      const old = { ...row, lastUsed: row.lastUsed - 8 * DAY_MS }
      await within(`${cacheDir}/catalog`, 'owners', 'readwrite', (store) => store.put(old))
    }
    await storage.gc()
    expect(await storage.downloads()).toEqual([])
    expect(await countAll(cacheDir)).toEqual(NOTHING)
    expect((await storage.getBackendStatus()).usage).toMatchObject({ bytes: 0, blocks: 0 })
  })

  it('goes on for those who still wait when one gives up', async () => {
    const storage = localStorageOf()
    const file = remote(SIZE)
    const one = interrupted(storage, file, { filename: 'a' }, SIZE / 4)
    const two = storage.storeUrl(file.url, { filename: 'b' })
    await one
    const cid = await two
    expect((await storage.listFiles()).map(({ filename }) => filename)).toEqual(['b'])
    await expectWhole(storage, cid, file.bytes)
    expect((await file.stats()).sent).toBe(SIZE)
  })
})

describe('cancel', () => {
  it('ends an interrupted one and frees it', async () => {
    const storage = localStorageOf()
    await interrupted(storage, remote(SIZE))
    const [download] = await storage.downloads()
    expect(await download?.cancel()).toBe(true)
    expect(await storage.downloads()).toEqual([])
    expect(await download?.cancel()).toBe(false)
    await expect(download?.resume()).rejects.toMatchObject({ name: 'InvalidOptionsError' })
    await storage.gc()
    expect(await countAll(await nameOf(storage))).toEqual(NOTHING)
  })

  it.each(['here', 'elsewhere'])('ends a running one for all who wait for it, asked %s', async (where) => {
    const storage = localStorageOf()
    const cacheDir = await nameOf(storage)
    const other = localStorageOf({ cacheDir })
    const file = remote(SIZE, { stall: 1 })
    let hasBegun = (): void => undefined
    const begun = new Promise<void>((resolve) => (hasBegun = resolve))
    const calls = [
      storage.storeUrl(file.url, { onProgress: ({ bytes }) => bytes > 0 && hasBegun() }),
      storage.storeUrl(file.url, { filename: 'b' }),
    ]
    const ends = Promise.allSettled(calls)
    await begun
    const waiting = other.storeUrl(file.url).catch((error: unknown) => error)
    const [download] = await (where === 'here' ? storage : other).downloads()
    expect(download).toMatchObject({ state: 'running' })
    const isWaitedFor = async (): Promise<boolean> =>
      ((await navigator.locks.query()).pending ?? []).some(({ name }) => name?.endsWith(`:owner:${download?.id}`) === true)
    await expect.poll(isWaitedFor).toBe(true)
    expect(await download?.cancel()).toBe(true)
    for (const end of await ends) expect(end).toMatchObject({ status: 'rejected', reason: { name: 'AbortError' } })
    expect(await waiting).toMatchObject({ name: 'AbortError' })
    expect(await storage.downloads()).toEqual([])
    await storage.gc()
    expect(await countAll(cacheDir)).toEqual(NOTHING)
  })
})
