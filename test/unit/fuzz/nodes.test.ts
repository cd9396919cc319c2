// Random DAGs of UnixFS, dag-cbor, dag-json and garbage, through every method: the bytes a naive model finds, or an error of ours; and nothing is left.
import { CarReader } from '@ipld/car'
import * as fc from 'fast-check'
import { exporter } from 'ipfs-unixfs-exporter'
import type { CID } from 'multiformats/cid'
import { afterAll, describe, expect, it } from 'vitest'
import { type Bytes, type DirectoryEntry, type IPFSKitStorage } from '../../../src/index.ts'
import { anySpec, Blocks, honestSpec, make, Model, NoBytes, type Look, type Spec } from './dags.ts'
import {
  carOf,
  expectProperty,
  closeAll,
  concat,
  drained,
  expectSame,
  FUZZ_TIMEOUT,
  gathered,
  keyOf,
  openStorage,
  outcomeOf,
  plant,
  stateOf,
  uproot,
  type Opened,
  type Outcome,
} from './support.ts'

/** Up to here a whole file is read and compared. */
const SMALL_BYTES = 4 * 1024 * 1024
/** From here on no array is large enough. */
const HUGE_BYTES = 2 ** 40

/** Each is about twenty calls. */
const RUNS = 60

const READING = ['unsupported-content', 'limit', 'not-a-file', 'not-a-directory', 'not-supported']

afterAll(closeAll)

/** A storage that holds a file already, which must stay as it is. */
interface Subject extends Opened {
  kept: { cid: string; bytes: Bytes }
}

async function newSubject(): Promise<Subject> {
  const opened = await openStorage()
  const bytes = new Uint8Array(3 * 1024 * 1024 + 5).map((_, index) => index >> 10)
  return { ...opened, kept: { cid: await opened.storage.store(bytes, { filename: 'kept', pin: true }), bytes } }
}

interface Dag {
  on: Subject
  root: CID
  blocks: Blocks
  model: Model
  node: Look
}

async function dagOf(on: Subject, spec: Spec): Promise<Dag> {
  const blocks = new Blocks()
  const { cid: root } = await make(spec, blocks)
  const model = new Model(blocks)
  return { on, root, blocks, model, node: model.look(root) }
}

/** One of our errors that a reader of a DAG that is all here may meet. */
async function reading<T>(work: () => Promise<T>): Promise<Outcome<T>> {
  const outcome = await outcomeOf(work)
  if (outcome.error !== undefined) expect(READING).toContain(outcome.error.code)
  return outcome
}

/** The bytes of the model, or undefined where there are none. */
function expected({ model, root }: Dag, from: number, to: number): Uint8Array | undefined {
  try {
    return model.range(root, from, to)
  } catch (error) {
    if (error instanceof NoBytes) return undefined
    throw error
  }
}

function expectOutcome(outcome: Outcome<Bytes | null>, bytes: Uint8Array | undefined): void {
  if (bytes === undefined) expect(outcome.error).toBeDefined()
  else if (outcome.error !== undefined) throw outcome.error
  else expectSame(outcome.answer, bytes)
}

async function streamed(
  storage: IPFSKitStorage,
  path: string,
  range: { offset?: number; length?: number } = {},
  most?: number,
): Promise<Bytes> {
  const stream = await storage.stream(path, range)
  if (stream === null) throw new Error('nothing was found')
  return drained(stream, most)
}

async function blobBytes(storage: IPFSKitStorage, path: string, verify: boolean): Promise<Bytes> {
  const blob = await storage.blob(path, { verify })
  return new Uint8Array(await (blob as Blob).arrayBuffer())
}

async function checkBytes(dag: Dag, ranges: readonly [number, number][], isHonest: boolean): Promise<void> {
  const { storage } = dag.on
  const path = dag.root.toString()
  const size = dag.node.kind === 'file' && dag.node.whole ? dag.node.size : 0
  for (const [at, length] of ranges) {
    const offset = Math.floor(at * size)
    const bytes = expected(dag, offset, Math.min(offset + length, size))
    expectOutcome(await reading(() => storage.retrieve(path, { offset, length })), bytes)
    expectOutcome(await reading(() => streamed(storage, path, { offset, length })), bytes)
  }
  if (size <= SMALL_BYTES) {
    const bytes = expected(dag, 0, size)
    expectOutcome(await reading(() => storage.retrieve(path)), bytes)
    expectOutcome(await reading(() => storage.retrieve(path, { verify: false })), bytes)
    expectOutcome(await reading(() => streamed(storage, path)), bytes)
    expectOutcome(await reading(() => blobBytes(storage, path, false)), bytes)
    expectOutcome(await reading(() => blobBytes(storage, path, true)), bytes)
    const reference = isHonest ? await exported(dag) : undefined
    if (reference !== undefined && bytes !== undefined) expectSame(bytes, reference)
    return
  }
  if (size >= HUGE_BYTES) expect((await reading(() => storage.retrieve(path))).error).toBeDefined()
  const begun = await reading(() => streamed(storage, path, {}, 1000))
  if (begun.error === undefined) {
    const most = Math.min(begun.answer.byteLength, 1000)
    expectSame(begun.answer.subarray(0, most), expected(dag, 0, most) ?? new Uint8Array(0))
  }
}

/** What ipfs-unixfs-exporter makes of the same file. It rejects unheard where one lies. */
async function exported({ root, model, node }: Dag): Promise<Uint8Array | undefined> {
  if (node.kind !== 'file' || node.size > 100_000) return undefined
  const blockstore = {
    async *get(cid: CID) {
      yield model.bytesOf(cid)
    },
  }
  const entry = await exporter(root, blockstore)
  return 'content' in entry ? concat(await gathered(entry.content() as AsyncIterable<Uint8Array>)) : undefined
}

async function checkNames(dag: Dag): Promise<void> {
  const { storage } = dag.on
  const path = dag.root.toString()
  const { answer: listed, error } = await reading(() => storage.listDirectory(path))
  if (dag.node.kind !== 'directory' && dag.node.kind !== 'shard') {
    expect(error).toBeDefined()
    return
  }
  if (listed === undefined || listed === null) {
    // All that a flat directory needs is its own block, but a shard may be malformed.
    if (dag.node.kind === 'directory') throw error ?? new Error('the directory is not there')
    return
  }
  if (dag.node.kind === 'directory') checkListing(dag, dag.node.entries, listed)
  for (const entry of listed.slice(0, 3)) {
    const { name } = entry
    if (name === '' || name === '.' || name === '..' || name.includes('/')) continue
    const { answer, error: failure } = await reading(() => storage.stat(`${path}/${name}`))
    if (dag.node.kind !== 'directory' || answer === undefined) {
      // A shard may lie under the wrong bucket, and then holds no such name; and the child may be anything.
      if (answer === undefined) expect(failure).toBeDefined()
      continue
    }
    const first = dag.node.entries.find((candidate) => candidate.name === name)
    expect(answer?.cid).toBe(first?.cid.toV1().toString())
  }
  const beyond = await reading(() => storage.retrieve(`${path}/no such name/below`))
  if (beyond.error === undefined) expect(beyond.answer).toBeNull()
}

function checkListing(
  { model }: Dag,
  entries: { name: string; cid: CID; tsize: number | undefined }[],
  listed: readonly DirectoryEntry[],
): void {
  const inOrder = (names: string[]): string[] => names.toSorted((a, b) => byCodePoints(a, b))
  expect(listed.map(({ name }) => name)).toEqual(inOrder(entries.map(({ name }) => name)))
  for (const { name, cid, type, size } of listed) {
    const child = entries.find((entry) => entry.name === name && entry.cid.toV1().toString() === cid)
    if (child === undefined) throw new Error(`'${name}' is not in the directory`)
    const look = model.look(child.cid)
    if (look.kind === 'directory' || look.kind === 'shard' || look.kind === 'symlink') {
      if (look.kind !== 'shard') expect(type).toBe(look.kind)
    } else {
      expect(type).toBe('file')
    }
    if (look.kind === 'file' && look.whole && entries.length === listed.length && type === 'file' && child.tsize === undefined)
      expect(size).toBe(look.size)
    expect(size).toBeGreaterThanOrEqual(0)
  }
}

/** As bytes of UTF-8, where a lone surrogate can't come from a block. */
function byCodePoints(a: string, b: string): number {
  const [left, right] = [[...a].map((char) => char.codePointAt(0) ?? 0), [...b].map((char) => char.codePointAt(0) ?? 0)]
  for (const [index, point] of left.entries()) {
    const other = right[index]
    if (other === undefined || point > other) return 1
    if (point < other) return -1
  }
  return left.length - right.length
}

async function checkWalks(dag: Dag): Promise<void> {
  const { storage } = dag.on
  const path = dag.root.toString()
  const [all, walked] = [dag.model.all(dag.root), dag.model.all(dag.root, false)]
  const isBad = dag.node.kind === 'bad'
  const stat = await reading(() => storage.stat(path))
  if (walked === undefined || isBad) expect(stat.error).toBeDefined()
  else if (stat.error === undefined) {
    expect(stat.answer?.type).toBe(dag.node.kind === 'shard' ? 'directory' : dag.node.kind)
    expect(stat.answer?.localBlocks).toBe(stat.answer?.blocks)
    if (dag.node.kind === 'file' || dag.node.kind === 'symlink') expect(stat.answer?.size).toBe(dag.node.size)
  } else if (dag.node.kind !== 'directory' && dag.node.kind !== 'shard' && !(dag.node.kind === 'file' && !dag.node.whole)) throw stat.error
  const exists = await reading(() => storage.exists(path))
  if (walked === undefined) expect(exists.error).toBeDefined()
  else if (!isBad) expect(exists.answer).toBe(true)
  const car = await reading(async () => drained((await storage.exportCar(path)) as ReadableStream<Bytes>))
  if (all === undefined) expect(car.error).toBeDefined()
  else {
    if (car.error !== undefined) throw car.error
    await checkCar(dag, all, car.answer)
  }
  const verified = await reading(() => storage.verify(path))
  if (verified.error === undefined) expect(verified.answer.damaged).toEqual([])
}

/** Each block once, by what it is the hash of. */
async function checkCar(dag: Dag, all: Map<string, CID>, car: Bytes): Promise<void> {
  const reader = await CarReader.fromBytes(car)
  expect((await reader.getRoots()).map(String)).toEqual([dag.root.toV1().toString()])
  const hashes = (cids: Iterable<CID>): string[] => {
    const outside = [...cids].filter(({ multihash }) => multihash.code !== 0)
    return [...new Set(outside.map(({ multihash }) => multihash.bytes.join()))].toSorted()
  }
  const written: CID[] = []
  for await (const { cid, bytes } of reader.blocks()) {
    written.push(cid)
    expectSame(bytes, dag.model.bytesOf(all.get(cid.toString()) ?? dag.root))
  }
  expect(hashes(written)).toEqual(hashes(all.values()))
}

const ranges = fc.array(fc.tuple(fc.double({ min: 0, max: 1, noNaN: true }), fc.integer({ min: 0, max: 4000 })), {
  minLength: 1,
  maxLength: 3,
})

function isUnderOneCodec(blocks: Blocks): boolean {
  const cids = [...blocks.values()].map(({ cid }) => cid)
  return new Set(cids.map(keyOf)).size === new Set(cids.map((cid) => cid.toV1().toString())).size
}

/** Puts a DAG by a CAR, does everything with it, and looks that nothing of it is left. Answers whether the CAR was taken. */
async function throughCar(
  dag: Dag,
  at: readonly [number, number][],
  options: { reversed: boolean; isHonest: boolean },
): Promise<Outcome<string[]>> {
  const { storage } = dag.on
  const before = await stateOf(dag.on)
  const path = dag.root.toV1().toString()
  const inOrder = options.reversed ? [...dag.blocks.values()].toReversed() : [...dag.blocks.values()]
  const imported = await outcomeOf(() => storage.importCar(carOf([dag.root], inOrder)))
  if (imported.error !== undefined) {
    expect(['car', 'unsupported-content', 'limit']).toContain(imported.error.code)
  } else {
    expect(imported.answer).toEqual([path])
    await checkBytes(dag, at, options.isHonest)
    await checkNames(dag)
    await checkWalks(dag)
    expect((await storage.listFiles()).map(({ cid, state }) => [cid, state])).toContainEqual([path, 'whole'])
    const pinned = await reading(() => storage.pin(path))
    if (pinned.error === undefined) {
      expect(pinned.answer).toBe(true)
      expect((await outcomeOf(() => storage.delete(path))).error?.code).toBe('pinned')
      expect(await storage.unpin(path)).toBe(true)
    }
    // Everything below stays while the root does, whatever else is freed.
    await storage.gc()
    expect(await storage.exists(path)).toBe(true)
    const unique = new Map(
      [...(dag.model.all(dag.root) ?? new Map<string, CID>()).values()].map((cid) => [cid.multihash.bytes.join(), cid]),
    )
    const bytes = [...unique.values()].reduce((sum, cid) => sum + (cid.multihash.code === 0 ? 0 : dag.model.bytesOf(cid).byteLength), 0)
    const { usage } = await storage.getBackendStatus()
    const usedBefore = (before as { usage: { bytes: number } }).usage.bytes
    // Where the CAR has a node under two codecs, what it links to under one of them may stay along.
    if (isUnderOneCodec(dag.blocks)) expect(usage.bytes - usedBefore).toBe(bytes)
    else expect(usage.bytes - usedBefore).toBeGreaterThanOrEqual(bytes)
    expect(await storage.delete(path)).toBe(true)
  }
  await storage.gc()
  expect(await stateOf(dag.on)).toEqual(before)
  return imported
}

/** The same with blocks that are in the database without the storage having written them: what a CAR would be refused for gets to the readers. */
async function planted(dag: Dag, at: readonly [number, number][]): Promise<void> {
  const { storage } = dag.on
  const before = await stateOf(dag.on)
  await plant(dag.on.cacheDir, dag.blocks.values())
  await checkBytes(dag, at, false)
  await checkNames(dag)
  await checkWalks(dag)
  const path = dag.root.toV1().toString()
  const pinned = await reading(() => storage.pin(path))
  if (pinned.answer === true) {
    expect(await storage.unpin(path)).toBe(true)
    await storage.delete(path)
  }
  await storage.gc({ foreign: true })
  await uproot(dag.on.cacheDir, dag.blocks.values())
  expect(await stateOf(dag.on)).toEqual(before)
}

async function expectOfDags<T extends unknown[]>(
  arbitraries: { [K in keyof T]: fc.Arbitrary<T[K]> },
  work: (on: Subject, ...values: T) => Promise<void>,
  runs: number,
): Promise<void> {
  let subject = await newSubject()
  // What a run left that failed, or that takes too long and is at work still, must not fail the next one.
  let isDone = true
  const property = fc.asyncProperty(fc.tuple(...arbitraries) as unknown as fc.Arbitrary<T>, async (values) => {
    if (!isDone) subject = await newSubject()
    isDone = false
    await work(subject, ...values)
    isDone = true
  })
  await expectProperty(property, runs)
  const { storage, kept } = subject
  expectSame(await storage.retrieve(kept.cid), kept.bytes)
  expect((await storage.verify()).damaged).toEqual([])
}

const order = fc.boolean()

describe('a random DAG', () => {
  it(
    'that is honest is taken, and answers as the model does',
    () =>
      expectOfDags(
        [honestSpec, ranges, order],
        async (on, spec, at, reversed) => {
          const imported = await throughCar(await dagOf(on, spec), at, { reversed, isHonest: true })
          if (imported.error !== undefined) throw imported.error
        },
        RUNS,
      ),
    FUZZ_TIMEOUT,
  )

  it(
    'that lies is refused or answers as the model does',
    () =>
      expectOfDags(
        [anySpec, ranges, order],
        async (on, spec, at, reversed) => void (await throughCar(await dagOf(on, spec), at, { reversed, isHonest: false })),
        RUNS,
      ),
    FUZZ_TIMEOUT,
  )

  it(
    'that lies and is in the database already answers as the model does, or with an error',
    () => expectOfDags([anySpec, ranges], async (on, spec, at) => planted(await dagOf(on, spec), at), RUNS),
    FUZZ_TIMEOUT,
  )
})
