// A browser with a page whose service worker answers by CID, to be asked from Node as a gateway is.
import { createServer } from 'node:http'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import { chromium } from 'playwright'
import { CHROMIUM_ARGS, findChromium } from '../../scripts/chromium.mjs'

/** @typedef {{ method: string, path: string, headers: Record<string, string> }} PlainRequest */
/** @typedef {{ status: number, headers: [name: string, value: string][], base64: string }} PlainResponse */
/** @typedef {{ cid: string, base64: string }} PlainBlock */
/** @typedef {{ status: number, headers: Headers, body: Buffer }} Answer */
/** @typedef {{ cid: { toString(): string }, bytes: Uint8Array }} Block */
/**
 * @typedef {object} Gateway
 * @property {(path: string, headers?: Record<string, string>, method?: string) => Promise<Answer>} ask
 * @property {() => Promise<void>} close
 */

const LAUNCH_TIMEOUT_MS = 60_000
const ACTION_TIMEOUT_MS = 60_000

/**
 * Service workers refuse import(): what is left as one in the bundle shows that it is not needed.
 *
 * @type {import('esbuild').Plugin}
 */
const keepDynamicImports = {
  name: 'keep-dynamic-imports',
  setup(build) {
    build.onResolve({ filter: /./ }, ({ kind, path }) => (kind === 'dynamic-import' ? { path, external: true } : undefined))
  },
}

/**
 * Starts a browser whose storage holds `blocks`.
 *
 * @param {Iterable<Block>} blocks
 * @returns {Promise<Gateway>}
 */
export async function startGateway(blocks) {
  const executablePath = await findChromium()
  const files = new Map([
    ['/page.js', await bundle('page.ts')],
    ['/service-worker.js', await bundle('service-worker.ts', [keepDynamicImports])],
  ])
  const server = createServer((request, response) => {
    const script = files.get(request.url ?? '')
    response.writeHead(script === undefined && request.url !== '/' ? 404 : 200, {
      'content-type': script === undefined ? 'text/html' : 'text/javascript',
    })
    response.end(script ?? '<!doctype html><title>conformance</title><link rel="icon" href="data:,"><script src="/page.js"></script>')
  })
  const origin = await listen(server)
  const browser = await chromium.launch({ executablePath, args: CHROMIUM_ARGS, timeout: LAUNCH_TIMEOUT_MS })
  const close = async () => {
    await browser.close()
    await stop(server)
  }
  try {
    const page = await browser.newPage()
    page.setDefaultTimeout(ACTION_TIMEOUT_MS)
    await page.goto(origin)
    const plain = Array.from(blocks, ({ cid, bytes }) => ({ cid: cid.toString(), base64: Buffer.from(bytes).toString('base64') }))
    await page.evaluate(async (blocks) => {
      const { page } = /** @type {{ page: import('./page.ts').ConformancePage }} */ (/** @type {unknown} */ (globalThis))
      await page.adopt(blocks)
      await page.register()
    }, plain)
    return {
      close,
      async ask(path, headers = {}, method = 'GET') {
        const {
          status,
          headers: answered,
          base64,
        } = await page.evaluate(
          (request) => {
            const { page } = /** @type {{ page: import('./page.ts').ConformancePage }} */ (/** @type {unknown} */ (globalThis))
            return page.ask(request)
          },
          { method, path, headers },
        )
        return { status, headers: new Headers(answered), body: Buffer.from(base64, 'base64') }
      },
    }
  } catch (error) {
    await close()
    throw error
  }
}

/**
 * @param {string} name
 * @param {import('esbuild').Plugin[]} [plugins]
 * @returns {Promise<string>}
 */
async function bundle(name, plugins = []) {
  const { outputFiles } = await build({
    entryPoints: [fileURLToPath(new URL(name, import.meta.url))],
    bundle: true,
    write: false,
    format: 'iife',
    logLevel: 'error',
    plugins,
  })
  return outputFiles[0]?.text ?? ''
}

/**
 * On a free port of this machine alone. Answers the origin.
 *
 * @param {import('node:http').Server} server
 * @returns {Promise<string>}
 */
export async function listen(server) {
  await /** @type {Promise<void>} */ (new Promise((resolve) => server.listen(0, '127.0.0.1', resolve)))
  const { port } = /** @type {import('node:net').AddressInfo} */ (server.address())
  return `http://127.0.0.1:${port}/`
}

/** @param {import('node:http').Server} server */
export async function stop(server) {
  server.closeAllConnections()
  await new Promise((resolve) => server.close(resolve))
}
