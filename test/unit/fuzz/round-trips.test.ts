// What is stored comes back: the same CIDs whatever pieces it came in, the same bytes by ranges, streams and Blobs, and by a CAR in another storage.
import * as fc from 'fast-check'
import { importer } from 'ipfs-unixfs-importer'
import type { CID } from 'multiformats/cid'
import { afterAll, describe, expect, it } from 'vitest'
import type { Bytes, IPFSKitStorage } from '../../../src/index.ts'
import { Blocks } from './dags.ts'
import { carOf, closeAll, drained, expectProperty, expectSame, FUZZ_TIMEOUT, openStorage, outcomeOf, stateOf } from './support.ts'

const MIB = 1024 * 1024

afterAll(closeAll)

/** A size, and a seed of its bytes: few files are larger than a chunk, and those that are end around its borders. */
const size = fc.oneof(
  { arbitrary: fc.nat(100), weight: 6 },
  { arbitrary: fc.nat(5000), weight: 3 },
  { arbitrary: fc.constantFrom(MIB - 1, MIB, MIB + 1, 2 * MIB, 2 * MIB + 7, 3 * MIB - 1), weight: 1 },
)
const content = fc.record({ size, seed: fc.nat(255), step: fc.constantFrom(0, 1, 7) }).map(({ size: length, seed, step }) => {
  const bytes = new Uint8Array(length)
  for (let index = 0; index < length; index++) bytes[index] = seed + step * (index + (index >> 8))
  return bytes
})

/** Bytes in pieces, whose lengths are repeated. */
const cuts = fc.array(fc.oneof(fc.nat(20), fc.nat(2 * MIB)), { minLength: 1, maxLength: 5 })

async function* cut(bytes: Bytes, lengths: readonly number[]): AsyncGenerator<Bytes> {
  let at = 0
  for (let index = 0; at < bytes.byteLength; index++) {
    // Empty ones alone would never end, and many small ones only take long.
    const length = Math.max(lengths[index % lengths.length] ?? 0, index > 200 ? MIB : 0)
    yield bytes.slice(at, at + length)
    at += length
  }
}

const ranges = fc.array(
  fc.record({
    offset: fc.option(fc.nat(4 * MIB), { nil: undefined }),
    length: fc.option(fc.nat(4 * MIB), { nil: undefined }),
    isNear: fc.boolean(),
  }),
  {
    minLength: 1,
    maxLength: 4,
  },
)

async function expectRanges(storage: IPFSKitStorage, path: string, bytes: Bytes, wanted: readonly Range[]): Promise<void> {
  for (const { offset: far, length, isNear } of wanted) {
    const offset = far !== undefined && isNear ? far % (bytes.byteLength + 2) : far
    const options = { ...(offset === undefined ? {} : { offset }), ...(length === undefined ? {} : { length }) }
    const slice = bytes.subarray(
      Math.min(offset ?? 0, bytes.byteLength),
      Math.min((offset ?? 0) + (length ?? bytes.byteLength), bytes.byteLength),
    )
    expectSame(await storage.retrieve(path, options), slice)
    expectSame(await drained((await storage.stream(path, options)) as ReadableStream<Bytes>), slice)
  }
}

interface Range {
  offset: number | undefined
  length: number | undefined
  isNear: boolean
}

const nowhere = { put: async (cid: CID) => cid }

describe('a random file', () => {
  it(
    'has the CID of the importer in whatever pieces it came, and comes back by ranges, and by a CAR in another storage',
    async () => {
      const [from, to] = [await openStorage(), await openStorage()]
      const [before, beforeTo] = [await stateOf(from), await stateOf(to)]
      await expectProperty(
        fc.asyncProperty(content, cuts, ranges, async (bytes, lengths, wanted) => {
          const { storage } = from
          const cid = await storage.store(cut(bytes, lengths))
          expect(await storage.store(bytes)).toBe(cid)
          let reference = ''
          for await (const entry of importer([{ content: bytes }], nowhere, { profile: 'unixfs-v1-2025' })) reference = entry.cid.toString()
          expect(cid).toBe(reference)
          expect(await storage.listFiles()).toMatchObject([{ cid, size: bytes.byteLength, localBytes: bytes.byteLength, state: 'whole' }])
          await expectRanges(storage, cid, bytes, wanted)
          expectSame(await storage.retrieve(cid), bytes)
          expectSame(new Uint8Array(await ((await storage.blob(cid)) as Blob).arrayBuffer()), bytes)
          expect(await to.storage.importCar((await storage.exportCar(cid)) as ReadableStream<Bytes>)).toEqual([cid])
          await expectRanges(to.storage, cid, bytes, wanted)
          for (const [one, state] of [
            [from, before],
            [to, beforeTo],
          ] as const) {
            expect(await one.storage.delete(cid)).toBe(true)
            await one.storage.gc()
            expect(await stateOf(one)).toEqual(state)
          }
        }),
        25,
      )
    },
    FUZZ_TIMEOUT,
  )
})

describe('a random directory', () => {
  const name = fc.constantFrom('a', 'b', 'c', 'd', 'é', '%20', 'x'.repeat(200))
  const entries = fc.uniqueArray(
    fc.record({ path: fc.array(name, { minLength: 1, maxLength: 3 }).map((names) => names.join('/')), data: content, lengths: cuts }),
    {
      selector: ({ path }) => path,
      maxLength: 10,
    },
  )

  it(
    'comes back by a CAR in another storage, with every file under its path and its own CID',
    async () => {
      const [from, to] = [await openStorage(), await openStorage()]
      const [before, beforeTo] = [await stateOf(from), await stateOf(to)]
      await expectProperty(
        fc.asyncProperty(entries, ranges, async (list, wanted) => {
          const paths = list.map(({ path }) => path)
          // One that is a file and a directory is for paths.test.ts.
          fc.pre(paths.every((path) => !paths.some((other) => other.startsWith(`${path}/`))))
          const { storage } = from
          const root = await storage.storeDirectory(list.map(({ path, data, lengths }) => ({ path, data: cut(data, lengths) })))
          expect(await to.storage.importCar((await storage.exportCar(root)) as ReadableStream<Bytes>)).toEqual([root])
          for (const { path, data } of list) {
            const [here, there] = [await storage.stat(`${root}/${path}`), await to.storage.stat(`${root}/${path}`)]
            expect(there).toEqual(here)
            expect(there?.size).toBe(data.byteLength)
            await expectRanges(to.storage, `${root}/${path}`, data, wanted)
            expectSame(await to.storage.retrieve(there?.cid ?? ''), data)
          }
          expect((await storage.stat(root))?.size).toBe(list.reduce((sum, { data }) => sum + data.byteLength, 0))
          for (const [one, state] of [
            [from, before],
            [to, beforeTo],
          ] as const) {
            expect((await one.storage.verify()).damaged).toEqual([])
            expect(await one.storage.delete(root)).toBe(true)
            await one.storage.gc()
            expect(await stateOf(one)).toEqual(state)
          }
        }),
        25,
      )
    },
    FUZZ_TIMEOUT,
  )

  it(
    'that an importer made with any fanout is listed and resolved, name by name',
    async () => {
      const opened = await openStorage()
      const { storage } = opened
      const before = await stateOf(opened)
      const names = fc.uniqueArray(
        fc.string({ minLength: 1, maxLength: 12 }).filter((one) => !/[/\\]/.test(one) && one !== '.' && one !== '..'),
        { maxLength: 60 },
      )
      await expectProperty(
        fc.asyncProperty(names, fc.integer({ min: 3, max: 10 }), fc.nat(), async (list, shardFanoutBits, at) => {
          const blocks = new Blocks()
          const blockstore = {
            put: async (cid: CID, bytes: Uint8Array) => {
              blocks.set(cid.toString(), { cid, bytes: bytes.slice() })
              return cid
            },
          }
          const candidates = list.map((path) => ({ path, content: new TextEncoder().encode(path) }))
          let root: CID | undefined
          const options = { profile: 'unixfs-v1-2025', wrapWithDirectory: true, shardFanoutBits, shardSplitThresholdBytes: 0 } as const
          for await (const { cid } of importer(candidates, blockstore, options)) root = cid
          if (root === undefined) return
          await storage.importCar(carOf([root], blocks.values()))
          const listed = await storage.listDirectory(root)
          expect(listed?.map((entry) => entry.name).toSorted()).toEqual(list.toSorted())
          for (const one of list) expectSame(await storage.retrieve(`${root.toString()}/${one}`), new TextEncoder().encode(one))
          expect(await storage.retrieve(`${root.toString()}/no such name`)).toBeNull()
          await storage.delete(root)
          // Damaged in one byte, but with a hash that says so: read as what it is, or refused.
          const victims = [...blocks.values()].filter(({ cid }) => cid.code === 0x70)
          const victim = victims[at % victims.length]
          if (victim !== undefined && victims.length === 1) {
            const bytes = victim.bytes.slice()
            bytes[at % bytes.byteLength] = (bytes[at % bytes.byteLength] ?? 0) ^ (1 << (at % 8))
            const other = await blocks.add(0x70, bytes)
            const { answer } = await outcomeOf(() => storage.importCar(carOf([other], blocks.values())))
            if (answer !== undefined) {
              await outcomeOf(() => storage.listDirectory(other))
              for (const one of list.slice(0, 5)) await outcomeOf(() => storage.stat(`${other.toString()}/${one}`))
              await storage.delete(other)
            }
          }
          await storage.gc()
          expect(await stateOf(opened)).toEqual(before)
        }),
        25,
      )
    },
    FUZZ_TIMEOUT,
  )
})
