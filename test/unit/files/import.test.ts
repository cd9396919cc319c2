// Imports: the official CIDs, whatever the importer alone would get wrong, order, failures.
import { readFileSync } from 'node:fs'
import * as fc from 'fast-check'
import { importer } from 'ipfs-unixfs-importer'
import type { CID } from 'multiformats/cid'
import { describe, expect, it } from 'vitest'
import type { BlockSink } from '../../../src/blocks/blocks.ts'
import { importDirectory, importFile } from '../../../src/files/import.ts'
import { CHUNK_SIZE_BYTES, HASHES_IN_FLIGHT } from '../../../src/limits.ts'
import type { Bytes, Source } from '../../../src/types.ts'
import { MemoryBlocks, settle, vectorBytes, vectorNames, vectorPieces } from './memory-blocks.ts'

const MIB = CHUNK_SIZE_BYTES
interface Vectors {
  files: ({ cid: string; utf8: string } | { cid: string; bytes: number; seed: string })[]
  directories: { cid: string }[]
}
const vectors = JSON.parse(readFileSync(new URL('unixfs.json', import.meta.url), 'utf8')) as Vectors

class NullSink implements BlockSink {
  puts = 0
  async put(cid: CID): Promise<CID> {
    this.puts++
    return cid
  }
}

describe('importFile', () => {
  it.each(vectors.files)('makes the official CID of $bytes$utf8 → $cid', async (vector) => {
    const source: Source = 'utf8' in vector ? vector.utf8 : vectorPieces(vector.bytes, vector.seed)
    const { cid, size } = await importFile(source, new NullSink())
    expect(cid.toString()).toBe(vector.cid)
    expect(size).toBe('utf8' in vector ? vector.utf8.length : vector.bytes)
  })

  it('puts leaves in the order of the file, then nodes, each owning its buffer', async () => {
    const order: number[] = []
    const blocks = new MemoryBlocks()
    const data = new Uint8Array(40 * MIB)
    for (let index = 0; index < 40; index++) data[index * MIB] = index
    await importFile(data, {
      async put(cid, bytes) {
        order.push(cid.code === 0x55 ? (bytes[0] ?? -1) : 1000)
        await settle(order.length % 3)
        return blocks.put(cid, bytes)
      },
    })
    expect(order).toEqual([...Array(40).keys(), 1000])
  })

  it('reads no further ahead than what is in flight while the sink lags behind', async () => {
    let read = 0
    let release: () => void = () => undefined
    const lag = new Promise<void>((resolve) => {
      release = resolve
    })
    const source = (function* () {
      for (; read < 100; read++) yield new Uint8Array(MIB).fill(read)
    })()
    const done = importFile(source, {
      async put(cid) {
        await lag
        return cid
      },
    })
    await settle(200)
    expect(read).toBeLessThanOrEqual(HASHES_IN_FLIGHT + 1)
    release()
    expect((await done).size).toBe(100 * MIB)
  })

  it('stores what was copied when its buffer changes meanwhile', async () => {
    const blocks = new MemoryBlocks()
    const buffer = new Uint8Array(new SharedArrayBuffer(20 * MIB))
    const done = importFile(buffer, blocks)
    buffer.fill(7)
    await settle(2)
    buffer.fill(8)
    const { cid } = await done
    const all = [...blocks.blocks.values()].map((block) => block.cid)
    expect(all.some((other) => other.equals(cid))).toBe(true)
    await blocks.getMany(all)
  })

  it('tells progress after each leaf', async () => {
    const told: number[] = []
    await importFile(new Uint8Array(2 * MIB + 1), new MemoryBlocks(), { onProgress: (bytes) => told.push(bytes) })
    expect(told).toEqual([MIB, 2 * MIB, 2 * MIB + 1])
  })

  it('leaves nothing running when the sink, the source or the caller stops it', async () => {
    for (const how of ['sink', 'source', 'abort'] as const) {
      let [running, puts, returned] = [0, 0, false]
      const abort = new AbortController()
      const source = {
        async *[Symbol.asyncIterator]() {
          try {
            for (let index = 0; ; index++) {
              if (index === 20 && how === 'source') throw new Error('source')
              if (index === 20 && how === 'abort') abort.abort(new Error('abort'))
              yield new Uint8Array(MIB).fill(index)
            }
          } finally {
            returned = true
          }
        },
      }
      const sink: BlockSink = {
        async put(cid) {
          running++
          await settle(2)
          running--
          if (puts++ === 10 && how === 'sink') throw new Error('sink')
          return cid
        },
      }
      await expect(importFile(source, sink, { signal: abort.signal })).rejects.toThrow(how)
      const before = puts
      expect(running).toBe(0)
      await settle()
      expect([puts, returned]).toEqual([before, true])
    }
  })

  it('does not wait for a source that stalls once the sink has failed', async () => {
    const source = (async function* () {
      yield new Uint8Array(MIB)
      await new Promise(() => undefined)
    })()
    await expect(importFile(source, { put: () => Promise.reject(new Error('full')) })).rejects.toThrow('full')
  })

  it('fails before anything begins for what is no source', async () => {
    const sink = new NullSink()
    await expect(importFile(null as unknown as Source, sink)).rejects.toMatchObject({ name: 'InvalidSourceError' })
    await expect(importFile(new Response('', { status: 500 }), sink)).rejects.toMatchObject({ name: 'InvalidSourceError' })
    expect(sink.puts).toBe(0)
  })
})

describe('importDirectory', () => {
  const x = 'x'
  const flat = (names: string[]) => names.map((path) => ({ path, data: x }))

  it('makes the official CIDs', async () => {
    const [empty, full] = vectors.directories
    expect((await importDirectory([], new NullSink())).cid.toString()).toBe(empty?.cid)
    const names = vectorNames(4766, 11, 21, 'hamt-unixfs-v1-2025')
    const { cid, size } = await importDirectory(flat(names), new NullSink())
    expect(cid.toString()).toBe(full?.cid)
    expect(size).toBe(4766)
  })

  it('makes what ipfs-unixfs-importer makes, flat and sharded, nested, one entry or many', async () => {
    const name = fc.string({ unit: fc.constantFrom('a', 'b', 'Z', '0', 'ü', '😀', ' ', '\uffff'), minLength: 1, maxLength: 12 })
    const paths = fc.uniqueArray(fc.tuple(fc.constantFrom('', 'a0/', 'a0/b0/', 'c0/d0/e0/'), name), {
      selector: ([dir, file]) => dir + file,
      maxLength: 30,
    })
    await fc.assert(
      fc.asyncProperty(paths, async (list) => {
        const [ours, theirs] = await both(list.map(([dir, file]) => `${dir}${file}-`))
        expect(ours).toEqual(theirs)
      }),
      { numRuns: 25 },
    )
    const sharded = vectorNames(5000, 20, 20, 'x')
    const [ours, theirs] = await both([...sharded.map((file) => `a/b/${file}`), 'a/c', 'd'])
    expect(ours).toEqual(theirs)
  })

  async function both(paths: string[]): Promise<{ cid: string | undefined; size: number; here: boolean }[]> {
    const blocks = new MemoryBlocks()
    const { cid, size } = await importDirectory(flat(paths), blocks)
    let expected: CID | undefined
    const candidates = paths.map((path) => ({ path, content: new TextEncoder().encode(x) }))
    for await (const entry of importer(candidates, new MemoryBlocks().imported, { profile: 'unixfs-v1-2025', wrapWithDirectory: true }))
      expected = entry.cid
    return [
      { cid: cid.toString(), size, here: blocks.has(cid) },
      { cid: expected?.toString(), size: paths.length, here: true },
    ]
  }

  it('counts subdirectories when it decides on sharding', async () => {
    const blocks = new MemoryBlocks()
    const { cid } = await importDirectory(
      flat(Array.from({ length: 4800 }, (_, index) => `dir-${String(index).padStart(8, '0')}/x`)),
      blocks,
    )
    expect(blocks.get(cid).byteLength).toBeLessThan(262_144)
    // As Kubo has it: the same names over children of the same CID and size, already imported.
    const child = await importDirectory(flat(['x']), blocks)
    let expected: CID | undefined
    const dagBuilder = async function* () {
      for (let index = 0; index < 4800; index++) {
        const path = `dir-${String(index).padStart(8, '0')}`
        yield async () => ({ path, cid: child.cid, size: BigInt(blocks.get(child.cid).byteLength + 1) })
      }
    }
    for await (const entry of importer([], blocks.imported, { profile: 'unixfs-v1-2025', wrapWithDirectory: true, dagBuilder }))
      expected = entry.cid
    expect(cid.toString()).toBe(expected?.toString())
  })

  it('takes a backslash for what it is', async () => {
    const blocks = new MemoryBlocks()
    const { cid } = await importDirectory(flat(['a\\/b', 'c\\']), blocks)
    const text = new TextDecoder().decode(blocks.get(cid))
    expect(text).toContain('a\\')
    expect(text).toContain('c\\')
    expect(text).not.toContain('a\\/b')
  })

  it.each([
    [''],
    ['/a'],
    ['a/'],
    ['a//b'],
    ['.'],
    ['..'],
    ['a/../b'],
    ['./a'],
    ['a/..'],
    ['a\0b'],
    ['\ud800'],
    [5],
    [null],
    [undefined],
    [{}],
  ])('refuses the path %j before it reads the source', async (path) => {
    let opened = false
    const data = {
      [Symbol.iterator]() {
        opened = true
        return [][Symbol.iterator]()
      },
    }
    const error: unknown = await importDirectory([{ path: path as string, data }], new NullSink()).catch((caught: unknown) => caught)
    expect(error).toMatchObject({ name: 'InvalidPathError', code: 'invalid-path', path: typeof path === 'string' ? path : '' })
    expect(opened).toBe(false)
  })

  it.each([[['a', 'a']], [['a/b', 'a/b']], [['a', 'a/b']], [['a/b', 'a']], [['a/b/c', 'a/b']], [['a/b', 'a/b/c']]])(
    'refuses %j together',
    async (paths) => {
      await expect(importDirectory(flat(paths), new NullSink())).rejects.toMatchObject({ name: 'InvalidPathError', path: paths[1] })
    },
  )

  it('refuses names and paths beyond the limits', async () => {
    await expect(importDirectory(flat(['ü'.repeat(128)]), new NullSink())).rejects.toMatchObject({
      name: 'LimitError',
      limit: 'MAX_NAME_BYTES',
      value: 256,
    })
    await expect(importDirectory(flat(['a/'.repeat(256) + 'a']), new NullSink())).rejects.toMatchObject({
      limit: 'MAX_PATH_SEGMENTS',
      value: 257,
    })
    await importDirectory(flat(['a'.repeat(255), 'a/'.repeat(255) + 'a']), new NullSink())
  })

  it('opens sources one after another, and returns its entries when one fails', async () => {
    const log: string[] = []
    const entries = {
      async *[Symbol.asyncIterator]() {
        try {
          for (const name of ['a', 'b', 'c']) {
            log.push(`entry ${name}`)
            const data = (function* (): Generator<Bytes> {
              log.push(`open ${name}`)
              yield vectorBytes(10, name)
              if (name === 'b') throw new Error('half way')
              log.push(`end ${name}`)
            })()
            yield { path: name, data }
          }
        } finally {
          log.push('returned')
        }
      },
    }
    await expect(importDirectory(entries, new NullSink())).rejects.toThrow('half way')
    expect(log).toEqual(['entry a', 'open a', 'end a', 'entry b', 'open b', 'returned'])
  })

  it('refuses what is no list of entries', async () => {
    await expect(importDirectory(null as unknown as [], new NullSink())).rejects.toMatchObject({ name: 'InvalidSourceError' })
    await expect(importDirectory([null] as unknown as [], new NullSink())).rejects.toMatchObject({ name: 'InvalidPathError' })
    await expect(importDirectory([{ path: 'a' }] as unknown as [], new NullSink())).rejects.toMatchObject({ name: 'InvalidSourceError' })
  })

  it('stops when aborted between entries', async () => {
    const abort = new AbortController()
    const entries = (async function* () {
      yield { path: 'a', data: 'x' }
      abort.abort(new Error('enough'))
      yield { path: 'b', data: 'x' }
    })()
    await expect(importDirectory(entries, new NullSink(), { signal: abort.signal })).rejects.toThrow('enough')
  })
})
