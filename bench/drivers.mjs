// The browsers as the benchmark drives them: started on a profile of their own, with one page of the benchmark open.
import { setTimeout as pause } from 'node:timers/promises'
import { chromium } from 'playwright'
import { launch } from 'puppeteer-core'
import { CHROMIUM_ARGS } from '../scripts/chromium.mjs'

/**
 * `collect` collects garbage, `heapBytes` answers the JS heap and the ArrayBuffers of the page (a worker's are not in it). `close` ends the browser
 * by force where it does not end by itself.
 *
 * @typedef {{
 *   evaluate: (script: string) => Promise<any>,
 *   collect: () => Promise<void>,
 *   heapBytes: () => Promise<number>,
 *   isClosed: () => boolean,
 *   close: () => Promise<void>,
 * }} Driven
 * @typedef {{ executablePath: string, profile: string, url: string, onCrash: () => void }} Start
 */

const LAUNCH_TIMEOUT_MS = 60_000
const CLOSE_TIMEOUT_MS = 15_000

const IS_THERE = () => 'bench' in globalThis

/** @type {Record<import('./plan.mjs').BrowserName, (start: Start) => Promise<Driven>>} */
export const DRIVERS = {
  async chromium({ executablePath, profile, url, onCrash }) {
    // A persistent context, since the others keep IndexedDB in memory. Its close() kills what does not end.
    const context = await chromium.launchPersistentContext(profile, { executablePath, args: CHROMIUM_ARGS, timeout: LAUNCH_TIMEOUT_MS })
    try {
      const page = context.pages()[0] ?? (await context.newPage())
      page.on('crash', onCrash)
      await page.goto(url)
      await page.waitForFunction(IS_THERE)
      const devtools = await context.newCDPSession(page)
      return {
        evaluate: (script) => page.evaluate(script),
        collect: async () => void (await devtools.send('HeapProfiler.collectGarbage')),
        heapBytes: async () => {
          const { usedSize, backingStorageSize } = /** @type {{ usedSize: number, backingStorageSize?: number }} */ (
            await devtools.send('Runtime.getHeapUsage')
          )
          return usedSize + (backingStorageSize ?? 0)
        },
        isClosed: () => page.isClosed(),
        close: () => context.close(),
      }
    } catch (error) {
      await context.close()
      throw error
    }
  },

  async firefox({ executablePath, profile, url, onCrash }) {
    const browser = await launch({ browser: 'firefox', executablePath, userDataDir: profile, timeout: LAUNCH_TIMEOUT_MS })
    const close = async () => {
      await Promise.race([browser.close().catch(() => undefined), pause(CLOSE_TIMEOUT_MS, undefined, { ref: false })])
      browser.process()?.kill('SIGKILL')
    }
    try {
      const page = await browser.newPage()
      // What a step may take is bounded by who asks for it.
      page.setDefaultTimeout(LAUNCH_TIMEOUT_MS)
      page.on('error', onCrash)
      await page.goto(url)
      await page.waitForFunction(IS_THERE)
      return {
        evaluate: (script) => page.evaluate(script),
        collect: async () => undefined,
        heapBytes: () => Promise.reject(new Error('Firefox does not tell the size of its heap')),
        isClosed: () => page.isClosed(),
        close,
      }
    } catch (error) {
      await close()
      throw error
    }
  },
}
