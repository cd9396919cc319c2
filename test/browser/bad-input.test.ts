// Bad input is a typed error that says which, and leaves no entry, no block and no reference behind: on the page and over a worker.
import { CID } from 'multiformats/cid'
import * as Digest from 'multiformats/hashes/digest'
import { afterAll, afterEach, beforeAll, describe, expect, inject, it } from 'vitest'
import {
  CarError,
  InvalidCidError,
  InvalidOptionsError,
  InvalidPathError,
  InvalidSourceError,
  IPFSKitStorage,
  LimitError,
  NotADirectoryError,
  NotAFileError,
  UnsupportedContentError,
  type ContentPath,
  type ContentStorage,
  type Source,
  type StorageOptions,
} from '../../src/index.ts'
import { connect } from '../../src/worker/index.ts'
import { countAll, freshName, NOTHING, randomBytes, tiered } from './support/stores.ts'

const MIB = 1024 * 1024
const HELLO = 'bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e'
const BLAKE3 = 'bafkr4iae4c5tt4yldi76xcpvg3etxykqkvec352im5fqbutolj2xo5yc5e'

type Kind = 'page' | 'worker'

const stops: (() => Promise<void> | void)[] = []

function start(kind: Kind, cacheDir: string): ContentStorage {
  const options = tiered({ cacheDir, forceFallback: true })
  const worker = kind === 'page' ? undefined : workerWith(options)
  const storage = worker === undefined ? new IPFSKitStorage(options) : connect(worker)
  stops.push(async () => {
    await storage.close()
    worker?.terminate()
    await IPFSKitStorage.destroy(cacheDir)
  })
  return storage
}

function workerWith(options: object): Worker {
  return new Worker(new URL('./fixtures/worker.ts', import.meta.url), { type: 'module', name: JSON.stringify(options) })
}

async function rejection(work: () => Promise<unknown>): Promise<unknown> {
  try {
    return new Error(`did not reject, but answered ${String(await work())}`)
  } catch (error) {
    return error
  }
}

async function* endless(
  ended: () => void = () => undefined,
  at = (_count: number): void => undefined,
): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  try {
    for (let count = 0; ; count++) {
      at(count)
      yield randomBytes(MIB, 1 + count)
    }
  } finally {
    ended()
  }
}

describe.each<Kind>(['page', 'worker'])('on a %s', (kind) => {
  let name = ''
  let storage: ContentStorage

  beforeAll(async () => {
    name = freshName()
    storage = start(kind, name)
    await storage.ready()
  })

  afterEach(async () => {
    for (const { cid } of await storage.listFiles()) await storage.delete(cid, { force: true })
    await expectNothing()
  })

  afterAll(async () => {
    for (const stop of stops.splice(0)) await stop()
  })

  async function expectNothing(): Promise<void> {
    await storage.gc()
    expect(await storage.listFiles()).toEqual([])
    expect(await countAll(name)).toEqual(NOTHING)
    expect((await storage.getBackendStatus()).usage).toMatchObject({ bytes: 0, files: 0, blocks: 0 })
  }

  /** Every method that takes a content path. */
  function methodsOver(path: ContentPath): (() => Promise<unknown>)[] {
    return [
      () => storage.retrieve(path),
      () => storage.stream(path),
      () => storage.blob(path),
      () => storage.stat(path),
      () => storage.listDirectory(path),
      () => storage.exists(path),
      () => storage.delete(path),
      () => storage.pin(path),
      () => storage.unpin(path),
      () => storage.exportCar(path),
      ...(path === undefined ? [] : [() => storage.verify(path)]),
    ]
  }

  it.each<[string, unknown]>([
    ['nothing', ''],
    ['no CID', 'bafynonexistent'],
    ['a path that climbs', '../x'],
    ['null', null],
    ['undefined', undefined],
    ['a number', 5],
    ['an object', {}],
    ['a path without a CID', '/ipfs/'],
    ['another scheme', `https://ipfs.io/ipfs/${HELLO}`],
    ['a CID cut off', HELLO.slice(0, -4)],
    ['a CID with something behind', `${HELLO}x`],
    ['a name of IPNS', `/ipns/${HELLO}`],
  ])('%s is no content path', async (_, path) => {
    for (const method of methodsOver(path as ContentPath)) expect(await rejection(method)).toBeInstanceOf(InvalidCidError)
    await expectNothing()
  })

  it("a path with '..' is refused, below a CID too", async () => {
    for (const path of [`${HELLO}/..`, `${HELLO}/a/../b`, `/ipfs/${HELLO}/.`]) {
      for (const method of methodsOver(path)) expect(await rejection(method)).toBeInstanceOf(InvalidPathError)
    }
    await expectNothing()
  })

  it('an unknown hash is unsupported content', async () => {
    for (const method of [
      () => storage.retrieve(BLAKE3),
      () => storage.stream(BLAKE3),
      () => storage.blob(BLAKE3),
      () => storage.stat(BLAKE3),
    ]) {
      const error = await rejection(method)
      expect(error).toBeInstanceOf(UnsupportedContentError)
      expect(error).toMatchObject({ code: 'unsupported-content', cid: BLAKE3 })
    }
    for (const method of [() => storage.listDirectory(BLAKE3), () => storage.pin(BLAKE3), () => storage.exportCar(BLAKE3)]) {
      expect(await rejection(method)).toBeInstanceOf(UnsupportedContentError)
    }
    expect(await storage.delete(BLAKE3)).toBe(false)
    expect(await storage.unpin(BLAKE3)).toBe(false)
    await expectNothing()
  })

  it('an identity CID beyond the limit is refused', async () => {
    const large = CID.createV1(0x55, Digest.create(0, new Uint8Array(200))).toString()
    expect(await rejection(() => storage.retrieve(large))).toBeInstanceOf(LimitError)
    const small = CID.createV1(0x55, Digest.create(0, new TextEncoder().encode('inside')))
    expect(await storage.retrieve(small)).toEqual(new TextEncoder().encode('inside'))
    await expectNothing()
  })

  it.each<[string, unknown, unknown]>([
    ['negative offset', -1, undefined],
    ['negative length', 0, -1],
    ['fractional offset', 1.5, undefined],
    ['fractional length', 0, 0.5],
    ['NaN', Number.NaN, undefined],
    ['infinite length', 0, Number.POSITIVE_INFINITY],
    ['string', '1', undefined],
    ['null', null, null],
    ['beyond all integers', 2 ** 60, undefined],
  ])('%s is no range', async (_, offset, length) => {
    const range = { ...(offset === undefined ? {} : { offset }), ...(length === undefined ? {} : { length }) } as {
      offset: number
      length: number
    }
    expect(await rejection(() => storage.retrieve(HELLO, range))).toBeInstanceOf(RangeError)
    expect(await rejection(() => storage.stream(HELLO, range))).toBeInstanceOf(RangeError)
    await expectNothing()
  })

  it('a range past the end is the bytes there are', async () => {
    const cid = await storage.store('hello world')
    expect(await storage.retrieve(cid, { offset: 6, length: 100 })).toEqual(new TextEncoder().encode('world'))
    expect(await storage.retrieve(cid, { offset: 100 })).toEqual(new Uint8Array(0))
    expect(await storage.retrieve(cid, { length: 0 })).toEqual(new Uint8Array(0))
  })

  it('an unknown option of any method is refused by name', async () => {
    const wrong = { fielname: 'x' } as never
    const calls: [string, () => Promise<unknown>][] = [
      ['store', () => storage.store('x', wrong)],
      ['storeMany', () => storage.storeMany([{ data: 'x' }], wrong)],
      ['storeMany', () => storage.storeMany([{ data: 'x', ...(wrong as object) }])],
      ['storeDirectory', () => storage.storeDirectory([{ path: 'x', data: 'x' }], wrong)],
      ['retrieve', () => storage.retrieve(HELLO, wrong)],
      ['stream', () => storage.stream(HELLO, wrong)],
      ['blob', () => storage.blob(HELLO, wrong)],
      ['stat', () => storage.stat(HELLO, wrong)],
      ['listDirectory', () => storage.listDirectory(HELLO, wrong)],
      ['listFiles', () => storage.listFiles('/', wrong)],
      ['delete', () => storage.delete(HELLO, wrong)],
      ['pin', () => storage.pin(HELLO, wrong)],
      ['unpin', () => storage.unpin(HELLO, wrong)],
      ['verify', () => storage.verify(HELLO, wrong)],
      ['gc', () => storage.gc(wrong)],
      ['exportCar', () => storage.exportCar(HELLO, wrong)],
      ['importCar', () => storage.importCar(new Uint8Array(1), wrong)],
    ]
    for (const [method, call] of calls) {
      const error = await rejection(call)
      expect([method, error]).toEqual([method, expect.objectContaining({ name: 'InvalidOptionsError', option: 'fielname' })])
      expect(error).toBeInstanceOf(InvalidOptionsError)
      expect((error as Error).message).toContain('fielname')
    }
    await expectNothing()
  })

  it.each<[string, () => Promise<unknown>, string]>([
    ['filename', () => storage.store('x', { filename: 5 as never }), 'filename'],
    ['empty filename', () => storage.store('x', { filename: '' }), 'filename'],
    ['pin', () => storage.store('x', { pin: 'yes' as never }), 'pin'],
    ['holder', () => storage.pin(HELLO, { holder: 1 as never }), 'holder'],
    ['mediaType', () => storage.store('x', { mediaType: {} as never }), 'mediaType'],
    ['verify', () => storage.retrieve(HELLO, { verify: 0 as never }), 'verify'],
    ['localOnly', () => storage.stat(HELLO, { localOnly: 'no' as never }), 'localOnly'],
    ['force', () => storage.delete(HELLO, { force: 1 as never }), 'force'],
    ['foreign', () => storage.gc({ foreign: 1 as never }), 'foreign'],
    ['after', () => storage.listFiles('/', { after: 'x' as never }), 'after'],
    ['options themselves', () => storage.store('x', null as never), 'options'],
    ['options as a string', () => storage.retrieve(...([HELLO, 'x'] as unknown as [string])), 'options'],
  ])('%s of the wrong type is refused by name', async (_, call, option) => {
    expect(await rejection(call)).toMatchObject({ name: 'InvalidOptionsError', option })
    await expectNothing()
  })

  it.each<[string, () => unknown]>([
    ['null', () => null],
    ['undefined', () => undefined],
    ['a number', () => 5],
    ['a plain object', () => ({ size: 1 })],
    ['a symbol', () => Symbol('x')],
    ['an iterable of numbers', () => [1, 2]],
    ['an iterable of strings', () => ['a']],
    [
      'a stream of strings',
      () =>
        new ReadableStream({
          start: (controller) => {
            controller.enqueue('text')
            controller.close()
          },
        }),
    ],
    [
      'a stream that was read',
      async () => {
        const { body } = new Response('read')
        await body?.getReader().read()
        return body
      },
    ],
    [
      'a stream that is locked',
      () => {
        const { body } = new Response('locked')
        body?.getReader()
        return body
      },
    ],
    ['a Response with status 404', async () => fetch(`${inject('gateway404')}/x`)],
    ['a Response with status 500', () => new Response('sorry', { status: 500 })],
    ['an opaque Response', async () => fetch(`${inject('gateway404')}/x`, { mode: 'no-cors' })],
    [
      'a Response that was read',
      async () => {
        const response = new Response('read')
        await response.text()
        return response
      },
    ],
    ['a detached buffer', () => detached()],
  ])('%s is no source', async (_, make) => {
    for (const call of [
      async () => storage.store((await make()) as Source),
      async () => storage.storeMany([{ data: 'good' }, { data: (await make()) as Source }]),
      async () => {
        const data = (await make()) as Source
        return storage.storeDirectory([
          { path: 'good', data: 'good' },
          { path: 'bad', data },
        ])
      },
    ]) {
      const error = await rejection(call)
      expect(error).toBeInstanceOf(InvalidSourceError)
      expect((error as Error).message.length).toBeGreaterThan(10)
    }
    await expectNothing()
  })

  it.each<[string, { path: unknown; data: Source }[]]>([
    [
      'two equal paths',
      [
        { path: 'a/b', data: '1' },
        { path: 'a/b', data: '2' },
      ],
    ],
    [
      'two paths that are equal',
      [
        { path: 'a/b', data: '1' },
        { path: '/a//b', data: '2' },
      ],
    ],
    [
      "a '..'",
      [
        { path: 'good', data: '1' },
        { path: '../x', data: '2' },
      ],
    ],
    [
      "a '..' in between",
      [
        { path: 'good', data: '1' },
        { path: 'a/../../x', data: '2' },
      ],
    ],
    [
      "a '.'",
      [
        { path: 'good', data: '1' },
        { path: './x', data: '2' },
      ],
    ],
    [
      'an empty name',
      [
        { path: 'good', data: '1' },
        { path: '', data: '2' },
      ],
    ],
    [
      'slashes alone',
      [
        { path: 'good', data: '1' },
        { path: '//', data: '2' },
      ],
    ],
    [
      'a path of a number',
      [
        { path: 'good', data: '1' },
        { path: 5, data: '2' },
      ],
    ],
    [
      'a file below a file',
      [
        { path: 'a', data: '1' },
        { path: 'a/b', data: '2' },
      ],
    ],
    [
      'a file over a directory',
      [
        { path: 'a/b', data: '1' },
        { path: 'a', data: '2' },
      ],
    ],
  ])('a directory with %s is refused', async (_, entries) => {
    const error = await rejection(() => storage.storeDirectory(entries as { path: string; data: Source }[], { filename: 'directory' }))
    expect(error).toBeInstanceOf(InvalidPathError)
    await expectNothing()
  })

  it('a directory of nothing that can be iterated is refused', async () => {
    for (const entries of [null, 5, { path: 'a', data: 'b' }]) {
      expect(await rejection(() => storage.storeDirectory(entries as never))).toBeInstanceOf(InvalidSourceError)
    }
    for (const entries of [[null], ['path'], [5]]) {
      expect((await rejection(() => storage.storeDirectory(entries as never))) as Error).toHaveProperty(
        'name',
        expect.stringMatching(/^Invalid/),
      )
    }
    await expectNothing()
  })

  it('a stream that errors half way rejects with its own error', async () => {
    const failure = new TypeError('half way')
    const failing = (): AsyncGenerator<Uint8Array<ArrayBuffer>> =>
      endless(undefined, (count) => {
        if (count === 18) throw failure
      })
    const stream = (): ReadableStream<Uint8Array> => {
      const source = failing()
      return new ReadableStream({
        async pull(controller) {
          controller.enqueue((await source.next()).value)
        },
      })
    }
    expect(await rejection(() => storage.store(failing()))).toBe(failure)
    expect(await rejection(() => storage.store(stream()))).toBe(failure)
    expect(await rejection(() => storage.importCar(stream()))).toBeInstanceOf(CarError)
    expect(await rejection(() => storage.storeMany([{ data: 'good', pin: true }, { data: failing() }]))).toBe(failure)
    await expectNothing()
  })

  it('a store aborted half way rejects with the reason, and lets go of its source', async () => {
    const abort = new AbortController()
    const reason = { why: 'enough' }
    let storing: Promise<unknown> = Promise.resolve()
    await new Promise<void>((resolve) => {
      const source = endless(resolve, (count) => {
        if (count === 18) abort.abort(reason)
      })
      storing = rejection(() => storage.store(source, { signal: abort.signal, filename: 'x', pin: true }))
    })
    expect(await storing).toBe(reason)
    expect(await rejection(() => storage.store('x', { signal: abort.signal }))).toBe(reason)
    expect(await rejection(() => storage.storeDirectory([{ path: 'x', data: 'x' }], { signal: abort.signal }))).toBe(reason)
    await expectNothing()
  })

  it.each<[string, () => Source]>([
    ['nothing', () => new Uint8Array(0)],
    ['noise', () => randomBytes(3 * MIB)],
    ['text', () => 'no CAR'],
    ['a header alone that promises much', () => new Uint8Array([0xff, 0xff, 0xff, 0xff, 0x0f, 1, 2, 3])],
    // { roots: [], version: 1 }
    ['a CAR without roots', () => new Uint8Array([0x11, 0xa2, 0x65, ...ascii('roots'), 0x80, 0x67, ...ascii('version'), 0x01])],
  ])('%s is no CAR', async (_, make) => {
    expect(await rejection(() => storage.importCar(make()))).toBeInstanceOf(CarError)
    await expectNothing()
  })

  it('a file is no directory, and a directory no file', async () => {
    const file = await storage.store('file')
    const directory = await storage.storeDirectory([{ path: 'a', data: 'a' }])
    expect(await rejection(() => storage.listDirectory(file))).toBeInstanceOf(NotADirectoryError)
    for (const call of [() => storage.retrieve(directory), () => storage.stream(directory), () => storage.blob(directory)]) {
      expect(await rejection(call)).toBeInstanceOf(NotAFileError)
    }
    expect(await storage.retrieve(`${file}/a`)).toBe(null)
    expect(await storage.retrieve(`${directory}/b`)).toBe(null)
  })

  it('a limit or place in the list that is none is refused', async () => {
    expect(await rejection(() => storage.listFiles('/', { limit: -1 }))).toBeInstanceOf(RangeError)
    expect(await rejection(() => storage.listFiles('/', { limit: 1.5 }))).toBeInstanceOf(RangeError)
    expect(await rejection(() => storage.listFiles('/', { after: {} as never }))).toBeInstanceOf(InvalidOptionsError)
    expect((await rejection(() => storage.listFiles(5 as never))) as Error).toHaveProperty('name', expect.stringMatching(/^Invalid/))
    expect(await storage.listFiles('/', { limit: 0 })).toEqual([])
  })
})

describe('options of a storage', () => {
  it.each<[string, unknown, string]>([
    ['an unknown one', { cachedir: 'x' }, 'cachedir'],
    ['an unknown one of config', { config: { enableIPFS: true } }, 'config.enableIPFS'],
    ['an unknown one of ipfs', { config: { ipfs: { gateway: 'https://x.example' } } }, 'config.ipfs.gateway'],
    ['no object', 'x', 'options'],
    ['null', null, 'options'],
    ['config that is none', { config: 5 }, 'config'],
    ['a cacheDir that is empty', { cacheDir: '' }, 'cacheDir'],
    ['a cacheDir that is no string', { cacheDir: 5 }, 'cacheDir'],
    ['a flag that is none', { forceFallback: 'yes' }, 'forceFallback'],
    ['a gateway that is no URL', { config: { ipfs: { gateways: ['ipfs.io'] } } }, 'config.ipfs.gateways'],
    ['a gateway with a path', { config: { ipfs: { gateways: ['https://x.example/ipfs'] } } }, 'config.ipfs.gateways'],
    ['a timeout of 0', { config: { ipfs: { retrieveTimeoutMs: 0 } } }, 'config.ipfs.retrieveTimeoutMs'],
    ['a timeout beyond timers', { config: { ipfs: { startTimeoutMs: 2 ** 31 } } }, 'config.ipfs.startTimeoutMs'],
    ['a createWorker that makes nothing', { config: { createWorker: 'worker.js' } }, 'config.createWorker'],
    ['a tier that is none', { config: { tier: 'opfs' } }, 'config.tier'],
    ['no room at all', { config: { maxBytes: 0 } }, 'config.maxBytes'],
    ['a fraction of a byte', { config: { maxBytes: 1.5 } }, 'config.maxBytes'],
    ['room as text', { config: { maxBytes: '1 GB' } }, 'config.maxBytes'],
    ['ipfs settings with forceFallback', { forceFallback: true, config: { ipfs: { gateways: [] } } }, 'config.ipfs.gateways'],
    ['ipfs settings without enableIpfsKit', { enableIpfsKit: false, config: { ipfs: { libp2p: true } } }, 'config.ipfs.libp2p'],
    ['ipfs settings without enableIpfs', { config: { enableIpfs: false, ipfs: { startTimeoutMs: 5 } } }, 'config.ipfs.startTimeoutMs'],
  ])('%s is refused by name', (_, options, option) => {
    expect(() => new IPFSKitStorage(options as StorageOptions)).toThrow(expect.objectContaining({ name: 'InvalidOptionsError', option }))
  })

  it.each<[string, unknown]>([
    ['enableS3', true],
    ['s3', {}],
    ['enableFilecoin', true],
    ['filecoin', {}],
    ['backends', [{}]],
  ])('config.%s comes with a later release, and says so', (key, value) => {
    const make = (): IPFSKitStorage => new IPFSKitStorage({ config: { [key]: value } })
    expect(make).toThrow(expect.objectContaining({ name: 'InvalidOptionsError', option: `config.${key}` }))
    expect(make).toThrow(/this release/)
  })

  it('that are refused open no database', async () => {
    const cacheDir = freshName()
    expect(() => new IPFSKitStorage({ cacheDir, config: { maxBytes: 0 } })).toThrow(InvalidOptionsError)
    expect((await indexedDB.databases()).filter((database) => database.name?.startsWith(cacheDir) === true)).toEqual([])
  })

  it('reach the clients of a worker', async () => {
    const worker = workerWith({ cachedir: 'x' })
    const client = connect(worker)
    try {
      const error = await rejection(() => client.store('x'))
      expect(error).toBeInstanceOf(InvalidOptionsError)
      expect(error).toMatchObject({ option: 'cachedir' })
    } finally {
      await client.close()
      worker.terminate()
    }
  })
})

function ascii(text: string): number[] {
  return [...new TextEncoder().encode(text)]
}

function detached(): Uint8Array {
  const bytes = new Uint8Array(10)
  structuredClone(bytes.buffer, { transfer: [bytes.buffer] })
  return bytes
}
