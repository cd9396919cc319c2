// A site whose pages are served by CID by a service worker, and whose server can be stopped under them.
import { readFile } from 'node:fs/promises'
import { basename, extname, join, normalize } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build, type OutputFile, type Plugin } from 'esbuild'
import { chromium } from 'playwright'
import type { Browser, BrowserContext, CDPSession, Page } from 'playwright'
import { CHROMIUM_ARGS, findChromium } from '../../../scripts/chromium.mjs'
import type { IPFSKitStorage, StorageOptions } from '../../../src/index.ts'
import type { InstallOptions, Served, ServedMessage } from '../../../src/service-worker/index.ts'
import { startStoppable } from './stoppable.ts'
import { buildKit, LAUNCH_TIMEOUT_MS, PAGE, type Kit } from './app.ts'

const ROOT = fileURLToPath(new URL('../../..', import.meta.url))
const ACTION_TIMEOUT_MS = 60_000
const WORKER = 'test/e2e/fixtures/service-worker.ts'
const ISOLATING = { 'cross-origin-opener-policy': 'same-origin', 'cross-origin-embedder-policy': 'require-corp' }

export const MIB = 1_048_576

export interface SiteOptions {
  /** More service workers, by their names and paths, as modules. */
  workers?: Record<string, string>
  /** More scripts for pages, by their names and paths. */
  scripts?: Record<string, string>
  /** Other builds of the library, by their names, each with what makes it another: of what a page loads, and as `<name>-worker` of the service worker. */
  builds?: Record<string, Plugin>
  /** Folders of the project that are served, by the paths that they are served at. */
  folders?: Record<string, string>
}

export interface Site {
  url: string
  browser: Browser
  /** Paths of what reached the server, in order. */
  requests: string[]
  /** Texts that the server has, by their paths. */
  texts: Map<string, string>
  /** Nobody answers any more, until it is started again. */
  stop: () => Promise<void>
  start: () => Promise<void>
  close: () => Promise<void>
}

/** What a page of it holds. */
export interface Own {
  kit: Kit
  load: (script: string) => Promise<unknown>
  bytes: (mebibytes: number, seed: number) => Uint8Array<ArrayBuffer>
  storage: IPFSKitStorage
  served: Served[]
}

/** Where page and worker keep their content. */
export const STORAGE: StorageOptions = { cacheDir: 'served', forceFallback: true }

/**
 * Serves a page at / and one at /isolated that may have SharedArrayBuffer, the worker as /module.js and /classic.js, and as /strict.js one in which import()
 * loads nothing and is told.
 */
export async function startSite({ workers = {}, scripts = {}, builds = {}, folders = {} }: SiteOptions = {}): Promise<Site> {
  const built = await Promise.all([
    buildKit('stdin', []),
    ...Object.entries(builds).map(([name, plugin]) => buildKit(name, [plugin])),
    bundle({ module: WORKER, ...workers }, { format: 'esm', splitting: true, chunkNames: 'chunk-[hash]' }),
    bundle({ classic: WORKER }, { format: 'iife' }),
    bundle({ strict: WORKER }, { format: 'iife', plugins: [nothingLate] }),
    ...Object.entries(builds).map(([name, plugin]) => bundle({ [`${name}-worker`]: WORKER }, { format: 'iife', plugins: [plugin] })),
    bundle(scripts, { format: 'esm' }),
  ])
  const files = new Map(built.flat().map((file) => [`/${basename(file.path)}`, Buffer.from(file.contents)]))
  const requests: string[] = []
  const texts = new Map<string, string>()
  const answer = async (pathname: string): Promise<[type: string, body: Buffer | string] | undefined> => {
    if (pathname === '/' || pathname === '/isolated') return ['text/html', PAGE]
    const text = texts.get(pathname)
    if (text !== undefined) return ['text/plain', text]
    const file = files.get(pathname)
    if (file !== undefined) return ['text/javascript', file]
    for (const [at, folder] of Object.entries(folders)) {
      if (!pathname.startsWith(at)) continue
      const path = join(ROOT, folder, normalize(pathname.slice(at.length)))
      return [TYPES[extname(path)] ?? 'application/octet-stream', await readFile(path)]
    }
    return undefined
  }
  const server = await startStoppable((request, response) => {
    const { pathname } = new URL(request.url ?? '/', 'http://localhost')
    requests.push(request.url ?? '/')
    answer(pathname)
      .catch(() => undefined)
      .then((found) => {
        if (found === undefined) return response.writeHead(404).end('from the network')
        const [type, body] = found
        // No HTTP cache may stand in for the server.
        const headers = { 'content-type': type, 'cache-control': 'no-store', 'cross-origin-resource-policy': 'same-origin' }
        return response.writeHead(200, { ...headers, ...(pathname === '/' ? {} : ISOLATING) }).end(body)
      })
      .catch((error: unknown) => response.destroy(error as Error))
  })
  const browser = await chromium.launch({ executablePath: await findChromium(), args: CHROMIUM_ARGS, timeout: LAUNCH_TIMEOUT_MS })
  return {
    ...server,
    browser,
    requests,
    texts,
    async close() {
      await browser.close()
      await server.stop()
    },
  }
}

const TYPES: Record<string, string> = {
  '.js': 'text/javascript',
  '.mjs': 'text/javascript',
  '.wasm': 'application/wasm',
  '.json': 'application/json',
}

async function bundle(
  entryPoints: Record<string, string>,
  options: { format: 'esm' | 'iife'; splitting?: boolean; chunkNames?: string; plugins?: Plugin[] },
): Promise<OutputFile[]> {
  if (Object.keys(entryPoints).length === 0) return []
  const { outputFiles } = await build({
    ...options,
    absWorkingDir: ROOT,
    entryPoints: Object.entries(entryPoints).map(([out, path]) => ({ in: path, out })),
    bundle: true,
    write: false,
    outdir: 'out',
    logLevel: 'error',
    define: { 'process.env.NODE_ENV': '"production"' },
  })
  return outputFiles
}

/** import() in a worker's bundle gives nothing, and is written down. */
const nothingLate: Plugin = {
  name: 'nothing late',
  setup(plugin) {
    plugin.onResolve({ filter: /.*/ }, ({ kind, path }) => (kind === 'dynamic-import' ? { path, namespace: 'late' } : undefined))
    plugin.onLoad({ filter: /.*/, namespace: 'late' }, ({ path }) => ({
      contents: `(globalThis.loadedLate ??= []).push(${JSON.stringify(path)})
        throw new TypeError('import() is disallowed on ServiceWorkerGlobalScope by the HTML specification')
        export {}`,
    }))
  },
}

export interface Visit {
  page: Page
  context: BrowserContext
  /** What goes wrong in the page unseen. */
  errors: string[]
  /** Ends the site's service workers. Resolves when they are. */
  killWorkers: () => Promise<void>
}

/** Opens a page in a fresh profile. */
export async function visit(site: Site, path = ''): Promise<Visit> {
  const context = await site.browser.newContext()
  context.setDefaultTimeout(ACTION_TIMEOUT_MS)
  const errors: string[] = []
  const page = await openTab(context, site, path)
  page.on('pageerror', (error) => errors.push(error.stack ?? String(error)))
  const session = await context.newCDPSession(page)
  return { page, context, errors, killWorkers: await killerOf(session) }
}

export async function openTab(context: BrowserContext, site: Site, path = ''): Promise<Page> {
  const page = await context.newPage()
  await page.goto(site.url + path)
  await page.waitForFunction(() => 'kit' in globalThis)
  await page.evaluate((options) => {
    const own = globalThis as unknown as Own
    own.storage = new own.kit.IPFSKitStorage(options)
    own.served = []
    navigator.serviceWorker.addEventListener('message', ({ data }: MessageEvent<ServedMessage>) => {
      if (data.type === 'ipfs-kit-web:served') own.served.push(data.served)
    })
  }, STORAGE)
  return page
}

async function killerOf(session: CDPSession): Promise<() => Promise<void>> {
  const running = new Set<string>()
  let stopped = (): void => undefined
  session.on('ServiceWorker.workerVersionUpdated', ({ versions }) => {
    for (const { versionId, runningStatus } of versions) {
      if (runningStatus === 'stopped') running.delete(versionId)
      else running.add(versionId)
    }
    if (running.size === 0) stopped()
  })
  await session.send('ServiceWorker.enable')
  return async () => {
    const ended = new Promise<void>((resolve) => {
      stopped = resolve
    })
    if (running.size === 0) throw new Error('no service worker runs')
    await session.send('ServiceWorker.stopAllWorkers')
    await ended
  }
}

/** Registers the worker and waits until it answers this page. */
export function register(page: Page, options: InstallOptions = {}, script = 'classic.js'): Promise<void> {
  return page.evaluate(
    async ([script, options]) => {
      const type = ['classic.js', 'strict.js'].includes(script) || script.endsWith('-worker.js') ? 'classic' : 'module'
      const url = `/${script}?options=${encodeURIComponent(JSON.stringify(options))}`
      const taken = new Promise((resolve) => navigator.serviceWorker.addEventListener('controllerchange', resolve, { once: true }))
      await navigator.serviceWorker.register(url, { type })
      if (navigator.serviceWorker.controller?.scriptURL !== new URL(url, location.href).href) await taken
    },
    [script, { storage: STORAGE, report: true, ...options }] as const,
  )
}

/** Asks the worker which of its lives this is, and what it tried to load. */
export function askWorker(page: Page): Promise<{ life: number; loadedLate: string[] }> {
  return page.evaluate(
    () =>
      new Promise((resolve) => {
        const { port1, port2 } = new MessageChannel()
        port1.onmessage = ({ data }: MessageEvent<{ life: number; loadedLate: string[] }>) => resolve(data)
        navigator.serviceWorker.controller?.postMessage('who', [port2])
      }),
  )
}
