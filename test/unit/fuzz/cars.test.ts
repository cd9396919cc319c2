// Random and damaged CARs: taken whole and right, or refused with an error of ours; then nothing of them is left, and what was there is untouched.
import { CarReader } from '@ipld/car'
import * as dagCbor from '@ipld/dag-cbor'
import * as fc from 'fast-check'
import { CID } from 'multiformats/cid'
import * as Digest from 'multiformats/hashes/digest'
import { afterAll, describe, expect, it } from 'vitest'
import type { Bytes } from '../../../src/index.ts'
import { Blocks, honestSpec, make, varintOf } from './dags.ts'
import {
  carOf,
  closeAll,
  concat,
  drained,
  expectProperty,
  expectSame,
  FUZZ_TIMEOUT,
  openStorage,
  outcomeOf,
  section,
  stateOf,
  type Block,
  type Opened,
  type Outcome,
} from './support.ts'

const RUNS = 80

afterAll(closeAll)

interface Subject extends Opened {
  kept: { cid: string; bytes: Bytes }
  before: unknown
}

async function newSubject(): Promise<Subject> {
  const opened = await openStorage()
  const bytes = new Uint8Array(5000).map((_, index) => index)
  const cid = await opened.storage.storeDirectory([{ path: 'a/b', data: bytes }], { filename: 'kept', pin: true })
  return { ...opened, kept: { cid, bytes }, before: await stateOf(opened) }
}

/** Imports, looks at what came of it, takes it away again, and looks that nothing is left. */
async function imported(on: Subject, car: Uint8Array, pieces: number): Promise<Outcome<string[]>> {
  const { storage } = on
  const outcome = await outcomeOf(() => storage.importCar(inPieces(car, pieces)))
  if (outcome.error !== undefined) {
    expect(['car', 'unsupported-content', 'limit']).toContain(outcome.error.code)
  } else {
    expect(outcome.answer.length).toBeGreaterThan(0)
    const reference = await CarReader.fromBytes(car)
    expect(outcome.answer).toEqual((await rootsOf(reference)).map((root) => root.toV1().toString()))
    for (const root of new Set(outcome.answer)) {
      expect(await storage.exists(root)).toBe(true)
      // Whole: what is exported holds all of it, and every block is what its CID says.
      const again = await outcomeOf(async () => drained((await storage.exportCar(root)) as ReadableStream<Bytes>))
      if (again.error !== undefined) throw again.error
    }
    expect((await storage.verify()).damaged).toEqual([])
    for (const root of new Set(outcome.answer)) if (root !== on.kept.cid) expect(await storage.delete(root)).toBe(true)
  }
  await storage.gc()
  expect(await stateOf(on)).toEqual(on.before)
  expectSame(await storage.retrieve(`${on.kept.cid}/a/b`), on.kept.bytes)
  return outcome
}

function rootsOf(reader: CarReader): Promise<CID[]> {
  return reader.getRoots()
}

async function* inPieces(bytes: Uint8Array, count: number): AsyncGenerator<Uint8Array> {
  const size = Math.max(1, Math.ceil(bytes.byteLength / count))
  for (let at = 0; at < bytes.byteLength; at += size) yield bytes.slice(at, at + size)
}

async function expectOfCars<T>(arbitrary: fc.Arbitrary<T>, work: (on: Subject, value: T, pieces: number) => Promise<void>): Promise<void> {
  let subject = await newSubject()
  // What a run left that failed, or that takes too long and is at work still, must not fail the next one.
  let isDone = true
  const property = fc.asyncProperty(arbitrary, fc.integer({ min: 1, max: 20 }), async (value, pieces) => {
    if (!isDone) subject = await newSubject()
    isDone = false
    await work(subject, value, pieces)
    isDone = true
  })
  await expectProperty(property, RUNS)
}

const dag: fc.Arbitrary<Promise<{ roots: CID[]; blocks: Block[] }>> = fc
  .array(honestSpec, { minLength: 1, maxLength: 3 })
  .map(async (specs) => {
    const blocks = new Blocks()
    const roots: CID[] = []
    for (const spec of specs) roots.push((await make(spec, blocks)).cid)
    return { roots, blocks: [...blocks.values()] }
  })

/** Something done to bytes somewhere. `at` is a fraction of their length. */
interface Damage {
  how: string
  at: number
  length: number
  bytes: Uint8Array
  bit: number
}

const damage: fc.Arbitrary<Damage> = fc.record({
  how: fc.constantFrom('flip', 'truncate', 'insert', 'remove', 'repeat', 'overwrite'),
  at: fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
  length: fc.oneof(fc.integer({ min: 1, max: 12 }), fc.integer({ min: 1, max: 300 })),
  bytes: fc.oneof(
    fc.uint8Array({ minLength: 1, maxLength: 12 }),
    fc.constantFrom(...[2n ** 21n, 2n ** 31n, 2n ** 53n, 2n ** 64n - 1n].map(varintOf)),
  ),
  bit: fc.integer({ min: 0, max: 7 }),
})

function damaged(bytes: Uint8Array, { how, at, length, bytes: others, bit }: Damage): Uint8Array {
  const from = Math.floor(at * bytes.byteLength)
  const [head, tail] = [bytes.subarray(0, from), bytes.subarray(from)]
  switch (how) {
    case 'flip': {
      const flipped = bytes.slice()
      if (from < flipped.byteLength) flipped[from] = (flipped[from] ?? 0) ^ (1 << bit)
      return flipped
    }
    case 'truncate':
      return head
    case 'insert':
      return concat([head, others, tail])
    case 'remove':
      return concat([head, tail.subarray(length)])
    case 'repeat':
      return concat([head, tail.subarray(0, length), tail])
    default:
      return concat([head, others, tail.subarray(others.byteLength)])
  }
}

const ODD_NUMBERS = [0n, 1n, 11n, 50n, 51n, 52n, 2n ** 21n, 2n ** 32n, 2n ** 53n, 2n ** 63n, 2n ** 64n - 1n]

/** A CARv2 around a payload of version 1. https://ipld.io/specs/transport/car/carv2/ */
function version2(
  car: Uint8Array,
  lies: { padding: number; offset: bigint | undefined; size: bigint | undefined; index: Uint8Array },
): Uint8Array {
  const header = new DataView(new ArrayBuffer(40))
  header.setBigUint64(16, lies.offset ?? BigInt(51 + lies.padding), true)
  header.setBigUint64(24, lies.size ?? BigInt(car.byteLength), true)
  header.setBigUint64(32, BigInt(51 + lies.padding + car.byteLength), true)
  return concat([section(dagCbor.encode({ version: 2 })), new Uint8Array(header.buffer), new Uint8Array(lies.padding), car, lies.index])
}

const identity = fc
  .record({ size: fc.constantFrom(0, 1, 127, 128, 129, 2000, 200_000), codec: fc.constantFrom(0x55, 0x70, 0x71) })
  .map(({ size, codec }) => {
    const bytes = new Uint8Array(size).fill(7)
    return { cid: CID.createV1(codec, Digest.create(0, bytes)), bytes }
  })

describe('importCar', () => {
  it(
    'refuses random bytes',
    () =>
      expectOfCars(fc.uint8Array({ maxLength: 500 }), async (on, bytes, pieces) => {
        const outcome = await imported(on, bytes, pieces)
        expect(outcome.error?.code).toBe('car')
      }),
    FUZZ_TIMEOUT,
  )

  it(
    'takes a CAR in any order, with repeated blocks and roots, in version 2 and in any pieces',
    () => {
      const shape = fc.record({
        dag,
        isVersion2: fc.boolean(),
        padding: fc.constantFrom(0, 1, 1000),
        order: fc.infiniteStream(fc.double({ min: 0, max: 1, noNaN: true })),
        repeated: fc.nat(3),
        roots: fc.constantFrom(1, 2, 200),
      })
      return expectOfCars(shape, async (on, { dag: made, isVersion2, padding, order, repeated, roots }, pieces) => {
        const { roots: once, blocks } = await made
        const shuffled = [...blocks, ...blocks.slice(0, repeated)]
          .map((block) => ({ block, key: order.next().value }))
          .toSorted((a, b) => a.key - b.key)
        const car = carOf(
          Array.from({ length: roots }, () => once).flat(),
          shuffled.map(({ block }) => block),
        )
        const outcome = await imported(
          on,
          isVersion2 ? version2(car, { padding, offset: undefined, size: undefined, index: new Uint8Array(9) }) : car,
          pieces,
        )
        if (outcome.error !== undefined) throw outcome.error
      })
    },
    FUZZ_TIMEOUT,
  )

  it(
    'refuses or takes right what was damaged',
    () =>
      expectOfCars(fc.tuple(dag, fc.array(damage, { minLength: 1, maxLength: 3 })), async (on, [made, damages], pieces) => {
        const { roots, blocks } = await made
        await imported(on, damages.reduce(damaged, carOf(roots, blocks)), pieces)
      }),
    FUZZ_TIMEOUT,
  )

  it(
    'refuses a block under a CID that is not its own',
    () =>
      expectOfCars(fc.tuple(dag, fc.nat(), fc.uint8Array({ maxLength: 50 })), async (on, [made, at, bytes], pieces) => {
        const { roots, blocks } = await made
        const outside = blocks.filter(({ cid }) => cid.multihash.code !== 0)
        const wrong = outside[at % Math.max(1, outside.length)]
        if (wrong === undefined || concat([bytes]).join() === concat([wrong.bytes]).join()) return
        const outcome = await imported(
          on,
          carOf(
            roots,
            outside.map((block) => (block === wrong ? { ...block, bytes } : block)),
          ),
          pieces,
        )
        expect(outcome.error?.code).toBe('car')
      }),
    FUZZ_TIMEOUT,
  )

  it(
    'refuses a CAR that lacks a block',
    () =>
      expectOfCars(fc.tuple(dag, fc.nat()), async (on, [made, at]) => {
        const { roots, blocks } = await made
        // The root's own, so that it is surely needed.
        const root = roots[at % roots.length]
        if (root === undefined || root.multihash.code === 0) return
        const rest = blocks.filter(({ cid }) => cid.multihash.bytes.join() !== root.multihash.bytes.join())
        const outcome = await imported(on, carOf(roots, rest), 1)
        expect(outcome.error?.code).toBe('car')
      }),
    FUZZ_TIMEOUT,
  )

  it(
    'refuses a header that lies',
    () => {
      const header = fc.oneof(
        fc.record({
          version: fc.constantFrom(0, 1, 2, 3, 1.5, '1', null),
          roots: fc.oneof(fc.constant([]), fc.constant(undefined), fc.constant('x'), fc.constant([1])),
        }),
        fc.jsonValue(),
      )
      const lie = fc.oneof(
        header.map((value) => ({ header: section(dagCbor.encode(value === undefined ? null : JSON.parse(JSON.stringify(value)))) })),
        fc.constantFrom(...ODD_NUMBERS).map((length) => ({ header: varintOf(length) })),
        fc.record({
          padding: fc.constantFrom(0, 7),
          offset: fc.option(fc.constantFrom(...ODD_NUMBERS), { nil: undefined }),
          size: fc.constantFrom(...ODD_NUMBERS),
          index: fc.uint8Array({ maxLength: 9 }),
        }),
      )
      return expectOfCars(fc.tuple(dag, lie), async (on, [made, lies], pieces) => {
        const { roots, blocks } = await made
        if ('padding' in lies) {
          await imported(on, version2(carOf(roots, blocks), lies), pieces)
          return
        }
        const outcome = await imported(on, concat([lies.header, ...blocks.map(({ cid, bytes }) => section(cid.bytes, bytes))]), pieces)
        expect(outcome.error?.code).toBe('car')
      })
    },
    FUZZ_TIMEOUT,
  )

  it(
    'refuses or takes right what lies in CIDs',
    () =>
      expectOfCars(fc.tuple(dag, identity, fc.boolean(), fc.boolean()), async (on, [made, inline, isRoot, isBlock], pieces) => {
        const { roots, blocks } = await made
        const sections = blocks.filter(({ cid }) => cid.multihash.code !== 0).map(({ cid, bytes }) => section(cid.bytes, bytes))
        if (isBlock) sections.unshift(section(inline.cid.bytes, inline.bytes))
        const outcome = await imported(
          on,
          concat([section(dagCbor.encode({ version: 1, roots: isRoot ? [...roots, inline.cid] : roots })), ...sections]),
          pieces,
        )
        if (isRoot && inline.bytes.byteLength > 128) expect(outcome.error).toBeDefined()
        if (!isRoot && !isBlock && outcome.error !== undefined) throw outcome.error
      }),
    FUZZ_TIMEOUT,
  )
})
