// A page that has the library as `kit` and nothing else, served on one origin, so that tests can open real tabs of it.
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { basename } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import { chromium } from 'playwright'
import type { Browser, Page } from 'playwright'
import { CHROMIUM_ARGS, findChromium } from '../../../scripts/chromium.mjs'
import type * as Library from '../../../src/index.ts'
import type { connect } from '../../../src/worker/index.ts'

const ROOT = fileURLToPath(new URL('../../..', import.meta.url))
const LAUNCH_TIMEOUT_MS = 60_000
const ACTION_TIMEOUT_MS = 60_000

/** What every tab finds as `kit`. */
export type Kit = typeof Library & { connect: typeof connect }

export interface App {
  browser: Browser
  url: string
  close: () => Promise<void>
}

/** Bundles the library with Helia, serves it, and launches a browser. /worker.js serves a storage whose options its name spells. */
export async function startApp(): Promise<App> {
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
    entryNames: '[name]',
  })
  const worker = await build({
    entryPoints: { worker: `${ROOT}/test/browser/fixtures/worker.ts` },
    bundle: true,
    splitting: true,
    write: false,
    format: 'esm',
    outdir: 'out',
    logLevel: 'error',
    chunkNames: 'worker-[hash]',
  })
  const files = new Map([...outputFiles, ...worker.outputFiles].map((file) => [`/${basename(file.path)}`, Buffer.from(file.contents)]))
  const page = `<!doctype html><title>tab</title><link rel="icon" href="data:,"><script type="module">
    import * as kit from '/stdin.js'
    globalThis.kit = kit
  </script>`
  const server = createServer((request, response) => {
    const { pathname } = new URL(request.url ?? '/', 'http://localhost')
    const file = files.get(pathname)
    if (file === undefined && pathname !== '/') {
      response.writeHead(404).end()
      return
    }
    response.writeHead(200, { 'content-type': file === undefined ? 'text/html' : 'text/javascript' })
    response.end(file ?? page)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const browser = await chromium.launch({ executablePath: await findChromium(), args: CHROMIUM_ARGS, timeout: LAUNCH_TIMEOUT_MS })
  return {
    browser,
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    async close() {
      await browser.close()
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

/** Opens tabs of one profile. What goes wrong in one of them unseen is in `errors`. */
export async function openTabs(app: App, count: number): Promise<{ tabs: Page[]; errors: string[]; close: () => Promise<void> }> {
  const context = await app.browser.newContext()
  context.setDefaultTimeout(ACTION_TIMEOUT_MS)
  const errors: string[] = []
  const tabs: Page[] = []
  for (let index = 0; index < count; index++) {
    const tab = await context.newPage()
    tab.on('pageerror', (error) => errors.push(`tab ${index}: ${error.stack ?? error.message}`))
    await tab.goto(app.url)
    await tab.waitForFunction(() => 'kit' in globalThis)
    tabs.push(tab)
  }
  return { tabs, errors, close: () => context.close() }
}
