// A Chromium over a profile of its own that is killed as by the system: all of its processes at once, by SIGKILL.
import { spawn, type ChildProcess } from 'node:child_process'
import { chromium, type Page } from 'playwright'
import { CHROMIUM_ARGS, findChromium } from '../../../scripts/chromium.mjs'

const START_TIMEOUT_MS = 60_000
const GONE_TIMEOUT_MS = 5_000
const ACTION_TIMEOUT_MS = 120_000

export interface Killable {
  page: Page
  /** Resolves when no process of it is left. */
  kill(): Promise<void>
}

/** Starts a browser at a page. It must be killed at the end. */
export async function startKillable(profile: string, url: string): Promise<Killable> {
  const args = [...CHROMIUM_ARGS, '--headless=new', `--user-data-dir=${profile}`, '--remote-debugging-port=0', 'about:blank']
  // A group of its own, which dies as one.
  const browser = spawn(await findChromium(), args, { detached: true, stdio: ['ignore', 'ignore', 'pipe'] })
  const ended = new Promise<void>((resolve) => browser.once('exit', () => resolve()))
  const kill = async (): Promise<void> => {
    if (browser.pid !== undefined && browser.exitCode === null) process.kill(-browser.pid, 'SIGKILL')
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
    return { page, kill }
  } catch (error) {
    await kill()
    throw error
  }
}

/** The others of a killed group end a moment after the first, and hold the profile's files until then. */
async function whenGone(group: number | undefined): Promise<void> {
  for (const end = Date.now() + GONE_TIMEOUT_MS; group !== undefined && Date.now() < end;) {
    try {
      process.kill(-group, 0)
    } catch {
      return
    }
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
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
