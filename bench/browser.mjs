// One browser with a profile of its own on disk, and one page in it that does steps. It ends by itself when a step takes too long.
import { rmSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DRIVERS } from './drivers.mjs'

/**
 * `run` rejects with what went wrong in one line; `hasEnded` tells whether the page can't go on after that.
 *
 * @typedef {{
 *   run: (step: string) => Promise<any>,
 *   hasEnded: () => boolean,
 *   collect: () => Promise<void>,
 *   heapBytes: () => Promise<number>,
 *   profile: string,
 * }} Tab
 */

/** @type {Set<string>} */
const profiles = new Set()

// A run that is interrupted leaves no gigabytes behind.
process.on('exit', () => {
  for (const profile of profiles) rmSync(profile, { recursive: true, force: true })
})

/**
 * A folder for a profile, given to `work`, and deleted afterwards.
 *
 * @template T
 * @param {(profile: string) => Promise<T>} work
 * @returns {Promise<T>}
 */
export async function withProfile(work) {
  const profile = await mkdtemp(join(tmpdir(), 'ipfs-kit-web-bench-'))
  profiles.add(profile)
  try {
    return await work(profile)
  } finally {
    await rm(profile, { recursive: true, force: true, maxRetries: 3 })
    profiles.delete(profile)
  }
}

/**
 * Opens the page in a browser on that profile, gives it to `work`, and ends the browser, also when one step takes longer than `stepTimeoutMs`.
 * Rejects with what went wrong in one line.
 *
 * @template T
 * @param {{ browser: import('./plan.mjs').BrowserName, executablePath: string, url: string, profile: string, stepTimeoutMs: number }} options
 * @param {(tab: Tab) => Promise<T>} work
 * @returns {Promise<T>}
 */
export async function withTab({ browser, executablePath, url, profile, stepTimeoutMs }, work) {
  let reason = ''
  /** @type {import('./drivers.mjs').Driven | undefined} */
  let driven
  /** @param {string} why */
  const end = (why) => {
    if (reason !== '') return
    reason = why
    // What waits for the page rejects by that.
    driven?.close().catch(() => undefined)
  }
  /** @type {NodeJS.Timeout | undefined} */
  let timer
  try {
    const tab = await DRIVERS[browser]({ executablePath, profile, url, onCrash: () => end('the page crashed') })
    driven = tab
    return await work({
      profile,
      run: (step) => {
        clearTimeout(timer)
        timer = setTimeout(() => end(`${step.replace(/\(.*/, '()')} took longer than ${Math.round(stepTimeoutMs / 1000)} s`), stepTimeoutMs)
        return tab.evaluate(`bench.${step}`).catch((error) => {
          throw new Error(reason === '' ? inOneLine(error) : reason, { cause: error })
        })
      },
      hasEnded: () => reason !== '' || tab.isClosed(),
      collect: tab.collect,
      heapBytes: tab.heapBytes,
    })
  } catch (error) {
    throw new Error(reason === '' ? inOneLine(error) : reason, { cause: error })
  } finally {
    clearTimeout(timer)
    await driven?.close()
  }
}

/**
 * @param {unknown} error
 * @returns {string}
 */
export function inOneLine(error) {
  const [line = ''] = String(error instanceof Error ? error.message : error).split('\n')
  return line.replace(/^Error: /, '')
}
