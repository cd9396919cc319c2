// A Chromium over a profile of its own that is killed as by the system: all of its processes at once, by SIGKILL.
import { spawn, type ChildProcess } from 'node:child_process'
import { cp, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { chromium, type Page } from 'playwright'
import { CHROMIUM_ARGS, findChromium } from '../../../scripts/chromium.mjs'

const START_TIMEOUT_MS = 60_000
/** What is being written to a busy disk ends first. */
const GONE_TIMEOUT_MS = 60_000
const ACTION_TIMEOUT_MS = 120_000

/** Runs a command, whose whole group ends when whoever holds the other end of descriptor 3 does, however that ends: else a browser would work on for ever. */
const WHILE_THIS_LIVES = '(read line <&3; kill -9 0) & exec "$@" 3<&-'

const OF_DATABASES = /indexed_?db|level_?db|corrupt/i

export interface Killable {
  page: Page
  /** What it had to say of its databases so far. */
  said(): string[]
  /** Resolves when no process of it is left. */
  kill(): Promise<void>
}

/** Starts a browser at a page. It must be killed at the end. */
export async function startKillable(profile: string, url: string): Promise<Killable> {
  const args = [...CHROMIUM_ARGS, '--headless=new', `--user-data-dir=${profile}`, '--remote-debugging-port=0', 'about:blank']
  // A group of its own, which dies as one.
  const command = ['-c', WHILE_THIS_LIVES, 'sh', await findChromium(), ...args]
  const browser = spawn('sh', command, { detached: true, stdio: ['ignore', 'ignore', 'pipe', 'pipe'] })
  const ended = new Promise<void>((resolve) => browser.once('exit', () => resolve()))
  const told: string[] = []
  browser.stderr?.on('data', (text: Buffer) => {
    told.push(
      ...text
        .toString()
        .split('\n')
        .filter((line) => OF_DATABASES.test(line)),
    )
  })
  const kill = async (): Promise<void> => {
    // Though it ended by itself: what waits for this process to end is still there.
    if (browser.pid !== undefined && isThere(browser.pid)) process.kill(-browser.pid, 'SIGKILL')
    await ended
    await whenGone(browser.pid)
  }
  try {
    const connected = await chromium.connectOverCDP(await endpointOf(browser), { timeout: START_TIMEOUT_MS })
    const context = connected.contexts()[0] ?? (await connected.newContext())
    const page = context.pages()[0] ?? (await context.newPage())
    page.setDefaultTimeout(ACTION_TIMEOUT_MS)
    await page.goto(url)
    await page.waitForFunction(() => 'kit' in globalThis)
    return { page, said: () => [...told], kill }
  } catch (error) {
    await kill().catch(() => undefined)
    throw error
  }
}

function isThere(group: number): boolean {
  try {
    return process.kill(-group, 0)
  } catch {
    return false
  }
}

/** The others of a killed group end a moment after the first, and hold the profile's files until then. */
async function whenGone(group: number | undefined): Promise<void> {
  for (const end = Date.now() + GONE_TIMEOUT_MS; group !== undefined && Date.now() < end;) {
    if (!isThere(group)) return
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  if (group !== undefined) throw new Error(`processes of the browser that was killed are still there after ${GONE_TIMEOUT_MS} ms`)
}

/** Copies the databases as they lie in a profile, to look into what a browser makes of them. */
export async function keepDatabases(profile: string, folder: string): Promise<void> {
  const databases = join(profile, 'Default', 'IndexedDB')
  const names = await readdir(databases).catch(() => [])
  for (const name of names) if (name.endsWith('.leveldb')) await cp(join(databases, name), join(folder, name), { recursive: true })
}

function endpointOf(browser: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    let said = ''
    const timer = setTimeout(() => reject(new Error(`the browser did not start: ${said}`)), START_TIMEOUT_MS)
    browser.once('exit', (code) => reject(new Error(`the browser ended with ${code}: ${said}`)))
    browser.stderr?.on('data', (text: Buffer) => {
      said = (said + text.toString()).slice(-4000)
      const endpoint = /DevTools listening on (\S+)/.exec(said)?.[1]
      if (endpoint === undefined) return
      clearTimeout(timer)
      resolve(endpoint)
    })
  })
}
