// Promise: a storage that an earlier build wrote opens in this one, and one of today's in a build whose catalog has a store more, while a tab with today's
// build goes on reading, and writing too; where it may not write, it says so.
//
// FAULTS_RECORD=1 npx vitest run --project faults versions   records a storage of this build in test/fixtures, to be done once a release
import { readdirSync } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import { brotliCompressSync, brotliDecompressSync, constants } from 'node:zlib'
import type { Page } from 'playwright'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import type { IPFSKitStorage, StorageOptions } from '../../src/index.ts'
import packageJson from '../../package.json' with { type: 'json' }
import { openTabs, startApp, type App, type Kit } from '../e2e/support/app.ts'
import { newer } from '../e2e/support/newer-build.ts'
import { faultsIn } from './support/ledger.ts'
import type * as Recorder from './support/recording.ts'
import type { Recording } from './support/recording.ts'
import type * as Workload from './support/workload.ts'
import type { Look } from './support/workload.ts'

const IS_RECORDING = process.env['FAULTS_RECORD'] !== undefined
const FIXTURES = new URL('../fixtures/', import.meta.url)
const RECORDINGS = readdirSync(FIXTURES).filter((name) => /^storage-.*\.json\.br$/.test(name))
/** So that the repository does not grow by much with each release. */
const MAX_RECORDING_BYTES = 300_000
const CACHE_DIR = 'recorded'
const TEST_TIMEOUT_MS = 180_000
const HEAR_TIMEOUT_MS = 20_000

type Tier = 'auto' | 'records' | 'packs'

interface Own {
  kit: Kit
  load: (script: string) => Promise<unknown>
  bytes: (mebibytes: number, seed: number) => Uint8Array<ArrayBuffer>
  recorder: typeof Recorder
  workload: typeof Workload
  storage: IPFSKitStorage
  statuses: boolean[]
  reader: ReadableStreamDefaultReader<Uint8Array>
  blob: Blob
  storing: Promise<string>
  goOn: () => void
}

let app: App
let close = async (): Promise<void> => undefined
let errors: string[] = []

beforeAll(async () => {
  app = await startApp(
    { recorder: 'test/faults/support/recording.ts', workload: 'test/faults/support/workload.ts' },
    { additive: newer(1), writer: newer(2) },
  )
})

afterAll(async () => {
  await app?.close()
})

afterEach(async () => {
  await close()
  close = async () => undefined
  if (errors.length > 0) throw new Error(errors.join('\n'))
})

async function pages(count: number): Promise<Page[]> {
  const opened = await openTabs(app, count)
  ;({ close, errors } = opened)
  for (const tab of opened.tabs) {
    await tab.evaluate(async () => {
      const own = globalThis as unknown as Own
      own.recorder = (await own.load('/recorder.js')) as typeof Recorder
      own.workload = (await own.load('/workload.js')) as typeof Workload
    })
  }
  return opened.tabs
}

/** Opens the storage with a build: today's, or one of the newer ones. */
async function open(tab: Page, build: 'today' | 'additive' | 'writer' = 'today', tier: Tier = 'auto'): Promise<void> {
  await tab.evaluate(
    async ([cacheDir, build, tier]) => {
      const own = globalThis as unknown as Own
      if (build !== 'today') own.kit = (await own.load(`/${build}.js`)) as Kit
      const options: StorageOptions = { cacheDir, forceFallback: true, config: { tier } }
      own.storage = new own.kit.IPFSKitStorage(options)
      own.statuses = []
      own.storage.addEventListener('status', ({ detail }) => void own.statuses.push(detail.backends.local))
      await own.storage.ready()
    },
    [CACHE_DIR, build, tier] as const,
  )
}

async function recordingOf(name: string): Promise<Recording> {
  return JSON.parse(brotliDecompressSync(await readFile(new URL(name, FIXTURES))).toString()) as Recording
}

function replay(tab: Page, { databases, files }: Recording): Promise<void> {
  return tab.evaluate(
    (text) => (globalThis as unknown as Own).recorder.replay(JSON.parse(text) as Recording),
    JSON.stringify({ databases, files }),
  )
}

function look(tab: Page): Promise<Look> {
  return tab.evaluate((cacheDir) => {
    const { workload, storage } = globalThis as unknown as Own
    return workload.look(storage, cacheDir)
  }, CACHE_DIR)
}

/** Everything that is expected of the recording is read in a tab. */
async function expectAll(tab: Page, { expected }: Recording): Promise<void> {
  const read = await tab.evaluate(
    (paths) => {
      const { recorder, storage } = globalThis as unknown as Own
      return recorder.read(storage, paths)
    },
    expected.contents.map(([path]) => path),
  )
  expect(read).toEqual(expected.contents)
  const { damaged } = await tab.evaluate(() => (globalThis as unknown as Own).storage.verify())
  const spoilt = expected.files.filter(({ state }) => state === 'damaged')
  expect(damaged.map(({ cid }) => cid)).toEqual(spoilt.map(({ cid }) => cid))
  expect(await tab.evaluate(() => (globalThis as unknown as Own).recorder.listed((globalThis as unknown as Own).storage))).toEqual(
    expected.files,
  )
}

/** Begins to read and to store, both of which go on later: half a stream, a Blob, half a store. */
function begin(tab: Page, path: string): Promise<void> {
  return tab.evaluate(async (path) => {
    const own = globalThis as unknown as Own
    const [stream, blob] = [await own.storage.stream(path), await own.storage.blob(path)]
    if (stream === null || blob === null) throw new Error('it was recorded')
    own.reader = stream.getReader()
    own.blob = blob
    await own.reader.read()
    await new Promise<void>((resolve) => {
      const source = async function* (): AsyncGenerator<Uint8Array> {
        yield own.bytes(20, 1)
        resolve()
        await new Promise<void>((goOn) => {
          own.goOn = goOn
        })
        yield own.bytes(1, 2)
      }
      own.storing = own.storage.store(source(), { filename: 'under way' })
      own.storing.catch(() => undefined)
    })
  }, path)
}

/** Ends what began: bytes that were still read, whether the Blob is as long as it should be, and what became of the store. */
function end(tab: Page): Promise<{ streamed: number; blob: number; stored: string }> {
  return tab.evaluate(async () => {
    const own = globalThis as unknown as Own
    let streamed = 0
    for (;;) {
      const { done, value } = await own.reader.read()
      if (done) break
      streamed += value.byteLength
    }
    own.goOn()
    const stored = await own.storing.then(
      (cid) => cid,
      (error: Error) => `${error.name}: ${error.message}`,
    )
    return { streamed, blob: (await own.blob.arrayBuffer()).byteLength, stored }
  })
}

/** Tries all that writes. Answers what each comes to. */
function tryToWrite(tab: Page, cid: string): Promise<Record<string, string>> {
  return tab.evaluate(async (cid) => {
    const { storage } = globalThis as unknown as Own
    const car = await new Response(await storage.exportCar(cid)).blob()
    const calls: Record<string, () => Promise<unknown>> = {
      store: () => storage.store('more', { filename: 'more' }),
      storeMany: () => storage.storeMany([{ data: 'more' }, { data: 'and more' }]),
      storeDirectory: () => storage.storeDirectory([{ path: 'a', data: 'b' }]),
      importCar: () => storage.importCar(car, { filename: 'imported' }),
      pin: () => storage.pin(cid, { holder: 'late' }),
      unpin: () => storage.unpin(cid, { holder: 'keeper' }),
      delete: () => storage.delete(cid, { force: true }),
      gc: () => storage.gc(),
    }
    const answers: Record<string, string> = {}
    for (const [name, call] of Object.entries(calls)) {
      answers[name] = await call().then(
        () => 'done',
        (error: Error & { code?: string }) => `${error.name} (${error.code}): ${error.message}`,
      )
    }
    return answers
  }, cid)
}

async function record(release: string): Promise<void> {
  const [one, two] = await pages(2)
  if (one === undefined || two === undefined) throw new Error('there should be tabs')
  // Somebody who will be dead.
  await open(two, 'today', 'packs')
  const recording = await one.evaluate(async (cacheDir) => {
    const { kit, recorder } = globalThis as unknown as Own
    const openAs = (tier: Tier): Promise<IPFSKitStorage> =>
      new kit.IPFSKitStorage({ cacheDir, forceFallback: true, config: { tier } }).ready()
    const [packs, records] = [await openAs('packs'), await openAs('records')]
    const contents = await recorder.fill(packs, records)
    contents.push(await recorder.adopt(cacheDir, records), await recorder.spoil(cacheDir, records))
    const expected = { contents, files: await recorder.listed(records), pins: [] }
    await packs.close()
    await records.close()
    return { cacheDir, expected }
  }, CACHE_DIR)
  await two.evaluate(
    () =>
      new Promise<void>((resolve) => {
        const { storage } = globalThis as unknown as Own
        const source = async function* (): AsyncGenerator<Uint8Array> {
          const own = globalThis as unknown as Own
          const going = new Promise<void>((goOn) => {
            own.goOn = goOn
          })
          resolve()
          await going
          for (let mebibyte = 0; mebibyte < 9; mebibyte++) yield new Uint8Array(1_048_576).fill(100 + mebibyte)
          await new Promise(() => undefined)
        }
        void storage.store(source(), { filename: 'never finished' })
      }),
  )
  // Until a file of its own is there.
  const filesOfTwo = (): Promise<number> =>
    two.evaluate(async () => (await (globalThis as unknown as Own).recorder.packSizes()).filter((size) => size > 0).length)
  const before = await filesOfTwo()
  await two.evaluate(() => (globalThis as unknown as Own).goOn())
  await expect.poll(filesOfTwo).toBe(before + 1)
  await two.close()
  const laid = await one.evaluate(
    async (cacheDir) => JSON.stringify(await (globalThis as unknown as Own).recorder.dump(cacheDir)),
    CACHE_DIR,
  )
  const dumped = JSON.parse(laid) as Recording
  const pins = dumped.databases
    .flatMap(({ stores }) => stores.find(({ name }) => name === 'owners')?.rows ?? [])
    .map(([, row]) => row as { pinned?: string; holder?: string })
    .flatMap(({ pinned, holder }) => (pinned === undefined ? [] : [`${pinned} ${holder}`]))
  const whole: Recording = { ...recording, ...dumped, expected: { ...recording.expected, pins: pins.toSorted() } }
  const packed = brotliCompressSync(JSON.stringify(whole), { params: { [constants.BROTLI_PARAM_LGWIN]: 24 } })
  expect(packed.byteLength).toBeLessThan(MAX_RECORDING_BYTES)
  await writeFile(new URL(`storage-${release}.json.br`, FIXTURES), packed)
}

it.each(IS_RECORDING ? [packageJson.version] : [])('a storage of release %s is recorded', record, TEST_TIMEOUT_MS)

describe.each(IS_RECORDING ? [] : RECORDINGS)('%s', (name) => {
  it(
    'opens in this build: all is as it was, what was left half done goes, and it is written on',
    async () => {
      const recording = await recordingOf(name)
      const [tab] = await pages(1)
      if (tab === undefined) throw new Error('there should be a tab')
      await replay(tab, recording)
      await open(tab)
      await expectAll(tab, recording)
      // Storing it again heals what was recorded damaged.
      const healed = await tab.evaluate(async () => {
        const { storage } = globalThis as unknown as Own
        await storage.store('to be spoilt', { filename: 'spoilt' })
        await storage.store('new', { filename: 'new' })
        return (await storage.listFiles()).filter(({ state }) => state !== 'whole')
      })
      expect(healed).toEqual([])
      const left = await look(tab)
      expect(faultsIn(left)).toEqual([])
      expect(left.audit.pins).toEqual(recording.expected.pins)
      const emptied = await tab.evaluate(async () => {
        const { storage } = globalThis as unknown as Own
        const cids = new Set((await storage.listFiles()).map(({ cid }) => cid))
        await Promise.all([...cids].map((cid) => storage.delete(cid, { force: true })))
        await storage.gc({ foreign: true })
        return (await storage.getBackendStatus()).usage
      })
      expect(emptied).toMatchObject({ bytes: 0, blocks: 0, files: 0, pinnedBytes: 0, deadBytes: 0 })
      expect((await look(tab)).audit).toEqual({ faults: [], pins: [], bytes: 0, deadBytes: 0 })
    },
    TEST_TIMEOUT_MS,
  )

  it(
    'and a build with one store more, whose format is the same: both read and write',
    async () => {
      const recording = await recordingOf(name)
      const [today, later] = await pages(2)
      if (today === undefined || later === undefined) throw new Error('there should be tabs')
      await replay(today, recording)
      await open(today)
      const large = recording.expected.files.find(({ filename }) => filename === 'packed/large')
      await begin(today, large?.cid ?? '')
      await open(later, 'additive')
      expect(await storesOf(later)).toContain('notes')
      await expectAll(later, recording)
      await expectAll(today, recording)
      const ended = await end(today)
      expect(ended).toMatchObject({ blob: large?.size, stored: expect.stringMatching(/^bafy/) })
      expect(ended.streamed).toBeGreaterThan(0)
      const [mine, theirs] = await Promise.all([today, later].map((tab, index) => storeLarge(tab, index)))
      expect(await lengthOf(later, mine ?? '')).toBe(6 * 1_048_576)
      expect(await lengthOf(today, theirs ?? '')).toBe(6 * 1_048_576)
      expect(await lengthOf(later, ended.stored)).toBe(21 * 1_048_576)
      expect(Object.values(await tryToWrite(today, large?.cid ?? ''))).toEqual(Array.from({ length: 8 }, () => 'done'))
      await expectWhole(today, later)
    },
    TEST_TIMEOUT_MS,
  )

  it(
    'and a build with one store more that alone may write: a tab with this build goes on reading, and says that it may not write',
    async () => {
      const recording = await recordingOf(name)
      const [today, later, late] = await pages(3)
      if (today === undefined || later === undefined || late === undefined) throw new Error('there should be tabs')
      await replay(today, recording)
      await open(today)
      const large = recording.expected.files.find(({ filename }) => filename === 'packed/large')
      const cid = large?.cid ?? ''
      await begin(today, cid)
      await open(later, 'writer')
      expect(await storesOf(later)).toContain('notes')
      await expectAll(later, recording)
      // One that opens now reads as well.
      await open(late)
      for (const tab of [today, late]) {
        await expectAll(tab, recording)
        expect(await isWorking(tab)).toBe(true)
        const answers = await tryToWrite(tab, cid)
        for (const [method, answer] of Object.entries(answers)) expect([method, answer]).toEqual([method, expect.stringMatching(REFUSED)])
        expect(await isWorking(tab)).toBe(false)
        await tab.waitForFunction(() => (globalThis as unknown as Own).statuses.at(-1) === false)
        await expectAll(tab, recording)
      }
      const ended = await end(today)
      expect(ended).toMatchObject({ blob: large?.size, stored: expect.stringMatching(/^DatabaseError: .*newer release.*reload/) })
      expect(ended.streamed).toBeGreaterThan(0)
      const theirs = await storeLarge(later, 3)
      for (const tab of [today, late]) expect(await lengthOf(tab, theirs)).toBe(6 * 1_048_576)
      // What the newer one deletes and rewrites is gone for the others too, and nothing else.
      await later.evaluate(async (cid) => {
        const { storage } = globalThis as unknown as Own
        await storage.delete(cid)
        await storage.gc()
      }, theirs)
      for (const tab of [today, late]) expect(await lengthOf(tab, theirs)).toBe(undefined)
      await expectAll(today, recording)
      await today.close()
      await late.close()
      await expectWhole(later)
    },
    TEST_TIMEOUT_MS,
  )
})

const REFUSED = /^DatabaseError \(database\): .*newer release.*reload/

function storesOf(tab: Page): Promise<string[]> {
  return tab.evaluate(
    (name) =>
      new Promise<string[]>((resolve, reject) => {
        const request = indexedDB.open(name)
        request.onerror = () => reject(request.error ?? new Error(name))
        request.onsuccess = () => {
          resolve([...request.result.objectStoreNames])
          request.result.close()
        }
      }),
    `${CACHE_DIR}/catalog`,
  )
}

function storeLarge(tab: Page, seed: number): Promise<string> {
  return tab.evaluate((seed) => {
    const { storage, bytes } = globalThis as unknown as Own
    return storage.store(bytes(6, 100 + seed), { filename: `large ${seed}` })
  }, seed)
}

function lengthOf(tab: Page, cid: string): Promise<number | undefined> {
  return tab.evaluate(async (cid) => (await (globalThis as unknown as Own).storage.retrieve(cid))?.byteLength, cid)
}

function isWorking(tab: Page): Promise<boolean> {
  return tab.evaluate(async () => (await (globalThis as unknown as Own).storage.getBackendStatus()).backends.local)
}

/** What was recorded damaged is healed first. */
async function expectWhole(...tabs: Page[]): Promise<void> {
  const [tab] = tabs
  if (tab === undefined) throw new Error('there should be a tab')
  await tab.evaluate(() => (globalThis as unknown as Own).storage.store('to be spoilt', { filename: 'spoilt' }))
  for (const one of tabs) await expect.poll(async () => faultsIn(await look(one)), { timeout: HEAR_TIMEOUT_MS }).toEqual([])
}
