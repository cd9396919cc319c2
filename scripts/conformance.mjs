// `npm run test:conformance`: the cases of ipfs/gateway-conformance against the service worker, through a proxy that replays its requests in a page.
// Where that tool can't be had, it says so and ends well.
//
//   GATEWAY_CONFORMANCE=<binary or folder of its source> npm run test:conformance      one that is here, instead of the module
import { execFile } from 'node:child_process'
import { existsSync, statSync } from 'node:fs'
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { build } from 'esbuild'
import { chromium } from 'playwright'
import { CHROMIUM_ARGS, findChromium } from './chromium.mjs'
import { ROOT } from './tool.mjs'

const MODULE = 'github.com/ipfs/gateway-conformance/cmd/gateway-conformance@v0.13.2'
const SPECS = [
  'trustless-block-gateway',
  'trustless-car-gateway',
  'trustless-car-gateway-optional',
  'path-raw-gateway',
  'path-unixfs-gateway',
  'path-range-gateway',
]
const BUILD_TIMEOUT_MS = 600_000
const TEST_TIMEOUT_MS = 300_000
const PAGE_TIMEOUT_MS = 60_000

/** Cases that are not meant to pass, each with the reason. Matched against the beginning of a case's name. */
/** @type {Record<string, string>} */
const EXPECTED_FAILURES = {}

/** Headers that scripts may not set, or that are the connection's own. */
const DROPPED = new Set(['accept-encoding', 'connection', 'content-length', 'host', 'transfer-encoding', 'user-agent'])

const run = promisify(execFile)

/**
 * The tool, or undefined with the reason printed.
 *
 * @param {string} folder where it may be built
 */
async function findTool(folder) {
  const given = process.env['GATEWAY_CONFORMANCE']
  const binary = join(folder, 'gateway-conformance')
  try {
    if (given !== undefined) {
      if (!existsSync(given)) throw new Error(`GATEWAY_CONFORMANCE names '${given}', which is not there`)
      if (!statSync(given).isDirectory()) return given
      await run('go', ['build', '-o', binary, './cmd/gateway-conformance'], { cwd: given, timeout: BUILD_TIMEOUT_MS })
      return binary
    }
    await run('go', ['install', MODULE], { env: { ...process.env, GOBIN: folder }, timeout: BUILD_TIMEOUT_MS })
    return binary
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error)
    const reason = text.split('\n').find((line) => /not found|ENOENT|not available|no such host|cannot|403|is not there/.test(line)) ?? text
    console.log(`skipped: ${MODULE} can not be had here (${reason.trim().slice(0, 200)})`)
    return undefined
  }
}

/** @param {string} name */
async function bundle(name) {
  const { outputFiles } = await build({
    entryPoints: [join(ROOT, 'test/conformance', name)],
    bundle: true,
    write: false,
    format: 'iife',
    logLevel: 'error',
  })
  return Buffer.from(outputFiles[0]?.contents ?? [])
}

/** Serves the page and its worker. */
async function serveSite() {
  const files = new Map([
    ['/service-worker.js', await bundle('service-worker.ts')],
    ['/page.js', await bundle('page.ts')],
  ])
  return listen((request, response) => {
    const { pathname } = new URL(request.url ?? '/', 'http://localhost')
    const file = files.get(pathname)
    if (file === undefined && pathname !== '/') {
      response.writeHead(404).end()
      return
    }
    response.writeHead(200, { 'content-type': file === undefined ? 'text/html' : 'text/javascript' })
    response.end(file ?? '<!doctype html><title>conformance</title><script src="/page.js"></script>')
  })
}

/**
 * @param {import('node:http').RequestListener} listener
 * @returns {Promise<{ url: string, close: () => Promise<void> }>}
 */
async function listen(listener) {
  const server = createServer(listener)
  await new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(undefined)))
  const { port } = /** @type {import('node:net').AddressInfo} */ (server.address())
  return {
    url: `http://127.0.0.1:${port}`,
    close: async () => {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

/**
 * Answers as the page does.
 *
 * @param {import('playwright').Page} page
 */
function proxy(page) {
  return listen((request, response) => {
    const headers = Object.entries(request.headers).flatMap(([name, value]) => (DROPPED.has(name) ? [] : [[name, String(value)]]))
    const asked = { path: request.url ?? '/', init: { method: request.method ?? 'GET', headers: Object.fromEntries(headers) } }
    page
      .evaluate((asked) => /** @type {any} */ (globalThis).conformance.replay(asked), asked)
      .then(
        (/** @type {import('../test/conformance/page.ts').Replayed} */ answer) => {
          for (const [name, value] of answer.headers) if (!DROPPED.has(name)) response.setHeader(name, value)
          response.statusCode = answer.status
          response.end(Buffer.from(answer.body, 'base64'))
        },
        (error) => response.writeHead(502).end(String(error)),
      )
  })
}

/**
 * Runs the tool and counts its cases: those without cases below them.
 *
 * @param {string} tool
 * @param {string} url
 * @param {string} folder
 */
async function test(tool, url, folder) {
  const report = join(folder, 'report.json')
  await run(tool, ['test', '--gateway-url', url, '--json', report, '--specs', SPECS.join(','), '--', '-timeout', '5m'], {
    timeout: TEST_TIMEOUT_MS,
    maxBuffer: 1 << 28,
  }).catch(() => undefined)
  /** @type {{ Action: string, Test?: string, Output?: string }[]} */
  const events = (await readFile(report, 'utf8'))
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line))
  /** @type {Map<string, { result: string, output: string }>} */
  const cases = new Map()
  for (const { Action, Test, Output = '' } of events) {
    if (Test === undefined) continue
    const known = cases.get(Test) ?? { result: '', output: '' }
    if (Action === 'output') known.output += Output
    else if (Action === 'pass' || Action === 'fail' || Action === 'skip') known.result = Action
    cases.set(Test, known)
  }
  const names = [...cases.keys()]
  return names
    .filter((name) => !names.some((other) => other.startsWith(`${name}/`)))
    .map((name) => ({ name, ...(cases.get(name) ?? { result: '', output: '' }) }))
}

const folder = await mkdtemp(join(tmpdir(), 'ipfs-kit-web-conformance-'))
try {
  const tool = await findTool(folder)
  if (tool !== undefined) {
    const site = await serveSite()
    const browser = await chromium.launch({ executablePath: await findChromium(), args: CHROMIUM_ARGS, timeout: PAGE_TIMEOUT_MS })
    try {
      const page = await browser.newPage()
      page.setDefaultTimeout(PAGE_TIMEOUT_MS)
      await page.goto(`${site.url}/`)
      await page.evaluate(() => /** @type {any} */ (globalThis).conformance.ready)
      await run(tool, ['extract-fixtures', '--dir', join(folder, 'fixtures')], { timeout: PAGE_TIMEOUT_MS })
      for (const name of await readdir(join(folder, 'fixtures'), { recursive: true })) {
        if (!name.endsWith('.car')) continue
        const car = await readFile(join(folder, 'fixtures', name), 'base64')
        await page.evaluate((car) => /** @type {any} */ (globalThis).conformance.put(car), car)
      }
      const replaying = await proxy(page)
      const cases = await test(tool, replaying.url, folder)
      await replaying.close()
      const failed = cases.filter(({ result }) => result === 'fail')
      const ran = cases.filter(({ result }) => result !== 'skip')
      for (const { name, output } of failed) {
        const reason = Object.entries(EXPECTED_FAILURES).find(([beginning]) => name.startsWith(beginning))?.[1]
        if (reason === undefined) process.exitCode = 1
        console.log(
          `${reason === undefined ? 'FAILED' : 'not met'}  ${name}\n        ${reason ?? output.trim().split('\n').slice(0, 14).join('\n        ')}`,
        )
      }
      if (ran.length === 0) process.exitCode = 1
      console.log(`gateway-conformance, ${SPECS.join(', ')}:`)
      console.log(
        `${ran.length - failed.length} of ${ran.length} cases pass (${((100 * (ran.length - failed.length)) / Math.max(1, ran.length)).toFixed(1)} %)`,
      )
    } finally {
      await browser.close()
      await site.close()
    }
  }
} finally {
  await rm(folder, { recursive: true, force: true })
}
