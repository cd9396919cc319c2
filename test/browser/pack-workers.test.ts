// Who writes packs and who only reads them: the library's own workers, those that an application makes, and contexts that can make none.
import { afterEach, describe, expect, it, vi } from 'vitest'
import { NotSupportedError, type ContentStorage, type StorageConfig, type StorageOptions } from '../../src/index.ts'
import { connect } from '../../src/worker/index.ts'
import { SCRIPT } from './fixtures/script.ts'
import { has, READ_ONLY_HANDLES } from './support/needs.ts'
import { flip, packFile, readRecord } from './support/outside.ts'
import { decode } from '@ipld/dag-pb'
import {
  closeAll,
  countAll,
  destroyWhole,
  freshName,
  localStorageOf,
  NOTHING,
  packFiles,
  randomBytes,
  same,
  waitForNothing,
} from './support/stores.ts'

const MIB = 1024 * 1024
const SIZE = 5 * MIB + 3
/** As limits.ts has it for a worker that says nothing. */
const WORKER_TIMEOUT_MS = 5_000

const endings: (() => Promise<void> | void)[] = []

afterEach(async () => {
  vi.restoreAllMocks()
  await closeAll()
  for (const ending of endings.splice(0).reverse()) await ending()
})

async function rejection(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    (value) => new Error(`did not reject, but answered ${String(value)}`),
    (error: unknown) => error,
  )
}

/** A file in a pack, of a storage that is closed again. */
async function packed(): Promise<{ name: string; cid: string; bytes: Uint8Array<ArrayBuffer> }> {
  const name = freshName()
  const storage = localStorageOf({ cacheDir: name })
  const bytes = randomBytes(SIZE)
  const cid = await storage.store(bytes, { filename: 'file', mediaType: 'application/x-weights' })
  await storage.close()
  return { name, cid, bytes }
}

/** All that can be done with a file in a pack where no pack can be written. */
async function expectReadable(storage: ContentStorage, { name, cid, bytes }: Awaited<ReturnType<typeof packed>>): Promise<void> {
  expect(same(await storage.retrieve(cid), bytes)).toBe(true)
  expect(await storage.retrieve(cid, { offset: MIB - 2, length: 5 })).toEqual(bytes.slice(MIB - 2, MIB + 3))
  expect(same(new Uint8Array(await new Response(await storage.stream(cid)).arrayBuffer()), bytes)).toBe(true)
  const blob = await storage.blob(cid)
  expect(blob?.type).toBe('application/x-weights')
  expect(same(new Uint8Array((await blob?.arrayBuffer()) ?? new ArrayBuffer(0)), bytes)).toBe(true)
  expect(await storage.verify()).toMatchObject({ blocks: 7, damaged: [] })
  expect(await storage.listFiles()).toMatchObject([{ cid, state: 'whole', localBytes: SIZE }])
  expect(await storage.exists(cid)).toBe(true)
  expect(await storage.pin(cid)).toBe(true)
  expect(await storage.unpin(cid)).toBe(true)
  const root = await readRecord(`${name}/blocks`, cid)
  const leaf = decode(root ?? new Uint8Array(0)).Links[2]?.Hash.toString() ?? ''
  await flip(name, leaf)
  expect(await rejection(storage.retrieve(cid))).toMatchObject({ name: 'IntegrityError', cid: leaf })
  await flip(name, leaf)
  expect(same(await storage.retrieve(cid), bytes)).toBe(true)
}

function made(): Worker {
  return new Worker(new URL('./fixtures/pack-worker.ts', import.meta.url), { type: 'module' })
}

describe('a pack that there is no room to push to the disk', () => {
  // 70 MiB are pushed once while they are written.
  it.each([7, 70])('of %d MiB is tried again once something was given up for it', async (mebibytes) => {
    const name = freshName()
    const createWorker = (): Worker => new Worker(new URL('./fixtures/flush-refusing-worker.ts', import.meta.url), { type: 'module' })
    const storage = localStorageOf({ cacheDir: name, config: { createWorker } })
    await storage.store(randomBytes(5 * MIB, 1), { filename: 'old' })
    const bytes = randomBytes(mebibytes * MIB, 2)
    const cid = await storage.store(bytes, { filename: 'new', pin: true })
    expect((await storage.listFiles()).map(({ filename, state }) => [filename, state])).toEqual([['new', 'whole']])
    expect(same(await storage.retrieve(cid), bytes)).toBe(true)
    const before = await countAll(name)
    // With nothing left to give up.
    expect(await rejection(storage.store(randomBytes(8 * MIB, 3)))).toMatchObject({ name: 'QuotaError' })
    await storage.gc()
    expect(await countAll(name)).toEqual(before)
  })
})

describe('createWorker', () => {
  it.each(['auto', 'packs'] as const)("makes the workers of tier '%s'", async (tier) => {
    const name = freshName()
    const workers: Worker[] = []
    const asked: string[] = []
    const storage = localStorageOf({
      cacheDir: name,
      config: {
        tier,
        createWorker: () => {
          const worker = made()
          const post = worker.postMessage.bind(worker) as (message: unknown, transfer: Transferable[]) => void
          worker.postMessage = (message: { method?: string }, transfer: unknown) => {
            asked.push(message.method ?? '')
            post(message, transfer as Transferable[])
          }
          workers.push(worker)
          return worker
        },
      },
    })
    const bytes = randomBytes(20 * MIB)
    const cid = await storage.store(bytes)
    expect((await storage.getBackendStatus()).tier).toBe('packs')
    expect(same(await storage.retrieve(cid), bytes)).toBe(true)
    expect(workers.length).toBeGreaterThan(0)
    for (const method of ['probe', 'create', 'write', 'seal', 'hash']) expect(asked).toContain(method)
    // Where no two can have a file open, packs are read as files.
    expect(asked.includes('read')).toBe(await has(READ_ONLY_HANDLES))
    expect(await countAll(name)).toMatchObject({ records: 1, packed: 20, packs: 1, packFiles: 1 })
    await storage.delete(cid)
    expect(await countAll(name)).toEqual(NOTHING)
  })

  it('does not wait for its workers with what makes no pack', async () => {
    let goOn = (): void => undefined
    const started = new Promise<void>((resolve) => {
      goOn = resolve
    })
    const createWorker = (): Worker => {
      const worker = made()
      const listen = worker.addEventListener.bind(worker)
      worker.addEventListener = (type: string, listener: EventListener) =>
        listen(type, (event) => void (type === 'message' ? started.then(() => listener(event)) : listener(event)))
      return worker
    }
    const storage = localStorageOf({ config: { tier: 'auto', createWorker } })
    const cids = await storage.storeMany(['one', 'two'].map((data) => ({ data })))
    await storage.storeDirectory([{ path: 'a', data: 'three' }])
    goOn()
    expect(await storage.exists(cids[1] ?? '')).toBe(true)
    // One that was waited for in vain would be done without.
    expect(await storage.getBackendStatus()).toMatchObject({ tier: 'packs' })
  })

  it('ends its workers with the storage', async () => {
    const terminate = vi.spyOn(Worker.prototype, 'terminate')
    const workers: Worker[] = []
    const createWorker = (): Worker => {
      const worker = made()
      workers.push(worker)
      return worker
    }
    const storage = await localStorageOf({ config: { createWorker } }).ready()
    await storage.store(randomBytes(20 * MIB))
    await storage.close()
    for (const worker of workers) expect(terminate.mock.contexts).toContain(worker)
  })

  const FAILING: [string, () => Worker, RegExp][] = [
    [
      'throws',
      () => {
        throw new Error('no worker today')
      },
      /no worker today/,
    ],
    ['makes one whose script never calls servePacks()', () => fromText(''), /servePacks\(\)/],
    ['makes one whose script throws', () => fromText('nothingOfThatName()'), /nothingOfThatName|script/],
    ['makes one whose script is not there', () => new Worker('/no/such/script.js', { type: 'module' }), /script/],
  ]

  it.each(FAILING)("that %s leaves 'auto' with records", { timeout: 6 * WORKER_TIMEOUT_MS }, async (_, createWorker, why) => {
    const before = await packed()
    const { name } = before
    const storage = await localStorageOf({ cacheDir: name, config: { tier: 'auto', createWorker } }).ready()
    expect(await storage.getBackendStatus()).toMatchObject({ tier: 'records', tierDetail: expect.stringMatching(why) })
    const cid = await storage.store(randomBytes(SIZE, 5))
    expect(await countAll(name)).toMatchObject({ records: 8, packed: 6, packs: 1 })
    await storage.delete(cid)
    await expectReadable(storage, before)
  })

  it.each(FAILING)("that %s is a NotSupportedError of 'packs'", { timeout: 6 * WORKER_TIMEOUT_MS }, async (_, createWorker, why) => {
    const before = await packed()
    const { name } = before
    const storage = localStorageOf({ cacheDir: name, config: { tier: 'packs', createWorker } })
    const error = await rejection(storage.ready())
    expect(error).toBeInstanceOf(NotSupportedError)
    expect(`${(error as Error).message} ${String((error as Error).cause)}`).toMatch(why)
    expect(await rejection(storage.store(randomBytes(SIZE, 5)))).toBeInstanceOf(NotSupportedError)
    expect(await storage.getBackendStatus()).toMatchObject({ tier: 'records', tierDetail: expect.stringMatching(why) })
    // Nothing of it is left, and reading does not depend on it.
    expect(await countAll(name)).toMatchObject({ records: 1, packed: 6, packs: 1, packFiles: 1, owners: 1 })
    expect(await storage.store('small', { filename: 'small' })).toMatch(/^bafkrei/)
    await storage.delete((await storage.listFiles('small'))[0]?.cid ?? '')
    await expectReadable(storage, before)
  })

  function fromText(script: string): Worker {
    return new Worker(URL.createObjectURL(new Blob([script], { type: 'text/javascript' })))
  }

  it('works in a worker that serves a storage', async () => {
    const name = freshName()
    const options = { cacheDir: name, forceFallback: true, config: { tier: 'packs' } satisfies StorageConfig }
    const channel = new BroadcastChannel(`made-in-${name}`)
    let count = 0
    channel.onmessage = () => count++
    const worker = new Worker(new URL('./fixtures/nesting-worker.ts', import.meta.url), { type: 'module', name: JSON.stringify(options) })
    const client = connect(worker)
    endings.push(
      () => destroyWhole(name),
      () => worker.terminate(),
      () => client.close(),
      () => channel.close(),
    )
    const bytes = randomBytes(20 * MIB)
    const cid = await (await client.ready()).store(bytes)
    // Inside a worker of Firefox making one may hang it: that worker does it all itself.
    if (navigator.userAgent.includes('Firefox/')) expect(count).toBe(0)
    else await vi.waitFor(() => expect(count).toBeGreaterThan(0))
    expect((await client.getBackendStatus()).tier).toBe('packs')
    expect(same(await client.retrieve(cid), bytes)).toBe(true)
    const blob = await client.blob(cid)
    expect(same(new Uint8Array((await blob?.arrayBuffer()) ?? new ArrayBuffer(0)), bytes)).toBe(true)
    expect(await countAll(name)).toMatchObject({ records: 1, packed: 20, packs: 1 })
    // The storage ends with its worker, and its workers with it.
    worker.terminate()
    const [pack = ''] = await packFiles(name)
    expect((await packFile(name, pack)).size).toBe(20 * MIB)
  })
})

describe('a worker in which making another one may hang', () => {
  function started(options: StorageOptions): ContentStorage {
    const name = JSON.stringify({ forceFallback: true, ...options })
    const worker = new Worker(new URL('./fixtures/own-thread-worker.ts', import.meta.url), { type: 'module', name })
    const client = connect(worker)
    endings.push(
      () => destroyWhole(options.cacheDir ?? ''),
      () => worker.terminate(),
      () => client.close(),
    )
    return client
  }

  it('writes, reads and lets go of packs itself', async () => {
    const name = freshName()
    const client = started({ cacheDir: name, config: { tier: 'packs' } })
    const bytes = randomBytes(20 * MIB)
    const cid = await client.store(bytes)
    expect((await client.getBackendStatus()).tier).toBe('packs')
    expect(await countAll(name)).toMatchObject({ records: 1, packed: 20, packs: 1, packFiles: 1 })
    expect(await client.store(bytes)).toBe(cid)
    expect(same(await client.retrieve(cid), bytes)).toBe(true)
    expect(await client.verify()).toMatchObject({ blocks: 21, damaged: [] })
    await client.delete(cid)
    expect(await countAll(name)).toEqual(NOTHING)
  })

  it('has no pack open when a store was aborted', async () => {
    const name = freshName()
    const client = started({ cacheDir: name, config: { tier: 'packs' } })
    const abort = new AbortController()
    const endless = new ReadableStream<Uint8Array>({
      pull: (controller) => controller.enqueue(randomBytes(MIB)),
    })
    const call = client.store(endless, {
      signal: abort.signal,
      onProgress: ({ bytes }) => {
        if (bytes > 24 * MIB) abort.abort()
      },
    })
    expect(await rejection(call)).toMatchObject({ name: 'AbortError' })
    // A file that is open can't be removed.
    await waitForNothing(name)
  })

  it('reads many records in its own thread', async () => {
    const client = started({ cacheDir: freshName(), config: { tier: 'records' } })
    const bytes = randomBytes(20 * MIB)
    const cid = await client.store(bytes)
    // The first reading begins to make what the next ones use.
    for (let time = 0; time < 3; time++) expect(same(await client.retrieve(cid), bytes)).toBe(true)
  })
})

describe('a shared worker, where no packs are written', () => {
  function sharedWith(options: StorageOptions): ContentStorage {
    const worker = new SharedWorker(SCRIPT, { type: 'module', name: JSON.stringify({ forceFallback: true, ...options }) })
    const client = connect(worker)
    endings.push(
      () => destroyWhole(options.cacheDir ?? ''),
      () => worker.port.postMessage('stop'),
      () => client.close(),
    )
    return client
  }

  it("refuses tier 'packs', and reads packs", async () => {
    const before = await packed()
    const { name, cid } = before
    const client = sharedWith({ cacheDir: name, config: { tier: 'packs' } })
    expect(await rejection(client.ready())).toBeInstanceOf(NotSupportedError)
    expect(await rejection(client.store(randomBytes(SIZE, 5)))).toBeInstanceOf(NotSupportedError)
    expect(await client.getBackendStatus()).toMatchObject({ tier: 'records', tierDetail: expect.stringContaining('worker') })
    const small = await client.store('small')
    expect(new TextDecoder().decode((await client.retrieve(small)) ?? undefined)).toBe('small')
    expect(await client.delete(small)).toBe(true)
    await expectReadable(client, before)
    await client.delete(cid)
    // The Blob that was read keeps the file as long as this page is there.
    expect(await countAll(name)).toEqual({ ...NOTHING, packs: 1, packFiles: 1 })
  })

  it("writes records where 'auto' was asked for, and says so", async () => {
    const before = await packed()
    const { name, cid, bytes } = before
    const client = sharedWith({ cacheDir: name, config: { tier: 'auto' } })
    await client.ready()
    expect(await client.getBackendStatus()).toMatchObject({ tier: 'records', tierDetail: expect.stringContaining('worker') })
    // What lies in a pack is here.
    expect(await client.store(bytes, { filename: 'again' })).toBe(cid)
    expect(await countAll(name)).toMatchObject({ records: 1, packed: 6 })
    const other = await client.store(randomBytes(SIZE, 5))
    expect(await countAll(name)).toMatchObject({ records: 8, packed: 6, packs: 1, packFiles: 1 })
    expect(same(await client.retrieve(other), randomBytes(SIZE, 5))).toBe(true)
    expect(same(await client.retrieve(cid), bytes)).toBe(true)
    await client.delete(other)
    await client.delete(cid)
    await waitForNothing(name)
  })
})
