// What every engine must keep to behind a service worker: content by CID is served, and of what nobody trusts nothing runs in the application's origin.
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { IPFSKitStorage } from '../../src/index.ts'
import { closeAll, freshName, localStorageOf, randomBytes, same } from './support/stores.ts'

const SCRIPT = new URL('../e2e/fixtures/service-worker.ts', import.meta.url)
/** Below the folder of the script, which is its scope. */
const PATH = new URL('./ipfs/', SCRIPT).pathname

/** What a rule is about: something of the scope that is there. */
const KEPT = new URL('./video.ts', SCRIPT)

const TOLD = `parent.postMessage('evil', '*')`

let storage: IPFSKitStorage
let registration: ServiceWorkerRegistration
let page: HTMLIFrameElement
let heard: unknown[] = []
const hear = ({ data }: MessageEvent): void => void heard.push(data)

beforeEach(async (context) => {
  if (!('serviceWorker' in navigator)) return context.skip('there are no service workers here')
  const cacheDir = freshName()
  storage = localStorageOf({ cacheDir })
  const trusted = await storage.storeDirectory([{ path: 'page.html', data: '<!doctype html><title>mine</title><body>' }])
  const url = new URL(SCRIPT)
  url.searchParams.set(
    'options',
    JSON.stringify({ storage: { cacheDir, forceFallback: true }, path: PATH, trust: [trusted], rules: [{ match: KEPT.href }] }),
  )
  try {
    registration = await navigator.serviceWorker.register(url, { type: 'module' })
  } catch (error) {
    return context.skip(`no service worker can be registered: ${String(error)}`)
  }
  await activated(registration)
  page = await framed(`${PATH}${trusted}/page.html`)
  heard = []
  addEventListener('message', hear)
})

afterEach(async () => {
  removeEventListener('message', hear)
  for (const frame of document.querySelectorAll('iframe')) frame.remove()
  await registration?.unregister()
  await closeAll()
})

async function activated({ installing, waiting, active }: ServiceWorkerRegistration): Promise<void> {
  const worker = installing ?? waiting ?? active
  await new Promise<void>((resolve, reject) => {
    const look = (): void => {
      if (worker?.state === 'activated') resolve()
      else if (worker?.state === 'redundant') reject(new Error('the service worker was not installed'))
    }
    worker?.addEventListener('statechange', look)
    look()
  })
}

async function framed(src: string): Promise<HTMLIFrameElement> {
  const frame = document.createElement('iframe')
  const loaded = new Promise((resolve) => {
    frame.onload = resolve
  })
  frame.src = src
  document.body.append(frame)
  await loaded
  return frame
}

/** The page that is served. */
function inside(): { window: Window & typeof globalThis; document: Document } {
  const { contentWindow, contentDocument } = page
  if (contentWindow === null || contentDocument === null) throw new Error('the page is not of this origin')
  return { window: contentWindow as Window & typeof globalThis, document: contentDocument }
}

function append<K extends keyof HTMLElementTagNameMap>(tag: K, fields: Partial<HTMLElementTagNameMap[K]>): Promise<string> {
  return new Promise((resolve) => {
    const element = Object.assign(inside().document.createElement(tag), fields)
    element.onload = () => resolve('loaded')
    element.onerror = () => resolve('failed')
    inside().document.body.append(element)
  })
}

it('a page that is served fetches, by ranges too, compiles and shows what is served', async () => {
  const bytes = randomBytes(3 * 1024 * 1024)
  const cid = await storage.store(bytes)
  const { window, document } = inside()
  expect(document.title).toBe('mine')
  expect(same(new Uint8Array(await (await window.fetch(PATH + cid)).arrayBuffer()), bytes)).toBe(true)
  const part = await window.fetch(PATH + cid, { headers: { range: 'bytes=1048570-1048585' } })
  expect([part.status, part.headers.get('content-range')]).toEqual([206, `bytes 1048570-1048585/${bytes.length}`])
  expect(same(new Uint8Array(await part.arrayBuffer()), bytes.slice(1_048_570, 1_048_586))).toBe(true)
  const module = await storage.store(Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0))
  expect((await WebAssembly.instantiateStreaming(window.fetch(PATH + module))).instance.exports).toEqual({})
  const picture = await storage.store('<svg xmlns="http://www.w3.org/2000/svg" width="7" height="3"/>')
  expect(await append('img', { src: PATH + picture })).toBe('loaded')
  expect(document.querySelector('img')?.naturalWidth).toBe(7)
})

it('what a rule is about is kept where pages fetch it, and not where it is a page', async () => {
  const names = async (): Promise<string[]> => (await storage.listFiles()).map(({ filename }) => filename)
  const { window } = inside()
  await framed(KEPT.href)
  expect(await names()).not.toContain(KEPT.href)
  await (await window.fetch(KEPT)).arrayBuffer()
  expect(await names()).toContain(KEPT.href)
})

describe('of what nobody trusts', () => {
  it('no script, style or worker is loaded', async () => {
    const root = await storage.storeDirectory([
      { path: 'script.js', data: TOLD },
      { path: 'style.css', data: 'p { color: red }' },
      { path: 'worker.js', data: `postMessage('evil')` },
    ])
    const script = `${PATH}${root}/script.js`
    expect(await append('script', { src: script })).toBe('failed')
    expect(await append('script', { src: script, type: 'module' })).toBe('failed')
    expect(await append('link', { rel: 'stylesheet', href: `${PATH}${root}/style.css` })).toBe('failed')
    const { window } = inside()
    for (const type of ['classic', 'module'] as const) {
      const said = await new Promise((resolve) => {
        const worker = new window.Worker(`${PATH}${root}/worker.js`, { type })
        worker.onmessage = ({ data }) => resolve(data)
        worker.onerror = () => resolve('failed')
      })
      expect(said).toBe('failed')
    }
    expect(heard).toEqual([])
  })

  it.each([
    ['page', `<!doctype html><script>${TOLD}</script><img src="data:," onerror="${TOLD}">`, 'text/html'],
    ['picture', `<svg xmlns="http://www.w3.org/2000/svg" onload="${TOLD}"><script>${TOLD}</script></svg>`, 'image/svg+xml'],
  ])('a %s has another origin and runs nothing', async (_, data, mediaType) => {
    const cid = await storage.store(data, { mediaType })
    const frame = await framed(PATH + cid)
    expect(frame.contentDocument).toBeNull()
    expect(() => frame.contentWindow?.document).toThrow()
    // Whatever it would have said was said before this.
    await framed(PATH + cid)
    expect(heard).toEqual([])
  })

  it('no part of a picture is taken into a page, where it could run', async () => {
    const cid = await storage.store(
      `<svg xmlns="http://www.w3.org/2000/svg"><g id="shape"><rect width="4" height="4"/><image href="data:x" width="1" height="1" onerror="${TOLD}"/></g></svg>`,
      { mediaType: 'image/svg+xml' },
    )
    const { document } = inside()
    document.body.insertAdjacentHTML('beforeend', `<svg width="8" height="8"><use href="${PATH}${cid}#shape"/></svg>`)
    // Another one of what is asked for first is answered after it.
    expect(await append('img', { src: PATH + cid })).toBe('loaded')
    await framed(PATH + cid)
    expect(document.querySelector('use')?.getBBox().width).toBe(0)
    expect(heard).toEqual([])
  })
})
