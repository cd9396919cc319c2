// Content by CID shares the application's origin: what nobody trusts runs nothing there and reads nothing, and no path leads anywhere else.
import type { Frame, Page } from 'playwright'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { openTab, register, startSite, visit, type Own, type Site, type Visit } from './support/site.ts'

let site: Site
let here: Visit

beforeAll(async () => {
  site = await startSite()
})

afterAll(async () => {
  await site?.close()
})

beforeEach(async () => {
  here = await visit(site)
  site.requests.length = 0
})

afterEach(async () => {
  await here.context.close()
  if (here.errors.length > 0) throw new Error(here.errors.join('\n'))
})

/** Whatever runs of it is seen: by the application, which it tells, and by the server. */
const EVIL = `
  try { localStorage.setItem('evil', '1') } catch {}
  try { (globalThis.top ?? globalThis).postMessage('evil', '*') } catch {}
  try { new BroadcastChannel('evil').postMessage('evil') } catch {}
  try { fetch('/beacon') } catch {}
  try { new Image().src = '/beacon' } catch {}
  try { document.title = 'evil' } catch {}
`

const PAGE = `<!doctype html><title>harmless</title><p onclick="0" id="shown">shown</p><script>${EVIL}</script>
  <img src="data:," onerror="${EVIL.replaceAll('\n', ' ')}"><iframe srcdoc="<script>${EVIL.replaceAll('"', "'")}</script>"></iframe>
  <form action="/beacon"></form><meta http-equiv="refresh" content="0;url=javascript:fetch('/beacon')">`
const PICTURE = `<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="8" height="4" id="x" onload="${EVIL.replaceAll('\n', ' ').replaceAll('"', "'")}">
  <script>${EVIL}</script>
  <g id="shape"><rect width="8" height="4" fill="lime"/><image href="data:x/x," onerror="${EVIL.replaceAll('\n', ' ')}"/></g></svg>`

interface Content {
  page: string
  picture: string
  scripts: string
  trusted: string
}

function storeContent(): Promise<Content> {
  return here.page.evaluate(
    async ([page, picture, evil]) => {
      const { storage } = globalThis as unknown as Own
      // What the application has of its own.
      localStorage.setItem('secret', 'mine')
      document.cookie = 'secret=mine'
      await new Promise<void>((resolve, reject) => {
        const request = indexedDB.open('secret')
        request.onsuccess = () => {
          request.result.close()
          resolve()
        }
        request.onerror = () => reject(request.error ?? new Error('there is no IndexedDB'))
      })
      const heard: unknown[] = []
      Object.assign(globalThis, { heard })
      addEventListener('message', ({ data }) => heard.push(data))
      const channel = new BroadcastChannel('evil')
      channel.onmessage = ({ data }) => heard.push(data)
      const scripts = (body: string): { path: string; data: string }[] => [
        { path: 'module.js', data: `${body}; export default 'ran'` },
        { path: 'script.js', data: `${body}; globalThis.ran = 'ran'` },
        { path: 'worker.js', data: `${body}; postMessage('ran')` },
        { path: 'shared.js', data: `${body}; onconnect = ({ ports: [port] }) => port.postMessage('ran')` },
        { path: 'style.css', data: `#styled { color: rgb(1, 2, 3) }` },
        { path: 'page.html', data: `<title>before</title><script>document.title = localStorage.getItem('secret')</script>` },
      ]
      return {
        page: await storage.store(page, { mediaType: 'text/html' }),
        picture: await storage.store(picture, { mediaType: 'image/svg+xml' }),
        scripts: await storage.storeDirectory(scripts(evil)),
        trusted: await storage.storeDirectory(scripts('')),
      }
    },
    [PAGE, PICTURE, EVIL] as const,
  )
}

/** What a document may have of the application's. */
function reach(frame: Frame): Promise<string[]> {
  return frame.evaluate(async () => {
    const attempts: Record<string, () => unknown> = {
      localStorage: () => localStorage.getItem('secret'),
      cookie: () => document.cookie,
      indexedDB: () => indexedDB.databases(),
      caches: () => caches.keys(),
      locks: () => navigator.locks.query(),
      directory: () => navigator.storage.getDirectory(),
      serviceWorker: () => navigator.serviceWorker.getRegistrations(),
      parent: () => parent === self || parent.document.body,
    }
    const reached: string[] = [origin]
    for (const [name, attempt] of Object.entries(attempts)) {
      try {
        await attempt()
        reached.push(name)
      } catch (error) {
        if (!(error instanceof DOMException || error instanceof TypeError)) throw error
      }
    }
    return reached
  })
}

/** Nothing told the application or the server that it ran, and the application still has what it had. */
async function expectNothingRan(): Promise<void> {
  const left = await here.page.evaluate(() => ({
    heard: (globalThis as unknown as { heard: unknown[] }).heard.filter((data) => data === 'evil'),
    storage: [localStorage.getItem('secret'), localStorage.getItem('evil')],
    cookie: document.cookie,
    title: document.title,
  }))
  expect(left).toEqual({ heard: [], storage: ['mine', null], cookie: 'secret=mine', title: 'tab' })
  expect(site.requests.filter((path) => path.includes('beacon'))).toEqual([])
}

describe.each(['page', 'picture'] as const)('a %s that nobody trusts', (kind) => {
  it('runs nothing and reaches nothing at the top', async () => {
    const content = await storeContent()
    await register(here.page)
    const tab = await here.context.newPage()
    const response = await tab.goto(`${site.url}ipfs/${content[kind]}`)
    expect(response?.fromServiceWorker()).toBe(true)
    expect(await reach(tab.mainFrame())).toEqual(['null', 'parent'])
    expect(await tab.title()).toBe(kind === 'page' ? 'harmless' : '')
    // What it is opened by holds no window of it.
    const [opened] = await Promise.all([
      here.context.waitForEvent('page'),
      here.page.evaluate((cid) => {
        Object.assign(globalThis, { opened: open(`/ipfs/${cid}`) })
      }, content[kind]),
    ])
    await opened.waitForLoadState()
    expect(await opened.evaluate(() => opener as unknown)).toBeNull()
    expect(await here.page.evaluate(() => (globalThis as unknown as { opened: Window }).opened.closed)).toBe(true)
    await expectNothingRan()
  })

  it.each(['', 'isolated'])('runs nothing and reaches nothing in a frame: of a page at /%s', async (path) => {
    await here.page.goto(site.url + path)
    await here.page.close()
    here.page = await openTab(here.context, site, path)
    const content = await storeContent()
    await register(here.page)
    await here.page.evaluate(
      (cid) =>
        new Promise((resolve) => {
          const frame = document.createElement('iframe')
          frame.onload = resolve
          frame.src = `/ipfs/${cid}`
          document.body.append(frame)
        }),
      content[kind],
    )
    const [frame] = here.page.mainFrame().childFrames()
    if (frame === undefined) throw new Error('there is no frame')
    expect(frame.url()).toContain(content[kind])
    expect(await reach(frame)).toEqual(['null'])
    await expectNothingRan()
  })

  it.each(['object', 'embed'])('is not shown as <%s>, of which no service worker is asked', async (tag) => {
    const content = await storeContent()
    await register(here.page)
    const shown = await here.page.evaluate(
      async ([tag, cid]) => {
        const element = document.createElement(tag)
        const over = new Promise((resolve) => {
          element.onload = resolve
          element.onerror = resolve
        })
        element.setAttribute(tag === 'object' ? 'data' : 'src', `/ipfs/${cid}`)
        document.body.append(element)
        await over
        return (element as HTMLObjectElement).contentDocument?.documentElement.textContent ?? ''
      },
      [tag, content[kind]] as const,
    )
    expect(shown).not.toContain('shown')
    expect(site.requests).toContain(`/ipfs/${content[kind]}`)
    await expectNothingRan()
  })
})

/** What a page may load from a root: each with what came of it. */
function loadFrom(page: Page, root: string): Promise<Record<string, string>> {
  return page.evaluate(async (root) => {
    const { load } = globalThis as unknown as Own
    const at = (name: string): string => `/ipfs/${root}/${name}`
    const append = (tag: string, fields: Record<string, string>): Promise<string> =>
      new Promise((resolve) => {
        const element = Object.assign(document.createElement(tag), fields)
        element.onload = () => resolve('loaded')
        element.onerror = () => resolve('failed')
        document.head.append(element)
      })
    const heard = (port: { onmessage: unknown; onerror?: unknown }, from: EventTarget): Promise<string> =>
      new Promise((resolve) => {
        port.onmessage = ({ data }: MessageEvent<string>) => resolve(data)
        from.addEventListener('error', () => resolve('failed'))
      })
    const text = (code: string): string => URL.createObjectURL(new Blob([code], { type: 'text/javascript' }))
    const importing = (how: string): Promise<string> => {
      const url = new URL(at('script.js'), location.href).href
      const worker = new Worker(text(`try { ${how}(${JSON.stringify(url)}); postMessage(globalThis.ran) } catch { postMessage('failed') }`))
      return heard(worker, worker)
    }
    const styled = document.createElement('p')
    styled.id = 'styled'
    document.body.append(styled)
    const outcomes: Record<string, () => Promise<string>> = {
      script: () => append('script', { src: at('script.js') }),
      'script type=module': () => append('script', { src: at('module.js'), type: 'module' }),
      'import()': async () => ((await load(at('module.js'))) as { default: string }).default,
      'import() with a style': async () => {
        const blob = text(
          `import sheet from ${JSON.stringify(new URL(at('style.css'), location.href).href)} with { type: 'css' }; export default String(sheet)`,
        )
        return ((await load(blob)) as { default: string }).default
      },
      stylesheet: async () => {
        const outcome = await append('link', { rel: 'stylesheet', href: at('style.css') })
        return outcome === 'failed' ? outcome : getComputedStyle(styled).color
      },
      '@import': () =>
        new Promise((resolve) => {
          const style = document.createElement('style')
          style.textContent = `@import ${JSON.stringify(at('style.css?imported'))}`
          style.onload = () => resolve('loaded')
          style.onerror = () => resolve('failed')
          document.head.append(style)
        }),
      Worker: () => {
        const worker = new Worker(at('worker.js'))
        return heard(worker, worker)
      },
      'module Worker': () => {
        const worker = new Worker(at('worker.js'), { type: 'module' })
        return heard(worker, worker)
      },
      SharedWorker: () => {
        const worker = new SharedWorker(at('shared.js'))
        return heard(worker.port, worker)
      },
      importScripts: () => importing('importScripts'),
      audioWorklet: async () => {
        await new OfflineAudioContext(1, 1, 8000).audioWorklet.addModule(at('module.js'))
        return 'loaded'
      },
      fetch: async () => (await fetch(at('script.js'))).statusText || 'answered',
    }
    const came: Record<string, string> = {}
    for (const [name, outcome] of Object.entries(outcomes)) {
      came[name] = await outcome().catch(() => 'failed')
    }
    return came
  }, root)
}

/** What comes of each where it is trusted. */
const LOADED = {
  script: 'loaded',
  'script type=module': 'loaded',
  'import()': 'ran',
  'import() with a style': '[object CSSStyleSheet]',
  stylesheet: 'rgb(1, 2, 3)',
  '@import': 'loaded',
  Worker: 'ran',
  'module Worker': 'ran',
  SharedWorker: 'ran',
  importScripts: 'ran',
  audioWorklet: 'loaded',
  fetch: 'answered',
}

describe('code', () => {
  it('of a root that nobody trusts is not run, whichever way it is loaded', async () => {
    const content = await storeContent()
    await register(here.page)
    const came = await loadFrom(here.page, content.scripts)
    expect(came).toEqual({ ...Object.fromEntries(Object.keys(LOADED).map((name) => [name, 'failed'])), fetch: 'answered' })
    await here.page.waitForFunction(() => (globalThis as unknown as Own).served.some(({ status }) => status === 200))
    const statuses = await here.page.evaluate(() => (globalThis as unknown as Own).served.map(({ status }) => status))
    expect([...new Set(statuses)].toSorted()).toEqual([200, 403])
    await expectNothingRan()
  })

  it('of a root that is trusted is', async () => {
    const content = await storeContent()
    await register(here.page, { trust: [content.trusted] })
    const came = await loadFrom(here.page, content.trusted)
    expect(came).toEqual(LOADED)
    const tab = await here.context.newPage()
    await tab.goto(`${site.url}ipfs/${content.trusted}/page.html`)
    expect(await tab.title()).toBe('mine')
    await expectNothingRan()
  })

  it('in a picture that nobody trusts is not taken into a page, by <use>: there it could run', async () => {
    const content = await storeContent()
    await register(here.page)
    await here.page.evaluate((cid) => {
      document.body.insertAdjacentHTML(
        'beforeend',
        `<svg width="8" height="8"><use href="/ipfs/${cid}#shape"/></svg><img src="/ipfs/${cid}">`,
      )
      return document.querySelector('img')?.decode()
    }, content.picture)
    await here.page.waitForFunction(() => (globalThis as unknown as Own).served.length === 2)
    const served = await here.page.evaluate(() =>
      (globalThis as unknown as Own).served.map(({ url, status }) => [new URL(url).hash, status]),
    )
    expect(Object.fromEntries(served)).toEqual({ '': 200, '#shape': 403 })
    await expectNothingRan()
  })

  it('is registered as a service worker by nobody', async () => {
    const content = await storeContent()
    await register(here.page)
    const refused = await here.page.evaluate(
      (cid) => navigator.serviceWorker.register(`/ipfs/${cid}/script.js`).then(String, (error: Error) => error.name),
      content.scripts,
    )
    expect(refused).toBe('TypeError')
    await expectNothingRan()
  })
})

/** Status and body of each path, asked for by a page; what a URL makes of a path itself is left to it. */
function ask(paths: readonly string[]): Promise<Record<string, [status: number, text: string]>> {
  return here.page.evaluate(async (paths) => {
    const answers: Record<string, [number, string]> = {}
    for (const path of paths) {
      const response = await fetch(path)
      answers[path] = [response.status, (await response.text()).slice(0, 40)]
    }
    return answers
  }, paths)
}

describe('what is answered', () => {
  it('is what has an entry or is allowed', async () => {
    const { own, inside, outside } = await here.page.evaluate(async () => {
      const { storage, kit } = globalThis as unknown as Own
      const own = await storage.storeDirectory([{ path: 'inside.txt', data: 'inside' }])
      const listed = await storage.listDirectory(own)
      const other = await new kit.IPFSKitStorage({ cacheDir: 'another', forceFallback: true }).store('in another storage')
      return { own, inside: listed?.[0]?.cid ?? '', outside: other }
    })
    await register(here.page)
    const entered = await ask([`/ipfs/${own}/inside.txt`, `/ipfs/${inside}`, `/ipfs/${outside}`])
    expect(entered).toEqual({
      [`/ipfs/${own}/inside.txt`]: [200, 'inside'],
      [`/ipfs/${inside}`]: [404, expect.stringContaining(inside.slice(0, 30))],
      [`/ipfs/${outside}`]: [404, expect.stringContaining(outside.slice(0, 30))],
    })
    await register(here.page, { allow: [inside, outside] })
    expect(await ask([`/ipfs/${inside}`, `/ipfs/${outside}`])).toEqual({
      [`/ipfs/${inside}`]: [200, 'inside'],
      [`/ipfs/${outside}`]: [404, expect.any(String)],
    })
    expect(site.requests.filter((path) => path.startsWith('/ipfs/'))).toEqual([])
  })

  it('never lies outside the root, however it is named', async () => {
    const [root, file] = await here.page.evaluate(async () => {
      const { storage } = globalThis as unknown as Own
      await storage.store('not for you', { filename: 'secret.txt' })
      return [await storage.storeDirectory([{ path: 'a/b.txt', data: 'mine' }]), await storage.store('a file')] as const
    })
    await register(here.page)
    const at = `/ipfs/${root}`
    const expected: Record<string, number> = {
      [`${at}/a/b.txt`]: 200,
      [`${at}//a///b.txt`]: 200,
      [`${at}/..%2f`]: 400,
      [`${at}/..%2F..%2fclassic.js`]: 400,
      [`${at}/a%2fb.txt`]: 400,
      [`${at}%2fa%2fb.txt`]: 400,
      [`${at}/a/%2e%2e%2f%2e%2e%2f`]: 400,
      [`${at}/%252e%252e/a`]: 404,
      [`${at}/a/..%5c..%5cclassic.js`]: 404,
      [`${at}/a%00`]: 404,
      [`${at}/__proto__`]: 404,
      [`${at}/constructor`]: 404,
      [`${at}/%ff`]: 400,
      [`${at}/%`]: 400,
      [`${at}/%c3%28`]: 400,
      [`${at}/${'x/'.repeat(5000)}`]: 414,
      [`${at}/${'x'.repeat(1_000_000)}`]: 404,
      [`/ipfs/${'b'.repeat(1_000_000)}`]: 400,
      [`/ipfs/${file}/a`]: 404,
      '/ipfs/not-a-cid': 400,
      '/ipfs/%2e%2e%2fclassic.js': 400,
      '/ipfs/ipfs/x': 400,
    }
    const answers = await ask(Object.keys(expected))
    expect(Object.fromEntries(Object.entries(answers).map(([path, [status]]) => [path, status]))).toEqual(expected)
    for (const [, text] of Object.values(answers)) expect(text).not.toContain('from the network')
    expect(site.requests.filter((path) => path.includes('ipfs'))).toEqual([])
  })

  it('is nothing outside the path, which goes to the network as if there were no worker', async () => {
    const cid = await here.page.evaluate(() => (globalThis as unknown as Own).storage.store('mine'))
    await register(here.page)
    const paths = [
      '/ipfs',
      '/ipfs/',
      `/ipns/${cid}`,
      `/IPFS/${cid}`,
      `/api/ipfs/${cid}`,
      `/ipfs/../${cid}`,
      `/ipfs/%2e%2e/${cid}`,
      `/${cid}`,
    ]
    site.requests.length = 0
    expect(await ask(paths)).toEqual(Object.fromEntries(paths.map((path) => [path, [404, 'from the network']])))
    expect(site.requests.length).toBe(paths.length)
    expect(await here.page.evaluate(() => (globalThis as unknown as Own).served)).toEqual([])
    const posted = await here.page.evaluate(async (cid) => (await fetch(`/ipfs/${cid}`, { method: 'POST', body: 'x' })).status, cid)
    expect(posted).toBe(405)
  })
})

it('a page with SharedArrayBuffer shows pictures and frames, and fetches', async () => {
  here.page = await openTab(here.context, site, 'isolated')
  const content = await storeContent()
  await register(here.page, { trust: [content.trusted] })
  const seen = await here.page.evaluate(
    async ([picture, page, trusted]) => {
      const image = new Image()
      image.src = `/ipfs/${picture}`
      await image.decode()
      const framed = async (path: string): Promise<string> => {
        const frame = document.createElement('iframe')
        const over = new Promise((resolve) => {
          frame.onload = resolve
        })
        frame.src = path
        document.body.append(frame)
        await over
        return frame.contentDocument === null ? 'apart' : `${frame.contentDocument.title} ${frame.contentWindow?.crossOriginIsolated}`
      }
      const worker = new Worker(`/ipfs/${trusted}/worker.js`)
      const said = new Promise((resolve, reject) => {
        worker.onmessage = ({ data }) => resolve(data)
        worker.onerror = reject
      })
      return {
        shared: crossOriginIsolated && new SharedArrayBuffer(1).byteLength === 1,
        picture: image.naturalWidth,
        fetched: (await (await fetch(`/ipfs/${page}`)).text()).length > 0,
        frames: [await framed(`/ipfs/${page}`), await framed(`/ipfs/${trusted}/page.html`)],
        worker: await said,
      }
    },
    [content.picture, content.page, content.trusted] as const,
  )
  expect(seen).toEqual({ shared: true, picture: 8, fetched: true, frames: ['apart', 'mine true'], worker: 'ran' })
})
