// Promise: four tabs and a worker that hammer one storage with a seeded mix of everything agree at the end, and all along, with a model in memory.
import type { Page, Worker } from 'playwright'
import { afterAll, beforeAll, expect, it } from 'vitest'
import type { IPFSKitStorage } from '../../src/index.ts'
import { openOnDisk, serveApp, type Kit, type Served } from '../e2e/support/app.ts'
import type * as Hammering from './support/hammer.ts'
import type { Hammer, Outcome } from './support/hammer.ts'
import { faultsIn } from './support/ledger.ts'
import type * as Workload from './support/workload.ts'

const NAME = 'hammered'
const SEED = Number(process.env['FAULTS_SEED'] ?? Date.now() % 1_000_000)
/** Of each tier. */
const SECONDS = Number(process.env['HAMMER_SECONDS'] ?? 8)
const TABS = 4
/** Of each context. */
const HANDS = 2
const HEAR_TIMEOUT_MS = 20_000

interface Own {
  kit: Kit
  hammering: typeof Hammering
  workload: typeof Workload
  load: (script: string) => Promise<unknown>
  storage: IPFSKitStorage
  hammer: Hammer
}

type Tier = 'records' | 'packs'
/** Of the contexts in turn. */
const TIERS: Record<string, Tier[]> = { records: ['records'], packs: ['packs'], both: ['packs', 'records'] }
type Context = Pick<Worker, 'evaluate'>

let app: Served

beforeAll(async () => {
  app = await serveApp({
    hammer: 'test/faults/support/hammer.ts',
    'hammer-worker': 'test/faults/support/hammer-worker.ts',
    workload: 'test/faults/support/workload.ts',
  })
})

afterAll(async () => {
  await app?.close()
})

async function open(context: Context, tier: Tier): Promise<void> {
  await context.evaluate(
    async ([cacheDir, tier]) => {
      const own = globalThis as unknown as Own
      if ('load' in own) own.hammering = (await own.load('/hammer.js')) as typeof Hammering
      own.storage = await new own.kit.IPFSKitStorage({ cacheDir, forceFallback: true, config: { tier } }).ready()
      own.hammer = new own.hammering.Hammer(own.storage)
    },
    [NAME, tier] as const,
  )
}

/** A worker of a page. Those that write packs are its own and count for nothing here. */
async function startWorker(page: Page): Promise<Worker> {
  const started = page.waitForEvent('worker', (worker) => worker.url().endsWith('/hammer-worker.js'))
  await page.evaluate(() => {
    const own = globalThis as unknown as { worker: globalThis.Worker }
    own.worker = new Worker('/hammer-worker.js', { type: 'module' })
  })
  const worker = await started
  // Its script may not have run to its end yet.
  await expect.poll(() => worker.evaluate(() => 'hammering' in globalThis)).toBe(true)
  return worker
}

function work(context: Context, hands: number[]): Promise<Outcome> {
  return context.evaluate(([hands, seed, milliseconds]) => (globalThis as unknown as Own).hammer.work(hands, seed, milliseconds), [
    hands,
    SEED,
    SECONDS * 1000,
  ] as const)
}

function told(context: Context): Promise<Hammer['told']> {
  return context.evaluate(() => (globalThis as unknown as Own).hammer.told)
}

/** Waits until no context that was closed holds a lock of the storage any more. */
function untilAlone(page: Page): Promise<void> {
  return page.evaluate(async (name) => {
    for (;;) {
      const { held = [] } = await navigator.locks.query()
      const lock = held.find((one) => one.name?.startsWith(`ipfs-kit:${name}`))
      if (lock?.name === undefined) return
      await navigator.locks.request(lock.name, () => undefined)
    }
  }, NAME)
}

it.each(Object.entries(TIERS))(
  `on %s, for ${SECONDS} s`,
  async (tier, tiers) => {
    console.log(`hammer on ${tier}: FAULTS_SEED=${SEED}`)
    const about = `FAULTS_SEED=${SEED}`
    const { tabs, errors, close } = await openOnDisk(app, TABS + 1)
    try {
      const [fresh, ...others] = tabs
      const [first] = others
      if (fresh === undefined || first === undefined) throw new Error('there should be tabs')
      const contexts: Context[] = [...others, await startWorker(first)]
      for (const [index, context] of contexts.entries()) await open(context, tiers[index % tiers.length] ?? 'packs')
      const hands = contexts.map((_, index) => Array.from({ length: HANDS }, (_, hand) => index * HANDS + hand))
      const outcomes = await Promise.all(contexts.map((context, index) => work(context, hands[index] ?? [])))
      expect(
        outcomes.flatMap(({ problems }) => problems),
        about,
      ).toEqual([])
      const entries = outcomes.flatMap((outcome) => outcome.entries).toSorted()
      const pins = outcomes.flatMap((outcome) => outcome.pins).toSorted()
      // Every context heard of all that any of them did.
      const heard = outcomes.flatMap(({ makers }) => makers).toSorted()
      expect(heard.length, about).toBeGreaterThanOrEqual(contexts.length)
      for (const context of contexts) {
        await expect.poll(() => told(context), { message: about, timeout: HEAR_TIMEOUT_MS }).toEqual({ entries, heard })
      }
      for (const [index, tab] of others.entries()) {
        // Some leave as they should, others are just closed.
        if (index % 2 === 0) await tab.evaluate(() => (globalThis as unknown as Own).storage.close())
        await tab.close()
      }
      await untilAlone(fresh)
      await open(fresh, tiers[0] ?? 'packs')
      const look = await fresh.evaluate(async (cacheDir) => {
        const own = globalThis as unknown as Own
        own.workload = (await own.load('/workload.js')) as typeof Workload
        return own.workload.look(own.storage, cacheDir)
      }, NAME)
      expect(faultsIn(look), about).toEqual([])
      expect(look.audit.pins, about).toEqual(pins)
      // What a pin kept when the last entry went has one under its CID.
      const implicit = look.files.filter(({ filename, cid }) => filename === cid)
      const pinned = new Set(pins.map((pin) => pin.split(' ')[0]))
      expect(
        implicit.filter(({ cid }) => !pinned.has(cid)),
        about,
      ).toEqual([])
      const named = look.files.filter((file) => !implicit.includes(file))
      expect(named.map(({ filename, cid }) => `${filename} ${cid}`).toSorted(), about).toEqual(entries)
      const listed = new Set(look.files.map(({ cid }) => cid))
      expect(
        [...pinned].filter((cid) => !listed.has(cid ?? '')),
        about,
      ).toEqual([])
      const wrong = await fresh.evaluate(
        (files) => {
          const { storage, hammering } = globalThis as unknown as Own
          return hammering.judgeAll(storage, files)
        },
        named.map(({ filename, cid }): [string, string] => [filename, cid]),
      )
      expect(wrong, about).toEqual([])
      expect(errors, about).toEqual([])
      const steps: Record<string, number> = {}
      for (const outcome of outcomes) for (const [name, count] of Object.entries(outcome.steps)) steps[name] = (steps[name] ?? 0) + count
      console.log(`hammer on ${tier}: ${JSON.stringify(steps)}; ${entries.length} entries and ${pins.length} pins at the end`)
    } finally {
      await close()
    }
  },
  120_000 + SECONDS * 3_000,
)
