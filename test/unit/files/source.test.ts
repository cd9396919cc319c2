// Every Source as chunks: right bytes, copies, back-pressure, errors, aborts.
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { CHUNK_SIZE_BYTES } from '../../../src/limits.ts'
import { checkSource, chunks, sourceMediaType, sourceSize } from '../../../src/files/source.ts'
import type { Bytes, Source } from '../../../src/types.ts'
import { collect, concat, settle, vectorBytes } from './memory-blocks.ts'

const MIB = CHUNK_SIZE_BYTES
const DATA = vectorBytes(2 * MIB + 5, 'source')

async function bytesOf(source: Source): Promise<Bytes> {
  return concat(await collect(chunks(source)))
}

function streamOf(...pieces: unknown[]): ReadableStream<Uint8Array> {
  return new ReadableStream({
    start(controller) {
      for (const piece of pieces) controller.enqueue(piece as Uint8Array)
      controller.close()
    },
  })
}

async function* asyncOf(...pieces: unknown[]): AsyncGenerator<Uint8Array> {
  for (const piece of pieces) yield piece as Uint8Array
}

const shared = new SharedArrayBuffer(DATA.byteLength)
new Uint8Array(shared).set(DATA)
const floats = new Float32Array(new Uint8Array([9, 9, 9, 9, ...DATA.subarray(0, 4096)]).buffer, 4)
const handle = {
  kind: 'file',
  name: 'f',
  getFile: async () => new File([DATA], 'f', { type: 'text/x' }),
} as unknown as FileSystemFileHandle

describe('chunks', () => {
  const kinds: [string, () => Source, Uint8Array][] = [
    ['Uint8Array', () => DATA, DATA],
    ['Uint8Array with an offset', () => DATA.subarray(7, MIB + 9), DATA.subarray(7, MIB + 9)],
    ['Buffer', () => Buffer.from(DATA), DATA],
    ['ArrayBuffer', () => DATA.slice().buffer, DATA],
    ['SharedArrayBuffer', () => shared, DATA],
    ['view over shared memory', () => new Uint8Array(shared, 3, 100), DATA.subarray(3, 103)],
    ['DataView with an offset', () => new DataView(DATA.buffer, 5, 50), DATA.subarray(5, 55)],
    ['Float32Array with an offset', () => floats, DATA.subarray(0, 4096)],
    ['Blob', () => new Blob([DATA]), DATA],
    ['large Blob', () => new Blob([DATA, DATA, DATA]), concat([DATA, DATA, DATA])],
    ['File', () => new File([DATA], 'f'), DATA],
    ['FileSystemFileHandle', () => handle, DATA],
    ['Response', () => new Response(DATA), DATA],
    ['Response with a stream', () => new Response(streamOf(DATA, DATA)), concat([DATA, DATA])],
    ['Response without a body', () => new Response(null), new Uint8Array(0)],
    ['ReadableStream', () => streamOf(DATA.subarray(0, 3), DATA.subarray(3)), DATA],
    ['AsyncIterable', () => asyncOf(DATA.subarray(0, MIB), DATA.subarray(MIB)), DATA],
    ['AsyncIterable of nothing', () => asyncOf(), new Uint8Array(0)],
    ['array of pieces', () => [DATA.subarray(0, 1), new Uint8Array(0), DATA.subarray(1)], DATA],
    ['Iterable', () => new Set([DATA]), DATA],
    ['string', () => 'grün 😀', new TextEncoder().encode('grün 😀')],
    ['empty string', () => '', new Uint8Array(0)],
  ]
  it.each(kinds)('takes a %s', async (_name, source, expected) => {
    const given = await collect(chunks(source()))
    expect(Buffer.from(concat(given)).equals(expected)).toBe(true)
    const sizes = given.map((chunk) => chunk.byteLength)
    expect(sizes).toEqual(
      Array.from({ length: Math.max(1, Math.ceil(expected.byteLength / MIB)) }, (_, i) => Math.min(MIB, expected.byteLength - i * MIB)),
    )
    for (const chunk of given) expect(chunk.buffer).toHaveProperty('byteLength', chunk.byteLength)
    expect(
      given.every((chunk) => chunk.constructor === Uint8Array && chunk.buffer instanceof ArrayBuffer && chunk.buffer !== DATA.buffer),
    ).toBe(true)
  })

  it('takes a Blob larger than what is opened of it at once', async () => {
    const part = DATA.subarray(0, 2 * MIB)
    let [bytes, wrong] = [0, 0]
    for await (const chunk of chunks(new Blob([...Array<Uint8Array<ArrayBuffer>>(35).fill(part), DATA.subarray(0, 9)]))) {
      if (!Buffer.from(chunk).equals(part.subarray(bytes % part.byteLength, (bytes % part.byteLength) + chunk.byteLength))) wrong++
      bytes += chunk.byteLength
    }
    expect([bytes, wrong]).toEqual([70 * MIB + 9, 0])
  })

  it('gives no empty chunk after a full one', async () => {
    for (const source of [DATA.subarray(0, MIB), streamOf(DATA.subarray(0, MIB)), new Blob([DATA.subarray(0, MIB)])]) {
      expect((await collect(chunks(source))).map((chunk) => chunk.byteLength)).toEqual([MIB])
    }
  })

  it('takes pieces of any sizes', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.integer({ min: 0, max: 700_000 }), { maxLength: 8 }), async (sizes) => {
        let at = 0
        const pieces = sizes.map((size) => DATA.subarray(at % 1000, (at++ % 1000) + size))
        expect(Buffer.from(await bytesOf(pieces)).equals(concat(pieces))).toBe(true)
      }),
      { numRuns: 30 },
    )
  })

  it('encodes strings as TextEncoder does, pairs across slices and lone surrogates included', async () => {
    const slice = MIB / 2
    for (const text of [
      'x'.repeat(slice - 1) + '😀'.repeat(3),
      'x'.repeat(slice - 1) + '\ud83d',
      'x'.repeat(slice - 1) + '\ud83d\ud83d\ude00',
      'ü'.repeat(MIB) + '\ude00',
    ]) {
      expect(Buffer.from(await bytesOf(text)).equals(new TextEncoder().encode(text))).toBe(true)
      expect(sourceSize(text)).toBe(new TextEncoder().encode(text).byteLength)
    }
  })

  it('copies chunk by chunk when asked, so that later writes show only in later chunks', async () => {
    for (const buffer of [new Uint8Array(2 * MIB), new Uint8Array(new SharedArrayBuffer(2 * MIB))]) {
      const iterator = chunks(buffer)
      const first = await iterator.next()
      buffer.fill(1)
      const second = await iterator.next()
      expect([first.value?.[0], first.value?.at(-1), second.value?.[0]]).toEqual([0, 0, 1])
    }
  })

  it('notices a buffer that is detached meanwhile or was before', async () => {
    const buffer = new Uint8Array(2 * MIB)
    const iterator = chunks(buffer)
    await iterator.next()
    structuredClone(buffer.buffer, { transfer: [buffer.buffer] })
    await expect(iterator.next()).rejects.toMatchObject({ name: 'InvalidSourceError' })
    expect(() => checkSource(buffer.buffer)).toThrow(/detached/)
  })

  it('asks a stream for no more than it needs', async () => {
    let pulled = 0
    const stream = new ReadableStream<Uint8Array>(
      {
        pull(controller) {
          pulled++
          controller.enqueue(new Uint8Array(MIB))
        },
      },
      { highWaterMark: 0 },
    )
    const iterator = chunks(stream)
    await iterator.next()
    await settle()
    expect(pulled).toBe(1)
    await iterator.return()
    expect(stream.locked).toBe(false)
  })

  it('rethrows errors of a source as they are', async () => {
    const error = new Error('the line is dead')
    const failing = new ReadableStream<Uint8Array>({ pull: (controller) => controller.error(error) })
    await expect(bytesOf(failing)).rejects.toBe(error)
    const iterable = {
      async *[Symbol.asyncIterator]() {
        yield new Uint8Array(3)
        throw error
      },
    }
    await expect(bytesOf(iterable)).rejects.toBe(error)
    await expect(bytesOf({ getFile: () => Promise.reject(error) } as unknown as FileSystemFileHandle)).rejects.toBe(error)
  })

  it('refuses items that are no Uint8Array, and cancels whoever gave them', async () => {
    let returned = 0
    const iterable = (item: unknown) => ({
      *[Symbol.iterator]() {
        try {
          yield item as Uint8Array
        } finally {
          returned++
        }
      },
    })
    for (const item of ['text', 5, null, undefined, new Uint16Array(2), [1, 2], new ArrayBuffer(3)]) {
      await expect(bytesOf(iterable(item))).rejects.toMatchObject({ name: 'InvalidSourceError' })
    }
    expect(returned).toBe(7)
    let cancelled: unknown
    const stream = new ReadableStream({
      start: (controller) => controller.enqueue('text'),
      cancel() {
        cancelled = true
      },
    })
    await expect(bytesOf(stream as ReadableStream<Uint8Array>)).rejects.toMatchObject({ code: 'invalid-source' })
    expect(cancelled).toBe(true)
  })

  it('ends at once when aborted, and finishes a source that stalls', async () => {
    let cancelled: unknown
    const stalled = new ReadableStream<Uint8Array>({
      pull: () => new Promise(() => undefined),
      cancel(reason) {
        cancelled = reason
      },
    })
    const cases: [string, Source, () => unknown][] = [['stream', stalled, () => cancelled]]
    let returned: unknown
    const iterator = {
      next: () => new Promise<never>(() => undefined),
      return: async () => ({ done: true as const, value: (returned = 'returned') }),
    }
    cases.push(['iterable', { [Symbol.asyncIterator]: () => iterator } as AsyncIterable<Uint8Array>, () => returned])
    for (const [name, source, ended] of cases) {
      const abort = new AbortController()
      const pending = chunks(source, { signal: abort.signal }).next()
      await settle()
      abort.abort(new Error(`enough of the ${name}`))
      await expect(pending).rejects.toThrow(`enough of the ${name}`)
      await settle()
      expect(ended()).toBeDefined()
    }
  })

  it('looks at the signal between chunks, and before it begins', async () => {
    const abort = new AbortController()
    const iterator = chunks(new Uint8Array(3 * MIB), { signal: abort.signal })
    await iterator.next()
    abort.abort('stop')
    await expect(iterator.next()).rejects.toBe('stop')
    let opened = false
    const lazy = {
      [Symbol.iterator]() {
        opened = true
        return [][Symbol.iterator]()
      },
    }
    await expect(chunks(lazy, { signal: abort.signal }).next()).rejects.toBe('stop')
    expect(opened).toBe(false)
  })

  it('returns an iterator that its consumer leaves', async () => {
    let returned = false
    const source = {
      *[Symbol.iterator]() {
        try {
          for (;;) yield new Uint8Array(MIB)
        } finally {
          returned = true
        }
      },
    }
    for await (const _ of chunks(source)) break
    expect(returned).toBe(true)
  })

  it('tells the bytes of each chunk', async () => {
    const told: number[] = []
    await collect(chunks(DATA, { onBytes: (bytes) => told.push(bytes) }))
    expect(told).toEqual([MIB, MIB, 5])
  })
})

describe('checkSource', () => {
  const lockedStream = streamOf(DATA)
  lockedStream.getReader()
  const lockedBody = new Response(streamOf(DATA))
  lockedBody.body?.getReader()
  const bad: [string, unknown][] = [
    ['null', null],
    ['undefined', undefined],
    ['a number', 5],
    ['a bigint', 5n],
    ['a function', () => undefined],
    ['a plain object', {}],
    ['a Date', new Date()],
    ['a directory handle', { [Symbol.toStringTag]: 'FileSystemDirectoryHandle', async *[Symbol.asyncIterator]() {} }],
    ['a Promise', Promise.resolve(DATA)],
    ['status 404', new Response('no', { status: 404 })],
    ['a network error', Response.error()],
    ['an opaque response', Object.defineProperty(new Response(''), 'type', { value: 'opaque' })],
    ['a locked body', lockedBody],
    ['a locked stream', lockedStream],
  ]
  it.each(bad)('refuses %s', (_name, source) => {
    expect(() => checkSource(source as Source)).toThrow(expect.objectContaining({ name: 'InvalidSourceError', code: 'invalid-source' }))
  })

  it('says what is accepted', () => {
    expect(() => checkSource(5 as unknown as Source)).toThrow(/a number is no source: pass a string, .*Blob.*ReadableStream/)
  })

  it('refuses a body and a stream that were read before', async () => {
    const response = new Response('x')
    await response.text()
    expect(() => checkSource(response)).toThrow(/read already/)
    const stream = streamOf(DATA, DATA)
    const reader = stream.getReader()
    await reader.read()
    reader.releaseLock()
    expect(() => checkSource(stream)).toThrow(/read before/)
  })

  it('leaves good sources as they are', async () => {
    const stream = streamOf(DATA)
    checkSource(stream)
    checkSource(stream)
    expect(stream.locked).toBe(false)
    expect((await bytesOf(stream)).byteLength).toBe(DATA.byteLength)
  })
})

describe('sourceSize and sourceMediaType', () => {
  it('know what can be known', () => {
    expect(sourceSize(new Blob(['abc']))).toBe(3)
    expect(sourceSize(new Float32Array(3))).toBe(12)
    expect(sourceSize(streamOf())).toBeUndefined()
    expect(sourceSize(handle)).toBeUndefined()
    expect(sourceSize(new Response(null))).toBe(0)
    expect(sourceSize(new Response('abc', { headers: { 'content-length': '3' } }))).toBe(3)
    expect(sourceSize(new Response('abc', { headers: { 'content-length': '3', 'content-encoding': 'gzip' } }))).toBeUndefined()
    expect(sourceSize(new Response('abc', { headers: { 'content-length': '3e2' } }))).toBeUndefined()
    expect(sourceMediaType(new Blob([], { type: 'image/png' }))).toBe('image/png')
    expect(sourceMediaType(new Blob([]))).toBeUndefined()
    expect(sourceMediaType(new Response('', { headers: { 'content-type': 'text/css' } }))).toBe('text/css')
    expect(sourceMediaType(new Response(new Uint8Array(1)))).toBeUndefined()
    expect(sourceMediaType('x')).toBeUndefined()
  })
})
