// Large files that lie in records, since nobody could write packs when they came, are moved into packs by whoever can, when idle.
import { afterEach, describe, expect, it, vi } from 'vitest'
import type { IPFSKitStorage } from '../../src/index.ts'
import { flip, keyOf, rawCidOf, readRecord } from './support/outside.ts'
import { closeAll, countAll, freshName, localStorageOf, randomBytes, recordKeys, same, waitForNothing, within } from './support/stores.ts'

const MIB = 1024 * 1024
const LEAVES = 6
const MOVED = { records: 1, packed: LEAVES, packs: 1, packFiles: 1, damaged: 0 }

afterEach(closeAll)

/** One that can make no workers, so that it writes records though nobody asked for them. */
function without(name: string): IPFSKitStorage {
  const createWorker = (): never => {
    throw new Error('no worker today')
  }
  return localStorageOf({ cacheDir: name, config: { tier: 'auto', createWorker } })
}

async function recorded(): Promise<{ name: string; cid: string; bytes: Uint8Array<ArrayBuffer> }> {
  const name = freshName()
  const bytes = randomBytes(LEAVES * MIB, 71)
  const storage = without(name)
  const cid = await storage.store(bytes, { filename: 'large' })
  expect(await countAll(name)).toMatchObject({ records: LEAVES + 1, packed: 0 })
  await storage.close()
  return { name, cid, bytes }
}

/** Opens the storage where packs can be written, and waits until nothing is marked movable. */
async function moved(name: string): Promise<IPFSKitStorage> {
  const storage = await localStorageOf({ cacheDir: name }).ready()
  await untilMoved(name)
  return storage
}

async function untilMoved(name: string): Promise<void> {
  const left = (): Promise<number> => within(`${name}/catalog`, 'owners', 'readonly', (owners) => owners.index('movable').count())
  await vi.waitFor(async () => expect(await left()).toBe(0), { timeout: 15_000 })
}

describe('a large file in records', () => {
  it('goes into a pack, and is the same', async () => {
    const { name, cid, bytes } = await recorded()
    const before = localStorageOf({ cacheDir: name, config: { tier: 'records' } })
    const { quota: _quota, ...usage } = (await before.getBackendStatus()).usage
    await before.close()
    const storage = await moved(name)
    expect(await countAll(name)).toMatchObject({ ...MOVED, owners: 1 })
    expect(same(await storage.retrieve(cid), bytes)).toBe(true)
    expect(await storage.exists(cid)).toBe(true)
    expect((await storage.listFiles())[0]).toMatchObject({ cid, state: 'whole', localBytes: bytes.byteLength })
    expect((await storage.getBackendStatus()).usage).toMatchObject(usage)
    expect((await storage.verify()).damaged).toEqual([])
    await storage.gc()
    expect(await countAll(name)).toMatchObject(MOVED)
    expect((await storage.getBackendStatus()).usage).toMatchObject(usage)
    await storage.delete(cid)
    await waitForNothing(name)
  })

  it('goes there from a CAR as well', async () => {
    const { name, cid, bytes } = await recorded()
    const car = await new Response(
      (await localStorageOf({ cacheDir: name, config: { tier: 'records' } }).exportCar(cid)) ?? '',
    ).arrayBuffer()
    const other = freshName()
    const storage = localStorageOf({ cacheDir: other })
    await storage.importCar(car)
    await storage.close()
    const again = await moved(other)
    expect(await countAll(other)).toMatchObject(MOVED)
    expect(same(await again.retrieve(cid), bytes)).toBe(true)
  })

  it('can be read all the time', async () => {
    const { name, cid, bytes } = await recorded()
    const reader = localStorageOf({ cacheDir: name, config: { tier: 'records' } })
    const stream = (await reader.stream(cid))?.getReader()
    const first = await stream?.read()
    const moving = moved(name)
    let done = false
    void moving.finally(() => {
      done = true
    })
    while (!done) {
      expect(same(await reader.retrieve(cid), bytes)).toBe(true)
      expect(await reader.exists(cid)).toBe(true)
    }
    await moving
    let size = first?.value?.byteLength ?? 0
    for (let piece = await stream?.read(); piece?.done === false; piece = await stream?.read()) size += piece.value.byteLength
    expect(size).toBe(bytes.byteLength)
  })

  it('stays there where it was stored under tier records, also in part', async () => {
    const { name, cid, bytes } = await recorded()
    const kept = localStorageOf({ cacheDir: name, config: { tier: 'records' } })
    const own = randomBytes(LEAVES * MIB, 72)
    // Two leaves of the movable one are in it.
    own.set(bytes.subarray(0, 2 * MIB))
    const other = await kept.store(own, { filename: 'kept' })
    await kept.close()
    const storage = await moved(name)
    expect(await countAll(name)).toMatchObject({ records: 1 + 1 + LEAVES, packed: LEAVES - 2 })
    expect(same(await storage.retrieve(cid), bytes)).toBe(true)
    expect(same(await storage.retrieve(other), own)).toBe(true)
  })

  it('stays there where the storage is only opened under tier records', async () => {
    const { name } = await recorded()
    const storage = await localStorageOf({ cacheDir: name, config: { tier: 'records' } }).ready()
    await storage.gc()
    await storage.close()
    expect(await countAll(name)).toMatchObject({ records: LEAVES + 1, packed: 0 })
  })

  it('stays there as far as it is foreign or damaged', async () => {
    const { name, cid, bytes } = await recorded()
    const leaves = (await recordKeys(`${name}/blocks`)).filter((key) => key !== keyOf(cid))
    const [foreign = '', damaged = ''] = leaves
    await within(`${name}/catalog`, 'foreign', 'readwrite', (store) => store.put(1, foreign))
    await within(`${name}/catalog`, 'damaged', 'readwrite', (store) => store.put(1, damaged))
    const storage = await moved(name)
    expect(await countAll(name)).toMatchObject({ records: 1 + 2, packed: LEAVES - 2 })
    expect(await recordKeys(`${name}/blocks`)).toEqual(expect.arrayContaining([foreign, damaged]))
    expect(same(await storage.retrieve(cid), bytes)).toBe(true)
  })

  it('keeps its records where what the pack holds is not the same', async () => {
    const { name, cid, bytes } = await recorded()
    const values = new Map<string, Uint8Array>()
    for (const key of await recordKeys(`${name}/blocks`)) {
      values.set(key, await within(`${name}/blocks`, `${name}/blocks`, 'readonly', (store) => store.get(key) as IDBRequest<Uint8Array>))
    }
    await (await moved(name)).close()
    // As after a crash between the copy and the deletion: all is there twice, and marked; and one leaf of the pack has gone bad since.
    for (const [key, value] of values) await within(`${name}/blocks`, `${name}/blocks`, 'readwrite', (store) => store.put(value, key))
    const [row] = await within(`${name}/catalog`, 'owners', 'readonly', (store) => store.getAll() as IDBRequest<object[]>)
    await within(`${name}/catalog`, 'owners', 'readwrite', (store) => store.put({ ...row, movable: 1 }))
    const bad = [...values.keys()].find((key) => key !== keyOf(cid)) ?? ''
    await flip(name, rawCidOf(bad).toString(), 5)
    const storage = await moved(name)
    expect((await recordKeys(`${name}/blocks`)).toSorted()).toEqual([bad, keyOf(cid)].toSorted())
    expect(await readRecord(`${name}/blocks`, rawCidOf(bad).toString())).toBeDefined()
    expect(same(await storage.retrieve(cid), bytes)).toBe(true)
  })

  it('may be deleted meanwhile', async () => {
    const { name, cid } = await recorded()
    const storage = await localStorageOf({ cacheDir: name }).ready()
    await storage.delete(cid)
    await storage.gc()
    await untilMoved(name)
    await storage.close()
    const again = await localStorageOf({ cacheDir: name }).ready()
    await again.gc()
    await waitForNothing(name)
    expect((await again.getBackendStatus()).usage).toMatchObject({ blocks: 0, bytes: 0, files: 0, deadBytes: 0 })
  })
})
