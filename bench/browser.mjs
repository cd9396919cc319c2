// One Chromium with a profile of its own on disk, and one page in it that does steps. It ends by itself when a step takes too long.
import { rmSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { chromium } from 'playwright'
import { CHROMIUM_ARGS } from '../scripts/chromium.mjs'

/**
 * `run` rejects with what went wrong in one line; `hasEnded` tells whether the page can't go on after that.
 *
 * @typedef {{ run: (step: string) => Promise<any>, hasEnded: () => boolean, collect: () => Promise<void>, page: import('playwright').Page, profile: string }} Tab
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
 * Opens the page in a Chromium on that profile, gives it to `work`, and ends the browser, also when one step takes longer than `stepTimeoutMs`.
 * Rejects with what went wrong in one line.
 *
 * @template T
 * @param {{ executablePath: string, url: string, profile: string, stepTimeoutMs: number }} options
 * @param {(tab: Tab) => Promise<T>} work
 * @returns {Promise<T>}
 */
export async function withTab({ executablePath, url, profile, stepTimeoutMs }, work) {
  // A persistent context, since the others keep IndexedDB in memory.
  const context = await chromium.launchPersistentContext(profile, { executablePath, args: CHROMIUM_ARGS })
  let reason = ''
  /** @param {string} why */
  const end = (why) => {
    if (reason !== '') return
    reason = why
    void context.close()
  }
  /** @param {string} step */
  const limit = (step) => setTimeout(() => end(`${step} took longer than ${Math.round(stepTimeoutMs / 1000)} s`), stepTimeoutMs)
  let timer = limit('opening the page')
  try {
    const page = context.pages()[0] ?? (await context.newPage())
    page.on('crash', () => end('the page crashed'))
    await page.goto(url)
    await page.waitForFunction(() => 'bench' in globalThis)
    const devtools = await context.newCDPSession(page)
    return await work({
      page,
      profile,
      run: (step) => {
        clearTimeout(timer)
        timer = limit(step.replace(/\(.*/, '()'))
        return page.evaluate(`bench.${step}`).catch((error) => {
          throw new Error(reason === '' ? inOneLine(error) : reason, { cause: error })
        })
      },
      hasEnded: () => reason !== '' || page.isClosed(),
      collect: async () => void (await devtools.send('HeapProfiler.collectGarbage')),
    })
  } catch (error) {
    throw new Error(reason === '' ? inOneLine(error) : reason, { cause: error })
  } finally {
    clearTimeout(timer)
    await context.close()
  }
}

/**
 * @param {unknown} error
 * @returns {string}
 */
export function inOneLine(error) {
  const [line = ''] = String(error instanceof Error ? error.message : error).split('\n')
  return line.replace(/^page\.evaluate: (Error: )?/, '')
}
