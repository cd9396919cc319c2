// Files of every shape read back: whole, by ranges, as streams; windows, aborts, what is malformed or missing.
import * as dagPb from '@ipld/dag-pb'
import * as fc from 'fast-check'
import { importer, type ImporterOptions } from 'ipfs-unixfs-importer'
import { fixedSize } from 'ipfs-unixfs-importer/chunker'
import { balanced, flat, trickle } from 'ipfs-unixfs-importer/layout'
import { UnixFS } from 'ipfs-unixfs'
import { CID } from 'multiformats/cid'
import * as raw from 'multiformats/codecs/raw'
import { identity } from 'multiformats/hashes/identity'
import { describe, expect, it } from 'vitest'
import { MissingBlockError } from '../../../src/blocks/blocks.ts'
import { importFile } from '../../../src/files/import.ts'
import {
  checkRange,
  LayoutCache,
  openFile,
  readInto,
  readRange,
  toStream,
  type IntoOptions,
  type ReadOptions,
} from '../../../src/files/read.ts'
import { CHUNK_SIZE_BYTES, MAX_DAG_DEPTH, MAX_UNPROVEN_BYTES, STREAM_WINDOW_BYTES } from '../../../src/limits.ts'
import type { Bytes } from '../../../src/types.ts'
import { build, put, putDirectory, putFile, putSymlink, type Shape } from './dags.ts'
import { collect, concat, MemoryBlocks, readAll, settle, vectorBytes, vectorPieces } from './memory-blocks.ts'

const MIB = CHUNK_SIZE_BYTES
const DATA = vectorBytes(5_000, 'read')

async function imported(blocks: MemoryBlocks, data: Uint8Array | AsyncIterable<Uint8Array>, options: ImporterOptions): Promise<CID> {
  let cid: CID | undefined
  for await (const entry of importer([{ content: data }], blocks.imported, options)) cid = entry.cid
  if (cid === undefined) throw new Error('nothing imported')
  return cid
}

async function read(blocks: MemoryBlocks, cid: CID, offset?: number, length?: number, options: ReadOptions = {}): Promise<Bytes> {
  return readInto(blocks, await openFile(blocks, cid, options), offset, length, options)
}

/** Reads the ranges in every way, and answers which came out wrong and how. */
async function wrongRanges(blocks: MemoryBlocks, cid: CID, data: Uint8Array, ranges: [number, number | undefined][]): Promise<string[]> {
  const wrong: string[] = []
  const cache = new LayoutCache(4)
  for (const options of [{}, { cache }]) {
    const layout = await openFile(blocks, cid, options)
    if (layout.size !== data.byteLength) wrong.push(`size ${layout.size}`)
    for (const [offset, length] of ranges) {
      const expected = Buffer.from(data.subarray(offset, length === undefined ? undefined : offset + length))
      const whole = await readInto(blocks, layout, offset, length, options)
      const pieces = await collect(readRange(blocks, layout, offset, length, options))
      const own = new Set(
        pieces.filter((piece) => piece.byteLength === piece.buffer.byteLength && piece.byteLength > 0).map((piece) => piece.buffer),
      )
      if (!expected.equals(whole)) wrong.push(`array ${offset} ${length}`)
      if (!expected.equals(concat(pieces))) wrong.push(`pieces ${offset} ${length}`)
      if (own.size !== pieces.length) wrong.push(`pieces ${offset} ${length} share buffers`)
    }
  }
  return wrong
}

describe('ranges of a file', () => {
  const options = fc.record({
    chunkSize: fc.constantFrom(1, 7, 100, 1024),
    layout: fc.oneof(
      fc.integer({ min: 2, max: 9 }).map((maxChildrenPerNode) => balanced({ maxChildrenPerNode })),
      fc.integer({ min: 2, max: 5 }).map((maxChildrenPerNode) => trickle({ maxChildrenPerNode })),
      fc.constant(flat()),
    ),
    rawLeaves: fc.boolean(),
    cidVersion: fc.constantFrom(0 as const, 1 as const),
    leafType: fc.constantFrom('file' as const, 'raw' as const),
    reduceSingleLeafToSelf: fc.boolean(),
  })
  const range = fc.tuple(fc.integer({ min: 0, max: 5_100 }), fc.option(fc.integer({ min: 0, max: 5_100 }), { nil: undefined }))

  it('are those of the plain array, in every layout of the importer', async () => {
    await fc.assert(
      fc.asyncProperty(
        options,
        fc.integer({ min: 0, max: 600 }),
        fc.array(range, { minLength: 3, maxLength: 3 }),
        async ({ chunkSize, ...rest }, units, ranges) => {
          const data = DATA.subarray(0, Math.min(units * Math.ceil(chunkSize / 10), DATA.byteLength))
          const blocks = new MemoryBlocks()
          const cid = await imported(blocks, data, { ...rest, chunker: fixedSize({ chunkSize }) })
          expect(await wrongRanges(blocks, cid, data, [...ranges, [0, undefined]])).toEqual([])
        },
      ),
      { numRuns: 60 },
    )
  })

  it('are those of the plain array, in any DAG at all', async () => {
    const bytes = fc.integer({ min: 0, max: 40 }).map((size) => DATA.subarray(size, size * 2))
    const { shape } = fc.letrec<{ shape: Shape }>((tie) => ({
      shape: fc.oneof(
        { maxDepth: 4 },
        fc.record({
          leaf: bytes,
          as: fc.constantFrom('raw', 'pb-file', 'pb-raw', 'identity-raw', 'identity-pb', 'v0'),
        }) as fc.Arbitrary<Shape>,
        fc.record({ data: bytes, children: fc.array(tie('shape'), { maxLength: 5 }), as: fc.constantFrom('v0' as const, 'v1' as const) }),
      ),
    }))
    const content = (of: Shape): Uint8Array => ('leaf' in of ? of.leaf : concat([of.data, ...of.children.map(content)]))
    await fc.assert(
      fc.asyncProperty(shape, fc.array(fc.tuple(fc.nat(300), fc.nat(300)), { minLength: 3, maxLength: 3 }), async (of, ranges) => {
        const blocks = new MemoryBlocks()
        const { cid } = await build(blocks, of)
        expect(await wrongRanges(blocks, cid, content(of), [...ranges, [0, undefined]])).toEqual([])
      }),
      { numRuns: 200 },
    )
  })

  it('across chunk borders of our own files', async () => {
    const data = vectorBytes(20 * MIB + 3, 'big')
    const blocks = new MemoryBlocks()
    const { cid } = await importFile(data, blocks)
    const ranges: [number, number | undefined][] = [
      [0, undefined],
      [MIB - 1, 2],
      [MIB, MIB],
      [3 * MIB - 5, 2 * MIB + 10],
      [20 * MIB, undefined],
      [20 * MIB + 3, 5],
      [Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER],
      [5, 0],
    ]
    expect(await wrongRanges(blocks, cid, data, ranges)).toEqual([])
  })

  it('of a file of zeros, whose leaves are all one block', async () => {
    const blocks = new MemoryBlocks()
    const { cid } = await importFile(new Uint8Array(20 * MIB), blocks)
    blocks.asked = []
    expect(await wrongRanges(blocks, cid, new Uint8Array(20 * MIB), [[0, undefined]])).toEqual([])
    expect(Math.max(...blocks.asked.map((cids) => cids.length))).toBe(1)
  })

  it('reads the profile unixfs-v0-2015: its official CIDs', async () => {
    const vectors: [Uint8Array, string][] = [
      [new TextEncoder().encode('hello world'), 'Qmf412jQZiuVUtdgnB36FXFX7xg5V6KEbSJ4dpQuhkLyfD'],
      [vectorBytes(262_144, 'chunk-v0-seed'), 'QmWmRj3dFDZdb6ABvbmKhEL6TmPbAfBZ1t5BxsEyJrcZhE'],
      [vectorBytes(262_145, 'chunk-v0-seed'), 'QmYyLxtzZyW22zpoVAtKANLRHpDjZtNeDjQdJrcQNWoRkJ'],
      [vectorBytes(174 * 262_144, 'v0-seed'), 'QmUbBALi174SnogsUzLpYbD4xPiBSFANF4iztWCsHbMKh2'],
      [vectorBytes(174 * 262_144 + 1, 'v0-seed'), 'QmV81WL765sC8DXsRhE5fJv2rwhS4icHRaf3J9Zk5FdRnW'],
    ]
    for (const [data, expected] of vectors) {
      const blocks = new MemoryBlocks()
      const cid = await imported(blocks, data, { profile: 'unixfs-v0-2015' })
      expect(cid.toString()).toBe(expected)
      expect(Buffer.from(data).equals(await read(blocks, cid))).toBe(true)
      expect(Buffer.from(data).equals(await read(blocks, cid.toV1() as CID))).toBe(true)
      expect(Buffer.from(data.subarray(-3)).equals(await read(blocks, cid, data.byteLength - 3))).toBe(true)
    }
  })

  it('reads a trickle DAG of 256 KiB leaves', async () => {
    const data = vectorBytes(45 * MIB, 'trickle')
    const blocks = new MemoryBlocks()
    const cid = await imported(blocks, data, {
      profile: 'unixfs-v0-2015',
      layout: trickle(),
      leafType: 'raw',
      reduceSingleLeafToSelf: false,
    })
    expect(Buffer.from(data).equals(await read(blocks, cid))).toBe(true)
    expect(Buffer.from(data.subarray(44 * MIB, 44 * MIB + 10)).equals(await read(blocks, cid, 44 * MIB, 10))).toBe(true)
  })

  it('must be whole numbers that are not negative', async () => {
    for (const bad of [-1, 0.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53, '1', null, 1n, {}]) {
      expect(() => checkRange(bad, 1)).toThrow(RangeError)
      expect(() => checkRange(0, bad)).toThrow(/^length is /)
    }
    expect(() => checkRange(undefined, undefined)).not.toThrow()
    const blocks = new MemoryBlocks()
    const layout = await openFile(blocks, (await importFile('x', blocks)).cid)
    expect(() => toStream(blocks, layout, -1)).toThrow(RangeError)
    await expect(readInto(blocks, layout, 0, 0.5)).rejects.toThrow(RangeError)
    await expect(readRange(blocks, layout, -1).next()).rejects.toThrow(RangeError)
  })
})

describe('what is read', () => {
  async function deep(): Promise<{ blocks: MemoryBlocks; cid: CID; data: Bytes }> {
    const blocks = new MemoryBlocks()
    const data = vectorBytes(60 * MIB, 'deep')
    const cid = await imported(blocks, data, {
      profile: 'unixfs-v1-2025',
      chunker: fixedSize({ chunkSize: MIB }),
      layout: balanced({ maxChildrenPerNode: 6 }),
    })
    blocks.asked = []
    return { blocks, cid, data }
  }

  it('is no more than a range needs, nodes only once with a cache', async () => {
    const { blocks, cid } = await deep()
    const cache = new LayoutCache()
    await read(blocks, cid, 30 * MIB, 1, { cache })
    expect(blocks.asked.map((cids) => cids.length)).toEqual([1, 1, 1, 1])
    blocks.asked = []
    await read(blocks, cid, 30 * MIB + 5, 10, { cache })
    expect(blocks.asked.map((cids) => cids.map((asked) => asked.code))).toEqual([[raw.code]])
    blocks.asked = []
    await read(blocks, cid, 30 * MIB + 5, 10, { cache: new LayoutCache(), verify: false })
    await read(blocks, cid, 30 * MIB + 5, 10, { verify: false })
    expect(blocks.askedCount).toBe(8)
  })

  it('does not get into the cache unverified, nor as the raw root itself', async () => {
    const { blocks, cid } = await deep()
    const cache = new LayoutCache()
    await read(blocks, cid, 0, 1, { cache, verify: false })
    expect(cache.get(cid)).toBeUndefined()
    const small = await importFile(DATA, blocks)
    await read(blocks, small.cid, 0, 5, { cache })
    blocks.flip(small.cid)
    await expect(read(blocks, small.cid, 0, 5, { cache })).rejects.toMatchObject({ name: 'IntegrityError' })
  })

  it('drops the least recently used nodes from the cache', () => {
    const cache = new LayoutCache(2)
    const cids = ['a', 'b', 'c'].map((text) => CID.createV1(raw.code, identity.digest(new TextEncoder().encode(text))) as CID)
    const [a, b, c] = cids as [CID, CID, CID]
    const node = { kind: 'file', size: 0 } as Parameters<LayoutCache['set']>[1]
    cache.set(a, node)
    cache.set(b, node)
    cache.get(a)
    cache.set(c, node)
    expect(cids.map((cid) => cache.get(cid) !== undefined)).toEqual([true, false, true])
  })

  it('is at most two windows ahead of a consumer that stalls', async () => {
    const blocks = new MemoryBlocks()
    const { cid } = await importFile(vectorPieces(100 * MIB, 'stall'), blocks)
    const layout = await openFile(blocks, cid)
    blocks.asked = []
    const iterator = readRange(blocks, layout)
    for (let taken = 0; taken < 40; taken++) {
      await iterator.next()
      await settle(3)
      expect(blocks.askedCount - taken).toBeLessThanOrEqual((2 * STREAM_WINDOW_BYTES) / MIB)
    }
    await iterator.return()
    const before = blocks.askedCount
    await settle()
    expect(blocks.askedCount).toBe(before)
  })

  it('is nothing before a stream is read, and obeys its back-pressure', async () => {
    const blocks = new MemoryBlocks()
    const { cid } = await importFile(vectorPieces(100 * MIB, 'stall'), blocks)
    const layout = await openFile(blocks, cid)
    blocks.asked = []
    const stream = toStream(blocks, layout, 5)
    await settle()
    expect(blocks.askedCount).toBe(0)
    const reader = stream.getReader()
    await reader.read()
    await settle(50)
    expect(blocks.askedCount).toBeLessThanOrEqual((2 * STREAM_WINDOW_BYTES) / MIB)
    await reader.cancel()
    const before = blocks.askedCount
    await settle()
    expect(blocks.askedCount).toBe(before)
  })

  it('comes out of a stream whole', async () => {
    const { blocks, cid, data } = await deep()
    const layout = await openFile(blocks, cid)
    expect(Buffer.from(data).equals(await readAll(toStream(blocks, layout)))).toBe(true)
    expect(Buffer.from(data.subarray(7, 7 + 2 * MIB)).equals(await readAll(toStream(blocks, layout, 7, 2 * MIB)))).toBe(true)
    expect((await readAll(toStream(blocks, layout, 61 * MIB))).byteLength).toBe(0)
  })

  it('is told by progress', async () => {
    const { blocks, cid, data } = await deep()
    const layout = await openFile(blocks, cid)
    for (const how of [readInto, async (...args: Parameters<typeof readInto>) => collect(readRange(...args))]) {
      const told: number[] = []
      await how(blocks, layout, 0, undefined, { onProgress: (bytes) => told.push(bytes) })
      expect(told.at(-1)).toBe(data.byteLength)
      expect(told).toEqual(told.toSorted((a, b) => a - b))
    }
  })
})

describe('an abort', () => {
  function stalling(blocks: MemoryBlocks): { getMany: MemoryBlocks['getMany'] } {
    return {
      getMany: (cids, options) =>
        cids.every((cid) => cid.code !== raw.code)
          ? blocks.getMany(cids, options)
          : new Promise((_, reject) => {
              options?.signal?.addEventListener('abort', () => reject(options.signal?.reason as Error))
            }),
    }
  }

  it('ends a read that stalls with its reason', async () => {
    const blocks = new MemoryBlocks()
    const { cid } = await importFile(vectorPieces(3 * MIB, 'x'), blocks)
    const source = stalling(blocks)
    const layout = await openFile(source, cid)
    for (const how of [
      (signal: AbortSignal) => readInto(source, layout, 0, undefined, { signal }),
      (signal: AbortSignal) => readRange(source, layout, 0, undefined, { signal }).next(),
      (signal: AbortSignal) => toStream(source, layout, 0, undefined, { signal }).getReader().read(),
    ]) {
      const abort = new AbortController()
      const pending = how(abort.signal)
      await settle(2)
      abort.abort(new Error('enough'))
      await expect(pending).rejects.toThrow('enough')
      await expect(how(abort.signal)).rejects.toThrow('enough')
    }
  })

  it('is what cancelling a stream means to a read that stalls', async () => {
    const blocks = new MemoryBlocks()
    const { cid } = await importFile(vectorPieces(3 * MIB, 'x'), blocks)
    let aborted = 0
    const source = stalling(blocks)
    const watched = {
      getMany: (...[cids, options]: Parameters<MemoryBlocks['getMany']>) => {
        options?.signal?.addEventListener('abort', () => aborted++)
        return source.getMany(cids, options)
      },
    }
    const reader = toStream(watched, await openFile(source, cid)).getReader()
    const pending = reader.read()
    await settle(2)
    await reader.cancel()
    expect(await pending).toEqual({ done: true, value: undefined })
    await settle()
    expect(aborted).toBeGreaterThan(0)
  })
})

describe('a block that is missing or damaged', () => {
  it('matters only inside the range', async () => {
    const blocks = new MemoryBlocks()
    const leaves = [0, 1, 2].map((index): Shape => ({ leaf: DATA.subarray(index * 1024, (index + 1) * 1024), as: 'pb-file' }))
    const built = await Promise.all(leaves.map((leaf) => build(blocks, leaf)))
    const { cid } = await putFile(blocks, new Uint8Array(0), built)
    const middle = built[1]?.cid as CID
    blocks.delete(middle)
    expect((await openFile(blocks, cid)).size).toBe(3072)
    expect(Buffer.from(DATA.subarray(997, 1001)).equals(await read(blocks, cid, 997, 4))).toBe(true)
    expect(Buffer.from(DATA.subarray(2200, 2202)).equals(await read(blocks, cid, 2200, 2))).toBe(true)
    expect((await read(blocks, cid, 2048)).byteLength).toBe(1024)
    for (const [offset, length] of [
      [1024, 1],
      [0, undefined],
      [1023, 2],
      [2047, 2],
    ] as const) {
      const error: unknown = await read(blocks, cid, offset, length).catch((caught: unknown) => caught)
      expect(error).toBeInstanceOf(MissingBlockError)
      expect((error as MissingBlockError).cid.equals(middle)).toBe(true)
    }
    await expect(readAll(toStream(blocks, await openFile(blocks, cid)))).rejects.toMatchObject({ name: 'MissingBlockError' })
  })

  it('comes after the pieces of earlier windows', async () => {
    const blocks = new MemoryBlocks()
    const { cid } = await importFile(vectorPieces(40 * MIB, 'y'), blocks)
    const root = dagPb.decode(blocks.get(cid))
    blocks.delete(root.Links[30]?.Hash as CID)
    let bytes = 0
    const reading = (async () => {
      for await (const piece of readRange(blocks, await openFile(blocks, cid))) bytes += piece.byteLength
    })()
    await expect(reading).rejects.toMatchObject({ name: 'MissingBlockError' })
    expect(bytes).toBe(27 * MIB)
  })

  it('as the root', async () => {
    const blocks = new MemoryBlocks()
    const { cid } = await importFile('gone', blocks)
    blocks.delete(cid)
    await expect(openFile(blocks, cid)).rejects.toMatchObject({ name: 'MissingBlockError' })
  })

  it('is never answered, but with verify: false', async () => {
    const blocks = new MemoryBlocks()
    const { cid } = await importFile(vectorPieces(3 * MIB, 'z'), blocks)
    const leaf = dagPb.decode(blocks.get(cid)).Links[1]?.Hash as CID
    blocks.flip(leaf)
    await expect(read(blocks, cid)).rejects.toMatchObject({ name: 'IntegrityError', cid: leaf.toString() })
    expect((await read(blocks, cid, 0, undefined, { verify: false })).byteLength).toBe(3 * MIB)
    blocks.flip(cid)
    await expect(openFile(blocks, cid)).rejects.toMatchObject({ name: 'IntegrityError', cid: cid.toString() })
  })
})

describe('what is no file', () => {
  it('is told apart', async () => {
    const blocks = new MemoryBlocks()
    const directory = await putDirectory(blocks, [])
    await expect(openFile(blocks, directory)).rejects.toMatchObject({ name: 'NotAFileError' })
    await expect(openFile(blocks, await putSymlink(blocks, '/etc'))).rejects.toMatchObject({
      name: 'UnsupportedContentError',
      code: 'unsupported-content',
    })
    await expect(openFile(blocks, await put(blocks, 0x71, new Uint8Array([0x80])))).rejects.toMatchObject({ name: 'NotAFileError' })
    await expect(openFile(blocks, await put(blocks, 0x0200, new TextEncoder().encode('{}')))).rejects.toMatchObject({
      name: 'NotAFileError',
    })
    const plain = await put(blocks, dagPb.code, dagPb.encode({ Links: [] }))
    await expect(openFile(blocks, plain)).rejects.toMatchObject({ name: 'NotAFileError' })
    const unknown = await put(blocks, 0x78, new Uint8Array(3))
    await expect(openFile(blocks, unknown)).rejects.toMatchObject({ name: 'UnsupportedContentError', cid: unknown.toString() })
  })

  it.each<[string, (blocks: MemoryBlocks) => Promise<CID>]>([
    ['bytes that are no dag-pb', (blocks) => put(blocks, dagPb.code, new Uint8Array([1, 2, 3]))],
    ['bytes that are no dag-cbor', (blocks) => put(blocks, 0x71, new Uint8Array([0xff]))],
    [
      'more links than sizes',
      async (blocks) => {
        const { cid } = await build(blocks, { leaf: DATA, as: 'raw' })
        const Data = new UnixFS({ type: 'file' }).marshal()
        return put(blocks, dagPb.code, dagPb.encode({ Data, Links: [{ Name: '', Hash: cid, Tsize: 5 }] }))
      },
    ],
    ['a directory below', async (blocks) => (await putFile(blocks, DATA, [{ cid: await putDirectory(blocks, []), size: 3 }])).cid],
  ])('nor is one with %s', async (_name, make) => {
    const blocks = new MemoryBlocks()
    const cid = await make(blocks)
    await expect(read(blocks, cid)).rejects.toMatchObject({ name: 'UnsupportedContentError' })
    await expect(read(blocks, cid, 0, undefined, { cache: new LayoutCache() })).rejects.toMatchObject({ name: 'UnsupportedContentError' })
  })

  it.each<[string, number, (blocks: MemoryBlocks) => Promise<CID>]>([
    [
      'shorter than its leaf',
      4999,
      async (blocks) => (await putFile(blocks, DATA, [{ ...(await build(blocks, { leaf: DATA, as: 'raw' })), size: 4999 }])).cid,
    ],
    [
      'longer than its leaf',
      5001,
      async (blocks) => (await putFile(blocks, DATA, [{ ...(await build(blocks, { leaf: DATA, as: 'raw' })), size: 5001 }])).cid,
    ],
    [
      'longer than the node below',
      10_001,
      async (blocks) => {
        const child = await putFile(blocks, DATA, [await build(blocks, { leaf: DATA, as: 'raw' })])
        return (await putFile(blocks, DATA, [{ ...child, size: child.size + 1 }])).cid
      },
    ],
    [
      'much longer than the node below',
      3 * MIB,
      async (blocks) => {
        const child = await putFile(blocks, DATA, [await build(blocks, { leaf: DATA, as: 'raw' })])
        return (await putFile(blocks, DATA, [{ ...child, size: 3 * MIB }])).cid
      },
    ],
    [
      'nothing of a leaf',
      0,
      async (blocks) => (await putFile(blocks, DATA, [{ ...(await build(blocks, { leaf: DATA, as: 'raw' })), size: 0 }])).cid,
    ],
    [
      'nothing of a leaf in its CID',
      0,
      async (blocks) =>
        (await putFile(blocks, DATA, [{ ...(await build(blocks, { leaf: DATA.subarray(0, 9), as: 'identity-raw' })), size: 0 }])).cid,
    ],
  ])('nor is one that says %s: a LimitError', async (_name, value, make) => {
    const blocks = new MemoryBlocks()
    const cid = await make(blocks)
    const lie = { name: 'LimitError', limit: 'CLAIMED_BYTES', value }
    await expect(read(blocks, cid)).rejects.toMatchObject(lie)
    await expect(read(blocks, cid, 0, undefined, { cache: new LayoutCache() })).rejects.toMatchObject(lie)
  })

  it('but one that is large is: read into one array where the lengths of its leaves are known, else into one that grows', async () => {
    const blocks = new MemoryBlocks()
    const leaf = await build(blocks, { leaf: new Uint8Array(MIB).fill(7), as: 'raw' })
    const { cid, size } = await putFile(blocks, new Uint8Array(0), Array(260).fill(leaf))
    const layout = await openFile(blocks, cid)
    const lengths = async (keys: readonly string[]): Promise<number[]> => keys.map(() => MIB)
    const ways: [number[], IntoOptions][] = [
      [[size], { lengths }],
      [[MAX_UNPROVEN_BYTES, size], {}],
      [[MAX_UNPROVEN_BYTES, size], { lengths: async (keys) => keys.map((_, index) => (index === 3 ? MIB - 1 : MIB)) }],
      [[MAX_UNPROVEN_BYTES, size], { lengths: () => Promise.reject(new Error('nobody knows')) }],
    ]
    for (const [expected, options] of ways) {
      const made: number[] = []
      const { Uint8Array: Original } = globalThis
      globalThis.Uint8Array = new Proxy(Original, {
        construct(target, args: unknown[], newTarget) {
          if (typeof args[0] === 'number' && args[0] > 64 * MIB) made.push(args[0])
          return Reflect.construct(target, args, newTarget) as object
        },
      })
      const answer = await readInto(blocks, layout, 0, undefined, options).finally(() => (globalThis.Uint8Array = Original))
      expect(made).toEqual(expected)
      expect([answer.byteLength, answer[0], answer[MAX_UNPROVEN_BYTES - 1], answer[MAX_UNPROVEN_BYTES], answer.at(-1)]).toEqual([
        size,
        7,
        7,
        7,
        7,
      ])
    }
  })

  it('but one is with leaves that are empty, as it says', async () => {
    const blocks = new MemoryBlocks()
    const nothing = new Uint8Array(0)
    const leaf = await build(blocks, { leaf: DATA, as: 'raw' })
    for (const as of ['raw', 'identity-raw', 'pb-file'] as const) {
      const { cid } = await putFile(blocks, nothing, [await build(blocks, { leaf: nothing, as }), leaf])
      expect(await read(blocks, cid)).toEqual(DATA)
    }
  })

  it('nor is one with a size beyond all numbers', async () => {
    const blocks = new MemoryBlocks()
    const { cid } = await putFile(blocks, DATA, [{ cid: await putDirectory(blocks, []), size: 2 ** 53 }])
    await expect(read(blocks, cid)).rejects.toMatchObject({ name: 'LimitError', limit: 'MAX_CONTENT_BYTES' })
  })

  it('is bounded in depth, links and identity digests', async () => {
    const blocks = new MemoryBlocks()
    let built = await build(blocks, { leaf: DATA, as: 'raw' })
    for (let depth = 0; depth < MAX_DAG_DEPTH; depth++) built = await putFile(blocks, new Uint8Array(0), [built])
    expect((await read(blocks, built.cid)).byteLength).toBe(DATA.byteLength)
    built = await putFile(blocks, new Uint8Array(0), [built])
    await expect(read(blocks, built.cid)).rejects.toMatchObject({ name: 'LimitError', limit: 'MAX_DAG_DEPTH' })
    const one = await build(blocks, { leaf: DATA.subarray(0, 1), as: 'raw' })
    const wide = await putFile(blocks, new Uint8Array(0), Array(8193).fill(one))
    await expect(openFile(blocks, wide.cid)).rejects.toMatchObject({ name: 'LimitError', limit: 'MAX_LINKS_PER_NODE', value: 8193 })
    const inline = await putFile(blocks, new Uint8Array(0), [await build(blocks, { leaf: DATA.subarray(0, 129), as: 'identity-raw' })])
    await expect(openFile(blocks, inline.cid)).rejects.toMatchObject({ name: 'LimitError', limit: 'MAX_IDENTITY_DIGEST_BYTES', value: 129 })
  })
})
