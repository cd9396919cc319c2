// Every method of the front goes through the port with its arguments and its answer.
import { CID } from 'multiformats/cid'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { InvalidCidError, InvalidOptionsError, InvalidPathError, NotSupportedError } from '../../../src/errors.ts'
import type { ContentPath, ContentStorage } from '../../../src/types.ts'
import { collect, connected, rejection, type Methods } from './double.ts'

const CID_TEXT = 'bafkreifjjcie6lypi6ny7amxnfftagclbuxndqonfipmb64f2km2devei4'
const WHEN = new Date(1_000_000)
const INFO = { cid: CID_TEXT, filename: 'a/b', size: 3, modified: WHEN, lastUsed: WHEN, replicas: [] }

type Call = (storage: ContentStorage) => Promise<unknown>
/** Name, call, arguments that must arrive (without signals), answer. */
const PLAIN: [keyof ContentStorage, Call, unknown[], unknown][] = [
  [
    'stat',
    (s) => s.stat('x', { localOnly: true }),
    ['x', { localOnly: true }],
    { cid: 'x', type: 'file', size: 1, blocks: 1, localBlocks: 1 },
  ],
  ['stat', (s) => s.stat('x'), ['x', {}], null],
  ['listDirectory', (s) => s.listDirectory('x/y'), ['x/y', {}], [{ name: 'n', path: 'p', cid: 'c', type: 'file', size: 1 }]],
  ['listFiles', (s) => s.listFiles(), [undefined, undefined], [INFO]],
  ['listFiles', (s) => s.listFiles('a', { after: INFO, limit: 2 }), ['a', { after: INFO, limit: 2 }], []],
  ['exists', (s) => s.exists('x'), ['x'], true],
  ['delete', (s) => s.delete('x', { filename: 'f', force: true }), ['x', { filename: 'f', force: true }], false],
  ['delete', (s) => s.delete('x'), ['x', undefined], true],
  ['pin', (s) => s.pin('x', { holder: 'h' }), ['x', { holder: 'h' }], true],
  ['unpin', (s) => s.unpin('x', { holder: 'h' }), ['x', { holder: 'h' }], false],
  ['verify', (s) => s.verify(), [undefined, {}], { blocks: 1, bytes: 2, damaged: [{ cid: 'c', block: 'b' }] }],
  ['verify', (s) => s.verify('x'), ['x', {}], { blocks: 1, bytes: 2, damaged: [] }],
  ['gc', (s) => s.gc({ foreign: true }), [{ foreign: true }], { blocks: 0, bytes: 0 }],
  ['isAvailable', (s) => s.isAvailable(), [], true],
  ['getBackendStatus', (s) => s.getBackendStatus(), [], { usingFallback: true, fallbackReason: 'forced', backends: { local: true } }],
  ['blob', (s) => s.blob('x', { verify: true }), ['x', { verify: true }], null],
  ['retrieve', (s) => s.retrieve('x', { offset: 1, length: 2, verify: false }), ['x', { offset: 1, length: 2, verify: false }], null],
  ['stream', (s) => s.stream('x'), ['x', {}], null],
  ['exportCar', (s) => s.exportCar('x'), ['x', {}], null],
]

describe('methods that pass values', () => {
  it.each(PLAIN)('%s', async (name, call, expected, answer) => {
    let arrived: unknown[] = []
    const { client } = connected({
      [name]: async (...args: unknown[]) => {
        arrived = args.map(withoutSignal)
        return answer
      },
    })
    expect(await call(client)).toEqual(answer)
    expect(arrived).toEqual(expected)
  })

  it('passes a signal to the methods that take one, and to no other', async () => {
    const got: Record<string, boolean> = {}
    const methods = Object.fromEntries(
      PLAIN.map(([name, , , answer]) => [
        name,
        async (...args: unknown[]) => {
          got[name] = args.some((arg) => typeof arg === 'object' && arg !== null && 'signal' in arg && arg.signal instanceof AbortSignal)
          return answer
        },
      ]),
    )
    const { client } = connected(methods)
    for (const [, call] of PLAIN) await call(client)
    const taking = Object.keys(got).filter((name) => got[name])
    expect(taking.sort()).toEqual(['blob', 'exportCar', 'gc', 'listDirectory', 'pin', 'retrieve', 'stat', 'stream', 'verify'])
  })
})

describe('storeUrl and downloads', () => {
  it('passes a URL as it is from here, and a Request taken apart', async () => {
    const seen: unknown[] = []
    const { client } = connected({
      storeUrl: async (url: string | Request, options: unknown) => {
        seen.push(typeof url === 'string' ? url : [url.url, url.headers.get('x-token'), url.credentials], withoutSignal(options))
        return 'cid'
      },
    })
    expect(await client.storeUrl(new URL('https://a.example/b#c'), { sha256: 'x', maxConnections: 2 })).toBe('cid')
    const request = new Request('https://a.example/d', { headers: { 'x-token': 't' }, credentials: 'include' })
    expect(await client.storeUrl(request, { filename: 'f' })).toBe('cid')
    expect(seen).toEqual([
      'https://a.example/b#c',
      { sha256: 'x', maxConnections: 2 },
      ['https://a.example/d', 't', 'include'],
      { filename: 'f' },
    ])
  })

  it('lists downloads that are gone on with and cancelled over there', async () => {
    const info = { id: 'i', url: 'https://a.example/b', state: 'interrupted', bytes: 1, started: WHEN, modified: WHEN }
    const asked: unknown[] = []
    const { client } = connected({
      listDownloads: async () => [info],
      resumeDownload: async (id: string, options: { onProgress?: (progress: object) => void }) => {
        asked.push(id)
        options.onProgress?.({ bytes: 1, phase: 'download' })
        return 'cid'
      },
      cancelDownload: async (id: string) => asked.push(id) > 0,
    } as Methods)
    const [download] = await client.downloads()
    expect(download).toMatchObject(info)
    const heard: unknown[] = []
    expect(await download?.resume({ onProgress: (progress) => heard.push(progress) })).toBe('cid')
    expect(await download?.cancel()).toBe(true)
    expect(asked).toEqual(['i', 'i'])
    expect(heard).toEqual([{ bytes: 1, phase: 'download' }])
  })
})

describe('ready', () => {
  it('answers the client itself', async () => {
    const { client, storage } = connected({ ready: async () => storage })
    expect(await client.ready()).toBe(client)
  })
})

describe('retrieve', () => {
  it('transfers the bytes', async () => {
    const bytes = new Uint8Array([1, 2, 3])
    const { client } = connected({ retrieve: async () => bytes })
    const answer = await client.retrieve('x')
    expect(answer).toEqual(new Uint8Array([1, 2, 3]))
    expect(bytes.byteLength).toBe(0)
  })

  it('copies a view, so that the rest of its buffer stays behind', async () => {
    const buffer = new Uint8Array(100).fill(7)
    const { client } = connected({ retrieve: async () => buffer.subarray(10, 13) })
    const answer = await client.retrieve('x')
    expect(answer?.buffer.byteLength).toBe(3)
    expect(buffer.byteLength).toBe(100)
  })
})

describe('blob', () => {
  it('answers a Blob with its type', async () => {
    const { client } = connected({ blob: async () => new Blob(['abc'], { type: 'text/plain' }) })
    const blob = await client.blob('x')
    expect(blob?.type).toBe('text/plain')
    expect(await blob?.text()).toBe('abc')
  })
})

describe('storeMany and storeDirectory', () => {
  it('pass items with their options', async () => {
    const seen: unknown[] = []
    const { client } = connected({
      storeMany: async (items: AsyncIterable<{ data: string; filename?: string }>) => {
        for await (const { data, ...rest } of items) seen.push([await collect(data), rest])
        return ['a', 'b']
      },
      storeDirectory: async (entries: AsyncIterable<{ path: string; data: string }>, options: unknown) => {
        for await (const { path, data } of entries) seen.push([path, await collect(data)])
        seen.push(withoutSignal(options))
        return 'root'
      },
    })
    expect(
      await client.storeMany([
        { data: 'one', filename: 'f' },
        { data: new Uint8Array([2]), pin: true, holder: 'h' },
      ]),
    ).toEqual(['a', 'b'])
    expect(await client.storeDirectory(new Map([['p', { path: 'p/q', data: 'x' }]]).values(), { filename: 'dir' })).toBe('root')
    expect(seen).toEqual([
      [Buffer.from('one'), { filename: 'f' }],
      [Buffer.from([2]), { pin: true, holder: 'h' }],
      ['p/q', Buffer.from('x')],
      { filename: 'dir' },
    ])
  })
})

describe('content paths', () => {
  it('accepts a CID object', async () => {
    const { client } = connected({ exists: async (path: unknown) => path === CID_TEXT })
    expect(await client.exists(CID.parse(CID_TEXT))).toBe(true)
  })

  it.each([null, 5, {}, [], Symbol('x'), () => undefined])('refuses %s with InvalidCidError', async (path) => {
    const { client } = connected({})
    for (const name of ['retrieve', 'stream', 'blob', 'stat', 'listDirectory', 'exists', 'delete', 'pin', 'unpin', 'exportCar'] as const) {
      const call: (path: ContentPath) => Promise<unknown> = client[name].bind(client)
      expect(await rejection(call(path as unknown as ContentPath))).toBeInstanceOf(InvalidCidError)
    }
    expect(await rejection(client.verify(path as unknown as ContentPath))).toBeInstanceOf(InvalidCidError)
    expect(await rejection(client.listFiles(5 as unknown as string))).toBeInstanceOf(InvalidPathError)
  })
})

describe('options that can not be cloned', () => {
  const never = (): void => undefined
  it.each([
    ['store', (s: ContentStorage) => s.store('x', { filename: never as unknown as string }), 'filename'],
    ['delete', (s: ContentStorage) => s.delete('x', { filename: never as unknown as string }), 'filename'],
    ['a signal that is none', (s: ContentStorage) => s.gc({ signal: 5 as unknown as AbortSignal }), 'signal'],
    ['a callback that is none', (s: ContentStorage) => s.gc({ onProgress: 5 as unknown as () => void }), 'onProgress'],
    ['an item', (s: ContentStorage) => s.storeMany([{ data: 'x', holder: never as unknown as string }]), 'holder'],
  ])('%s: InvalidOptionsError names it', async (_, call, option) => {
    const { client } = connected({
      storeMany: async (items: AsyncIterable<unknown>) => {
        for await (const item of items) expect(item).toBe('not reached')
      },
    })
    const error = await rejection(call(client))
    expect(error).toBeInstanceOf(InvalidOptionsError)
    expect(error).toHaveProperty('option', option)
  })

  it('passes options that are no object on, to be refused over there', async () => {
    const { client } = connected({
      gc: async (options: unknown) => {
        throw new InvalidOptionsError(`got ${String(options)}`, 'options')
      },
    })
    expect(await rejection(client.gc(null as unknown as object))).toMatchObject({ name: 'InvalidOptionsError', message: 'got null' })
  })
})

describe('helia', () => {
  it('is not supported', async () => {
    const { client } = connected({})
    expect(await rejection(client.helia())).toBeInstanceOf(NotSupportedError)
  })
})

describe('persist', () => {
  it('asks in this context, not in the worker', async () => {
    vi.stubGlobal('navigator', { storage: { persist: async () => true } })
    onTestFinished(() => void vi.unstubAllGlobals())
    const { client } = connected({})
    expect(await client.persist()).toBe(true)
  })

  it('is not supported where the context can not ask', async () => {
    const { client } = connected({})
    expect(await rejection(client.persist())).toBeInstanceOf(NotSupportedError)
  })
})

function withoutSignal(value: unknown): unknown {
  if (typeof value !== 'object' || value === null || !('signal' in value)) return value
  const { signal: _, ...rest } = value
  return rest
}
