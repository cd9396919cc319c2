// storeUrl(): the right bytes from servers that behave and that do not, or an error that says what to do; and nothing wrong is kept.
import { afterEach, describe, expect, it } from 'vitest'
import {
  DownloadError,
  IntegrityError,
  InvalidOptionsError,
  InvalidSourceError,
  type IPFSKitStorage,
  type Progress,
} from '../../src/index.ts'
import { changedBytes, MIB, remote, sha256Of, type Remote } from './support/downloads.ts'
import { closeAll, countAll, localStorageOf, NOTHING, same } from './support/stores.ts'

afterEach(closeAll)

async function nameOf(storage: IPFSKitStorage): Promise<string> {
  return (await storage.getBackendStatus()).cacheDir
}

/** What store() answers for the same bytes, in a storage of its own. */
async function cidOf(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  return localStorageOf().store(bytes)
}

/** Downloads it and looks that it is what it should be, and all that is there. */
async function expectDownloaded(file: Remote, bytes = file.bytes): Promise<void> {
  const storage = localStorageOf()
  const cid = await storage.storeUrl(file.url)
  expect(cid).toBe(await cidOf(bytes))
  expect(same(await storage.retrieve(cid), bytes)).toBe(true)
  expect((await storage.verify()).damaged).toEqual([])
  expect(await storage.downloads()).toEqual([])
  expect(await storage.listFiles()).toMatchObject([{ cid, size: bytes.byteLength, state: 'whole' }])
  await expectNothingElse(storage, cid)
}

/** Once it is deleted, nothing is left. */
async function expectNothingElse(storage: IPFSKitStorage, cid: string): Promise<void> {
  await storage.delete(cid)
  await storage.gc()
  expect(await countAll(await nameOf(storage))).toEqual(NOTHING)
}

async function expectRefused(file: Remote, options: Parameters<IPFSKitStorage['storeUrl']>[1] = {}): Promise<Error> {
  const storage = localStorageOf()
  const error = await storage.storeUrl(file.url, options).then(
    (cid) => new Error(`it answered ${cid}`),
    (reason: unknown) => reason as Error,
  )
  expect(await storage.listFiles()).toEqual([])
  expect(await storage.downloads()).toEqual([])
  await storage.gc()
  expect(await countAll(await nameOf(storage))).toEqual(NOTHING)
  return error
}

describe('storeUrl', () => {
  it.each([0, 1, 1000, MIB - 1, MIB, MIB + 1, 5 * MIB, 16 * MIB, 16 * MIB + 1, 40 * MIB + 5])(
    'answers the CID of store(): %i bytes',
    async (size) => {
      await expectDownloaded(remote(size))
    },
  )

  it('keeps what was asked for: name, pin, media type, SHA-256', async () => {
    const storage = localStorageOf()
    const [small, large] = [remote(3 * MIB, { type: 'text/x-small' }), remote(20 * MIB, { type: 'text/x-large' })]
    const sha256 = await sha256Of(large.bytes)
    const one = await storage.storeUrl(small.url, { filename: 'a/small', pin: true, holder: 'me' })
    const two = await storage.storeUrl(new URL(large.url), { filename: 'a/large', sha256: sha256.toUpperCase(), mediaType: 'model/x' })
    expect(await storage.listFiles('a')).toMatchObject([
      { filename: 'a/large', cid: two, mediaType: 'model/x', sha256, pinned: false },
      { filename: 'a/small', cid: one, mediaType: 'text/x-small', pinned: true, sha256: await sha256Of(small.bytes) },
    ])
    expect(await storage.unpin(one, { holder: 'me' })).toBe(true)
  })

  it('tells how far it is', async () => {
    const storage = localStorageOf()
    const file = remote(20 * MIB)
    const heard: Progress[] = []
    await storage.storeUrl(file.url, { onProgress: (progress) => heard.push(progress) })
    expect(heard.length).toBeGreaterThan(19)
    expect(heard.at(-1)).toEqual({ bytes: 20 * MIB, total: 20 * MIB, phase: 'download' })
    expect(heard.every(({ bytes }, index) => index === 0 || bytes >= (heard[index - 1]?.bytes ?? 0))).toBe(true)
  })

  it('ends with what its callback throws, as store() does', async () => {
    const storage = localStorageOf()
    const error = new Error('of the callback')
    const call = storage.storeUrl(remote(20 * MIB).url, {
      onProgress: ({ bytes }) => {
        if (bytes > 2 * MIB) throw error
      },
    })
    await expect(call).rejects.toBe(error)
    expect(await storage.downloads()).toMatchObject([{ state: 'interrupted' }])
  })

  it('asks for several parts at once, no more than it may', async () => {
    const [file, single] = [remote(64 * MIB, { pace: 1 }), remote(40 * MIB)]
    const storage = localStorageOf()
    await storage.storeUrl(file.url, { maxConnections: 3 })
    await storage.storeUrl(single.url, { maxConnections: 1 })
    const [several, one] = [await file.stats(), await single.stats()]
    expect(several.most).toBeGreaterThan(1)
    expect(several.most).toBeLessThanOrEqual(3)
    expect(one.most).toBe(1)
    expect([several.sent, one.sent]).toEqual([64 * MIB, 40 * MIB])
  })

  it('shares one download among calls for one URL, each with its own name', async () => {
    const storage = localStorageOf()
    const file = remote(20 * MIB, { hold: 1 })
    const calls = ['a', 'b'].map((filename) => storage.storeUrl(`${file.url}#${filename}`, { filename }))
    const refused = storage.storeUrl(file.url, { filename: 'c', sha256: '0'.repeat(64) })
    refused.catch(() => undefined)
    await expect.poll(async () => (await storage.downloads()).length).toBe(1)
    await file.go()
    const [one, two] = await Promise.all(calls)
    expect(one).toBe(two)
    await expect(refused).rejects.toBeInstanceOf(IntegrityError)
    expect((await storage.listFiles()).map(({ filename }) => filename)).toEqual(['a', 'b'])
    expect((await file.stats()).sent).toBe(20 * MIB)
  })

  it('shares one with another storage of that name, as another tab would', async () => {
    const storage = localStorageOf()
    const other = localStorageOf({ cacheDir: await nameOf(storage) })
    const file = remote(40 * MIB, { hold: 1 })
    const one = storage.storeUrl(file.url, { filename: 'a' })
    await expect.poll(async () => (await storage.downloads()).length).toBe(1)
    const heard: Progress[] = []
    const two = other.storeUrl(file.url, {
      filename: 'b',
      sha256: await sha256Of(file.bytes),
      onProgress: (progress) => heard.push(progress),
    })
    expect(await other.downloads()).toMatchObject([{ state: 'running' }])
    await file.go()
    expect(await one).toBe(await two)
    expect((await other.listFiles()).map(({ filename }) => filename)).toEqual(['a', 'b'])
    expect((await file.stats()).sent).toBe(40 * MIB)
    expect(heard.length).toBeGreaterThan(0)
    expect(await other.downloads()).toEqual([])
  })

  it('downloads nothing of which the CID is known and all is here', async () => {
    const storage = localStorageOf()
    const file = remote(3 * MIB)
    const cid = await storage.store(file.bytes, { filename: 'stored' })
    expect(await storage.storeUrl(file.url, { cid, filename: 'loaded', sha256: await sha256Of(file.bytes) })).toBe(cid)
    expect((await storage.listFiles()).map(({ filename }) => filename)).toEqual(['loaded', 'stored'])
    expect((await file.stats()).asked).toEqual([])
  })

  it('takes a Request with its headers', async () => {
    const storage = localStorageOf()
    const file = remote(2 * MIB)
    const cid = await storage.storeUrl(new Request(file.url, { headers: { 'x-token': 'abc' } }))
    expect(same(await storage.retrieve(cid), file.bytes)).toBe(true)
  })

  it.each([
    ['a URL of another kind', 'data:text/plain,hello', InvalidSourceError],
    ['no URL', 'http://', InvalidSourceError],
    ['what is none at all', { some: 'thing' } as unknown as URL, InvalidSourceError],
    ['nothing', null as unknown as URL, InvalidSourceError],
    ['a user and a password', 'http://me:pass@localhost/', InvalidSourceError],
    ['another method', new Request('http://localhost/', { method: 'POST', body: 'x' }), InvalidSourceError],
    ['a range of its own', new Request('http://localhost/', { headers: { range: 'bytes=0-1' } }), InvalidSourceError],
    ['an opaque answer', new Request('http://localhost/', { mode: 'no-cors' }), InvalidSourceError],
  ])('refuses %s', async (_, url, kind) => {
    await expect(localStorageOf().storeUrl(url)).rejects.toBeInstanceOf(kind)
  })

  it.each([{ sha256: 'abc' }, { size: -1 }, { size: 1.5 }, { maxConnections: 0 }, { maxConnections: 17 }, { unknown: 1 }, { cid: 5 }])(
    'refuses %o',
    async (options) => {
      await expect(localStorageOf().storeUrl('http://localhost/', options as object)).rejects.toBeInstanceOf(InvalidOptionsError)
    },
  )
})

describe('what has no room', () => {
  it('is refused before anything is given up for it', async () => {
    const storage = localStorageOf({ config: { maxBytes: 10 * MIB } })
    const kept = await storage.store(new Uint8Array(2 * MIB + 1))
    await expect(storage.storeUrl(remote(20 * MIB).url)).rejects.toMatchObject({ name: 'QuotaError' })
    expect(await storage.downloads()).toEqual([])
    expect((await storage.listFiles()).map(({ cid }) => cid)).toEqual([kept])
  })

  it('makes room as what is stored does', async () => {
    const storage = localStorageOf({ config: { maxBytes: 30 * MIB } })
    const before = await storage.storeUrl(remote(20 * MIB).url)
    const after = await storage.storeUrl(remote(20 * MIB).url)
    expect(after).not.toBe(before)
    expect((await storage.listFiles()).map(({ cid }) => cid)).toEqual([after])
  })
})

describe('what is not as expected', () => {
  it.each([3 * MIB, 20 * MIB])('of %i bytes is refused and swept', async (size) => {
    const file = remote(size)
    const other = await cidOf(new Uint8Array(10))
    for (const wanted of [{ sha256: '0'.repeat(64) }, { cid: other }, { size: size + 1 }]) {
      const error = await expectRefused(file, wanted)
      expect(error).toBeInstanceOf(IntegrityError)
      expect(error.message).toContain(file.url)
    }
  })

  it('of another size is not even downloaded', async () => {
    const file = remote(20 * MIB, { hold: 1 })
    await file.go()
    await expectRefused(file, { size: 5 })
    expect((await file.stats()).sent).toBeLessThan(16 * MIB + 1)
  })

  it('and what is as expected is kept', async () => {
    const file = remote(20 * MIB, { validator: 'none' })
    const storage = localStorageOf()
    const wanted = { sha256: await sha256Of(file.bytes), cid: await cidOf(file.bytes), size: 20 * MIB }
    expect(await storage.storeUrl(file.url, wanted)).toBe(wanted.cid)
    // Though nothing else tells that its parts are of one content.
    expect((await file.stats()).asked.length).toBeGreaterThan(1)
  })
})

/** Whether a page that is in no hurry gets what came before a connection broke. */
async function handsOver(url: string, bytes: number): Promise<boolean> {
  const reader = (await fetch(url)).body?.getReader()
  let came = 0
  try {
    for (let part = await reader?.read(); part?.value !== undefined; part = await reader?.read()) {
      came += part.value.byteLength
      await crypto.subtle.digest('SHA-256', part.value)
    }
  } catch {
    return came === bytes
  }
  throw new Error('it did not break off')
}

describe('a server', () => {
  it.each([
    ['that cuts connections', { cut: 10, after: 3 * MIB + 7 }],
    ['that cuts connections at once', { cut: 3, after: 1 }],
    ['that knows no ranges', { ranges: 'none' }],
    ['that knows no ranges and says no length', { ranges: 'none', chunked: 1 }],
    ['that knows no ranges and breaks off', { ranges: 'none', cut: 2, after: 2 * MIB }],
    ['that answers other ranges than it says', { ranges: 'wrong' }],
    ['that answers fewer bytes of ranges', { ranges: 'short' }],
    ['that answers more bytes of ranges', { ranges: 'long' }],
    ['with weak validators', { validator: 'weak' }],
    ['with dates', { validator: 'date', cut: 3, after: 5 * MIB }],
    ['without validators', { validator: 'none' }],
    ['that encodes', { gzip: 1 }],
    ['that encodes and says no length', { gzip: 1, chunked: 1 }],
    ['that encodes and lets this origin see no header', { gzip: 1, cors: 'bare' }],
    ['that is busy for a while', { status: 429, busy: 2, retry: 0 }],
    ['that has no answer for a while', { status: 503, busy: 2 }],
    ['that lets this origin see no header', { cors: 'bare' }],
    ['that lets this origin see no header, and breaks off', { cors: 'bare', validator: 'date', cut: 2, after: 3 * MIB }],
  ])('%s: the right bytes', async (_, how) => {
    await expectDownloaded(remote(17 * MIB + 3, how))
  })

  it('that answers ranges is asked for nothing twice that came, however often it breaks off', async () => {
    const after = 2 * MIB + 100_001
    const file = remote(40 * MIB, { cut: 10, after })
    await expectDownloaded(file)
    // What a browser has of a body when that breaks off, and the page has not read, is lost: less than a chunk, or all of it, as in WebKit.
    const lost = (await handsOver(remote(4 * MIB, { cut: 1, after }).url, after)) ? MIB : after
    expect((await file.stats()).sent).toBeLessThan(40 * MIB + 10 * lost)
  })

  it('that wants one request at a time gets that', async () => {
    const file = remote(64 * MIB, { only: 1 })
    await expectDownloaded(file)
    expect((await file.stats()).most).toBe(1)
  })

  it('that refuses all requests at once after it answered several is asked on', async () => {
    const file = remote(64 * MIB, { full: 2, pace: 1 })
    const cid = await localStorageOf().storeUrl(file.url, { maxConnections: 2 })
    expect(cid).toBe(await cidOf(file.bytes))
    expect((await file.stats()).asked.length).toBeGreaterThan(4)
  })

  it('whose content changes in between: the new bytes', async () => {
    const file = remote(40 * MIB, { change: 3 })
    await expectDownloaded(file, changedBytes(file))
  })

  it('that redirects to another host: the bytes from there', async () => {
    const there = remote(20 * MIB, {}, { elsewhere: true })
    const file = { ...remote(0, { to: there.url }), bytes: there.bytes }
    await expectDownloaded(file)
  })

  it('that stalls is asked again', { timeout: 60_000 }, async () => {
    const file = remote(20 * MIB, { stall: 1 })
    await expectDownloaded(file)
  })

  it.each([401, 403, 404, 410, 500])('that answers %i: an error that names the URL', { timeout: 90_000 }, async (status) => {
    const file = remote(1000, { status })
    const error = await expectRefused(file)
    expect(error).toBeInstanceOf(DownloadError)
    expect(error).toMatchObject({ status, url: file.url })
    expect(error.message).toContain(file.url)
  })

  it('that wants to be left alone for long: an error that says how long', async () => {
    const file = remote(1000, { status: 429, retry: 3600 })
    expect(await expectRefused(file)).toMatchObject({ name: 'DownloadError', status: 429, retryAfterMs: 3_600_000, url: file.url })
    expect((await file.stats()).asked).toHaveLength(1)
  })

  it('of another origin that lets nobody see it: an error that says so', async () => {
    const file = remote(1000, { cors: 'none' })
    const error = await expectRefused(file)
    expect(error).toMatchObject({ name: 'DownloadError', url: file.url })
    expect(error.message).toContain('Access-Control-Allow-Origin')
  })
})
