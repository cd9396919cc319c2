// Directories: paths and listings, flat and sharded, against ipfs-unixfs-exporter.
import * as dagPb from '@ipld/dag-pb'
import * as fc from 'fast-check'
import { UnixFS } from 'ipfs-unixfs'
import { exporter, type UnixFSDirectory } from 'ipfs-unixfs-exporter'
import { importer } from 'ipfs-unixfs-importer'
import type { CID } from 'multiformats/cid'
import { beforeAll, describe, expect, it } from 'vitest'
import type { BlockSource } from '../../../src/blocks/blocks.ts'
import { UnavailableError } from '../../../src/errors.ts'
import { compareCodePoints, listDirectory, resolvePath } from '../../../src/files/directory.ts'
import { importDirectory, importFile } from '../../../src/files/import.ts'
import { contentSize, describeRoot } from '../../../src/files/stat.ts'
import { CHUNK_SIZE_BYTES } from '../../../src/limits.ts'
import { put, putDirectory, putFile, putSymlink } from './dags.ts'
import { MemoryBlocks, vectorBytes, vectorNames } from './memory-blocks.ts'

const MIB = CHUNK_SIZE_BYTES

describe('a sharded directory', () => {
  const blocks = new MemoryBlocks()
  // Made with fewer bits too, so that shards are deep and buckets cross bytes.
  const roots: { bits: number; names: string[]; cid: CID }[] = []

  beforeAll(async () => {
    for (const [bits, count] of [
      [8, 1500],
      [3, 400],
      [5, 300],
      [1, 40],
      [10, 200],
    ] as const) {
      const names = [...vectorNames(count, 8, 8, `shards ${bits}`), 'ü😀', '\uffff', '00', 'FF']
      const candidates = names.map((path) => ({ path, content: new TextEncoder().encode(path) }))
      let cid: CID | undefined
      const options = { profile: 'unixfs-v1-2025' as const, wrapWithDirectory: true, shardFanoutBits: bits, shardSplitThresholdBytes: 0 }
      for await (const entry of importer(candidates, blocks.imported, options)) cid = entry.cid
      if (cid !== undefined) roots.push({ bits, names, cid })
    }
  })

  it('is resolved name by name, reading only the blocks on the way', async () => {
    for (const { names, cid } of roots) {
      for (const name of names.filter((_, index) => index % 17 === 0 || index > names.length - 5)) {
        blocks.asked = []
        const found = await resolvePath(blocks, cid, [name])
        expect(new TextDecoder().decode(blocks.get(found?.cid as CID))).toBe(name)
        expect(blocks.asked.flat().map(String)).toEqual(found?.nodes.map(String))
        expect(found?.nodes[0]?.equals(cid)).toBe(true)
      }
      for (const absent of ['', '0', '00x', 'nobody', names[0]?.slice(1) ?? '']) expect(await resolvePath(blocks, cid, [absent])).toBeNull()
    }
  })

  it('is listed as the exporter lists it, in the order of code points', async () => {
    for (const { cid, names } of roots) {
      const expected = new Map<string, string>()
      const directory = (await exporter(cid, blocks.exported)) as UnixFSDirectory
      for await (const entry of directory.entries()) expected.set(entry.name, entry.cid.toString())
      const listed = await listDirectory(blocks, cid, 'models')
      expect(new Map(listed.map((entry) => [entry.name, entry.cid]))).toEqual(expected)
      expect(listed.map((entry) => entry.name)).toEqual(
        [...new Set(names)].toSorted((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b))),
      )
      for (const entry of listed) {
        expect(entry).toMatchObject({ type: 'file', path: `models/${entry.name}`, size: new TextEncoder().encode(entry.name).byteLength })
      }
    }
  })

  it('is read in bounded windows', async () => {
    blocks.asked = []
    await listDirectory(blocks, roots[0]?.cid as CID)
    expect(Math.max(...blocks.asked.map((cids) => cids.length))).toBeLessThanOrEqual(64)
    expect(blocks.askedCount).toBeGreaterThan(100)
  })

  it('is no more read than here: a missing shard is said, a malformed one refused', async () => {
    const some = new MemoryBlocks()
    const candidates = vectorNames(300, 8, 8, 'm').map((path) => ({ path, content: new Uint8Array([1]) }))
    let cid: CID | undefined
    for await (const entry of importer(candidates, some.imported, {
      profile: 'unixfs-v1-2025',
      wrapWithDirectory: true,
      shardSplitThresholdBytes: 0,
    }))
      cid = entry.cid
    const root = cid as CID
    const shard = dagPb.decode(some.get(root)).Links.find((link) => link.Name?.length === 2)?.Hash as CID
    some.delete(shard)
    await expect(listDirectory(some, root)).rejects.toMatchObject({ name: 'MissingBlockError' })
    for (const fanout of [0n, 3n, 2048n]) {
      const bad = await put(
        some,
        dagPb.code,
        dagPb.encode({ Data: new UnixFS({ type: 'hamt-sharded-directory', fanout }).marshal(), Links: [] }),
      )
      await expect(listDirectory(some, bad)).rejects.toMatchObject({ name: 'UnsupportedContentError' })
      await expect(resolvePath(some, bad, ['a'])).rejects.toMatchObject({ name: 'UnsupportedContentError' })
    }
    const Data = new UnixFS({ type: 'hamt-sharded-directory', fanout: 256n }).marshal()
    const file = await put(some, 0x55, new Uint8Array(1))
    const Links = Array.from({ length: 256 }, (_, index) => ({
      Name: index.toString(16).toUpperCase().padStart(2, '0'),
      Hash: file,
      Tsize: 1,
    }))
    const odd = await put(some, dagPb.code, dagPb.encode({ Data, Links }))
    await expect(listDirectory(some, odd)).rejects.toMatchObject({ name: 'UnsupportedContentError' })
    await expect(resolvePath(some, odd, ['a'])).rejects.toMatchObject({ name: 'UnsupportedContentError' })
  })
})

describe('resolvePath', () => {
  it('walks nested directories and says which blocks it met', async () => {
    const blocks = new MemoryBlocks()
    const { cid } = await importDirectory(
      [
        { path: 'a/b/c.txt', data: 'c' },
        { path: 'a/d.txt', data: 'd' },
      ],
      blocks,
    )
    const found = await resolvePath(blocks, cid, ['a', 'b', 'c.txt'])
    expect(new TextDecoder().decode(blocks.get(found?.cid as CID))).toBe('c')
    expect(found?.nodes).toHaveLength(3)
    expect((await resolvePath(blocks, cid, []))?.nodes).toEqual([])
    expect(await resolvePath(blocks, cid, ['a', 'x'])).toBeNull()
    expect(await resolvePath(blocks, cid, ['a', 'd.txt', 'x'])).toBeNull()
    blocks.delete(found?.nodes[1] as CID)
    await expect(resolvePath(blocks, cid, ['a', 'b'])).rejects.toMatchObject({ name: 'MissingBlockError' })
  })

  it('does not follow symlinks, nor paths into other DAGs', async () => {
    const blocks = new MemoryBlocks()
    const link = await putSymlink(blocks, 'elsewhere')
    const cbor = await put(blocks, 0x71, new Uint8Array([0xa0]))
    const cid = await putDirectory(blocks, [
      { Name: 'link', Hash: link },
      { Name: 'cbor', Hash: cbor },
    ])
    expect((await resolvePath(blocks, cid, ['link']))?.cid.equals(link)).toBe(true)
    for (const name of ['link', 'cbor'])
      await expect(resolvePath(blocks, cid, [name, 'x'])).rejects.toMatchObject({ name: 'UnsupportedContentError' })
  })
})

describe('listDirectory', () => {
  async function mixed() {
    const blocks = new MemoryBlocks()
    const directory = await putDirectory(blocks, [{ Name: 'x', Hash: (await importFile('x', blocks)).cid, Tsize: 1 }])
    const large = await importFile(vectorBytes(2 * MIB + 1, 'l'), blocks)
    const small = await importFile('small', blocks)
    const leaf = await putFile(blocks, new Uint8Array(9), [], 'v0')
    const entries = {
      'a-large': large.cid,
      'b-small': small.cid,
      'c-small-unsized': (await importFile('other', blocks)).cid,
      'd-link': await putSymlink(blocks, '/target'),
      'e-directory': directory,
      'f-v0': leaf.cid,
      'g-cbor': await put(blocks, 0x71, new Uint8Array([0xa0])),
      'h-unknown': await put(blocks, 0x78, new Uint8Array([0xa0])),
      'i-malformed': await put(blocks, dagPb.code, new Uint8Array([1, 2])),
    }
    const links = Object.entries(entries).map(([Name, Hash], index) => ({
      Name,
      Hash,
      ...(Name === 'c-small-unsized' ? {} : { Tsize: 5 + index }),
    }))
    return { blocks, cid: await putDirectory(blocks, links), entries }
  }
  const types = (listed: { name: string; type: string; size: number }[]) => listed.map(({ name, type, size }) => `${name} ${type} ${size}`)

  it('tells types and sizes of what is inside', async () => {
    const { blocks, cid, entries } = await mixed()
    const listed = await listDirectory(blocks, cid)
    expect(types(listed)).toEqual([
      `a-large file ${2 * MIB + 1}`,
      'b-small file 6',
      'c-small-unsized file 5',
      'd-link symlink 7',
      'e-directory directory 9',
      'f-v0 file 9',
      'g-cbor file 11',
      'h-unknown file 12',
      'i-malformed file 13',
    ])
    expect(listed[5]).toMatchObject({ path: 'f-v0', cid: entries['f-v0'].toV1().toString() })
  })

  it('lists children that are not here as files with their Tsize', async () => {
    const { blocks, cid, entries } = await mixed()
    for (const child of Object.values(entries)) blocks.delete(child)
    const listed = await listDirectory(blocks, cid)
    expect(listed.every((entry) => entry.type === 'file')).toBe(true)
    expect(listed.map((entry) => entry.size)).toEqual([5, 6, 0, 8, 9, 10, 11, 12, 13])
  })

  it('asks nobody any more once nobody can be asked', async () => {
    const { blocks, cid } = await mixed()
    let asked = 0
    const offline: BlockSource = {
      getMany: async (cids, options) => {
        const [first] = cids
        if (first?.equals(cid) === true) return blocks.getMany(cids, options)
        asked++
        throw new UnavailableError('offline', String(first))
      },
    }
    expect((await listDirectory(offline, cid)).every((entry) => entry.type === 'file')).toBe(true)
    expect(types(await listDirectory(offline, cid, '', { local: blocks }))).toEqual(types(await listDirectory(blocks, cid)))
    expect(asked).toBe(2)
  })

  it('refuses what is no directory', async () => {
    const { blocks, entries } = await mixed()
    for (const name of ['a-large', 'b-small', 'd-link', 'g-cbor'] as const) {
      await expect(listDirectory(blocks, entries[name])).rejects.toMatchObject({ name: 'NotADirectoryError' })
    }
    await expect(listDirectory(blocks, entries['h-unknown'])).rejects.toMatchObject({ name: 'UnsupportedContentError' })
  })

  it('rethrows damage', async () => {
    const { blocks, cid, entries } = await mixed()
    blocks.flip(entries['a-large'])
    await expect(listDirectory(blocks, cid)).rejects.toMatchObject({ name: 'IntegrityError' })
  })
})

describe('contentSize and describeRoot', () => {
  it('add up files, each as often as it is named', async () => {
    const blocks = new MemoryBlocks()
    const big = vectorBytes(MIB + 5, 'big')
    const { cid, size } = await importDirectory(
      [
        { path: 'a/one', data: big },
        { path: 'a/two', data: big },
        { path: 'b/c/three', data: 'three' },
      ],
      blocks,
    )
    expect(size).toBe(2 * (MIB + 5) + 5)
    expect(await contentSize(blocks, cid)).toBe(size)
    expect(await describeRoot(blocks, cid)).toEqual({ type: 'directory', size })
    const file = await importFile(big, blocks)
    expect(await describeRoot(blocks, file.cid)).toEqual({ type: 'file', size: MIB + 5 })
    expect(await describeRoot(blocks, await putSymlink(blocks, 'abc'))).toEqual({ type: 'symlink', size: 3 })
    expect(await describeRoot(blocks, await put(blocks, 0x71, new Uint8Array([0xa0])))).toEqual({ type: 'dag', size: 1 })
  })

  it('read each directory once, however often it is named', async () => {
    const blocks = new MemoryBlocks()
    let { cid } = await importDirectory([{ path: 'x', data: 'x' }], blocks)
    for (let depth = 0; depth < 40; depth++)
      cid = await putDirectory(
        blocks,
        ['a', 'b'].map((Name) => ({ Name, Hash: cid, Tsize: 1 })),
      )
    blocks.asked = []
    expect(await contentSize(blocks, cid)).toBe(2 ** 40)
    expect(blocks.askedCount).toBeLessThan(200)
    for (let depth = 0; depth < 14; depth++)
      cid = await putDirectory(
        blocks,
        ['a', 'b'].map((Name) => ({ Name, Hash: cid, Tsize: 1 })),
      )
    await expect(contentSize(blocks, cid)).rejects.toMatchObject({ name: 'LimitError', limit: 'MAX_CONTENT_BYTES' })
  })
})

describe('compareCodePoints', () => {
  it('orders as the bytes of UTF-8 do', () => {
    const text = fc.string({ unit: 'binary', maxLength: 4 })
    fc.assert(
      fc.property(text, text, (a, b) => {
        expect(Math.sign(compareCodePoints(a, b))).toBe(Math.sign(Buffer.compare(Buffer.from(a), Buffer.from(b))))
      }),
      { numRuns: 500 },
    )
  })
})
