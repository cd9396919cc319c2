// What a browser loads gets content by CID from the service worker: with the server there, without it, and with the worker killed in between.
import type { Page } from 'playwright'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import type * as Video from './fixtures/video.ts'
import { askWorker, MIB, register, startSite, STORAGE, visit, type Own, type Site, type Visit } from './support/site.ts'

/** Of which a browser has only some at hand, whatever it reads ahead. */
const [VIDEO_SECONDS, VIDEO_PADDING_BYTES] = [24, MIB]

type OwnHere = Own & { video: typeof Video }

let site: Site
let here: Visit

beforeAll(async () => {
  site = await startSite({ scripts: { video: 'test/e2e/fixtures/video.ts' } })
})

afterAll(async () => {
  await site?.close()
})

afterEach(async () => {
  await here.context.close()
  await site.start()
  if (here.errors.length > 0) throw new Error(here.errors.join('\n'))
})

interface Cids {
  text: string
  picture: string
  video: string
  wasm: string
  modules: string
}

/** Stores something of everything. */
function storeAll(page: Page): Promise<Cids> {
  return page.evaluate(
    async ([seconds, padding]) => {
      const own = globalThis as unknown as OwnHere
      own.video = (await own.load('/video.js')) as typeof Video
      const canvas = new OffscreenCanvas(3, 2)
      const context = canvas.getContext('2d')
      if (context === null) throw new Error('there is no canvas')
      context.fillStyle = 'rgb(10 200 30)'
      context.fillRect(0, 0, 3, 2)
      // (module (func (export "add") (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1))))
      const wasm = Uint8Array.from(atob('AGFzbQEAAAABBwFgAn9/AX8DAgEABwcBA2FkZAAACgkBBwAgACABags='), (character) => character.charCodeAt(0))
      const { storage } = own
      return {
        text: await storage.store('hello world', { filename: 'hello.txt' }),
        picture: await storage.store(await canvas.convertToBlob({ type: 'image/png' })),
        video: await storage.store(await own.video.makeVideo(seconds, padding)),
        wasm: await storage.store(wasm),
        modules: await storage.storeDirectory([
          { path: 'index.js', data: `import { answer } from './lib/answer.mjs'; export default answer` },
          { path: 'lib/answer.mjs', data: 'export const answer = 42' },
          {
            path: 'index.html',
            data: `<!doctype html><title>loading</title><script type="module">import answer from './index.js'; document.title = answer</script>`,
          },
        ]),
      }
    },
    [VIDEO_SECONDS, VIDEO_PADDING_BYTES] as const,
  )
}

/** Loads each as a browser does, and answers what came of it. `fresh` is another address of the same, so that nothing kept by the page is answered. */
function loadAll(page: Page, cids: Cids, fresh: string): Promise<Record<string, unknown>> {
  return page.evaluate(
    async ([cids, fresh]) => {
      const at = (cid: string): string => `/ipfs/${cid}?${fresh}`
      const picture = new Image()
      picture.src = at(cids.picture)
      await picture.decode()
      const { instance } = await WebAssembly.instantiateStreaming(fetch(at(cids.wasm)))
      const { default: answer } = (await (globalThis as unknown as Own).load(`/ipfs/${cids.modules}/index.js?${fresh}`)) as {
        default: number
      }
      const response = await fetch(at(cids.text))
      return {
        text: await response.text(),
        etag: response.headers.get('etag'),
        picture: [picture.naturalWidth, picture.naturalHeight],
        sum: (instance.exports['add'] as (a: number, b: number) => number)(19, 23),
        answer,
      }
    },
    [cids, fresh] as const,
  )
}

const loaded = (cids: Cids): Record<string, unknown> => ({
  text: 'hello world',
  etag: `"${cids.text}"`,
  picture: [3, 2],
  sum: 42,
  answer: 42,
})

/** Shows the video. */
function show(page: Page, cid: string): Promise<number> {
  return page.evaluate(
    (cid) =>
      new Promise((resolve, reject) => {
        const video = document.createElement('video')
        video.muted = true
        video.preload = 'metadata'
        video.onloadeddata = () => resolve(video.duration)
        video.onerror = () => reject(new Error(video.error?.message))
        video.src = `/ipfs/${cid}`
        document.body.replaceChildren(video)
      }),
    cid,
  )
}

/** Goes to the middle of a second, and answers which second the colour that is shown is of. */
function seek(page: Page, second: number): Promise<number> {
  return page.evaluate(
    (second) =>
      new Promise((resolve, reject) => {
        const { video } = globalThis as unknown as OwnHere
        const element = document.querySelector('video')
        if (element === null) throw new Error('nothing is shown')
        element.onerror = () => reject(new Error(element.error?.message))
        element.onseeked = () => {
          const canvas = new OffscreenCanvas(1, 1)
          const context = canvas.getContext('2d')
          context?.drawImage(element, 0, 0, 1, 1)
          const [red = 0, green = 0] = context?.getImageData(0, 0, 1, 1).data ?? []
          const distances = Array.from({ length: 25 }, (_, index) => {
            const colour = video.colourOf(index)
            return Math.hypot(red - colour[0], green - colour[1])
          })
          resolve(distances.indexOf(Math.min(...distances)))
        }
        element.currentTime = second + 0.5
      }),
    second,
  )
}

describe.each([
  ['a bundle of one file', 'classic.js'],
  ['a module with chunks', 'module.js'],
  ['a bundle in which import() loads nothing', 'strict.js'],
])('a worker that is %s', (_, script) => {
  it('serves whatever a page loads, its server there or stopped, itself killed or not', async () => {
    here = await visit(site)
    const { page } = here
    const cids = await storeAll(page)
    await register(page, { trust: [cids.modules] }, script)
    expect(await loadAll(page, cids, 'there')).toEqual(loaded(cids))
    expect(await show(page, cids.video)).toBeCloseTo(VIDEO_SECONDS)
    expect(await seek(page, 20)).toBe(20)
    expect(await seek(page, 3)).toBe(3)
    const statuses = await page.evaluate(() => (globalThis as unknown as Own).served.map(({ status }) => status))
    expect(statuses.filter((status) => status === 206).length).toBeGreaterThan(1)

    await site.stop()
    expect(await page.evaluate(() => fetch('/').then(String, () => 'no server'))).toBe('no server')
    expect(await loadAll(page, cids, 'stopped')).toEqual(loaded(cids))
    expect(await seek(page, 23)).toBe(23)

    const { life } = await askWorker(page)
    await here.killWorkers()
    expect(await seek(page, 13)).toBe(13)
    expect(await loadAll(page, cids, 'killed')).toEqual(loaded(cids))
    const woken = await askWorker(page)
    expect(woken.life).not.toBe(life)
    expect(woken.loadedLate).toEqual([])

    await here.killWorkers()
    // What is trusted is a page of the application's, which needs no server.
    await page.goto(`${site.url}ipfs/${cids.modules}/`)
    await page.waitForFunction(() => document.title === '42')
    expect(site.requests.filter((path) => path.startsWith('/ipfs/'))).toEqual([])
  })
})

interface Body {
  cid: string
  reader: ReadableStreamDefaultReader<Uint8Array>
  got: number
  isRight: boolean
}

const SIZE_MIB = 48

/** Begins to read and holds the rest. */
function begin(page: Page, cid: string): Promise<void> {
  return page.evaluate(async (cid) => {
    const own = globalThis as unknown as OwnHere & { body: Body }
    const { body } = await fetch(`/ipfs/${cid}`)
    if (body === null) throw new Error('there is no body')
    const reader = body.getReader()
    const { value } = await reader.read()
    own.body = { cid, reader, got: value?.byteLength ?? 0, isRight: true }
  }, cid)
}

/** Reads to the end, whatever end it is, and then by a range what is missing. */
function goOn(page: Page): Promise<{ end: string; got: number; isRight: boolean; rest: string; isRestRight: boolean }> {
  return page.evaluate(async (mebibytes) => {
    const { body, bytes } = globalThis as unknown as OwnHere & { body: Body }
    const expected = bytes(mebibytes, 1)
    const isEqual = (part: Uint8Array, at: number): boolean => part.every((byte, index) => byte === expected[at + index])
    let end = 'whole'
    let isRight = true
    try {
      for (;;) {
        const { done, value } = await body.reader.read()
        if (done) break
        isRight &&= isEqual(value, body.got)
        body.got += value.byteLength
      }
    } catch (error) {
      end = (error as Error).name
    }
    const { got } = body
    if (got === expected.length) return { end, got, isRight, rest: '', isRestRight: true }
    const response = await fetch(`/ipfs/${body.cid}`, { headers: { range: `bytes=${got}-` } })
    const rest = new Uint8Array(await response.arrayBuffer())
    const isRestRight = got + rest.byteLength === expected.length && isEqual(rest, got)
    return { end, got, isRight, rest: `${response.status} ${response.headers.get('content-range')}`, isRestRight }
  }, SIZE_MIB)
}

describe.each([
  ['packs', 'once'],
  ['packs', 'never'],
  ['records', 'always'],
] as const)('a worker that is killed in the middle of a body, from %s, verified %s', (tier, verify) => {
  it('cuts what it reads itself, and a range goes on where that ended', async () => {
    here = await visit(site)
    const { page } = here
    const cid = await page.evaluate(
      async ([options, tier, mebibytes]) => {
        const { kit, bytes } = globalThis as unknown as Own
        const storage = new kit.IPFSKitStorage({ ...options, config: { tier } })
        return storage.store(bytes(mebibytes, 1))
      },
      [STORAGE, tier, SIZE_MIB] as const,
    )
    await register(page, { verify })
    const size = SIZE_MIB * MIB
    for (const isAgain of [false, true]) {
      // What was verified is read by the browser from then on.
      if (isAgain && verify === 'once') await page.evaluate(async (cid) => (await fetch(`/ipfs/${cid}`)).arrayBuffer(), cid)
      const isDirect = tier === 'packs' && (verify === 'never' || (verify === 'once' && isAgain))
      await page.evaluate(() => (globalThis as unknown as Own).served.splice(0))
      await begin(page, cid)
      await page.waitForFunction(
        (by) => (globalThis as unknown as Own).served.some((served) => served.by === by),
        isDirect ? 'browser' : 'worker',
      )
      await here.killWorkers()
      const { got, ...after } = await goOn(page)
      expect(after).toEqual({
        end: isDirect ? 'whole' : 'TypeError',
        isRight: true,
        rest: isDirect ? '' : `206 bytes ${got}-${size - 1}/${size}`,
        isRestRight: true,
      })
      expect(got).toBeGreaterThan(0)
    }
  })
})
