// Sources: read on the client's side, piece by piece as the worker asks, and their errors come back as they are.
import { describe, expect, it } from 'vitest'
import { InvalidSourceError } from '../../../src/errors.ts'
import { sourceMediaType, sourceSize } from '../../../src/files/source.ts'
import { PORT_CHUNK_BYTES, PORT_WINDOW_CHUNKS } from '../../../src/limits.ts'
import type { Source, StoreOptions } from '../../../src/types.ts'
import { collect, connected, gate, rejection, settled, waitForAbort } from './double.ts'

/** A store that answers what it read as text. */
const READING = {
  store: async (data: Source, { signal }: StoreOptions) => new TextDecoder().decode(await collect(data, signal)),
  importCar: async (data: Source, { signal }: StoreOptions) => [new TextDecoder().decode(await collect(data, signal))],
  storeMany: async (items: AsyncIterable<{ data: Source }>, { signal }: StoreOptions) => {
    const texts: string[] = []
    for await (const { data } of items) texts.push(new TextDecoder().decode(await collect(data, signal)))
    return texts
  },
}

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)

function shared(text: string): Uint8Array {
  const view = new Uint8Array(new SharedArrayBuffer(text.length))
  view.set(bytes(text))
  return view
}

async function* generated(...parts: string[]): AsyncGenerator<Uint8Array, void, undefined> {
  for (const part of parts) yield bytes(part)
}

function streamed(...parts: string[]): ReadableStream<Uint8Array> {
  return new ReadableStream({
    start(controller) {
      for (const part of parts) controller.enqueue(bytes(part))
      controller.close()
    },
  })
}

describe('every source', () => {
  it.each<[string, () => Source]>([
    ['a string', () => 'hello'],
    ['an ArrayBuffer', () => bytes('hello').slice().buffer],
    ['a SharedArrayBuffer', () => shared('hello').buffer],
    ['a view', () => bytes('-hello-').subarray(1, 6)],
    ['a shared view', () => shared('hello')],
    ['a DataView', () => new DataView(bytes('-hello').slice().buffer, 1)],
    ['a Blob', () => new Blob(['hello'])],
    ['a File', () => new File(['hello'], 'name')],
    ['a Response', () => new Response('hello')],
    ['a stream', () => streamed('he', 'llo')],
    ['an async iterable', () => generated('he', '', 'llo')],
    ['an iterable', () => [bytes('he'), bytes('llo')]],
    ['an iterable of shared views', () => [shared('he'), shared('llo')]],
  ])('%s', async (_, source) => {
    const { client } = connected(READING)
    expect(await client.store(source())).toBe('hello')
    expect(await client.importCar(source())).toEqual(['hello'])
    expect(await client.storeMany([{ data: source() }, { data: source() }])).toEqual(['hello', 'hello'])
  })

  it.each<[string, () => unknown]>([
    ['null', () => null],
    ['undefined', () => undefined],
    ['a number', () => 5],
    ['an object', () => ({})],
    ['a function', () => () => undefined],
    ['a handle that is none', () => ({ getFile: () => new Blob() })],
    ['a Response that is not ok', () => new Response('gone', { status: 404 })],
    ['a locked stream', lockedStream],
    ['an iterable of something else', () => ['text']],
    ['an array of numbers', () => [1, 2]],
  ])('refuses %s with InvalidSourceError', async (_, source) => {
    const { client } = connected(READING)
    expect(await rejection(client.store(source() as Source))).toBeInstanceOf(InvalidSourceError)
    expect(await rejection(client.importCar(source() as Source))).toBeInstanceOf(InvalidSourceError)
    expect(await rejection(client.storeMany([{ data: source() as Source }]))).toBeInstanceOf(InvalidSourceError)
    expect(await rejection(client.storeMany([source() as { data: Source }]))).toBeInstanceOf(InvalidSourceError)
    expect(await rejection(client.storeMany(5 as unknown as []))).toBeInstanceOf(InvalidSourceError)
  })
})

describe('what a source brings along', () => {
  const facts = {
    store: async (data: Source) => {
      const answer = `${sourceMediaType(data)} ${sourceSize(data)}`
      await collect(data)
      return answer
    },
  }
  it.each<[string, () => Source, string]>([
    ['type and size of a Blob', () => new Blob(['abc'], { type: 'a/b' }), 'a/b 3'],
    ['type and size of a Response', () => new Response('abc', { headers: { 'content-type': 'a/b', 'content-length': '3' } }), 'a/b 3'],
    [
      'no size of an encoded Response',
      () => new Response('abc', { headers: { 'content-encoding': 'gzip', 'content-length': '9' } }),
      'text/plain;charset=UTF-8 undefined',
    ],
    ['the size of a large buffer', () => new Uint8Array(PORT_CHUNK_BYTES + 1), `undefined ${PORT_CHUNK_BYTES + 1}`],
  ])('%s', async (_, source, expected) => {
    const { client } = connected(facts)
    expect(await client.store(source())).toBe(expected)
  })
})

describe('a buffer', () => {
  it('may be changed once store() was called, and is never detached', async () => {
    const { client } = connected(READING)
    const buffer = bytes('hello').slice()
    const stored = client.store(buffer)
    buffer.fill(0)
    expect(await stored).toBe('hello')
    expect(buffer.byteLength).toBe(5)
  })

  it('that is large is pulled in pieces of bounded size', async () => {
    const size = PORT_CHUNK_BYTES * 3 + 5
    const large = new Uint8Array(size).map((_, index) => index % 251)
    const sizes: number[] = []
    const { client } = connected({
      store: async (data: Response) => {
        const reader = (data.body as ReadableStream<Uint8Array>).getReader()
        let total = 0
        for (let result = await reader.read(); !result.done; result = await reader.read()) {
          sizes.push(result.value.byteLength)
          expect(result.value[0]).toBe(total % 251)
          total += result.value.byteLength
        }
        return String(total)
      },
    })
    expect(await client.store(large)).toBe(String(size))
    expect(sizes).toEqual([PORT_CHUNK_BYTES, PORT_CHUNK_BYTES, PORT_CHUNK_BYTES, 5])
    expect(large.byteLength).toBe(size)
  })

  it('detached while it is pulled is refused', async () => {
    const large = new Uint8Array(PORT_CHUNK_BYTES * 4)
    const { client } = connected({
      store: async (data: Response) => {
        const reader = (data.body as ReadableStream<Uint8Array>).getReader()
        await reader.read()
        structuredClone(large.buffer, { transfer: [large.buffer] })
        while (!(await reader.read()).done);
        return 'stored'
      },
    })
    expect(await rejection(client.store(large))).toBeInstanceOf(InvalidSourceError)
  })
})

describe('back-pressure', () => {
  it('a source is opened when it is first read, and read no further ahead than the window', async () => {
    let produced = 0
    let returned = false
    async function* endless(): AsyncGenerator<Uint8Array, void, undefined> {
      try {
        for (;;) {
          produced++
          yield new Uint8Array(1)
        }
      } finally {
        returned = true
      }
    }
    const [opened, first, tenth, ended] = [gate(), gate(), gate(), gate()]
    const { client } = connected({
      store: async (data: AsyncIterable<Uint8Array>) => {
        await opened.passed
        let read = 0
        for await (const _ of data) {
          read++
          if (read === 1) await first.passed
          if (read === 10) await tenth.passed
          if (read === 11) break
        }
        await ended.passed
        return 'stored'
      },
    })
    const stored = client.store(endless())
    await settled(client)
    expect(produced).toBe(0)
    opened.open()
    await settled(client)
    expect(produced).toBe(PORT_WINDOW_CHUNKS)
    first.open()
    await settled(client)
    expect(produced).toBe(9 + PORT_WINDOW_CHUNKS)
    tenth.open()
    await settled(client)
    expect(returned).toBe(true)
    ended.open()
    expect(await stored).toBe('stored')
  })

  it('items are taken one by one, each when the one before is stored', async () => {
    const log: string[] = []
    async function* items(): AsyncGenerator<{ path: string; data: Source }, void, undefined> {
      for (const path of ['a', 'b', 'c']) {
        log.push(`taken ${path}`)
        yield { path, data: generated(path) }
      }
    }
    const { client } = connected({
      storeDirectory: async (entries: AsyncIterable<{ path: string; data: Source }>) => {
        for await (const { path, data } of entries) {
          await collect(data)
          await settled(client)
          log.push(`stored ${path}`)
        }
        return 'root'
      },
    })
    expect(await client.storeDirectory(items())).toBe('root')
    expect(log).toEqual(['taken a', 'stored a', 'taken b', 'stored b', 'taken c', 'stored c'])
  })
})

describe('a source that fails', () => {
  class OddError extends Error {
    readonly odd = new Map()
  }

  async function* failing(error: unknown): AsyncGenerator<Uint8Array, void, undefined> {
    yield bytes('x')
    throw error
  }

  it.each<[string, unknown]>([
    ['an error', new OddError('odd')],
    ['a DOMException', new DOMException('no', 'NetworkError')],
    ['a string', 'just text'],
    ['undefined', undefined],
    ['an object', { some: 'thing' }],
  ])('rethrows %s as it is', async (_, error) => {
    const { client } = connected(READING)
    expect(await rejection(client.store(failing(error)))).toBe(error)
    expect(await rejection(client.storeMany([{ data: 'x' }, { data: failing(error) }]))).toBe(error)
    const stream = new ReadableStream<Uint8Array>({ pull: (controller) => controller.error(error) })
    expect(await rejection(client.store(stream))).toBe(error)
    expect(await rejection(client.store(new Response(new ReadableStream({ pull: (controller) => controller.error(error) }))))).toBe(error)
  })

  it('rethrows an error of the items themselves', async () => {
    const error = new OddError('list')
    const { client } = connected(READING)
    const items = (function* (): Generator<{ data: Source }, void, undefined> {
      yield { data: 'x' }
      throw error
    })()
    expect(await rejection(client.storeMany(items))).toBe(error)
  })

  it('is found as the cause of what the store makes of it', async () => {
    const error = new OddError('inner')
    const { client } = connected({
      importCar: async (data: Source) => {
        try {
          await collect(data)
        } catch (cause) {
          throw new Error('outer', { cause })
        }
        return []
      },
    })
    const outer = await rejection(client.importCar(failing(error)))
    expect(outer).toHaveProperty('message', 'outer')
    expect(outer).toHaveProperty('cause', error)
    expect((outer as Error).cause).toBe(error)
  })
})

describe('when the store fails', () => {
  it.each(['while it reads', 'while the source gives nothing'])('sources and lists are closed: %s', async (when) => {
    const closed: string[] = []
    const stalls = when === 'while the source gives nothing'
    const source = new ReadableStream<Uint8Array>({
      pull: (controller) => (stalls ? new Promise(() => undefined) : controller.enqueue(new Uint8Array(1))),
      cancel: () => void closed.push('source'),
    })
    const items = (function* (): Generator<{ data: Source }, void, undefined> {
      try {
        yield { data: source }
      } finally {
        closed.push('items')
      }
    })()
    const failure = new InvalidSourceError('enough')
    const { client } = connected({
      storeMany: async (all: AsyncIterable<{ data: AsyncIterable<Uint8Array> }>) => {
        for await (const { data } of all) {
          const reading = data[Symbol.asyncIterator]()
          const first = reading.next()
          // Neither the source nor the list is returned here: the end of the call does it.
          await (stalls ? settled(client) : first)
          throw failure
        }
      },
    })
    expect(await rejection(client.storeMany(items))).toMatchObject({ name: 'InvalidSourceError', message: 'enough' })
    await settled(client)
    expect(closed.sort()).toEqual(['items', 'source'])
  })

  it('a source that was never reached is left alone', async () => {
    const stream = streamed('x')
    const { client } = connected({
      store: async () => {
        throw new InvalidSourceError('no')
      },
    })
    await rejection(client.store(stream))
    await settled(client)
    expect(stream.locked).toBe(false)
    expect(await new Response(stream).text()).toBe('x')
  })
})

describe('options of items', () => {
  it('progress and signal of one item go to that item', async () => {
    const seen: unknown[] = []
    const reason = new Error('second only')
    const second = new AbortController()
    const { client } = connected({
      storeMany: async (items: AsyncIterable<{ data: string } & StoreOptions>) => {
        let count = 0
        for await (const { onProgress, signal } of items) {
          onProgress?.({ bytes: ++count, phase: 'store' })
          seen.push(signal === undefined ? 'no signal' : 'signal')
          if (signal !== undefined) await waitForAbort(signal)
        }
      },
    })
    const stored = client.storeMany([
      { data: 'a', onProgress: (progress) => void seen.push(['a', progress.bytes]) },
      {
        data: 'b',
        signal: second.signal,
        onProgress: (progress) => {
          seen.push(['b', progress.bytes])
          second.abort(reason)
        },
      },
    ])
    expect(await rejection(stored)).toBe(reason)
    expect(seen).toEqual(['no signal', ['a', 1], 'signal', ['b', 2]])
  })
})

function lockedStream(): ReadableStream<Uint8Array> {
  const stream = streamed('x')
  stream.getReader()
  return stream
}
