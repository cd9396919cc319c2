// The browsers of this machine as one kind: each over a profile of its own on the disk, with tabs of one origin.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { launch } from 'puppeteer-core'
import { findFirefox } from '../../../bench/firefox.mjs'
import { openOnDisk, type Served } from '../../e2e/support/app.ts'

const START_TIMEOUT_MS = 60_000
const CLOSE_TIMEOUT_MS = 15_000
const ACTION_TIMEOUT_MS = 120_000

export interface Tab {
  evaluate<R, A>(work: (argument: A) => R | Promise<R>, argument: A): Promise<R>
  close(): Promise<void>
}

export interface Tabs {
  tabs: Tab[]
  /** What goes wrong in one of them unseen. */
  errors: string[]
  close: () => Promise<void>
}

export const firefox: { path: string; version: string } | undefined = await findFirefox()

/** Opens tabs of the app; the browser must be closed at the end. */
export function openTabs(browser: 'chromium' | 'firefox', app: Served, count: number): Promise<Tabs> {
  return DRIVERS[browser](app, count)
}

const DRIVERS: Record<'chromium' | 'firefox', (app: Served, count: number) => Promise<Tabs>> = {
  async chromium(app, count) {
    const { tabs, errors, close } = await openOnDisk(app, count)
    return {
      tabs: tabs.map((page) => ({
        evaluate: (work, argument) => page.evaluate(work as never, argument as never),
        close: () => page.close(),
      })),
      errors,
      close,
    }
  },

  async firefox(app, count) {
    const folder = await mkdtemp(join(tmpdir(), 'ipfs-kit-web-firefox-'))
    const browser = await launch({
      browser: 'firefox',
      executablePath: firefox?.path ?? '',
      userDataDir: folder,
      timeout: START_TIMEOUT_MS,
      protocolTimeout: ACTION_TIMEOUT_MS,
    })
    const close = async (): Promise<void> => {
      await Promise.race([browser.close().catch(() => undefined), pause(CLOSE_TIMEOUT_MS, undefined, { ref: false })])
      browser.process()?.kill('SIGKILL')
      await rm(folder, { recursive: true, force: true, maxRetries: 5 })
    }
    try {
      const errors: string[] = []
      const tabs: Tab[] = []
      for (let index = 0; index < count; index++) {
        const page = await browser.newPage()
        page.setDefaultTimeout(ACTION_TIMEOUT_MS)
        page.on('pageerror', (error) => errors.push(`tab ${index}: ${String(error)}`))
        await page.goto(app.url)
        await page.waitForFunction(() => 'kit' in globalThis)
        tabs.push({
          evaluate: (work, argument) => page.evaluate(work as never, argument as never),
          close: () => page.close(),
        })
      }
      return { tabs, errors, close }
    } catch (error) {
      await close()
      throw error
    }
  },
}
