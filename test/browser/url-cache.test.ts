// createFetch(): what URLs answer goes to the caller and into the store at once, later comes from the store, and nothing wrong is kept.
import { afterEach, describe, expect, it, vi } from 'vitest'
import type { IPFSKitStorage } from '../../src/index.ts'
import { createFetch, type CachingFetch, type CreateFetchOptions, type FetchRule } from '../../src/url-cache/index.ts'
import { URL_ASK_TIMEOUT_MS, URL_UNREAD_MS } from '../../src/limits.ts'
import { UrlCache } from '../../src/url-cache/caching-fetch.ts'
import { resolveRules } from '../../src/url-cache/rules.ts'
import { changedBytes, MIB, remote, sha256Of, type Remote } from './support/downloads.ts'
import { closeAll, countAll, localStorageOf, NOTHING, same } from './support/stores.ts'

afterEach(closeAll)
// Must stand behind: the last one runs first.
afterEach(() => void vi.useRealTimers())

interface Cache {
  storage: IPFSKitStorage
  caching: CachingFetch
  from: ('store' | 'network')[]
}

function cacheOf(rule: Partial<FetchRule> = {}, options: CreateFetchOptions = {}, storage = localStorageOf()): Cache {
  const from: Cache['from'] = []
  const caching = createFetch(storage, [{ match: /^http:/, revalidate: 'never', ...rule }], {
    onServed: (served) => void from.push(served.from),
    ...options,
  })
  return { storage, caching, from }
}

async function bytesOf(response: Response | Promise<Response>): Promise<Uint8Array> {
  return new Uint8Array(await (await response).arrayBuffer())
}

/** Reads a body to its end. What goes wrong there, arrayBuffer() hides behind an error of its own. */
async function drain(response: Promise<Response>): Promise<void> {
  const reader = (await response).body?.getReader()
  while ((await reader?.read())?.done === false);
}

async function nothingIsLeft(storage: IPFSKitStorage): Promise<void> {
  expect(await storage.listFiles()).toEqual([])
  await storage.gc()
  expect(await countAll((await storage.getBackendStatus()).cacheDir)).toEqual(NOTHING)
}

/** Another name of what a remote serves. */
function called({ url }: Remote, name: string): string {
  return url.replace('?', `/${name}?`)
}

describe('what is fetched', () => {
  it('goes to the caller and into the store, and comes from there the next time', async () => {
    const file = remote(9 * MIB + 7, { type: 'model/x' })
    const { storage, caching, from } = cacheOf()
    const first = await caching(file.url)
    expect([first.status, first.url, first.headers.get('content-type')]).toEqual([200, file.url, 'model/x'])
    expect(same(await bytesOf(first), file.bytes)).toBe(true)
    expect(await storage.listFiles()).toMatchObject([{ filename: file.url, mediaType: 'model/x', size: file.bytes.length, state: 'whole' }])
    const second = await caching(file.url)
    expect(same(await bytesOf(second), file.bytes)).toBe(true)
    expect([second.status, second.url, second.headers.get('content-type')]).toEqual([200, file.url, 'model/x'])
    expect(from).toEqual(['network', 'store'])
    expect((await file.stats()).asked).toHaveLength(1)
    const [kept] = await caching.urls()
    expect(kept).toMatchObject({ url: file.url, hits: 1, size: file.bytes.length, mediaType: 'model/x' })
    expect(second.headers.get('x-ipfs-path')).toBe(`/ipfs/${kept?.cid}`)
  })

  it('is there where the network is not', async () => {
    const file = remote(3 * MIB)
    const { storage, caching } = cacheOf({ revalidate: 'etag' })
    await bytesOf(caching(file.url))
    const offline = cacheOf({ revalidate: 'etag' }, { fetch: () => Promise.reject(new TypeError('Failed to fetch')) }, storage)
    expect(same(await bytesOf(offline.caching(file.url)), file.bytes)).toBe(true)
    await expect(offline.caching(remote(10).url)).rejects.toThrow('Failed to fetch')
  })

  it('comes from there for whoever wants nothing kept too, where the server need not be asked', async () => {
    const file = remote(1000)
    const { storage, caching, from } = cacheOf()
    await bytesOf(caching(file.url))
    expect((await caching(file.url, { cache: 'no-store', headers: { range: 'bytes=0-0' } })).headers.get('content-range')).toBe(
      'bytes 0-0/1000',
    )
    expect(from).toEqual(['network', 'store'])
    const asking = cacheOf({ revalidate: 'etag' }, {}, storage)
    await bytesOf(asking.caching(file.url, { cache: 'no-store' }))
    const offline = cacheOf({ revalidate: 'etag' }, { fetch: () => Promise.reject(new TypeError('Failed to fetch')) }, storage)
    expect(same(await bytesOf(offline.caching(file.url, { cache: 'no-store' })), file.bytes)).toBe(true)
    await file.change()
    expect(same(await bytesOf(asking.caching(file.url, { cache: 'no-store' })), file.bytes)).toBe(false)
    expect(asking.from).toEqual(['store', 'network'])
    expect(same(await bytesOf(caching(file.url)), file.bytes)).toBe(true)
  })

  it('is answered in ranges once it is here, and by the server before', async () => {
    const file = remote(5 * MIB)
    const { storage, caching, from } = cacheOf()
    const range = { headers: { range: 'bytes=1048570-2097160' } }
    expect(same(await bytesOf(caching(file.url, range)), file.bytes.subarray(1_048_570, 2_097_161))).toBe(true)
    expect(await storage.listFiles()).toEqual([])
    await bytesOf(caching(file.url))
    const part = await caching(file.url, range)
    expect([part.status, part.headers.get('content-range')]).toEqual([206, `bytes 1048570-2097160/${5 * MIB}`])
    expect(same(await bytesOf(part), file.bytes.subarray(1_048_570, 2_097_161))).toBe(true)
    expect(from).toEqual(['network', 'network', 'store'])
  })

  it('is one copy under two URLs, and stays when one of them is let go of', async () => {
    const file = remote(3 * MIB)
    const { storage, caching } = cacheOf()
    const [one, other] = [called(file, 'one.bin'), called(file, 'other.bin')]
    await bytesOf(caching(one))
    const { bytes } = (await storage.getBackendStatus()).usage
    await bytesOf(caching(other))
    expect((await storage.getBackendStatus()).usage.bytes).toBe(bytes)
    expect(await caching.forget(one)).toBe(true)
    expect(await caching.forget(one)).toBe(false)
    expect((await caching.urls()).map(({ url }) => url)).toEqual([other])
    expect(same(await bytesOf(caching(other)), file.bytes)).toBe(true)
  })

  it('says again what its server said of how it may be used, and nothing that it did not say', async () => {
    const said = {
      'cross-origin-resource-policy': 'cross-origin',
      'x-content-type-options': 'nosniff',
      'content-disposition': 'attachment; filename="a.bin"',
      'content-language': 'de',
    }
    for (const say of [said, {}]) {
      const file = remote(1000, { say: JSON.stringify(say) })
      const { caching, from } = cacheOf()
      for (let time = 0; time < 2; time++) {
        const response = await caching(file.url)
        await bytesOf(response)
        const names = Object.keys(said)
        expect(
          Object.fromEntries(names.flatMap((name) => [[name, response.headers.get(name)]]).filter(([, value]) => value !== null)),
        ).toEqual(say)
      }
      expect(from).toEqual(['network', 'store'])
    }
  })

  it('in another encoding is kept as it is meant', async () => {
    const file = remote(2 * MIB, { gzip: '' })
    const { caching } = cacheOf()
    for (let time = 0; time < 2; time++) expect(same(await bytesOf(caching(file.url)), file.bytes)).toBe(true)
    expect((await file.stats()).asked).toHaveLength(1)
  })

  it('is fetched anew where it was deleted', async () => {
    const file = remote(MIB)
    const { storage, caching, from } = cacheOf()
    await bytesOf(caching(file.url))
    const [kept] = await storage.listFiles()
    await storage.delete(kept?.cid ?? '')
    expect(same(await bytesOf(caching(file.url)), file.bytes)).toBe(true)
    expect(from).toEqual(['network', 'network'])
  })

  it('is pinned where the rule says so', async () => {
    const file = remote(MIB)
    const { storage, caching } = cacheOf({ pin: true })
    await bytesOf(caching(file.url))
    expect(await storage.listFiles()).toMatchObject([{ pinned: true }])
    expect(await caching.forget(file.url)).toBe(true)
    await nothingIsLeft(storage)
  })

  it('is not kept where it was let go of while it came', async () => {
    const file = remote(9 * MIB)
    const { storage, caching } = cacheOf({ pin: true })
    const answer = await caching(file.url)
    expect(await caching.forget(file.url)).toBe(true)
    expect(same(await bytesOf(answer), file.bytes)).toBe(true)
    expect(await caching.urls()).toEqual([])
    await nothingIsLeft(storage)
    expect(same(await bytesOf(caching(file.url)), file.bytes)).toBe(true)
    expect(await caching.urls()).toMatchObject([{ url: file.url }])
  })

  it('stays pinned under one URL when another one of the same content is let go of or replaced', async () => {
    const file = remote(MIB)
    const { storage, caching } = cacheOf({ pin: true, holder: 'cache' })
    const [one, other, third] = [called(file, 'one.bin'), called(file, 'other.bin'), called(file, 'third.bin')]
    for (const url of [one, other, third]) await bytesOf(caching(url))
    expect(await caching.forget(one)).toBe(true)
    await file.change()
    expect(same(await bytesOf(caching(other, { cache: 'reload' })), changedBytes(file))).toBe(true)
    const left = await storage.listFiles()
    expect(left.map(({ filename, pinned }) => [filename, pinned])).toEqual([
      [other, true],
      [third, true],
    ])
    for (const url of [other, third]) expect(await caching.forget(url)).toBe(true)
    await nothingIsLeft(storage)
  })

  it('keeps the pins of others, whatever its rule calls whom it pins for, and answers no more once it is let go of', async () => {
    const file = remote(MIB)
    const { storage, caching, from } = cacheOf({ holder: 'app' })
    await bytesOf(caching(file.url))
    const cid = (await caching.urls())[0]?.cid ?? ''
    await storage.pin(cid, { holder: 'app' })
    expect(await caching.forget(file.url)).toBe(true)
    expect(await caching.urls()).toEqual([])
    expect(await storage.listFiles()).toMatchObject([{ cid, pinned: true }])
    await file.change()
    expect(same(await bytesOf(caching(file.url)), changedBytes(file))).toBe(true)
    expect(from).toEqual(['network', 'network'])
    expect(await storage.unpin(cid, { holder: 'app' })).toBe(true)
  })

  it('is pinned by whom the rule names by now', async () => {
    const file = remote(MIB)
    const { storage, caching } = cacheOf({ pin: true, holder: 'cache' })
    await bytesOf(caching(file.url))
    const cid = (await caching.urls())[0]?.cid ?? ''
    const other = cacheOf({ pin: true, holder: 'other' }, {}, storage)
    await bytesOf(other.caching(file.url, { cache: 'reload' }))
    expect(await storage.unpin(cid, { holder: 'cache' })).toBe(false)
    expect(await storage.listFiles()).toMatchObject([{ pinned: true }])
    const none = cacheOf({}, {}, storage)
    await bytesOf(none.caching(file.url, { cache: 'reload' }))
    expect(await storage.listFiles()).toMatchObject([{ pinned: false }])
  })

  it('comes from the network alone where the storage was closed', async () => {
    const file = remote(3 * MIB)
    const { storage, caching } = cacheOf()
    await storage.close()
    expect(same(await bytesOf(caching(file.url)), file.bytes)).toBe(true)
  })

  it('for somebody in particular is not kept', async () => {
    const file = remote(1000)
    const { storage, caching } = cacheOf()
    for (let time = 0; time < 2; time++) await bytesOf(caching(file.url, { headers: { authorization: 'Bearer secret' } }))
    expect((await file.stats()).asked).toHaveLength(2)
    await nothingIsLeft(storage)
  })

  it('from another origin in another encoding is kept though its headers do not say so', async () => {
    const file = remote(2 * MIB, { gzip: '', cors: 'bare' }, { elsewhere: true })
    const { caching } = cacheOf()
    for (let time = 0; time < 2; time++) expect(same(await bytesOf(caching(file.url)), file.bytes)).toBe(true)
    expect((await file.stats()).asked).toHaveLength(1)
  })

  it('holds up nobody who asks again before it was read', async () => {
    const file = remote(6 * MIB)
    const { storage, caching } = cacheOf()
    const [one, other] = await Promise.all([caching(file.url), caching(file.url)])
    const third = await caching(file.url)
    expect(same(await bytesOf(third), file.bytes)).toBe(true)
    expect(same(await bytesOf(other), file.bytes)).toBe(true)
    expect(same(await bytesOf(one), file.bytes)).toBe(true)
    expect(await storage.listFiles()).toHaveLength(1)
  })

  it('and read by nobody is in the way of nobody who asks for it later', async () => {
    const file = remote(6 * MIB)
    const { storage, caching } = cacheOf()
    const first = await caching(file.url)
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    // What came is at the store at some time, from which on it is not waited for without end.
    while ((await caching.urls()).length === 0) {
      await vi.advanceTimersByTimeAsync(URL_UNREAD_MS)
      expect(same(await bytesOf(caching(file.url)), file.bytes)).toBe(true)
    }
    expect(same(await bytesOf(first), file.bytes)).toBe(true)
    expect(await storage.listFiles()).toHaveLength(1)
  })

  it('and not read to its end is not kept', async () => {
    const file = remote(20 * MIB)
    const { storage, caching } = cacheOf()
    const reader = (await caching(file.url)).body?.getReader()
    await reader?.read()
    await reader?.cancel()
    const abort = new AbortController()
    const other = await caching(file.url, { signal: abort.signal })
    await other.body?.getReader().read()
    abort.abort()
    expect(await caching.urls()).toEqual([])
    await nothingIsLeft(storage)
  })
})

describe('what is not kept', () => {
  it('is what no rule is about', async () => {
    const file = remote(1000)
    const { storage, caching } = cacheOf({ match: 'https://elsewhere.example/' })
    expect(same(await bytesOf(caching(file.url)), file.bytes)).toBe(true)
    await nothingIsLeft(storage)
  })

  it('is a page or a worker, which run by the headers of their own answer, of no request that is for one', () => {
    const cache = new UrlCache({
      open: () => Promise.resolve(localStorageOf()),
      rules: resolveRules([{ match: 'http://localhost/' }]),
      verify: 'always',
    })
    const requestFor = (facts: Partial<Request>): Request =>
      Object.defineProperties(
        new Request('http://localhost/a'),
        Object.fromEntries(Object.entries(facts).map(([name, value]) => [name, { value: value as unknown }])),
      )
    for (const destination of ['document', 'iframe', 'frame', 'worker', 'sharedworker', 'object', 'embed'] as const) {
      expect(cache.ruleOf(requestFor({ destination })), destination).toBeUndefined()
    }
    expect(cache.ruleOf(requestFor({ mode: 'navigate' }))).toBeUndefined()
    for (const destination of ['', 'script', 'image', 'video', 'style', 'audioworklet'] as const) {
      expect(cache.ruleOf(requestFor({ destination })), destination).toBeDefined()
    }
  })

  it('is a page where the URL names another kind of file', async () => {
    const file = remote(1000, { type: 'text/html; charset=utf-8' })
    const { storage, caching } = cacheOf()
    for (const name of ['model.onnx', 'model.safetensors', 'config.json']) expect((await caching(called(file, name))).status).toBe(200)
    await nothingIsLeft(storage)
    await bytesOf(caching(called(file, 'page.html')))
    expect(await storage.listFiles()).toHaveLength(1)
  })

  it('is an answer that depends on what else was asked with, as far as its server says so', async () => {
    for (const vary of ['*', 'Accept', 'accept-encoding, Accept-Language', 'Origin, Cookie', 'Authorization', 'X-Version']) {
      const file = remote(1000, { say: JSON.stringify({ vary }) })
      const { storage, caching } = cacheOf()
      expect(same(await bytesOf(caching(file.url)), file.bytes)).toBe(true)
      await nothingIsLeft(storage)
    }
    const file = remote(1000, { say: JSON.stringify({ vary: 'Origin,accept-encoding, Range, Access-Control-Request-Headers' }) })
    const { storage, caching } = cacheOf()
    await bytesOf(caching(file.url))
    expect(await storage.listFiles()).toHaveLength(1)
  })

  it('is an answer that is none, and the next good one is', async () => {
    const file = remote(1000, { status: 503, busy: 1 })
    const { storage, caching } = cacheOf()
    expect((await caching(file.url)).status).toBe(503)
    expect(await storage.listFiles()).toEqual([])
    expect(same(await bytesOf(caching(file.url)), file.bytes)).toBe(true)
    expect(await storage.listFiles()).toHaveLength(1)
  })

  it('is what ends early, and the next good one is', async () => {
    const file = remote(5 * MIB, { cut: 1, after: 3 * MIB })
    const { storage, caching } = cacheOf()
    await expect(bytesOf(caching(file.url))).rejects.toThrow()
    await nothingIsLeft(storage)
    expect(same(await bytesOf(caching(file.url)), file.bytes)).toBe(true)
    expect(await storage.listFiles()).toHaveLength(1)
  })

  it('is what has another hash, CID or size than the rule demands', async () => {
    const file = remote(2 * MIB)
    const [sha256, cid] = [await sha256Of(file.bytes), await localStorageOf().store(file.bytes)]
    const good = cacheOf({ sha256, cid, size: 2 * MIB })
    await bytesOf(good.caching(file.url))
    expect(await good.storage.listFiles()).toMatchObject([{ sha256, cid }])
    for (const demanded of [{ sha256: '0'.repeat(64) }, { cid: await localStorageOf().store('other') }, { size: 2 * MIB + 1 }]) {
      const { storage, caching } = cacheOf(demanded)
      await expect(drain(caching(file.url))).rejects.toMatchObject({ name: 'IntegrityError' })
      await nothingIsLeft(storage)
    }
  })

  it('is not given whole either, so that nobody who keeps what came takes it for the content', async () => {
    for (const length of [1000, 3 * MIB]) {
      const file = remote(length)
      const reader = (await cacheOf({ sha256: '0'.repeat(64) }).caching(file.url)).body?.getReader()
      let given = 0
      const read = async (): Promise<void> => {
        for (let piece = await reader?.read(); piece?.done === false; piece = await reader?.read()) given += piece.value.length
      }
      await expect(read()).rejects.toMatchObject({ name: 'IntegrityError' })
      expect(given).toBeLessThan(length)
    }
  })

  it('is what the Hub was to tell of and does not, whoever asks gets it all the same', async () => {
    const file = remote(1000)
    for (const url of [file.url, file.url.replace(/\/([^/?]+)\?/, '/$1/owner/model/resolve/main/model.onnx?')]) {
      const { storage, caching } = cacheOf({ sha256: 'huggingface' })
      expect(same(await bytesOf(caching(url)), file.bytes)).toBe(true)
      await nothingIsLeft(storage)
    }
  })

  it('is what the Hub takes too long to tell of', async () => {
    const file = remote(1000)
    const url = file.url.replace(/\/([^/?]+)\?/, '/$1/owner/model/resolve/main/model.onnx?')
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    let asked = 0
    const { storage, caching } = cacheOf(
      { sha256: 'huggingface' },
      {
        fetch: (input, init) => {
          if (input instanceof Request && input.method === 'GET') return fetch(input, init)
          asked++
          vi.advanceTimersByTime(URL_ASK_TIMEOUT_MS)
          return new Promise(() => undefined)
        },
      },
    )
    expect(same(await bytesOf(caching(url)), file.bytes)).toBe(true)
    expect(asked).toBe(1)
    vi.useRealTimers()
    await nothingIsLeft(storage)
  })

  it('is what another origin keeps from this page', async () => {
    const file = remote(1000, { cors: 'none' }, { elsewhere: true })
    const { storage, caching } = cacheOf()
    await expect(caching(file.url)).rejects.toThrow(TypeError)
    expect((await caching(file.url, { mode: 'no-cors' })).type).toBe('opaque')
    await nothingIsLeft(storage)
  })

  it('is what the caller wants not to be', async () => {
    const file = remote(1000)
    const { storage, caching } = cacheOf()
    await bytesOf(caching(file.url, { cache: 'no-store' }))
    await nothingIsLeft(storage)
    expect(
      (await caching(file.url, { cache: 'only-if-cached', mode: 'same-origin' }).catch(() => new Response(null, { status: 504 }))).status,
    ).toBe(504)
  })
})

describe('what a rule demands', () => {
  it('is demanded of what another rule kept', async () => {
    const file = remote(1000)
    const { storage, caching } = cacheOf({ revalidate: 'never' })
    await bytesOf(caching(file.url))
    await file.change()
    const changed = changedBytes(file)
    const strict = createFetch(storage, [{ match: file.url, revalidate: 'never', sha256: await sha256Of(changed) }])
    expect(same(await bytesOf(strict(file.url)), changed)).toBe(true)
    expect(same(await bytesOf(caching(file.url)), changed)).toBe(true)
  })

  it("is not held against what the browser's own cache has of before", async () => {
    const file = remote(1000, { say: JSON.stringify({ 'cache-control': 'max-age=3600' }) })
    const strict = cacheOf({ sha256: await sha256Of(changedBytes(file)) }).caching
    await expect(drain(strict(file.url))).rejects.toMatchObject({ code: 'integrity' })
    await file.change()
    expect(same(await bytesOf(strict(file.url)), changedBytes(file))).toBe(true)
  })

  it('is demanded of answers that are not kept', async () => {
    const url = called(remote(1000), 'model.onnx')
    const wrong = '0'.repeat(64)
    const ways: ResponseInit[] = [
      { headers: { 'cache-control': 'no-store' } },
      { headers: { vary: '*' } },
      { headers: { 'content-type': 'text/html' } },
      { status: 203 },
    ]
    for (const way of ways) {
      const answered = (): Promise<Response> => Promise.resolve(new Response(new Uint8Array(1000), way))
      const refusing = cacheOf({ sha256: wrong }, { fetch: answered })
      await expect(drain(refusing.caching(url))).rejects.toMatchObject({ code: 'integrity' })
      const size = cacheOf({ size: 999 }, { fetch: answered })
      await expect(drain(size.caching(url))).rejects.toMatchObject({ code: 'integrity' })
      const right = cacheOf({ sha256: await sha256Of(new Uint8Array(1000)), size: 1000 }, { fetch: answered })
      expect(await bytesOf(right.caching(url))).toHaveLength(1000)
      expect(await right.storage.listFiles()).toEqual([])
    }
  })

  it('is demanded of each of those who ask at once', async () => {
    const file = remote(1000)
    const { caching } = cacheOf({ sha256: '0'.repeat(64) })
    const [one, two] = await Promise.all([caching(file.url), caching(file.url)])
    await expect(drain(Promise.resolve(one))).rejects.toMatchObject({ code: 'integrity' })
    await expect(drain(Promise.resolve(two))).rejects.toMatchObject({ code: 'integrity' })
  })

  it('is told by a fetch() that stands in for the one it asks', async () => {
    const file = remote(1000)
    const before = globalThis.fetch
    const { caching } = cacheOf({ revalidate: 'never' })
    globalThis.fetch = caching
    try {
      expect(same(await bytesOf(fetch(file.url)), file.bytes)).toBe(true)
    } finally {
      globalThis.fetch = before
    }
  })
})

describe('what the server has by now', () => {
  it('is asked for each time, and replaces what was kept', async () => {
    const file = remote(2 * MIB)
    const { storage, caching, from } = cacheOf({ revalidate: 'etag', pin: true })
    expect(same(await bytesOf(caching(file.url)), file.bytes)).toBe(true)
    expect(same(await bytesOf(caching(file.url)), file.bytes)).toBe(true)
    await file.change()
    expect(same(await bytesOf(caching(file.url)), changedBytes(file))).toBe(true)
    expect(same(await bytesOf(caching(file.url)), changedBytes(file))).toBe(true)
    expect(from).toEqual(['network', 'store', 'network', 'store'])
    expect(await storage.listFiles()).toHaveLength(1)
    expect((await file.stats()).asked).toHaveLength(2)
    // Of the URL, whatever it answered.
    expect((await caching.urls())[0]?.hits).toBe(2)
  })

  it('is asked for as the caller asks, but for what is about a part or a version of it', async () => {
    const file = remote(1000)
    const asked: Request[] = []
    const { caching } = cacheOf(
      { revalidate: 'etag' },
      {
        fetch: (input, init) => {
          if (input instanceof Request && input.method === 'HEAD') asked.push(input)
          return fetch(input, init)
        },
      },
    )
    await bytesOf(caching(file.url))
    const headers = { accept: 'model/x', 'x-version': '2', range: 'bytes=0-9', 'if-none-match': '"none"', 'if-range': '"none"' }
    expect((await caching(file.url, { headers })).status).toBe(200)
    expect(asked.map((request) => Object.fromEntries(request.headers))).toEqual([{ accept: 'model/x', 'x-version': '2' }])
  })

  it('is asked for whole where the server does not say otherwise', async () => {
    for (const head of [401, 403, 405]) {
      const file = remote(1000, { head })
      const { storage, caching, from } = cacheOf({ revalidate: 'etag' })
      await bytesOf(caching(file.url))
      await file.change()
      expect(same(await bytesOf(caching(file.url)), changedBytes(file))).toBe(true)
      expect(from).toEqual(['network', 'network'])
      expect(await storage.listFiles()).toHaveLength(1)
    }
  })

  it('is what was kept, where whatever it has by now can not be had', async () => {
    for (const validator of ['none', 'weak']) {
      const file = remote(1000, { validator })
      const { storage, caching } = cacheOf({ revalidate: 'etag' })
      await bytesOf(caching(file.url))
      const failing = (answer: () => Promise<Response>): Cache =>
        cacheOf(
          { revalidate: 'etag' },
          { fetch: (input, init) => (input instanceof Request && input.method === 'HEAD' ? fetch(input, init) : answer()) },
          storage,
        )
      for (const status of [429, 500, 503]) {
        const busy = failing(() => Promise.resolve(new Response('busy', { status })))
        expect(same(await bytesOf(busy.caching(file.url)), file.bytes)).toBe(true)
        expect((await busy.caching(file.url, { headers: { range: 'bytes=0-9' } })).status).toBe(206)
        expect((await busy.caching(file.url, { cache: 'reload' })).status).toBe(status)
      }
      const broken = failing(() => Promise.reject(new TypeError('Failed to fetch')))
      expect(same(await bytesOf(broken.caching(file.url)), file.bytes)).toBe(true)
      expect(broken.from).toEqual(['store'])
      const gone = failing(() => Promise.resolve(new Response('gone', { status: 404 })))
      expect((await gone.caching(file.url)).status).toBe(404)
      const abort = new AbortController()
      const aborting = failing(() => {
        abort.abort()
        return Promise.reject(abort.signal.reason as Error)
      })
      await expect(aborting.caching(file.url, { signal: abort.signal })).rejects.toMatchObject({ name: 'AbortError' })
    }
  })

  it('is what was kept, where the server takes too long to say', async () => {
    const file = remote(1000)
    const { storage, caching } = cacheOf({ revalidate: 'etag' })
    await bytesOf(caching(file.url))
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    const signals: AbortSignal[] = []
    const silent = cacheOf(
      { revalidate: 'etag' },
      {
        fetch: (input) => {
          if (input instanceof Request) signals.push(input.signal)
          vi.advanceTimersByTime(URL_ASK_TIMEOUT_MS)
          return new Promise(() => undefined)
        },
      },
      storage,
    )
    expect(same(await bytesOf(silent.caching(file.url)), file.bytes)).toBe(true)
    expect(signals.map(({ aborted }) => aborted)).toEqual([true])
  })

  it('is not asked for before its time, or never', async () => {
    for (const revalidate of ['never', { maxAgeHours: 1 }] as const) {
      const file = remote(1000)
      const { caching } = cacheOf({ revalidate })
      await bytesOf(caching(file.url))
      await file.change()
      expect(same(await bytesOf(caching(file.url)), file.bytes)).toBe(true)
      expect(same(await bytesOf(caching(file.url, { cache: 'reload' })), changedBytes(file))).toBe(true)
    }
  })
})

describe('rules', () => {
  it.for([
    [[{}], 'rules[0].match'],
    [[{ match: 5 }], 'rules[0].match'],
    [[{ match: /a/, other: 1 }], 'rules[0].other'],
    [[{ match: /a/, revalidate: 'often' }], 'rules[0].revalidate'],
    [[{ match: /a/, revalidate: { maxAgeHours: -1 } }], 'rules[0].revalidate'],
    [[{ match: /a/, sha256: 'abc' }], 'rules[0].sha256'],
    [[{ match: /a/, size: 1.5 }], 'rules[0].size'],
    ['none', 'rules'],
  ] as const)('%j is refused', ([rules, option]) => {
    expect(() => createFetch(localStorageOf(), rules as unknown as FetchRule[])).toThrow(
      expect.objectContaining({ name: 'InvalidOptionsError', option }) as Error,
    )
  })
})
