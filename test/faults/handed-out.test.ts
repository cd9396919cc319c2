// Promise: Blobs and streams that were handed out are read to their end, or a stream over records ends with an error, though another tab deletes their
// content and its packs are rewritten and removed; when their tab is closed the space comes back.
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { IPFSKitStorage } from '../../src/index.ts'
import { serveApp, type Kit, type Served } from '../e2e/support/app.ts'
import { firefox, openTabs, type Tab } from './support/browsers.ts'
import { faultsIn } from './support/ledger.ts'
import type * as Workload from './support/workload.ts'
import type { Look } from './support/workload.ts'

const NAME = 'handed out'
const MIB = 1024 * 1024
const GIVEN_MIB = 48
const LET_GO_TIMEOUT_MS = 30_000
const TEST_TIMEOUT_MS = 180_000

type Tier = 'records' | 'packs'
type Bytes = Uint8Array<ArrayBuffer>

interface Own {
  kit: Kit
  load: (script: string) => Promise<unknown>
  bytes: (mebibytes: number, seed: number) => Bytes
  storage: IPFSKitStorage
  workload: typeof Workload
  blob: Blob
  slice: Blob
  reader: ReadableStreamDefaultReader<Bytes>
  /** Bytes that were read from it, and whether they were right. */
  read: number
  isRight: boolean
  worker: Worker
}

let app: Served

beforeAll(async () => {
  app = await serveApp({ workload: 'test/faults/support/workload.ts' })
})

afterAll(async () => {
  await app?.close()
})

/** Answers the tier that this browser has here. */
function open(tab: Tab, tier: Tier): Promise<string> {
  return tab.evaluate(
    async ([cacheDir, tier]) => {
      const own = globalThis as unknown as Own
      own.workload = (await own.load('/workload.js')) as typeof Workload
      const config = { tier: tier === 'packs' ? 'auto' : tier } as const
      own.storage = await new own.kit.IPFSKitStorage({ cacheDir, forceFallback: true, config }).ready()
      return (await own.storage.getBackendStatus()).tier
    },
    [NAME, tier] as const,
  )
}

/** Stores contents and takes of each what can be handed out: the packs of one are held by Blobs alone, those of another by a stream. */
function take(tab: Tab): Promise<string[]> {
  return tab.evaluate(async (mebibytes) => {
    const own = globalThis as unknown as Own
    const { storage } = own
    const contents = [own.bytes(mebibytes, 1), own.bytes(mebibytes, 2), own.bytes(6, 3)]
    const cids: string[] = []
    for (const data of contents) cids.push(await storage.store(data))
    const [blobbed = '', streamed = '', left = ''] = cids
    const [blob, stream] = [await storage.blob(blobbed), await storage.stream(streamed)]
    if (blob === null || stream === null) throw new Error('it was just stored')
    own.blob = blob
    own.slice = blob.slice(3 * 1_048_576 + 5, 40 * 1_048_576 - 7)
    own.reader = stream.getReader()
    own.read = 0
    own.isRight = true
    const [, bytes = new Uint8Array(0)] = contents
    while (own.read < bytes.byteLength / 2) {
      const { done, value } = await own.reader.read()
      if (done) throw new Error('the stream is too short')
      for (const byte of value) if (byte !== bytes[own.read++]) own.isRight = false
    }
    // One that is abandoned, and one that is left where it is.
    for (const isCancelled of [true, false]) {
      const reader = (await storage.stream(left))?.getReader()
      await reader?.read()
      if (isCancelled) await reader?.cancel()
    }
    const code = `let blob
      onmessage = async ({ data }) => {
        if (data !== 'read') { blob = data; return postMessage('has it') }
        try { postMessage(new Uint8Array(await crypto.subtle.digest('SHA-256', await blob.arrayBuffer())).join()) }
        catch (error) { postMessage(error.name) }
      }`
    own.worker = new Worker(URL.createObjectURL(new Blob([code])))
    await new Promise((resolve) => {
      own.worker.onmessage = resolve
      own.worker.postMessage(blob)
    })
    return cids
  }, GIVEN_MIB)
}

/** Leaves a sixth of the contents needed, so that their packs are rewritten, then nothing of them; and stores other things all the while. */
function takeAway(tab: Tab, cids: string[]): Promise<boolean[]> {
  return tab.evaluate(async (cids) => {
    const { storage, bytes } = globalThis as unknown as Own
    const parts = [1, 2].map((seed) => bytes(48, seed).subarray(0, 8 * 1_048_576))
    const part = await storage.store([...parts, bytes(2, 4)], { filename: 'part' })
    for (const cid of cids) await storage.delete(cid)
    await storage.gc()
    for (const seed of [5, 6, 7]) await storage.store(bytes(6, seed), { filename: `other ${seed}` })
    await storage.delete(part)
    await storage.gc()
    for (const { cid, filename } of await storage.listFiles()) if (filename !== 'other 7') await storage.delete(cid)
    await storage.gc()
    await storage.store(bytes(48, 8), { filename: 'as large' })
    return Promise.all(cids.map((cid) => storage.exists(cid)))
  }, cids)
}

/** What each of the things in hand comes to. */
function readAll(tab: Tab): Promise<{ blob: string; slice: string; worker: string; stream: string; read: number }> {
  return tab.evaluate(async (mebibytes) => {
    const own = globalThis as unknown as Own
    const [bytes, streamed] = [own.bytes(mebibytes, 1), own.bytes(mebibytes, 2)]
    const follow = async (reader: ReadableStreamDefaultReader<Uint8Array>, from: number, expected: Uint8Array): Promise<string> => {
      own.read = from
      try {
        for (;;) {
          const { done, value } = await reader.read()
          if (done) return own.isRight && own.read === expected.byteLength ? 'right' : 'wrong'
          for (const byte of value) if (byte !== expected[own.read++]) own.isRight = false
        }
      } catch (error) {
        return own.isRight ? (error as Error).name : 'wrong'
      }
    }
    const stream = await follow(own.reader, own.read, streamed)
    const read = own.read
    const blob = await follow(own.blob.stream().getReader(), 0, bytes)
    const slice = await follow(own.slice.stream().getReader(), 0, bytes.subarray(3 * 1_048_576 + 5, 40 * 1_048_576 - 7))
    const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes)).join()
    const worker = await new Promise<string>((resolve) => {
      own.worker.onmessage = ({ data }: MessageEvent<string>) => resolve(data === digest ? 'right' : data)
      own.worker.postMessage('read')
    })
    return { blob, slice, worker, stream, read }
  }, GIVEN_MIB)
}

function look(tab: Tab): Promise<Look> {
  return tab.evaluate((cacheDir) => {
    const { workload, storage } = globalThis as unknown as Own
    return workload.look(storage, cacheDir)
  }, NAME)
}

describe.each(['chromium', 'firefox'] as const)('in %s', (name) => {
  const isMissing = name === 'firefox' && firefox === undefined
  if (isMissing) console.log('no Firefox was found in the PATH; FIREFOX_PATH names one elsewhere')

  it.skipIf(isMissing).each<Tier>(['packs', 'records'])(
    'over %s',
    async (tier) => {
      const { tabs, errors, close } = await openTabs(name, app, 3)
      try {
        const [one, two, three] = tabs
        if (one === undefined || two === undefined || three === undefined) throw new Error('there should be tabs')
        const here = await open(one, tier)
        console.log(`handed out in ${name}: tier ${here}`)
        expect(await open(two, tier)).toBe(here)
        const cids = await take(one)
        expect(await takeAway(two, cids)).toEqual([false, false, false])
        const answers = await readAll(one)
        expect(answers).toMatchObject({ blob: 'right', slice: 'right', worker: 'right' })
        if (here === 'packs') expect(answers).toMatchObject({ stream: 'right', read: GIVEN_MIB * MIB })
        // What lies in records is gone with its content, and the stream says so.
        else expect(answers).toMatchObject({ stream: 'UnavailableError' })
        // While the tab lives, so do the packs behind its Blobs.
        if (here === 'packs') expect((await look(two)).usage.deadBytes).toBeGreaterThanOrEqual((GIVEN_MIB + 6) * MIB)
        await one.close()
        await expect.poll(async () => faultsIn(await look(two)), { timeout: LET_GO_TIMEOUT_MS }).toEqual([])
        await open(three, tier)
        const left = await look(three)
        expect(faultsIn(left)).toEqual([])
        expect(left.usage).toMatchObject({ files: 2, deadBytes: 0 })
        expect(left.audit.bytes).toBeLessThan((GIVEN_MIB + 7) * MIB)
        expect(errors).toEqual([])
      } finally {
        await close()
      }
    },
    TEST_TIMEOUT_MS,
  )
})
