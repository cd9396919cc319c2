// A page that has the library as `kit` and nothing else, served on one origin, so that tests can open real tabs of it.
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build, type OutputFile, type Plugin } from 'esbuild'
import { chromium } from 'playwright'
import type { Browser, BrowserContext, Page } from 'playwright'
import { CHROMIUM_ARGS, findChromium } from '../../../scripts/chromium.mjs'
import type * as Library from '../../../src/index.ts'
import type { connect } from '../../../src/worker/index.ts'

const ROOT = fileURLToPath(new URL('../../..', import.meta.url))
export const LAUNCH_TIMEOUT_MS = 60_000
const ACTION_TIMEOUT_MS = 60_000

/** As an application may have it: the page's own script and scripts of the origin, and nothing from text. */
const STRICT_POLICY = "default-src 'self'; script-src 'self' 'unsafe-inline'; img-src data:"

/** What a tab is: it finds the library as `kit`, and what makes content. */
export const PAGE = `<!doctype html><title>tab</title><link rel="icon" href="data:,"><script type="module">
  import * as kit from '/stdin.js'
  globalThis.kit = kit
  globalThis.load = (script) => import(script)
  // Incompressible, and the same for a seed.
  globalThis.bytes = (mebibytes, seed) => {
    const words = new Uint32Array(mebibytes * 262144)
    let state = Math.imul(seed, 0x9e3779b1)
    for (let index = 0; index < words.length; index++) {
      state = (Math.imul(state ^ (state >>> 15), 0x2c1b3c6d) + 0x9e3779b9) | 0
      words[index] = state
    }
    return new Uint8Array(words.buffer)
  }
</script>`

/** What every tab finds as `kit`. */
export type Kit = typeof Library & { connect: typeof connect }

export interface Served {
  url: string
  close: () => Promise<void>
}

export interface App extends Served {
  browser: Browser
}

/** As serveApp, and launches a browser. */
export async function startApp(...args: Parameters<typeof serveApp>): Promise<App> {
  const { url, close } = await serveApp(...args)
  const browser = await chromium.launch({ executablePath: await findChromium(), args: CHROMIUM_ARGS, timeout: LAUNCH_TIMEOUT_MS })
  return {
    browser,
    url,
    async close() {
      await browser.close()
      await close()
    },
  }
}

/**
 * Bundles the library with Helia and serves it. /worker.js serves a storage whose options its name spells, /pack-worker.js writes packs; `scripts` are
 * more of them, by their names and paths; `builds` are other builds of the library, by their names, each with what makes it another. At /strict the page
 * is under a policy that lets no worker be made from text. What is none of it is answered by `otherwise`.
 */
export async function serveApp(
  scripts: Record<string, string> = {},
  builds: Record<string, Plugin> = {},
  otherwise?: RequestListener,
): Promise<Served> {
  const kits = await Promise.all(
    Object.entries({ stdin: undefined, ...builds }).map(([name, plugin]) => buildKit(name, plugin === undefined ? [] : [plugin])),
  )
  const worker = await build({
    entryPoints: {
      worker: `${ROOT}/test/browser/fixtures/worker.ts`,
      'pack-worker': `${ROOT}/test/browser/fixtures/pack-worker.ts`,
      ...Object.fromEntries(Object.entries(scripts).map(([name, path]) => [name, join(ROOT, path)])),
    },
    bundle: true,
    splitting: true,
    write: false,
    format: 'esm',
    outdir: 'out',
    logLevel: 'error',
    chunkNames: 'worker-[hash]',
  })
  const files = new Map([...kits.flat(), ...worker.outputFiles].map((file) => [`/${basename(file.path)}`, Buffer.from(file.contents)]))
  const server = createServer((request, response) => {
    const { pathname } = new URL(request.url ?? '/', 'http://localhost')
    const file = files.get(pathname)
    if (file === undefined && pathname !== '/' && pathname !== '/strict') {
      if (otherwise !== undefined) return otherwise(request, response)
      response.writeHead(404).end()
      return
    }
    response.writeHead(200, {
      'content-type': file === undefined ? 'text/html' : 'text/javascript',
      ...(pathname === '/strict' ? { 'content-security-policy': STRICT_POLICY } : {}),
    })
    response.end(file ?? PAGE)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    async close() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

/** The library as a tab loads it. */
export async function buildKit(name: string, plugins: Plugin[]): Promise<OutputFile[]> {
  const { outputFiles } = await build({
    stdin: {
      contents: `export * from './src/index.ts'; export { connect } from './src/worker/index.ts'`,
      resolveDir: ROOT,
      sourcefile: 'kit.ts',
    },
    bundle: true,
    splitting: true,
    write: false,
    format: 'esm',
    outdir: 'out',
    logLevel: 'error',
    // Relative imports of chunks work in the worker too, which is built beside.
    entryNames: name,
    plugins,
  })
  return outputFiles
}

interface Opened {
  tabs: Page[]
  /** What goes wrong in one of them unseen. */
  errors: string[]
  close: () => Promise<void>
}

/** Opens tabs of one profile, at a path of the app. */
export async function openTabs(app: App, count: number, path = ''): Promise<Opened> {
  const context = await app.browser.newContext()
  return { ...(await openIn(context, app, count, path)), close: () => context.close() }
}

/** Opens tabs of a profile that lies on the disk: only there does a browser hold files to a quota. */
export async function openOnDisk(app: Served, count = 1, disk = tmpdir()): Promise<Opened> {
  const folder = await mkdtemp(join(disk, 'ipfs-kit-web-profile-'))
  const launch = { executablePath: await findChromium(), args: CHROMIUM_ARGS, timeout: LAUNCH_TIMEOUT_MS }
  const context = await chromium.launchPersistentContext(folder, launch)
  const close = async (): Promise<void> => {
    await context.close()
    await rm(folder, { recursive: true, force: true })
  }
  return { ...(await openIn(context, app, count, '')), close }
}

async function openIn(context: BrowserContext, app: Served, count: number, path: string): Promise<Omit<Opened, 'close'>> {
  context.setDefaultTimeout(ACTION_TIMEOUT_MS)
  const errors: string[] = []
  const tabs: Page[] = []
  for (let index = 0; index < count; index++) {
    const tab = await context.newPage()
    tab.on('pageerror', (error) => errors.push(`tab ${index}: ${error.stack ?? error.message}`))
    await tab.goto(app.url + path)
    await tab.waitForFunction(() => 'kit' in globalThis)
    tabs.push(tab)
  }
  return { tabs, errors }
}
