// DAGs that lie about sizes, claim more than there can be, or go on for ever: an error that says so, at once and without an array of that size.
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { CID } from 'multiformats/cid'
import type { Bytes } from '../../../src/index.ts'
import { MAX_UNPROVEN_BYTES } from '../../../src/limits.ts'
import { Blocks, DAG_PB, make, pbNode, RAW, unixfsMessage, type Spec } from './dags.ts'
import {
  carOf,
  closeAll,
  concat,
  drained,
  expectSame,
  FUZZ_TIMEOUT,
  gathered,
  IS_BROWSER,
  largestArray,
  openStorage,
  outcomeOf,
  plant,
  stateOf,
  uproot,
  type Opened,
} from './support.ts'

const [DIRECTORY, FILE, SHARD] = [1, 2, 5]
const MIB = 1024 * 1024

/** A window of a reading into one array, and what is little beside it. */
const MOST_BYTES = 17 * MIB

const leaf: Spec = { is: 'bytes', codec: RAW, bytes: new Uint8Array(1000).fill(7), hash: 'sha256' }
const nothing: Spec = { is: 'bytes', codec: RAW, bytes: new Uint8Array(0), hash: 'sha256' }

let opened: Opened
let before: unknown
beforeEach(async () => {
  opened = await openStorage()
  await opened.storage.store('kept', { pin: true })
  before = await stateOf(opened)
})
afterEach(closeAll)

/** Codes of what rejects the import, and then each method over the same blocks in the database; '' where one answers. */
async function codesOf(root: CID, blocks: Blocks): Promise<Record<string, string>> {
  const { storage, cacheDir } = opened
  const codes: Record<string, string> = {}
  const note = async (name: string, work: () => Promise<unknown>): Promise<void> => {
    codes[name] = (await outcomeOf(work)).error?.code ?? ''
  }
  await note('importCar', () => storage.importCar(carOf([root], blocks.values())))
  if (codes.importCar === '') await storage.delete(root)
  await storage.gc()
  expect(await stateOf(opened)).toEqual(before)
  await plant(cacheDir, blocks.values())
  await note('retrieve', () => storage.retrieve(root))
  await note('stream', async () => drained((await storage.stream(root)) as ReadableStream<Bytes>, 10 * MIB))
  await note('range', () => storage.retrieve(root, { offset: 0, length: 10 }))
  await note('stat', () => storage.stat(root))
  await note('exists', () => storage.exists(root))
  await note('listDirectory', () => storage.listDirectory(root))
  await note('exportCar', async () => drained((await storage.exportCar(root)) as ReadableStream<Bytes>))
  await note('verify', () => storage.verify(root))
  await note('pin', () => storage.pin(root))
  if (codes.pin === '') {
    await storage.unpin(root)
    await storage.delete(root)
  }
  await storage.gc({ foreign: true })
  await uproot(cacheDir, blocks.values())
  expect(await stateOf(opened)).toEqual(before)
  return codes
}

async function fileOf(sizes: bigint[], links: CID[], blocks: Blocks): Promise<CID> {
  return blocks.add(
    DAG_PB,
    pbNode(
      unixfsMessage({ type: FILE, sizes }),
      links.map((cid) => ({ cid })),
    ),
  )
}

describe('a file that says it has', () => {
  it.each([2n ** 53n, 2n ** 60n, 2n ** 63n, 2n ** 64n - 1n])('%d bytes is beyond a limit', async (size) => {
    const blocks = new Blocks()
    const { cid } = await make(leaf, blocks)
    const root = await fileOf([size], [cid], blocks)
    const largest = await largestArray(async () => {
      const codes = await codesOf(root, blocks)
      for (const method of ['importCar', 'retrieve', 'stream', 'range', 'stat', 'pin'])
        expect([method, codes[method]]).toEqual([method, 'limit'])
    })
    expect(largest).toBeLessThan(MOST_BYTES)
  })

  it.each([2 ** 30, 2 ** 31, 2 ** 32, 2 ** 40, 2 ** 52])(
    '%d bytes in a leaf of 1,000 lies, and nobody makes room for them',
    async (size) => {
      const blocks = new Blocks()
      const { cid } = await make(leaf, blocks)
      const root = await fileOf([BigInt(size)], [cid], blocks)
      const largest = await largestArray(async () => {
        const codes = await codesOf(root, blocks)
        expect([codes.stream, codes.range]).toEqual(['limit', 'limit'])
        expect(codes.retrieve).toBe('limit')
        expect(codes.exists).toBe('')
      })
      expect(largest).toBeLessThan(MOST_BYTES)
    },
  )

  it.each([0n, 1n, 999n, 1001n, 2n ** 20n])('%d bytes in a leaf of 1,000 says what is claimed and what is there', async (size) => {
    const { storage, cacheDir } = opened
    const blocks = new Blocks()
    const { cid } = await make(leaf, blocks)
    const root = await fileOf([size], [cid], blocks)
    await plant(cacheDir, blocks.values())
    const ways: [string, () => Promise<unknown>][] = [
      ['retrieve', () => storage.retrieve(root)],
      ['unverified', () => storage.retrieve(root, { verify: false })],
      ['stream', async () => drained((await storage.stream(root)) as ReadableStream<Bytes>)],
      ['blob', () => storage.blob(root)],
    ]
    for (const [name, way] of ways) {
      const { error } = await outcomeOf(way)
      expect([name, error]).toMatchObject([name, { code: 'limit', limit: 'CLAIMED_BYTES', value: Number(size) }])
      expect(error?.message).toMatch(
        size === 0n ? /said to have 0 bytes .* is that of some/ : `said to have ${size} bytes of content, but holds 1000`,
      )
    }
    await uproot(cacheDir, blocks.values())
  })

  it.each([0n, 999n, 1001n, 2n ** 40n, 2n ** 64n - 1n])('%d bytes as a file, where its children make 1,000, lies', async (fileSize) => {
    const blocks = new Blocks()
    const { cid } = await make(leaf, blocks)
    const root = await blocks.add(DAG_PB, pbNode(unixfsMessage({ type: FILE, sizes: [1000n], fileSize }), [{ cid }]))
    const codes = await codesOf(root, blocks)
    for (const method of ['importCar', 'retrieve', 'stream', 'range', 'stat', 'pin'])
      expect([method, codes[method]]).toEqual([method, 'limit'])
    const right = await blocks.add(DAG_PB, pbNode(unixfsMessage({ type: FILE, sizes: [1000n], fileSize: 1000n }), [{ cid }]))
    await opened.storage.importCar(carOf([right], blocks.values()))
    expect((await opened.storage.retrieve(right))?.byteLength).toBe(1000)
  })

  it('gigabytes after an honest beginning gets no room for them', async () => {
    const { storage, cacheDir } = opened
    const blocks = new Blocks()
    const { cid: honest } = await make({ ...leaf, bytes: new Uint8Array(MIB).fill(7) }, blocks)
    const { cid: liar } = await make(leaf, blocks)
    const sizes = [...Array<bigint>(32).fill(BigInt(MIB)), ...Array<bigint>(4096).fill(BigInt(MIB))]
    const root = await fileOf(sizes, [...Array<CID>(32).fill(honest), ...Array<CID>(4096).fill(liar)], blocks)
    await plant(cacheDir, blocks.values())
    const largest = await largestArray(async () => {
      const { error } = await outcomeOf(() => storage.retrieve(root))
      expect(error).toMatchObject({ limit: 'CLAIMED_BYTES', value: MIB })
    })
    expect(largest).toBeLessThanOrEqual(MAX_UNPROVEN_BYTES)
    await uproot(cacheDir, blocks.values())
  })

  it.each<[string, bigint[]]>([
    ['fewer', [1000n]],
    ['more', [1000n, 1000n, 1000n]],
    ['no', []],
  ])('%s sizes than links is malformed', async (_, sizes) => {
    const blocks = new Blocks()
    const { cid } = await make(leaf, blocks)
    const codes = await codesOf(await fileOf(sizes, [cid, cid], blocks), blocks)
    for (const method of ['importCar', 'retrieve', 'stream', 'range', 'stat'])
      expect([method, codes[method]]).toEqual([method, 'unsupported-content'])
  })

  it('2^60 bytes by nodes that each link twice to the one below is beyond a limit', async () => {
    const blocks = new Blocks()
    const { cid } = await make({ is: 'doubled', leaf: { ...leaf, bytes: new Uint8Array(1) } as Spec, times: 60 }, blocks)
    const codes = await codesOf(cid, blocks)
    for (const method of ['importCar', 'retrieve', 'stream', 'range', 'stat', 'pin'])
      expect([method, codes[method]]).toEqual([method, 'limit'])
  })

  it('2^52 bytes in the same way is a file, of which ranges are read', async () => {
    const blocks = new Blocks()
    const { cid: root } = await make({ is: 'doubled', leaf: { ...leaf, bytes: Uint8Array.from([1, 2, 3, 4]) } as Spec, times: 50 }, blocks)
    const { storage } = opened
    await storage.importCar(carOf([root], blocks.values()))
    expect((await storage.stat(root))?.size).toBe(2 ** 52)
    expectSame(await storage.retrieve(root, { offset: 2 ** 51 + 2, length: 3 }), Uint8Array.from([3, 4, 1]))
    expectSame(
      await drained((await storage.stream(root, { offset: 2 ** 52 - 6 })) as ReadableStream<Bytes>),
      Uint8Array.from([3, 4, 1, 2, 3, 4]),
    )
    expect((await outcomeOf(() => storage.retrieve(root))).error?.code).toBe('limit')
    expect((await outcomeOf(() => storage.blob(root))).error?.code).toBe('limit')
    expect((await storage.verify(root)).damaged).toEqual([])
    expect(await storage.delete(root)).toBe(true)
    await storage.gc()
    expect(await stateOf(opened)).toEqual(before)
  })
})

it('a file of single bytes is not given byte by byte, each of which would take a hundred', async () => {
  const { storage } = opened
  const blocks = new Blocks()
  const { cid: root } = await make({ is: 'doubled', leaf: { ...leaf, bytes: Uint8Array.from([7]) } as Spec, times: 11 }, blocks)
  await storage.importCar(carOf([root], blocks.values()))
  const pieces = await gathered((await storage.stream(root)) as ReadableStream<Bytes>)
  expectSame(concat(pieces), new Uint8Array(2048).fill(7))
  expect(pieces.length).toBeLessThan(200)
})

it('a megabyte by nodes that each link twice to the one below, 20 deep, is read as fast as it is copied', async () => {
  const { storage } = opened
  const blocks = new Blocks()
  const { cid: root } = await make({ is: 'doubled', leaf: { ...leaf, bytes: Uint8Array.from([7]) } as Spec, times: 20 }, blocks)
  await storage.importCar(carOf([root], blocks.values()))
  // Read at each of its places, the leaf alone would be read a million times, which takes minutes.
  expectSame(await storage.retrieve(root), new Uint8Array(MIB).fill(7))
  expectSame(await storage.retrieve(root, { offset: 12_345, length: 54_321 }), new Uint8Array(54_321).fill(7))
})

describe('a DAG without an end', () => {
  it.each<[number, string, number, Spec]>([
    [IS_BROWSER ? 1000 : 10_000, 'files', FILE, leaf],
    [1000, 'empty files', FILE, nothing],
    [1000, 'directories', DIRECTORY, leaf],
    [1000, 'shards', SHARD, leaf],
  ])(
    'a chain of %d %s is beyond a limit',
    async (times, _, type, end) => {
      const blocks = new Blocks()
      const { cid } = await make({ is: 'chain', leaf: end, times, type }, blocks)
      const codes = await codesOf(cid, blocks)
      for (const method of ['importCar', 'stat', 'exists', 'exportCar', 'verify', 'pin'])
        expect([method, codes[method]]).toEqual([method, 'limit'])
      if (end === leaf && type === FILE) expect([codes.retrieve, codes.stream, codes.range]).toEqual(['limit', 'limit', 'limit'])
      if (type === SHARD) expect(codes.listDirectory).toBe('limit')
    },
    FUZZ_TIMEOUT,
  )

  it('directories that each hold the one below twice, 60 deep, are beyond a limit', async () => {
    const blocks = new Blocks()
    let below = await blocks.add(RAW, new Uint8Array(1000))
    for (let depth = 0; depth < 60; depth++) {
      below = await blocks.add(
        DAG_PB,
        pbNode(unixfsMessage({ type: DIRECTORY }), [
          { cid: below, name: 'a' },
          { cid: below, name: 'b' },
        ]),
      )
    }
    const codes = await codesOf(below, blocks)
    for (const method of ['importCar', 'stat', 'pin']) expect([method, codes[method]]).toEqual([method, 'limit'])
    expect([codes.exists, codes.listDirectory, codes.exportCar]).toEqual(['', '', ''])
  })

  it('shards that each hold the one below twice, 60 deep, are refused at once', async () => {
    const blocks = new Blocks()
    const shard = unixfsMessage({ type: SHARD, fanout: 256n, hashType: 0x22n, data: Uint8Array.from([3]) })
    let below = await blocks.add(DAG_PB, pbNode(shard, [{ cid: await blocks.add(RAW, new Uint8Array(5)), name: '00name', tsize: 5n }]))
    for (let depth = 0; depth < 60; depth++)
      below = await blocks.add(
        DAG_PB,
        pbNode(shard, [
          { cid: below, name: '00' },
          { cid: below, name: '01' },
        ]),
      )
    const codes = await codesOf(below, blocks)
    for (const method of ['importCar', 'stat', 'listDirectory', 'pin'])
      expect([method, codes[method]]).toEqual([method, 'unsupported-content'])
  })
})
