// What makes the blockstore that Helia gets a view of its own session alone. The suite every blockstore passes is in blockstore.test.ts.
import type { CID } from 'multiformats/cid'
import { CID as Cid } from 'multiformats/cid'
import { sha256 } from 'multiformats/hashes/sha2'
import { afterEach, describe, expect, it } from 'vitest'
import { Core } from '../../src/core.ts'
import { IPFSKitStorage } from '../../src/index.ts'
import { openSession, type SessionBlockstore } from '../../src/network/helia-view.ts'
import { resolveOptions } from '../../src/options.ts'
import { bytesOf, gatherAll } from './support/outside.ts'
import { closeAll, countAll, freshName, localStorageOf, NOTHING, UNHEARD } from './support/stores.ts'

interface Opened {
  core: Core
  view: SessionBlockstore
  name: string
}

const opened: Opened[] = []

async function open(name = freshName()): Promise<Opened> {
  const core = await Core.open(resolveOptions({ cacheDir: name, forceFallback: true }), UNHEARD)
  const one = { core, view: await openSession(core.store, core.pinnedByHelia), name }
  opened.push(one)
  return one
}

afterEach(async () => {
  const all = opened.splice(0)
  for (const { core, view } of all) {
    await view.close()
    await core.close()
  }
  await closeAll()
  for (const { name } of all) await IPFSKitStorage.destroy(name)
})

async function block(text: string): Promise<{ cid: CID; bytes: Uint8Array<ArrayBuffer> }> {
  const bytes = new TextEncoder().encode(text)
  return { cid: Cid.createV1(0x55, await sha256.digest(bytes)), bytes }
}

async function listed(view: SessionBlockstore): Promise<string[]> {
  const all = await gatherAll(view.getAll())
  return all.map(({ cid }) => cid.toString()).toSorted()
}

describe('the view of a session', () => {
  it('lists what it put, and not what others own', async () => {
    const name = freshName()
    const storage = localStorageOf({ cacheDir: name })
    const mine = await storage.store('mine')
    const { view } = await open(name)
    const guest = await block('guest')
    await view.put(guest.cid, guest.bytes)
    // What it merely reads does not become its own; what it is told is here does, beside the entry.
    await bytesOf(view.get(Cid.parse(mine)))
    expect((await countAll(name)).references).toBe(1)
    expect(await view.has(Cid.parse(mine))).toBe(true)
    expect((await countAll(name)).references).toBe(2)
    expect(await listed(view)).toEqual([guest.cid.toString()])
    await storage.delete(mine)
    await storage.gc()
    expect(await storage.exists(mine)).toBe(true)
    expect(await listed(view)).toEqual([guest.cid.toString(), mine].toSorted())
  })

  it('deletes its own and leaves what others own', async () => {
    const name = freshName()
    const storage = localStorageOf({ cacheDir: name })
    const mine = Cid.parse(await storage.store('mine'))
    const { view } = await open(name)
    const [guest, both] = [await block('guest'), await block('both')]
    for (const { cid, bytes } of [guest, both]) await view.put(cid, bytes)
    await storage.store('both')
    expect(await view.has(mine)).toBe(true)
    for (const cid of [mine, guest.cid, both.cid]) await view.delete(cid)
    expect(await listed(view)).toEqual([])
    expect([await storage.exists(mine), await storage.exists(guest.cid), await storage.exists(both.cid)]).toEqual([true, false, true])
    expect((await storage.getBackendStatus()).usage.blocks).toBe(2)
    await gatherAll(view.deleteMany([mine, both.cid]))
    await storage.delete(mine)
    await storage.delete(both.cid)
    expect((await countAll(name)).blocks).toBe(0)
  })

  it('writes many blocks in one transaction, and names each once', async () => {
    const { view, name } = await open()
    const blocks = await Promise.all(Array.from({ length: 200 }, (_, index) => block(`block ${index}`)))
    await Promise.all(blocks.map(({ cid, bytes }) => view.put(cid, bytes)))
    expect(await countAll(name)).toMatchObject({ blocks: 200, owners: 1, foreign: 0 })
    expect((await countAll(name)).references).toBeLessThan(4)
  })

  it('counts what it wrote in the usage', async () => {
    const name = freshName()
    const storage = localStorageOf({ cacheDir: name })
    await storage.store('mine')
    const one = await open(name)
    const guests = [await block('guest 1'), await block('guest 2')]
    for (const { cid, bytes } of guests) await one.view.put(cid, bytes)
    expect((await storage.getBackendStatus()).usage).toMatchObject({ blocks: 3, bytes: 18 })
    for (const { cid } of guests) await one.view.delete(cid)
    expect((await storage.getBackendStatus()).usage).toMatchObject({ blocks: 1, bytes: 4 })
  })

  it('is taken over by the next node, and shared with none that runs', async () => {
    const name = freshName()
    const one = await open(name)
    const guest = await block('guest')
    await one.view.put(guest.cid, guest.bytes)
    const two = await open(name)
    expect(await listed(two.view)).toEqual([])
    await one.view.close()
    await two.view.close()
    const three = await open(name)
    expect(await listed(three.view)).toEqual([guest.cid.toString()])
    await three.view.delete(guest.cid)
    expect((await countAll(name)).blocks).toBe(0)
  })

  it('copies what it is given', async () => {
    const { view, name } = await open()
    const large = new Uint8Array(1 << 20).fill(7)
    const part = large.subarray(10, 20)
    const cid = Cid.createV1(0x55, await sha256.digest(part))
    const put = view.put(cid, part)
    large.fill(0)
    await put
    const [read] = await gatherAll(view.get(cid))
    expect(read).toEqual(new Uint8Array(10).fill(7))
    expect(read?.buffer.byteLength).toBe(10)
    await view.delete(cid)
    expect({ ...(await countAll(name)), owners: 0 }).toEqual(NOTHING)
  })

  it('answers damage with an error, and not with the bytes', async () => {
    const { view, core } = await open()
    const guest = await block('guest')
    await view.put(guest.cid, guest.bytes)
    const [key] = await core.store.records.keys(undefined, 1)
    await core.store.records.putMany([{ key: key ?? '', bytes: new TextEncoder().encode('guess') }], new Set([key ?? '']))
    await expect(bytesOf(view.get(guest.cid))).rejects.toMatchObject({ name: 'IntegrityError', cid: guest.cid.toString() })
    expect(await view.has(guest.cid)).toBe(false)
    await view.put(guest.cid, guest.bytes)
    expect(await view.has(guest.cid)).toBe(true)
    expect(await gatherAll(view.get(guest.cid))).toEqual([guest.bytes])
  })
})
