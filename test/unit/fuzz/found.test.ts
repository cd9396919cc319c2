// What fuzzing found, one minimal case each.
import { CID } from 'multiformats/cid'
import * as Digest from 'multiformats/hashes/digest'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Blocks, DAG_PB, pbNode, RAW, unixfsMessage } from './dags.ts'
import { carOf, closeAll, expectSame, openStorage, plant, stateOf, type Opened } from './support.ts'

const PLAIN_CBOR = 0x51
const FILE = 2
const bytes = new TextEncoder().encode('three more words')

let opened: Opened
beforeEach(async () => {
  opened = await openStorage()
})
afterEach(closeAll)

describe('importCar', () => {
  it('keeps what a node links to that lies in its CID', async () => {
    const { storage } = opened
    const blocks = new Blocks()
    const leaf = await blocks.add(RAW, bytes)
    const message = unixfsMessage({ type: FILE, sizes: [16n] })
    const inline = await blocks.add(DAG_PB, pbNode(message, [{ cid: leaf }]), 'identity')
    const root = await blocks.add(DAG_PB, pbNode(message, [{ cid: inline }]))
    await storage.importCar(carOf([root], blocks.values()))
    await storage.gc()
    expectSame(await storage.retrieve(root), bytes)
  })

  it('keeps what a node links to whose block the CAR has under another codec before', async () => {
    const { storage } = opened
    const blocks = new Blocks()
    const leaf = await blocks.add(RAW, bytes)
    const message = unixfsMessage({ type: FILE, sizes: [16n] })
    const node = pbNode(message, [{ cid: leaf }])
    const plain = await blocks.add(PLAIN_CBOR, node)
    const below = await blocks.add(DAG_PB, node)
    const root = await blocks.add(DAG_PB, pbNode(message, [{ cid: below }]))
    const inOrder = [plain, below, root, leaf].map((cid) => blocks.get(cid.toString())).filter((block) => block !== undefined)
    await storage.importCar(carOf([root], inOrder))
    await storage.gc()
    expectSame(await storage.retrieve(root), bytes)
  })

  it('counts what it freed, not what a parent said of its size', async () => {
    const { storage } = opened
    await storage.store('kept')
    const before = await stateOf(opened)
    const blocks = new Blocks()
    const leaf = await blocks.add(RAW, bytes)
    const file = await blocks.add(DAG_PB, pbNode(unixfsMessage({ type: FILE, sizes: [2n ** 40n] }), [{ cid: leaf }]))
    const root = await blocks.add(DAG_PB, pbNode(unixfsMessage({ type: 1 }), [{ cid: file, name: 'lies', tsize: 5n }]))
    await storage.importCar(carOf([root], blocks.values()))
    await storage.delete(root)
    expect(await storage.gc()).toEqual({ blocks: 0, bytes: 0 })
    expect(await stateOf(opened)).toEqual(before)
  })

  it('refuses a root that no method would take, since nothing could delete it', async () => {
    const before = await stateOf(opened)
    const root = CID.createV1(RAW, Digest.create(0, new Uint8Array(129)))
    await expect(opened.storage.importCar(carOf([root], []))).rejects.toMatchObject({ name: 'LimitError' })
    expect(await stateOf(opened)).toEqual(before)
  })

  it('looks at a root once, however often the header names it', async () => {
    const { storage } = opened
    const blocks = new Blocks()
    const root = await blocks.add(RAW, bytes)
    const roots = Array.from({ length: 20_000 }, () => root)
    expect(new Set(await storage.importCar(carOf(roots, blocks.values())))).toEqual(new Set([root.toString()]))
    expect(await storage.listFiles()).toHaveLength(1)
  })
})

describe('a path', () => {
  it('that is very long is not decoded as base58, which takes the square of its length', async () => {
    await expect(opened.storage.retrieve(`z${'2'.repeat(1_000_000)}`)).rejects.toMatchObject({ name: 'InvalidCidError' })
  })

  it('that only looks like a CID is none', async () => {
    const view = new Uint8Array(3)
    const looks = { '/': view, bytes: view, version: 1, code: RAW, multihash: { code: 0x12, size: 'x' } }
    await expect(opened.storage.retrieve(looks as never)).rejects.toMatchObject({ name: 'InvalidCidError' })
  })
})

it('a directory is listed though a child has a hash that is not known here', async () => {
  const { storage, cacheDir } = opened
  const blocks = new Blocks()
  const child = await blocks.add(DAG_PB, bytes, 'unknown')
  const root = await blocks.add(DAG_PB, pbNode(unixfsMessage({ type: 1 }), [{ cid: child, name: 'other', tsize: 16n }]))
  await plant(cacheDir, blocks.values())
  expect(await storage.listDirectory(root)).toMatchObject([{ name: 'other', type: 'file', size: 16 }])
})
