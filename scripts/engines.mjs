// The browser engines of `npm run test:browsers`: finds each, and opens one page in it, on a profile that ends with the browser.
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { rmSync } from 'node:fs'
import { access, constants, mkdtemp, readdir, rm } from 'node:fs/promises'
import { createServer, request } from 'node:http'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { promisify } from 'node:util'
import { chromium } from 'playwright'
import { launch } from 'puppeteer-core'
import { findFirefox } from '../bench/firefox.mjs'
import { CHROMIUM_ARGS, findChromium } from './chromium.mjs'

/**
 * `private` is a window that keeps nothing. `insecure` reaches the page by a name that is no loopback, INSECURE_HOST.
 *
 * @typedef {'chromium' | 'firefox' | 'webkit'} EngineName
 * @typedef {{ private?: boolean, insecure?: boolean }} Mode
 * @typedef {{ path: string, version: string }} Found
 * @typedef {{ close: () => Promise<void> }} Driven
 * @typedef {{ executablePath: string, profile: string, url: string, mode: Mode }} Start
 */

/** No browser takes a name under .test for its own machine, and no DNS has it. */
export const INSECURE_HOST = 'ipfs-kit.test'

const LAUNCH_TIMEOUT_MS = 60_000
const CLOSE_TIMEOUT_MS = 15_000
const PROBE_TIMEOUT_MS = 20_000
/** Whatever the tests in it do, a browser ends after this. */
const BROWSER_TIMEOUT_MS = 3_000_000

/** @type {Record<EngineName, { title: string, install: string, find: () => Promise<Found | undefined>, open: (start: Start) => Promise<Driven> }>} */
export const ENGINES = {
  chromium: {
    title: 'Chromium',
    install: 'install Chromium or Chrome (Debian: apt-get install chromium), or set CHROMIUM_PATH',
    find: async () => {
      const path = await findChromium({ install: false }).catch(() => undefined)
      if (path === undefined) return undefined
      return { path, version: await versionOf(path, '--version') }
    },
    open: openChromium,
  },
  firefox: {
    title: 'Firefox',
    install: 'install Firefox (Debian: apt-get install firefox-esr), or set FIREFOX_PATH',
    find: findFirefox,
    open: openFirefox,
  },
  webkit: {
    title: 'WebKitGTK',
    install:
      'install the MiniBrowser of WebKitGTK and Xvfb (Debian: apt-get install webkit2gtk-driver xvfb), or set WEBKIT_PATH to a MiniBrowser',
    find: findWebKit,
    open: openWebKit,
  },
}

/** @type {EngineName[]} */
export const ENGINE_NAMES = ['chromium', 'firefox', 'webkit']

/** @type {Set<() => void>} */
const remains = new Set()

/**
 * What a run that is interrupted must not leave.
 *
 * @param {() => void} remove
 */
function remain(remove) {
  // Not at import: vitest imports its configuration once a project.
  if (remains.size === 0) process.once('exit', sweep)
  remains.add(remove)
}

/** @param {() => void} remove */
function settled(remove) {
  remains.delete(remove)
  if (remains.size === 0) process.off('exit', sweep)
}

function sweep() {
  for (const remove of remains) remove()
}

/**
 * Opens the page in a browser with a fresh profile.
 *
 * @param {EngineName} name
 * @param {string} url on loopback
 * @param {Mode} mode
 * @returns {Promise<Driven>}
 * @throws Error that says how to install it, where there is none
 */
export async function openIn(name, url, mode) {
  const engine = ENGINES[name]
  const found = await engine.find()
  if (found === undefined) throw new Error(`no ${engine.title} found: ${engine.install}`)
  const profile = await mkdtemp(join(tmpdir(), `ipfs-kit-web-${name}-`))
  const remove = () => rmSync(profile, { recursive: true, force: true })
  remain(remove)
  const clean = async () => {
    await rm(profile, { recursive: true, force: true, maxRetries: 3 })
    settled(remove)
  }
  const target = new URL(url)
  if (mode.insecure === true) target.hostname = INSECURE_HOST
  try {
    const driven = await engine.open({ executablePath: found.path, profile, url: target.href, mode })
    const end = async () => {
      try {
        await driven.close()
      } finally {
        await clean()
      }
    }
    /** @type {Promise<void> | undefined} */
    let closing
    const close = () => (closing ??= end())
    const timer = setTimeout(() => {
      console.error(`${engine.title} was ended: it ran longer than ${BROWSER_TIMEOUT_MS / 60_000} minutes`)
      close().catch(() => undefined)
    }, BROWSER_TIMEOUT_MS).unref()
    return {
      close: () => {
        clearTimeout(timer)
        return close()
      },
    }
  } catch (error) {
    await clean()
    throw error
  }
}

/** @type {(start: Start) => Promise<Driven>} */
async function openChromium({ executablePath, profile, url, mode }) {
  const args = [...CHROMIUM_ARGS, ...(mode.insecure ? [`--host-resolver-rules=MAP ${INSECURE_HOST} 127.0.0.1`] : [])]
  const options = { executablePath, args, timeout: LAUNCH_TIMEOUT_MS }
  // Any context that is not the persistent one is off the record.
  const browser = mode.private ? await chromium.launch(options) : undefined
  const context = (await browser?.newContext()) ?? (await chromium.launchPersistentContext(profile, options))
  const close = async () => {
    await context.close()
    await browser?.close()
  }
  try {
    const page = context.pages()[0] ?? (await context.newPage())
    await page.goto(url, { timeout: LAUNCH_TIMEOUT_MS, waitUntil: 'commit' })
    return { close }
  } catch (error) {
    await close()
    throw error
  }
}

/** @type {(start: Start) => Promise<Driven>} */
async function openFirefox({ executablePath, profile, url, mode }) {
  const browser = await launch({
    browser: 'firefox',
    executablePath,
    userDataDir: profile,
    timeout: LAUNCH_TIMEOUT_MS,
    extraPrefsFirefox: {
      ...(mode.private ? { 'browser.privatebrowsing.autostart': true } : {}),
      ...(mode.insecure ? { 'network.dns.localDomains': INSECURE_HOST, 'dom.security.https_first': false } : {}),
    },
  })
  const close = async () => {
    await Promise.race([browser.close().catch(() => undefined), pause(CLOSE_TIMEOUT_MS, undefined, { ref: false })])
    browser.process()?.kill('SIGKILL')
  }
  try {
    const page = await browser.newPage()
    await page.goto(url, { timeout: LAUNCH_TIMEOUT_MS, waitUntil: 'domcontentloaded' })
    return { close }
  } catch (error) {
    await close()
    throw error
  }
}

/**
 * The MiniBrowser by itself, without WebKitWebDriver, whose sessions are all private ones.
 *
 * @type {(start: Start) => Promise<Driven>}
 */
async function openWebKit({ executablePath, profile, url, mode }) {
  const screen = await startScreen()
  const proxy = mode.insecure ? await startProxy() : undefined
  const args = [...(mode.private ? ['--private'] : []), ...(proxy === undefined ? [] : [`--proxy=http://127.0.0.1:${proxy.port}`]), url]
  const folders = Object.fromEntries(['DATA', 'CACHE', 'CONFIG', 'STATE'].map((kind) => [`XDG_${kind}_HOME`, join(profile, kind)]))
  const env = { ...process.env, ...folders, HOME: profile, DISPLAY: screen.display, GDK_BACKEND: 'x11', NO_AT_BRIDGE: '1' }
  // In a group of its own, with the processes that it starts.
  const browser = spawn(executablePath, args, { env, stdio: 'ignore', detached: true })
  const ended = new Promise((resolve) => {
    browser.once('exit', resolve)
    browser.once('error', resolve)
  })
  const kill = () => killGroup(browser.pid, 'SIGKILL')
  remain(kill)
  return {
    async close() {
      killGroup(browser.pid, 'SIGTERM')
      await Promise.race([ended, pause(CLOSE_TIMEOUT_MS, undefined, { ref: false })])
      kill()
      settled(kill)
      proxy?.close()
      screen.close()
    },
  }
}

/** @returns {Promise<Found | undefined>} */
async function findWebKit() {
  const asked = process.env['WEBKIT_PATH']
  if ((await onPath('Xvfb')) === undefined) return undefined
  for (const path of asked ? [asked] : await miniBrowsers()) {
    if (!(await isExecutable(path))) continue
    const screen = await startScreen()
    try {
      return { path, version: await versionOf(path, '--version', { ...process.env, DISPLAY: screen.display, GDK_BACKEND: 'x11' }) }
    } catch {
      // Broken: the next one may do.
    } finally {
      screen.close()
    }
  }
  return undefined
}

/** @returns {Promise<string[]>} */
async function miniBrowsers() {
  const libraries = (await readdir('/usr/lib').catch(() => [])).map((name) => join('/usr/lib', name))
  return ['/usr/libexec', '/usr/lib', ...libraries].flatMap((folder) =>
    ['webkit2gtk-4.1', 'webkitgtk-6.0', 'webkit2gtk-4.0'].map((name) => join(folder, name, 'MiniBrowser')),
  )
}

/**
 * A screen that nobody sees, on the first number that is free.
 *
 * @returns {Promise<{ display: string, close: () => void }>}
 */
async function startScreen() {
  const path = await onPath('Xvfb')
  if (path === undefined) throw new Error(`no Xvfb found: ${ENGINES.webkit.install}`)
  const screen = spawn(path, ['-displayfd', '3', '-screen', '0', '1280x800x24', '-nolisten', 'tcp'], {
    stdio: ['ignore', 'ignore', 'ignore', 'pipe'],
  })
  const close = () => {
    screen.kill('SIGKILL')
    settled(close)
  }
  remain(close)
  const told = /** @type {import('node:stream').Readable} */ (screen.stdio[3])
  try {
    const [number] = await once(told, 'data', { signal: AbortSignal.timeout(LAUNCH_TIMEOUT_MS) })
    return { display: `:${String(number).trim()}`, close }
  } catch (error) {
    close()
    throw new Error('Xvfb did not start', { cause: error })
  }
}

/**
 * An HTTP proxy that brings every name to this machine: WebKitGTK has no switch for that.
 *
 * @returns {Promise<{ port: number, close: () => void }>}
 */
async function startProxy() {
  const server = createServer((asked, answer) => {
    const { port, pathname, search } = new URL(asked.url ?? '/', `http://${asked.headers.host}`)
    const passed = request(
      { host: '127.0.0.1', port, path: `${pathname}${search}`, method: asked.method, headers: asked.headers },
      (got) => {
        answer.writeHead(got.statusCode ?? 502, got.headers)
        got.pipe(answer)
      },
    )
    passed.on('error', () => answer.destroy())
    asked.pipe(passed)
  })
  /** @type {Set<import('node:stream').Duplex>} */
  const sockets = new Set()
  // WebSockets.
  server.on('upgrade', (asked, client, head) => {
    const { port, pathname, search } = new URL(asked.url ?? '/')
    const lines = [`GET ${pathname}${search} HTTP/1.1`]
    for (let at = 0; at < asked.rawHeaders.length; at += 2) lines.push(`${asked.rawHeaders[at]}: ${asked.rawHeaders[at + 1]}`)
    const target = connect(Number(port), '127.0.0.1', () => {
      target.write(`${lines.join('\r\n')}\r\n\r\n`)
      target.write(head)
      target.pipe(client)
      client.pipe(target)
    })
    for (const [socket, other] of /** @type {const} */ ([
      [client, target],
      [target, client],
    ])) {
      sockets.add(socket)
      socket.on('error', () => other.destroy())
      socket.on('close', () => sockets.delete(socket))
    }
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: /** @type {import('node:net').AddressInfo} */ (server.address()).port,
    close: () => {
      server.close()
      server.closeAllConnections()
      for (const socket of sockets) socket.destroy()
    },
  }
}

/**
 * @param {number | undefined} pid
 * @param {NodeJS.Signals} signal
 */
function killGroup(pid, signal) {
  try {
    if (pid !== undefined) process.kill(-pid, signal)
  } catch {
    // All of it has ended.
  }
}

/**
 * @param {string} path
 * @param {string} flag
 * @param {NodeJS.ProcessEnv} [env]
 * @returns {Promise<string>}
 */
async function versionOf(path, flag, env = process.env) {
  const { stdout } = await promisify(execFile)(path, [flag], { timeout: PROBE_TIMEOUT_MS, env })
  return stdout.trim()
}

/**
 * @param {string} name
 * @returns {Promise<string | undefined>}
 */
async function onPath(name) {
  for (const folder of (process.env['PATH'] ?? '').split(delimiter)) {
    if (folder !== '' && (await isExecutable(join(folder, name)))) return join(folder, name)
  }
  return undefined
}

/**
 * @param {string} path
 * @returns {Promise<boolean>}
 */
async function isExecutable(path) {
  return access(path, constants.X_OK).then(
    () => true,
    () => false,
  )
}
