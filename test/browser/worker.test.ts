// The storage in real workers: dedicated, shared, and through a port handed over.
import { afterEach, describe, expect, it, vi } from 'vitest'
import {
  ClosedError,
  InvalidCidError,
  InvalidOptionsError,
  InvalidSourceError,
  IPFSKitStorage,
  NotSupportedError,
  PinnedError,
  type ContentStorage,
  type Source,
  type StorageOptions,
} from '../../src/index.ts'
import { connect } from '../../src/worker/index.ts'
import { SCRIPT } from './fixtures/script.ts'
import { has, WRITABLE_FILES } from './support/needs.ts'
import { countAll, destroyWhole, freshName, NOTHING, randomBytes, same, TIER, tiered } from './support/stores.ts'

const HELLO = 'bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e'
const MIB = 1024 * 1024

type Kind = 'dedicated' | 'shared' | 'port'
type Options = StorageOptions & { cacheDir: string; late?: boolean }

const clients: ContentStorage[] = []
const stops: (() => void)[] = []
const names = new Set<string>()

afterEach(async () => {
  await Promise.all(clients.splice(0).map((client) => client.close()))
  for (const stop of stops.splice(0)) stop()
  const all = [...names]
  names.clear()
  for (const name of all) await destroyWhole(name)
})

function connected(to: Worker | SharedWorker | MessagePort): ContentStorage {
  const client = connect(to)
  clients.push(client)
  return client
}

function dedicated(options: object): Worker {
  const worker = new Worker(SCRIPT, { type: 'module', name: JSON.stringify(options) })
  stops.push(() => worker.terminate())
  return worker
}

function shared(options: object): SharedWorker {
  const worker = new SharedWorker(SCRIPT, { type: 'module', name: JSON.stringify(options) })
  stops.push(() => worker.port.postMessage('stop'))
  return worker
}

/** Two clients of one storage in a worker. */
function start(kind: Kind, given: Partial<Options> = {}): { one: ContentStorage; two: ContentStorage; cacheDir: string } {
  // A shared worker can't make the workers that write packs, or must not.
  const tier = kind === 'shared' && TIER === 'packs' ? 'auto' : TIER
  const options: Options = {
    cacheDir: freshName(),
    ...('config' in given ? {} : { forceFallback: true }),
    ...given,
    config: { tier, ...given.config },
  }
  const { cacheDir } = options
  names.add(cacheDir)
  if (kind === 'shared') return { one: connected(shared(options)), two: connected(shared(options)), cacheDir }
  const worker = dedicated(options)
  if (kind === 'dedicated') return { one: connected(worker), two: connected(worker), cacheDir }
  const { port1, port2 } = new MessageChannel()
  worker.postMessage({ type: 'ipfs-kit:port' }, [port2])
  return { one: connected(port1), two: connected(worker), cacheDir }
}

async function rejection(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => new Error('did not reject'),
    (error: unknown) => error,
  )
}

async function handleOf(bytes: Uint8Array<ArrayBuffer>): Promise<FileSystemFileHandle> {
  const directory = await navigator.storage.getDirectory()
  const handle = await directory.getFileHandle(freshName(), { create: true })
  const writable = await handle.createWritable()
  await writable.write(bytes)
  await writable.close()
  return handle
}

describe.each<Kind>(['dedicated', 'shared', 'port'])('a storage in a worker, %s', (kind) => {
  it('stores, retrieves, lists and deletes', async () => {
    const { one, two, cacheDir } = start(kind)
    expect(await one.ready()).toBe(one)
    expect(await one.store('hello world', { filename: 'a/hello', pin: true })).toBe(HELLO)
    expect(new TextDecoder().decode((await two.retrieve(HELLO)) ?? undefined)).toBe('hello world')
    expect(await two.retrieve(HELLO, { offset: 6, length: 3 })).toEqual(new TextEncoder().encode('wor'))
    expect(await (await two.blob(HELLO))?.text()).toBe('hello world')
    expect(await new Response(await two.stream(HELLO)).text()).toBe('hello world')
    expect(await two.exists(HELLO)).toBe(true)
    expect(await two.retrieve('bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku')).toBe(null)
    const [info] = await two.listFiles('a')
    expect(info).toMatchObject({ cid: HELLO, filename: 'a/hello', size: 11, pinned: true, fallback: true, state: 'whole' })
    expect(info?.modified).toBeInstanceOf(Date)
    expect(await two.stat(HELLO)).toMatchObject({ type: 'file', size: 11, localBlocks: 1 })
    expect(await two.verify()).toEqual({ blocks: 1, bytes: 11, damaged: [] })
    expect(await two.getBackendStatus()).toMatchObject({ cacheDir, usingFallback: true, fallbackReason: 'forced', usage: { files: 1 } })
    expect((await two.getBackendStatus()).tier).toBe(kind === 'shared' ? 'records' : TIER)
    expect(await two.isAvailable()).toBe(false)
    const pinned = await rejection(two.delete(HELLO))
    expect(pinned).toBeInstanceOf(PinnedError)
    expect(pinned).toMatchObject({ cid: HELLO, holders: [''] })
    expect(await two.unpin(HELLO)).toBe(true)
    expect(await two.delete(HELLO)).toBe(true)
    expect(await countAll(cacheDir)).toEqual(NOTHING)
  })

  it('stores every source under the same CID, whole', async () => {
    const bytes = randomBytes(9 * MIB + 17)
    const copy = bytes.slice()
    const page = new IPFSKitStorage(tiered({ cacheDir: freshName(), forceFallback: true }))
    const expected = await page.store(bytes)
    names.add((await page.getBackendStatus()).cacheDir)
    await page.close()
    const { one } = start(kind)
    const sources: Source[] = [
      bytes,
      new Blob([bytes]),
      new File([bytes], 'file'),
      ...((await has(WRITABLE_FILES)) ? [await handleOf(bytes)] : []),
      new Response(bytes),
      new Blob([bytes]).stream() as ReadableStream<Uint8Array>,
      [bytes.subarray(0, 100), bytes.subarray(100)],
      (async function* () {
        yield bytes.subarray(0, 5 * MIB)
        yield bytes.subarray(5 * MIB)
      })(),
    ]
    for (const source of sources) {
      const progress: number[] = []
      expect(await one.store(source, { onProgress: (done) => void progress.push(done.bytes) })).toBe(expected)
      expect(progress.at(-1)).toBe(bytes.byteLength)
      expect(same(await one.retrieve(expected), copy)).toBe(true)
      await one.delete(expected)
    }
    expect(bytes.byteLength).toBe(copy.byteLength)
    const shown = one.store(bytes, { filename: 'shown' })
    expect(await shown).toBe(expected)
    const stream = await one.stream(expected, { offset: 5 })
    expect(same(new Uint8Array(await new Response(stream).arrayBuffer()), copy.subarray(5))).toBe(true)
  })

  it('stores many items and directories, from lists of any kind', async () => {
    const { one } = start(kind)
    const cids = await one.storeMany([
      { data: 'hello world', filename: 'a' },
      { data: new Blob(['x']).stream() as ReadableStream<Uint8Array>, filename: 'b' },
    ])
    expect(cids[0]).toBe(HELLO)
    expect((await one.listFiles()).map(({ filename }) => filename)).toEqual(['a', 'b'])
    async function* entries(): AsyncGenerator<{ path: string; data: Source }, void, undefined> {
      yield { path: 'hello.txt', data: 'hello world' }
      yield { path: 'deep/er.bin', data: new Blob([randomBytes(5 * MIB)]).stream() as ReadableStream<Uint8Array> }
    }
    const root = await one.storeDirectory(entries(), { filename: 'dir' })
    expect((await one.listDirectory(root))?.map(({ name }) => name).sort()).toEqual(['deep', 'hello.txt'])
    expect(new TextDecoder().decode((await one.retrieve(`${root}/hello.txt`)) ?? undefined)).toBe('hello world')
  })

  it('carries a CAR out and in', async () => {
    const bytes = randomBytes(6 * MIB)
    const { one } = start(kind)
    const cid = await one.store(bytes)
    const car = await one.exportCar(cid)
    const whole = await new Response(car).blob()
    await one.delete(cid)
    expect(await one.exists(cid)).toBe(false)
    expect(await one.importCar(whole.stream() as ReadableStream<Uint8Array>)).toEqual([cid])
    expect(same(await one.retrieve(cid), bytes)).toBe(true)
  })

  it('aborts with the very reason and leaves nothing', async () => {
    const { one, cacheDir } = start(kind)
    const controller = new AbortController()
    const reason = new Error('enough')
    let cancelled = false
    const endless = new ReadableStream<Uint8Array>({
      pull: (stream) => stream.enqueue(crypto.getRandomValues(new Uint8Array(65_536))),
      cancel: () => void (cancelled = true),
    })
    const stored = one.store(endless, { signal: controller.signal, onProgress: () => controller.abort(reason) })
    expect(await rejection(stored)).toBe(reason)
    await one.gc()
    expect(cancelled).toBe(true)
    expect(await countAll(cacheDir)).toEqual(NOTHING)
  })

  it('ends a call whose progress callback throws with what it threw', async () => {
    const { one, cacheDir } = start(kind)
    const thrown = new Error('not now')
    const onProgress = (): never => {
      throw thrown
    }
    expect(await rejection(one.store(randomBytes(20 * MIB), { onProgress }))).toBe(thrown)
    await one.gc()
    expect(await countAll(cacheDir)).toEqual(NOTHING)
  })

  it('rejects bad input as the storage does', async () => {
    const { one, cacheDir } = start(kind)
    const odd = new Error('odd')
    const failing = new ReadableStream<Uint8Array>({
      start(stream) {
        stream.enqueue(new Uint8Array(5))
      },
      pull: (stream) => stream.error(odd),
    })
    expect(await rejection(one.store(failing))).toBe(odd)
    expect(await rejection(one.store(new Response('gone', { status: 404 })))).toBeInstanceOf(InvalidSourceError)
    expect(await rejection(one.store(null as unknown as Source))).toBeInstanceOf(InvalidSourceError)
    expect(await rejection(one.store('x', { nope: 1 } as object))).toMatchObject({ name: 'InvalidOptionsError', option: 'nope' })
    expect(await rejection(one.delete(HELLO, { signal: AbortSignal.abort() } as object))).toBeInstanceOf(InvalidOptionsError)
    expect(await rejection(one.retrieve('bafynonexistent'))).toBeInstanceOf(InvalidCidError)
    expect(await rejection(one.retrieve(HELLO, { offset: -1 }))).toBeInstanceOf(RangeError)
    expect(await rejection(one.storeDirectory([{ path: '../x', data: 'x' }]))).toMatchObject({ name: 'InvalidPathError', path: '../x' })
    expect(await rejection(one.helia())).toBeInstanceOf(NotSupportedError)
    await one.gc()
    expect(await countAll(cacheDir)).toEqual(NOTHING)
  })

  it('tells every client of changes, and goes on when one closes', async () => {
    const { one, two } = start(kind)
    await Promise.all([one.ready(), two.ready()])
    const heard = [one, two].map(
      (client) => new Promise((resolve) => client.addEventListener('change', (event) => resolve(event.detail), { once: true })),
    )
    await one.store('hello world', { filename: 'f' })
    const detail = { cid: HELLO, filename: 'f', kind: 'stored' }
    expect(await Promise.all(heard)).toEqual([expect.objectContaining(detail), expect.objectContaining(detail)])
    const stream = (await one.stream(HELLO))?.getReader()
    await one.close()
    expect(await rejection(one.exists(HELLO))).toBeInstanceOf(ClosedError)
    expect(await rejection(Promise.resolve(stream?.read()))).toBeInstanceOf(ClosedError)
    expect(await two.exists(HELLO)).toBe(true)
  })

  it('tells its clients why there is no storage', async () => {
    const { one, two } = start(kind, { forceFallback: 5 as unknown as boolean })
    for (const client of [one, two]) {
      expect(await rejection(client.ready())).toMatchObject({ name: 'InvalidOptionsError', option: 'forceFallback' })
    }
  })

  it('goes offline and comes back online with the page', async () => {
    const { one } = start(kind, { config: { ipfs: { gateways: [], delegatedRouters: [] } } })
    await one.ready()
    expect(await one.isAvailable()).toBe(true)
    const told = (wanted: object): Promise<void> =>
      vi.waitFor(async () => expect(await one.getBackendStatus()).toMatchObject(wanted), { timeout: 20_000 })
    const onLine = vi.spyOn(navigator, 'onLine', 'get').mockReturnValue(false)
    dispatchEvent(new Event('offline'))
    await told({ ipfsKitAvailable: false, fallbackReason: 'offline' })
    onLine.mockRestore()
    dispatchEvent(new Event('online'))
    await told({ ipfsKitAvailable: true })
  })
})

describe('a worker', () => {
  it('that serves late answers what was asked before', async () => {
    const cacheDir = freshName()
    names.add(cacheDir)
    const worker = dedicated(tiered({ cacheDir, forceFallback: true, late: true }))
    const client = connected(worker)
    const stored = client.store('hello world')
    worker.postMessage('serve')
    expect(await stored).toBe(HELLO)
  })

  it.each<[string, () => Worker | SharedWorker]>([
    ['dedicated', () => new Worker('/no/such/script.js', { type: 'module' })],
    ['shared', () => new SharedWorker('/no/such/script.js', { type: 'module' })],
    ['that throws', () => new Worker(URL.createObjectURL(new Blob(['nothingOfThatName()'])))],
  ])('that can not be started is told: %s', async (_, make) => {
    const client = connected(make())
    expect(await rejection(client.ready())).toBeInstanceOf(NotSupportedError)
    expect(await rejection(client.store('x'))).toBeInstanceOf(NotSupportedError)
  })

  it('that dies is noticed', async () => {
    const cacheDir = freshName()
    names.add(cacheDir)
    const worker = dedicated(tiered({ cacheDir, forceFallback: true }))
    const client = connected(worker)
    await client.ready()
    const stuck = rejection(client.store(new ReadableStream()))
    worker.terminate()
    expect(await stuck).toBeInstanceOf(ClosedError)
  })

  it('that is shared undoes what a page that died had begun', async () => {
    const options = { cacheDir: freshName(), forceFallback: true }
    names.add(options.cacheDir)
    const client = connected(shared(options))
    const frame = document.createElement('iframe')
    frame.name = JSON.stringify(options)
    frame.srcdoc = `<script type="module" src="${new URL('./fixtures/dying-page.ts', import.meta.url).href}"></script>`
    const storing = new Promise<void>((resolve) => {
      addEventListener('message', (event) => {
        if (event.data === 'storing') resolve()
      })
    })
    document.body.append(frame)
    await storing
    expect((await countAll(options.cacheDir)).owners).toBe(1)
    frame.remove()
    await vi.waitFor(async () => expect((await countAll(options.cacheDir)).owners).toBe(0), { timeout: 20_000 })
    await client.gc()
    expect(await countAll(options.cacheDir)).toEqual(NOTHING)
  })
})
