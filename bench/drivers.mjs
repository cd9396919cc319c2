// The browsers as the benchmark drives them: started on a profile of their own, with one page of the benchmark open.
import { setTimeout as pause } from 'node:timers/promises'
import { launch, TargetType } from 'puppeteer-core'
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
const LOOK_INTERVAL_MS = 20

const IS_THERE = () => 'bench' in globalThis

/** @type {Record<import('./plan.mjs').BrowserName, (start: Start) => Promise<Driven>>} */
export const DRIVERS = {
  async chromium({ executablePath, profile, url, onCrash }) {
    const browser = await launch({
      browser: 'chrome',
      executablePath,
      userDataDir: profile,
      args: CHROMIUM_ARGS,
      defaultViewport: null,
      timeout: LAUNCH_TIMEOUT_MS,
      protocolTimeout: 0,
    })
    const close = () => closed(browser)
    try {
      const target = await browser.waitForTarget((one) => one.type() === TargetType.PAGE, { timeout: LAUNCH_TIMEOUT_MS })
      // Not by a Page of puppeteer's or playwright's: those look at the network, by which the browser keeps up to 200 MB of what a page fetches,
      // and tells of each piece.
      const devtools = await target.createCDPSession()
      let isClosed = false
      const ended = new Promise((_, reject) => {
        const end = () => {
          isClosed = true
          reject(new Error('the page ended'))
        }
        devtools.once('Inspector.targetCrashed', () => (onCrash(), end()))
        browser.on('targetdestroyed', (one) => one === target && end())
        browser.once('disconnected', end)
      })
      ended.catch(() => undefined)
      /** @param {string} expression */
      const evaluate = async (expression) => {
        const asked = devtools.send('Runtime.evaluate', { expression, awaitPromise: true, returnByValue: true })
        asked.catch(() => undefined)
        const { result, exceptionDetails } = await Promise.race([asked, ended])
        if (exceptionDetails !== undefined) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text)
        return result.value
      }
      const isThere = () => evaluate(`(${IS_THERE.toString()})()`).catch(() => false)
      const load = async () => {
        await devtools.send('Inspector.enable')
        await devtools.send('Page.navigate', { url })
        while (!isClosed && !(await isThere())) await pause(LOOK_INTERVAL_MS)
      }
      const late = pause(LAUNCH_TIMEOUT_MS, undefined, { ref: false }).then(() => Promise.reject(new Error('the page did not load')))
      late.catch(() => undefined)
      await Promise.race([load(), late, ended])
      return {
        evaluate,
        collect: () => devtools.send('HeapProfiler.collectGarbage'),
        heapBytes: async () => {
          const { usedSize, backingStorageSize } = /** @type {{ usedSize: number, backingStorageSize?: number }} */ (
            await devtools.send('Runtime.getHeapUsage')
          )
          return usedSize + (backingStorageSize ?? 0)
        },
        isClosed: () => isClosed,
        close,
      }
    } catch (error) {
      await close()
      throw error
    }
  },

  async firefox({ executablePath, profile, url, onCrash }) {
    const browser = await launch({ browser: 'firefox', executablePath, userDataDir: profile, timeout: LAUNCH_TIMEOUT_MS })
    const close = () => closed(browser)
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

/**
 * Ends it, by force where it does not end by itself.
 *
 * @param {import('puppeteer-core').Browser} browser
 */
async function closed(browser) {
  await Promise.race([browser.close().catch(() => undefined), pause(CLOSE_TIMEOUT_MS, undefined, { ref: false })])
  browser.process()?.kill('SIGKILL')
}
