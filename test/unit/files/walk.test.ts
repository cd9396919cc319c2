// Links of blocks, and walks over DAGs.
import * as dagCbor from '@ipld/dag-cbor'
import * as dagJson from '@ipld/dag-json'
import * as dagPb from '@ipld/dag-pb'
import { UnixFS } from 'ipfs-unixfs'
import { CID } from 'multiformats/cid'
import { identity } from 'multiformats/hashes/identity'
import { describe, expect, it } from 'vitest'
import { linksOf, loadCodec, ownBytes } from '../../../src/blocks/links.ts'
import { importDirectory, importFile } from '../../../src/files/import.ts'
import { walk, type WalkedBlock } from '../../../src/files/walk.ts'
import { CHUNK_SIZE_BYTES, MAX_DAG_DEPTH } from '../../../src/limits.ts'
import { build, put, putFile } from './dags.ts'
import { collect, keyOf, MemoryBlocks, vectorPieces } from './memory-blocks.ts'

const MIB = CHUNK_SIZE_BYTES
const text = (value: string): Uint8Array => new TextEncoder().encode(value)

describe('linksOf and ownBytes', () => {
  it('say what a file node links to, with the sizes of raw leaves', async () => {
    const blocks = new MemoryBlocks()
    const children = [await build(blocks, { leaf: text('abc'), as: 'raw' }), await build(blocks, { leaf: text('de'), as: 'pb-file' })]
    const { cid } = await putFile(blocks, text('own'), [...children, ...children])
    const [a, b] = children.map((child) => child.cid) as [CID, CID]
    expect(linksOf(cid, blocks.get(cid))).toEqual([{ cid: a, bytes: 3 }, { cid: b }, { cid: a, bytes: 3 }, { cid: b }])
    expect(ownBytes(cid, blocks.get(cid))).toBe(3)
    expect([linksOf(a, blocks.get(a)), ownBytes(a, blocks.get(a))]).toEqual([[], 3])
    expect(ownBytes(b, blocks.get(b))).toBe(2)
  })

  it('say what a directory links to', async () => {
    const blocks = new MemoryBlocks()
    const { cid } = await importDirectory(
      [
        { path: 'a', data: 'abc' },
        { path: 'b/c', data: 'x' },
      ],
      blocks,
    )
    expect(linksOf(cid, blocks.get(cid)).map((link) => link.bytes)).toEqual([3, undefined])
    expect(ownBytes(cid, blocks.get(cid))).toBe(0)
  })

  it('find CIDs in dag-cbor and dag-json in the order of the data', async () => {
    const blocks = new MemoryBlocks()
    const [a, b, c] = [await put(blocks, 0x55, text('a')), await put(blocks, 0x70, text('b')), await put(blocks, 0x55, text('c'))]
    const value = { list: [1, a, { deep: [b, 'text', null, new Uint8Array([1])] }], zzzz: c }
    for (const codec of [dagCbor, dagJson]) {
      const cid = await put(blocks, codec.code, codec.encode(value))
      await loadCodec(cid)
      expect(linksOf(cid, blocks.get(cid))).toEqual([{ cid: a }, { cid: b }, { cid: c }])
      expect(ownBytes(cid, blocks.get(cid))).toBe(0)
      const scalar = await put(blocks, codec.code, codec.encode(a))
      expect(linksOf(scalar, blocks.get(scalar))).toEqual([{ cid: a }])
    }
    const json = await put(blocks, 0x0200, text('{"/":"x"}'))
    expect(linksOf(json, blocks.get(json))).toEqual([])
  })

  it('refuse what they do not know or can not decode', async () => {
    const blocks = new MemoryBlocks()
    for (const [codec, bytes] of [
      [0x70, [1, 2, 3]],
      [0x71, [0xff]],
      [0x0129, [0x7b]],
      [0x78, [1]],
    ] as const) {
      const cid = await put(blocks, codec, new Uint8Array(bytes))
      await loadCodec(cid)
      expect(() => linksOf(cid, blocks.get(cid))).toThrow(expect.objectContaining({ name: 'UnsupportedContentError', cid: cid.toString() }))
    }
    const wide = await put(blocks, 0x71, dagCbor.encode(Array(8193).fill(CID.createV1(0x55, identity.digest(new Uint8Array(1))))))
    expect(() => linksOf(wide, blocks.get(wide))).toThrow(expect.objectContaining({ limit: 'MAX_LINKS_PER_NODE' }))
    const deep = await put(blocks, 0x71, new Uint8Array(500_000).fill(0x81))
    expect(() => linksOf(deep, blocks.get(deep))).toThrow(expect.objectContaining({ name: 'UnsupportedContentError' }))
  })

  it('give no sizes where a file node contradicts itself', async () => {
    const blocks = new MemoryBlocks()
    const leaf = await put(blocks, 0x55, text('abc'))
    const cid = await put(
      blocks,
      0x70,
      dagPb.encode({ Data: new UnixFS({ type: 'file' }).marshal(), Links: [{ Name: '', Hash: leaf, Tsize: 3 }] }),
    )
    expect(linksOf(cid, blocks.get(cid))).toEqual([{ cid: leaf, bytes: undefined }])
  })
})

describe('walk', () => {
  async function both(): Promise<{ blocks: MemoryBlocks; root: CID }> {
    const blocks = new MemoryBlocks()
    const file = await importFile(vectorPieces(5 * MIB, 'w'), blocks)
    const directory = await importDirectory(
      [
        { path: 'a/b', data: vectorPieces(5 * MIB, 'w') },
        { path: 'c', data: 'c' },
        { path: 'd', data: 'c' },
      ],
      blocks,
    )
    const root = await put(blocks, 0x71, dagCbor.encode({ file: file.cid, directory: directory.cid, again: directory.cid }))
    return { blocks, root }
  }

  it('gives each block once and reads only nodes', async () => {
    const { blocks, root } = await both()
    blocks.asked = []
    const nodes: string[] = []
    const walked = await collect(walk(blocks, root, { onNode: (cid) => nodes.push(cid.toString()) }))
    expect(walked.map(({ cid }) => keyOf(cid)).toSorted()).toEqual([...blocks.blocks.keys()].toSorted())
    expect(blocks.asked.flat().every((cid) => cid.code !== 0x55)).toBe(true)
    expect(blocks.asked.flat().map(String).toSorted()).toEqual(nodes.toSorted())
    const known = new Map(walked.map((block): [string, WalkedBlock] => [block.cid.toString(), block]))
    for (const block of walked) {
      expect(block.bytes).toBe(blocks.get(block.cid).byteLength)
      for (const link of block.links) expect(known.has(link.toString())).toBe(true)
    }
    expect(known.get(root.toString())?.links).toHaveLength(3)
  })

  it('does not need leaves, and says what else is missing', async () => {
    const { blocks, root } = await both()
    for (const { cid } of blocks.blocks.values()) if (cid.code === 0x55) blocks.delete(cid)
    await collect(walk(blocks, root))
    const [node] = [...blocks.blocks.values()].filter(({ cid }) => cid.code === 0x70)
    blocks.delete(node?.cid as CID)
    await expect(collect(walk(blocks, root))).rejects.toMatchObject({ name: 'MissingBlockError' })
    const missing: string[] = []
    await collect(walk(blocks, root, { onMissing: (cid) => missing.push(cid.toString()) }))
    expect(missing).toEqual([node?.cid.toString()])
  })

  it('follows links in identity CIDs, and a block under each codec it is linked by', async () => {
    const blocks = new MemoryBlocks()
    const leaf = await put(blocks, 0x55, text('leaf'))
    const inline = CID.createV1(0x71, identity.digest(dagCbor.encode([leaf]))) as CID
    const node = await put(blocks, 0x71, dagCbor.encode({ leaf }))
    const asLeaf = CID.createV1(0x55, node.multihash) as CID
    const root = await put(blocks, 0x71, dagCbor.encode([inline, asLeaf, node]))
    blocks.asked = []
    const walked = await collect(walk(blocks, root))
    expect(walked.map(({ cid }) => cid.toString()).toSorted()).toEqual([root, inline, asLeaf, node, leaf].map(String).toSorted())
    expect(blocks.asked.flat().some((cid) => cid.equals(inline))).toBe(false)
  })

  it('is bounded in depth and windows, and ends when aborted', async () => {
    const blocks = new MemoryBlocks()
    let root = await put(blocks, 0x71, dagCbor.encode('end'))
    for (let depth = 0; depth < MAX_DAG_DEPTH; depth++) root = await put(blocks, 0x71, dagCbor.encode([root]))
    expect(await collect(walk(blocks, root))).toHaveLength(MAX_DAG_DEPTH + 1)
    root = await put(blocks, 0x71, dagCbor.encode([root]))
    await expect(collect(walk(blocks, root))).rejects.toMatchObject({ name: 'LimitError', limit: 'MAX_DAG_DEPTH' })
    const many = await Promise.all(Array.from({ length: 500 }, (_, index) => put(blocks, 0x71, dagCbor.encode(index))))
    const wide = await put(blocks, 0x71, dagCbor.encode(many))
    blocks.asked = []
    expect(await collect(walk(blocks, wide))).toHaveLength(501)
    expect(Math.max(...blocks.asked.map((cids) => cids.length))).toBeLessThanOrEqual(64)
    const abort = new AbortController()
    const walking = walk(blocks, wide, { signal: abort.signal })
    await walking.next()
    abort.abort(new Error('enough'))
    await expect(collect(walking)).rejects.toThrow('enough')
  })

  it('gives a leaf that is the root', async () => {
    const blocks = new MemoryBlocks()
    const { cid } = await importFile('x', blocks)
    expect(await collect(walk(blocks, cid))).toEqual([{ cid, links: [], bytes: undefined }])
  })
})
