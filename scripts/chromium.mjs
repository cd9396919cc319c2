// Finds a Chromium to test in, or installs one. CHROMIUM_PATH wins; then the usual places; then Playwright's own.
import { execFile, spawn } from 'node:child_process'
import { access, constants } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { delimiter, join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { promisify } from 'node:util'
import { chromium } from 'playwright'

const PROBE_TIMEOUT_MS = 20_000
const INSTALL_TIMEOUT_MS = 300_000

const IS_ROOT = process.getuid?.() === 0

/** What every browser started here is given: quiet, without background traffic, and without the sandbox that root can't have. */
export const CHROMIUM_ARGS = [
  ...(IS_ROOT ? ['--no-sandbox'] : []),
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--no-first-run',
  '--disable-quic',
  '--disable-gpu',
]

/**
 * Answers the path of a Chromium that starts.
 *
 * @param {{ install?: boolean }} [options] `install: false` only looks; default true
 * @returns {Promise<string>}
 * @throws Error with one line that says what to install, where none is found and none can be installed
 */
export async function findChromium({ install = true } = {}) {
  const asked = process.env['CHROMIUM_PATH']
  if (asked) {
    if (await starts(asked)) return asked
    throw new Error(`CHROMIUM_PATH is '${asked}', which does not start: set it to a Chromium or Chrome executable, or unset it`)
  }
  const found = await firstThatStarts([...usualPlaces(), chromium.executablePath()])
  if (found !== undefined) return found
  if (install) {
    const cli = join(createRequire(import.meta.url).resolve('playwright/package.json'), '..', 'cli.js')
    if ((await run(process.execPath, [cli, 'install', 'chromium'])) && (await starts(chromium.executablePath()))) {
      return chromium.executablePath()
    }
    if (IS_ROOT && process.platform === 'linux') {
      await run('apt-get', ['update'])
      await run('apt-get', ['install', '-y', '--no-install-recommends', 'chromium'])
      const installed = await firstThatStarts([...usualPlaces(), chromium.executablePath()])
      if (installed !== undefined) return installed
    }
  }
  throw new Error('no Chromium found: install Chromium or Chrome, or run `npx playwright install chromium`, or set CHROMIUM_PATH')
}

/** @returns {string[]} */
function usualPlaces() {
  if (process.platform === 'darwin') {
    return ['', process.env['HOME'] ?? ''].flatMap((root) =>
      ['Google Chrome', 'Chromium'].map((name) => `${root}/Applications/${name}.app/Contents/MacOS/${name}`),
    )
  }
  if (process.platform === 'win32') {
    return ['PROGRAMFILES', 'PROGRAMFILES(X86)', 'LOCALAPPDATA'].flatMap((variable) => {
      const root = process.env[variable]
      if (root === undefined) return []
      return [join(root, 'Google', 'Chrome', 'Application', 'chrome.exe'), join(root, 'Chromium', 'Application', 'chrome.exe')]
    })
  }
  const folders = new Set([...(process.env['PATH'] ?? '').split(delimiter), '/usr/bin', '/usr/local/bin', '/opt/google/chrome'])
  const names = ['chromium', 'chromium-browser', 'google-chrome-stable', 'google-chrome', 'chrome']
  return names.flatMap((name) => [...folders].filter((folder) => folder !== '').map((folder) => join(folder, name)))
}

/**
 * @param {string[]} paths
 * @returns {Promise<string | undefined>}
 */
async function firstThatStarts(paths) {
  for (const path of paths) if (await starts(path)) return path
  return undefined
}

/**
 * Whether it is there and answers `--version`: Ubuntu's chromium-browser may be a stub that only names a snap, and a download may
 * lack libraries. On Windows `--version` would open a window, so being there has to do.
 *
 * @param {string} path
 * @returns {Promise<boolean>}
 */
async function starts(path) {
  try {
    await access(path, constants.X_OK)
    if (process.platform !== 'win32') await promisify(execFile)(path, ['--version'], { timeout: PROBE_TIMEOUT_MS })
    return true
  } catch {
    return false // Not there, not executable or broken: the next place may do.
  }
}

/**
 * Runs an installer within a bound, its output on our stderr. Answers whether it ended well.
 *
 * @param {string} command
 * @param {string[]} args
 * @returns {Promise<boolean>}
 */
async function run(command, args) {
  console.error(`no Chromium found, trying: ${command} ${args.join(' ')}`)
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
  const child = spawn(command, args, { env, stdio: ['ignore', 2, 2], timeout: INSTALL_TIMEOUT_MS })
  return new Promise((resolve) => {
    child.once('error', () => resolve(false))
    child.once('exit', (code) => resolve(code === 0))
  })
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  findChromium().then(
    (path) => console.log(path),
    (error) => {
      console.error(error.message)
      process.exitCode = 1
    },
  )
}
