// CARs out and in: the same DAG again, order, back-pressure, and everything that can be wrong with one.
import { CarBlockIterator, CarReader, CarWriter } from '@ipld/car'
import * as dagCbor from '@ipld/dag-cbor'
import { CID } from 'multiformats/cid'
import { identity } from 'multiformats/hashes/identity'
import { beforeAll, describe, expect, it } from 'vitest'
import { exportCar, importCarBlocks } from '../../../src/files/car.ts'
import { importDirectory, importFile } from '../../../src/files/import.ts'
import { CHUNK_SIZE_BYTES } from '../../../src/limits.ts'
import type { Bytes } from '../../../src/types.ts'
import { put, putDirectory } from './dags.ts'
import { collect, concat, keyOf, MemoryBlocks, readAll, settle, vectorPieces } from './memory-blocks.ts'

const MIB = CHUNK_SIZE_BYTES
const blocks = new MemoryBlocks()
let root: CID
let car: Bytes

beforeAll(async () => {
  const directory = await importDirectory(
    [
      { path: 'models/a.bin', data: vectorPieces(3 * MIB + 7, 'a') },
      { path: 'models/b.bin', data: vectorPieces(3 * MIB + 7, 'a') },
      { path: 'models/c.bin', data: vectorPieces(2 * MIB, 'c') },
      { path: 'empty', data: '' },
      { path: 'readme', data: 'read me' },
    ],
    blocks,
  )
  const inline = CID.createV1(0x71, identity.digest(dagCbor.encode([directory.cid]))) as CID
  root = await put(blocks, 0x71, dagCbor.encode({ directory: directory.cid, inline }))
  car = await readAll(exportCar(blocks, root))
})

function withoutLast(bytes: Uint8Array, count: number): Uint8Array {
  return bytes.subarray(0, bytes.byteLength - count)
}

async function written(roots: CID[], list: { cid: CID; bytes: Uint8Array }[]): Promise<Bytes> {
  const { writer, out } = CarWriter.create(roots)
  const pieces = collect(out)
  for (const block of list) await writer.put(block)
  await writer.close()
  return concat(await pieces)
}

describe('exportCar', () => {
  it('writes each block once, depth first, as @ipld/car reads it', async () => {
    const reader = await CarReader.fromBytes(car)
    expect((await reader.getRoots()).map(String)).toEqual([root.toString()])
    const order = (await collect(reader.blocks())).map(({ cid }) => cid)
    expect(order.map(keyOf).toSorted()).toEqual([...blocks.blocks.keys()].toSorted())
    const { linksOf } = await import('../../../src/blocks/links.ts')
    const expected: string[] = []
    const visit = (cid: CID): void => {
      if (expected.includes(cid.toString())) return
      const isInline = cid.multihash.code === identity.code
      if (!isInline) expected.push(cid.toString())
      for (const link of linksOf(cid, isInline ? new Uint8Array(cid.multihash.digest) : blocks.get(cid))) visit(link.cid)
    }
    visit(root)
    expect(order.map(String)).toEqual(expected)
  })

  it('gives the same bytes again, and tells progress', async () => {
    const told: number[] = []
    expect(Buffer.from(car).equals(await readAll(exportCar(blocks, root, { onProgress: (bytes) => told.push(bytes) })))).toBe(true)
    expect(told).toEqual(told.toSorted((a, b) => a - b))
    expect(told.length).toBeGreaterThan(5)
  })

  it('reads no more than a window ahead of its consumer', async () => {
    const large = new MemoryBlocks()
    const { cid } = await importFile(vectorPieces(100 * MIB, 'large'), large)
    large.asked = []
    const reader = exportCar(large, cid).getReader()
    await settle()
    expect(large.askedCount).toBe(0)
    for (let taken = 0; taken < 50; taken++) {
      await reader.read()
      await settle(2)
      expect(large.askedCount - taken).toBeLessThanOrEqual(64)
    }
    expect(Math.max(...large.asked.map((cids) => cids.length))).toBeLessThanOrEqual(16)
    await reader.cancel()
  })

  it('is errored by a block that is missing or damaged, and by an abort', async () => {
    const some = new MemoryBlocks()
    const { cid } = await importFile(vectorPieces(3 * MIB, 'some'), some)
    const leaves = [...some.blocks.values()].filter((block) => block.cid.code === 0x55)
    const [first, second] = leaves.map((leaf) => leaf.cid) as [CID, CID]
    const abort = new AbortController()
    const reader = exportCar(some, cid, { signal: abort.signal }).getReader()
    await reader.read()
    abort.abort(new Error('enough'))
    await expect(reader.read()).rejects.toThrow('enough')
    some.flip(first)
    await expect(readAll(exportCar(some, cid))).rejects.toMatchObject({ name: 'IntegrityError', cid: first.toString() })
    some.flip(first)
    some.delete(second)
    await expect(readAll(exportCar(some, cid))).rejects.toMatchObject({ name: 'MissingBlockError' })
  })

  it('handles a directory of many small files, and a root alone', async () => {
    const many = new MemoryBlocks()
    const entries = Array.from({ length: 300 }, (_, index) => ({ path: `${index % 20}/${index}`, data: `file ${index}` }))
    const { cid } = await importDirectory(entries, many)
    const sink = new MemoryBlocks()
    expect(await importCarBlocks(exportCar(many, cid), sink)).toMatchObject({ blocks: 321 })
    expect(new Set(sink.blocks.keys())).toEqual(new Set(many.blocks.keys()))
    const empty = await putDirectory(many, [])
    expect(await importCarBlocks(exportCar(many, empty), sink)).toMatchObject({ blocks: 1 })
    const inline = CID.createV1(0x55, identity.digest(new Uint8Array(3))) as CID
    const alone = await importCarBlocks(exportCar(many, inline), sink)
    expect([alone.blocks, alone.roots.map(String)]).toEqual([0, [inline.toString()]])
  })
})

describe('importCarBlocks', () => {
  it('takes back what exportCar wrote, in pieces of any size', async () => {
    for (const size of [car.byteLength, MIB, 100_003]) {
      const sink = new MemoryBlocks()
      const pieces = Array.from({ length: Math.ceil(car.byteLength / size) }, (_, index) => car.subarray(index * size, (index + 1) * size))
      const told: number[] = []
      const result = await importCarBlocks(pieces, sink, { onProgress: (bytes) => told.push(bytes) })
      expect(new Set(sink.blocks.keys())).toEqual(new Set(blocks.blocks.keys()))
      expect(result.roots.map(String)).toEqual([root.toString()])
      expect(result.blocks).toBe(blocks.blocks.size)
      expect(told.at(-1)).toBe(result.bytes)
      await sink.getMany([...sink.blocks.values()].map((block) => block.cid))
    }
  })

  it('reads the payload of a CARv2 and leaves its index', async () => {
    const header = new DataView(new ArrayBuffer(40))
    header.setBigUint64(16, 51n + 10n, true)
    header.setBigUint64(24, BigInt(car.byteLength), true)
    header.setBigUint64(32, BigInt(61 + car.byteLength), true)
    const pragma = [0x0a, 0xa1, 0x67, 0x76, 0x65, 0x72, 0x73, 0x69, 0x6f, 0x6e, 0x02]
    const v2 = concat([new Uint8Array(pragma), new Uint8Array(header.buffer), new Uint8Array(10), car, new Uint8Array(500).fill(0xee)])
    const sink = new MemoryBlocks()
    expect((await importCarBlocks(v2, sink)).roots.map(String)).toEqual([root.toString()])
    expect(sink.blocks.size).toBe(blocks.blocks.size)
    await expect(importCarBlocks(v2.subarray(0, car.byteLength), new MemoryBlocks())).rejects.toMatchObject({ name: 'CarError' })
  })

  it('names the block in which one bit is flipped', async () => {
    for (const { cid, bytes } of await collect(await CarBlockIterator.fromBytes(car))) {
      if (bytes.byteLength === 0) continue
      const at = Buffer.from(car).indexOf(Buffer.concat([cid.bytes, bytes.subarray(0, 20)])) + cid.bytes.byteLength
      const bad = car.slice()
      bad[at] = (bad[at] ?? 0) ^ 1
      await expect(importCarBlocks(bad, new MemoryBlocks())).rejects.toMatchObject({
        name: 'CarError',
        code: 'car',
        message: expect.stringContaining(cid.toString()) as string,
        cause: { name: 'IntegrityError' },
      })
    }
  })

  const broken: [string, () => Uint8Array | Promise<Uint8Array>][] = [
    ['empty', () => new Uint8Array(0)],
    ['text', () => new TextEncoder().encode('this is no CAR at all, only some text that is long enough')],
    ['zeros', () => new Uint8Array(5000)],
    ['random bytes', () => concat([...vectorPieces(5000, 'garbage')])],
    ['truncated by a byte', () => withoutLast(car, 1)],
    ['truncated in a header of a block', () => car.subarray(0, car.indexOf(0x12, 100) + 3)],
    ['truncated in its header', () => car.subarray(0, 20)],
    ['without roots', () => written([], [])],
    ['with a block too large', () => written([root], [{ cid: root, bytes: new Uint8Array(2 * MIB + 1) }])],
    [
      'with an unknown hash',
      () =>
        written(
          [root],
          [
            {
              cid: CID.createV1(0x55, {
                ...root.multihash,
                code: 0x1e,
                bytes: new Uint8Array([0x1e, ...root.multihash.bytes.subarray(1)]),
              }),
              bytes: new Uint8Array(1),
            },
          ],
        ),
    ],
    ['with trailing zeros', () => concat([car, new Uint8Array(3)])],
  ]
  it.each(broken)('refuses a CAR that is %s', async (_name, make) => {
    const bytes = await make()
    for (const source of [bytes, [bytes.subarray(0, 30), bytes.subarray(30)], new Blob([new Uint8Array(bytes)])]) {
      await expect(importCarBlocks(source, new MemoryBlocks())).rejects.toMatchObject({
        name: 'CarError',
        message: expect.stringMatching(/CAR/) as string,
      })
    }
  })

  it('does not gather a stream of garbage in memory', async () => {
    let read = 0
    const endless = (function* () {
      // A header whose length would be 128 TiB.
      yield new Uint8Array([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x1f])
      for (;;) {
        read++
        yield new Uint8Array(MIB).fill(0xff)
      }
    })()
    await expect(importCarBlocks(endless, new MemoryBlocks())).rejects.toMatchObject({ name: 'CarError', cause: { name: 'LimitError' } })
    expect(read).toBeLessThan(5)
  })

  it('rethrows what is not about the CAR, and leaves nothing running', async () => {
    const error = new Error('the line is dead')
    const failing = (async function* () {
      yield car.subarray(0, 2 * MIB)
      throw error
    })()
    await expect(importCarBlocks(failing, new MemoryBlocks())).rejects.toBe(error)
    await expect(importCarBlocks(5 as unknown as string, new MemoryBlocks())).rejects.toMatchObject({ name: 'InvalidSourceError' })
    let returned = false
    const source = (function* () {
      try {
        for (let at = 0; ; at += MIB) yield car.subarray(at, at + MIB)
      } finally {
        returned = true
      }
    })()
    const sinkFails = { put: () => Promise.reject(error) }
    await expect(importCarBlocks(source, sinkFails)).rejects.toBe(error)
    expect(returned).toBe(true)
    const abort = new AbortController()
    const stalled = new ReadableStream<Uint8Array>({ pull: () => new Promise(() => undefined) })
    const pending = importCarBlocks(stalled, new MemoryBlocks(), { signal: abort.signal })
    await settle()
    abort.abort(error)
    await expect(pending).rejects.toBe(error)
  })
})
