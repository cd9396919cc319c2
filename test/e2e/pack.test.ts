// The package as applications get it: packed, installed into an empty app, run by Vite's dev server and from a build, in Chromium.
import { execFile, spawn } from 'node:child_process'
import { access, cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { chromium } from 'playwright'
import type { Browser } from 'playwright'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { CHROMIUM_ARGS, findChromium } from '../../scripts/chromium.mjs'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const HELLO = 'bafkreifjjcie6lypi6ny7amxnfftagclbuxndqonfipmb64f2km2devei4'
const DEFAULT_CACHE_DIR = 'ipfs_accelerate'

const COMMAND_TIMEOUT_MS = 240_000
const SERVER_TIMEOUT_MS = 30_000
const REPORT_TIMEOUT_MS = 90_000
const LAUNCH_TIMEOUT_MS = 60_000

type Environment = Record<string, string>
type Mode = 'vite dev' | 'vite build'

/** What the app saw in one place. */
interface Seen {
  cid: string
  text: string
  ipfsKitAvailable: boolean
  usingFallback: boolean
  fallbackReason?: string
  fallbackDetail?: string
  cacheDir: string
}

interface Report {
  page: Seen
  worker: Seen
  /** Requests that went anywhere but to the app's own server. */
  foreign: string[]
}

let folder = ''
let app = ''
let built = ''
let browser: Browser | undefined

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ipfs-kit-web-pack-'))
  app = join(folder, 'app')
  browser = await chromium.launch({ executablePath: await findChromium(), args: CHROMIUM_ARGS, timeout: LAUNCH_TIMEOUT_MS })
  await npm(ROOT, 'run', 'build')
  const packed = JSON.parse(await npm(ROOT, 'pack', '--json', '--pack-destination', folder)) as unknown
  const tarball = join(folder, tarballName(packed))
  const { devDependencies } = await manifest()
  await cp(join(ROOT, 'test', 'e2e', 'pack-app'), app, { recursive: true })
  await writeFile(join(app, 'package.json'), JSON.stringify({ name: 'empty-app', private: true, type: 'module' }))
  await npm(app, 'install', tarball, `vite@${devDependencies['vite'] ?? 'latest'}`)
})

afterAll(async () => {
  await browser?.close()
  await rm(folder, { recursive: true, force: true })
})

const MODES: Mode[] = ['vite dev', 'vite build']

describe('installed without Helia', () => {
  it('brings no Helia along', async () => {
    await expect(access(join(app, 'node_modules', 'ipfs-kit-web', 'dist', 'index.js'))).resolves.toBeUndefined()
    await expect(access(join(app, 'node_modules', 'helia'))).rejects.toHaveProperty('code', 'ENOENT')
  })

  it.each(MODES)('stores and retrieves in page and worker, in the fallback: %s', async (mode) => {
    const { page, worker, foreign } = await visit(mode)
    const expected = {
      cid: HELLO,
      text: 'hello world\n',
      ipfsKitAvailable: false,
      usingFallback: true,
      fallbackReason: 'helia-unavailable',
      fallbackDetail: expect.stringMatching(/./),
      cacheDir: DEFAULT_CACHE_DIR,
    }
    expect(page).toEqual(expected)
    expect(worker).toEqual(expected)
    expect(foreign).toEqual([])
  })
})

describe('with Helia added', () => {
  beforeAll(async () => {
    const { devDependencies } = await manifest()
    const packages = ['helia', '@helia/http'].map((name) => `${name}@${devDependencies[name] ?? 'latest'}`)
    await npm(app, 'install', '--ignore-scripts', ...packages)
  })

  const stored = { cid: HELLO, text: 'hello world\n' }
  const disabled = { ...stored, ipfsKitAvailable: false, usingFallback: true, fallbackReason: 'disabled' }

  it.each(MODES)('runs Helia in page and worker: %s', async (mode) => {
    const { page, worker, foreign } = await visit(mode)
    const expected = { ...stored, ipfsKitAvailable: true, usingFallback: false, cacheDir: DEFAULT_CACHE_DIR }
    expect(page).toEqual(expected)
    expect(worker).toEqual(expected)
    expect(foreign).toEqual([])
  })

  it.each(MODES)('is switched off by globalThis.IPFS_KIT_DISABLE: %s', async (mode) => {
    const { page, worker } = await visit(mode, { search: '?disable' })
    expect(page).toMatchObject({ ...disabled, cacheDir: DEFAULT_CACHE_DIR })
    expect(worker).toMatchObject({ ...disabled, cacheDir: DEFAULT_CACHE_DIR })
  })

  it.each(MODES)('is switched off and renamed by VITE_ variables: %s', async (mode) => {
    const environment = { VITE_IPFS_KIT_DISABLE: '1', VITE_IPFS_ACCELERATE_CACHE_DIR: 'elsewhere' }
    const { page, worker } = await visit(mode, { environment })
    expect(page).toMatchObject({ ...disabled, cacheDir: 'elsewhere' })
    expect(worker).toMatchObject({ ...disabled, cacheDir: 'elsewhere' })
  })
})

/** Serves the app in a mode and environment, opens it in a fresh profile and answers its report. */
async function visit(mode: Mode, { environment = {}, search = '' }: { environment?: Environment; search?: string } = {}): Promise<Report> {
  if (mode === 'vite build') await build(environment)
  const server = await serve(mode === 'vite build' ? 'preview' : 'dev', environment)
  try {
    return await open(server.url, search)
  } finally {
    await server.close()
  }
}

/**
 * Opens the app and answers the first report that it makes. Vite's dev server may reload the page when it finds a package late, and
 * what the reload interrupts fails: such failures are shown only where no report follows.
 */
async function open(url: string, search: string): Promise<Report> {
  if (browser === undefined) throw new Error('the browser is not running')
  const context = await browser.newContext()
  const said: string[] = []
  const foreign: string[] = []
  try {
    const page = await context.newPage()
    page.on('console', (message) => said.push(`${message.type()}: ${message.text()}`))
    page.on('pageerror', (error) => said.push(`error: ${error.stack ?? error.message}`))
    context.on('request', (request) => {
      const target = new URL(request.url())
      if (target.protocol.startsWith('http') && target.origin !== new URL(url).origin) foreign.push(request.url())
    })
    const signal = AbortSignal.timeout(REPORT_TIMEOUT_MS)
    const report = new Promise<Omit<Report, 'foreign'>>((resolve, reject) => {
      signal.addEventListener('abort', () => reject(new Error(`the app made no report. It said:\n${said.join('\n')}`)))
      const opened = page.exposeFunction('report', resolve).then(() => page.goto(`${url}${search}`, { timeout: REPORT_TIMEOUT_MS }))
      opened.catch((error: unknown) => said.push(`opening: ${String(error)}`))
    })
    return { ...(await report), foreign }
  } finally {
    await context.close()
  }
}

/** Starts Vite's dev or preview server on a free port, in a process of its own. */
async function serve(task: 'dev' | 'preview', environment: Environment): Promise<{ url: string; close: () => Promise<void> }> {
  const child = spawn(process.execPath, [viteScript(), task, '--port', '5200', '--host', '127.0.0.1'], {
    cwd: app,
    env: clean(environment),
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const exited = new Promise((resolve) => child.once('exit', resolve))
  const close = async (): Promise<void> => {
    child.kill()
    await exited
  }
  let output = ''
  const url = new Promise<string>((resolve, reject) => {
    const listen = (chunk: Buffer): void => {
      output += chunk.toString()
      const found = /http:\/\/127\.0\.0\.1:\d+\//.exec(output)
      if (found) resolve(found[0])
    }
    child.stdout.on('data', listen)
    child.stderr.on('data', listen)
    child.once('error', reject)
    child.once('exit', () => reject(new Error(`vite ${task} ended:\n${output}`)))
    AbortSignal.timeout(SERVER_TIMEOUT_MS).addEventListener('abort', () => reject(new Error(`vite ${task} does not serve:\n${output}`)))
  })
  try {
    return { url: await url, close }
  } catch (error) {
    await close()
    throw error
  }
}

function viteScript(): string {
  return join(app, 'node_modules', 'vite', 'bin', 'vite.js')
}

/** Builds the app, unless the last build was of the same environment and the same packages. */
async function build(environment: Environment): Promise<void> {
  const inputs = JSON.stringify([environment, await readFile(join(app, 'package.json'), 'utf8')])
  if (inputs === built) return
  await command(process.execPath, [viteScript(), 'build', '--logLevel', 'warn'], app, environment)
  built = inputs
}

/** Runs npm as whoever runs these tests does, and answers what it printed. */
async function npm(cwd: string, ...args: string[]): Promise<string> {
  const quiet = ['--prefer-offline', '--no-audit', '--no-fund', '--no-progress']
  const script = process.env['npm_execpath']
  if (script !== undefined && script.endsWith('.js')) return command(process.execPath, [script, ...args, ...quiet], cwd)
  return command('npm', [...args, ...quiet], cwd)
}

async function command(file: string, args: string[], cwd: string, environment: Environment = {}): Promise<string> {
  try {
    const { stdout } = await promisify(execFile)(file, args, {
      cwd,
      env: clean(environment),
      timeout: COMMAND_TIMEOUT_MS,
      maxBuffer: 64 * 1024 * 1024,
    })
    return stdout
  } catch (cause) {
    const { stdout = '', stderr = '' } = cause as { stdout?: string; stderr?: string }
    throw new Error(`${file} ${args.join(' ')} failed:\n${stdout}\n${stderr}`, { cause })
  }
}

/** The environment without what vitest and an outer npm put there, which would change how Vite builds and where npm installs. */
function clean(environment: Environment): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(
    ([name]) =>
      !/^(NODE_ENV|VITEST.*|VITE_.*|MODE|DEV|PROD|SSR|BASE_URL|TEST|npm_(package|lifecycle)_.*|npm_config_(local_prefix|ignore_scripts))$/.test(
        name,
      ),
  )
  return { ...Object.fromEntries(kept), NO_COLOR: '1', ...environment }
}

async function manifest(): Promise<{ devDependencies: Record<string, string> }> {
  return JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8')) as { devDependencies: Record<string, string> }
}

/** npm 11 prints a list of packed packages, npm 12 an object by name. */
function tarballName(packed: unknown): string {
  const [first] = Object.values(packed as Record<string, { filename: string }>)
  if (first === undefined) throw new Error('npm pack packed nothing')
  return first.filename
}
