// Promise: whenever a browser is killed, what was reported stored is whole, pins hold, nothing half-stored is listed, and after one gc() nothing is left
// that nobody needs.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Page } from 'playwright'
import { afterAll, beforeAll, expect, it } from 'vitest'
import type { IPFSKitStorage } from '../../src/index.ts'
import { serveApp, type Kit, type Served } from '../e2e/support/app.ts'
import { keepDatabases, startKillable, type Killable } from './support/killable.ts'
import { Ledger } from './support/ledger.ts'
import { randomOf } from './support/random.ts'
import type * as Workload from './support/workload.ts'
import type { Look, Step } from './support/workload.ts'

const NAME = 'killed'
/** Of each tier. */
const KILLS = Number(process.env['FAULTS_KILLS'] ?? 4)
const SEED = Number(process.env['FAULTS_SEED'] ?? Date.now() % 1_000_000)
/** Milliseconds of work before a kill, at most. */
const LONGEST_MS = 3_000
const ROUND_TIMEOUT_MS = 60_000
/** To look into: the profile, and its databases as they were before so many starts. */
const IS_KEPT = process.env['FAULTS_KEEP'] !== undefined
const STARTS_KEPT = 3
/** Kills between two words on how far it is. */
const TELL_EVERY = 20

interface Tab {
  kit: Kit
  storage: IPFSKitStorage
  load: (script: string) => Promise<typeof Workload>
  workload: typeof Workload
  tell: (step: Step) => Promise<void>
}

let app: Served

beforeAll(async () => {
  app = await serveApp({ workload: 'test/faults/support/workload.ts' })
})

afterAll(async () => {
  await app?.close()
})

async function open(page: Page, tier: 'records' | 'packs'): Promise<void> {
  await page.evaluate(
    async ([cacheDir, tier]) => {
      const own = globalThis as unknown as Tab
      own.workload = await own.load('/workload.js')
      own.storage = await new own.kit.IPFSKitStorage({ cacheDir, forceFallback: true, config: { tier } }).ready()
    },
    [NAME, tier] as const,
  )
}

/** What is there, looked at by a page. */
function look(page: Page): Promise<Look> {
  return page.evaluate((cacheDir) => {
    const { workload, storage } = globalThis as unknown as Tab
    return workload.look(storage, cacheDir)
  }, NAME)
}

it.each(['records', 'packs'] as const)(
  `on %s, killed ${KILLS} times`,
  async (tier) => {
    console.log(`kill test on ${tier}: FAULTS_SEED=${SEED}`)
    const profile = await mkdtemp(join(tmpdir(), 'ipfs-kit-web-killed-'))
    const before = `${profile}-before`
    const random = randomOf(SEED)
    const ledger = new Ledger()
    let browser: Killable | undefined
    try {
      for (let round = 0; round <= KILLS; round++) {
        if (IS_KEPT) {
          await keepDatabases(profile, join(before, `${round}`))
          await rm(join(before, `${round - STARTS_KEPT}`), { recursive: true, force: true })
        }
        browser = await startKillable(profile, app.url)
        const { page } = browser
        await open(page, tier)
        const missing = ledger.compare(await look(page))
        if (missing.length > 0) console.log(`the browser said:\n${browser.said().join('\n')}`)
        expect(missing, `after kill ${round}, FAULTS_SEED=${SEED}`).toEqual([])
        if (round > 0 && round % TELL_EVERY === 0) console.log(`kill test on ${tier}: ${round} of ${KILLS}, ${ledger.files} files`)
        if (round === KILLS) break
        await page.exposeFunction('tell', (step: Step) => ledger.note(step))
        const working = page.evaluate(
          ([seed, round]) => {
            const { workload, storage, tell } = globalThis as unknown as Tab
            return workload.work(storage, seed, round, tell)
          },
          [SEED, round] as const,
        )
        // Whatever ends it before the kill is a failure of its own.
        const failed = working.catch((error: Error) => error.message)
        const late = new Promise<undefined>((resolve) => setTimeout(() => resolve(undefined), random.below(LONGEST_MS)))
        expect(await Promise.race([failed, late]), `in round ${round}, FAULTS_SEED=${SEED}`).toBeUndefined()
        await browser.kill()
      }
      console.log(`kill test on ${tier}: ${ledger.stepsOver} steps, ${ledger.files} files at the end`)
    } finally {
      await browser?.kill()
      if (IS_KEPT) console.log(`${profile}, and its databases before the last starts: ${before}`)
      else await rm(profile, { recursive: true, force: true })
    }
  },
  60_000 + KILLS * ROUND_TIMEOUT_MS,
)
