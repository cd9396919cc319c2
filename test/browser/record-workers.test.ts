// Many records at once are read and hashed beside the page's thread where there can be workers: nothing else may come of it.
import { CID } from 'multiformats/cid'
import { sha256 } from 'multiformats/hashes/sha2'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { IPFSKitStorage } from '../../src/index.ts'
import { flipRecord, nextEvent } from './support/outside.ts'
import { requestsOf } from './support/requests.ts'
import { closeAll, freshName, localStorageOf, randomBytes, rawOpen, same } from './support/stores.ts'

const MIB = 1024 * 1024
const LEAVES = 24

afterEach(closeAll)

async function stored(config: NonNullable<ConstructorParameters<typeof IPFSKitStorage>[0]>['config'] = {}): Promise<{
  name: string
  storage: IPFSKitStorage
  cid: string
  bytes: Uint8Array<ArrayBuffer>
}> {
  const name = freshName()
  const storage = localStorageOf({ cacheDir: name, config: { ...config, tier: 'records' } })
  const bytes = randomBytes(LEAVES * MIB, 5)
  return { name, storage, cid: await storage.store(bytes), bytes }
}

/** Requests for blocks that this thread makes to read all of a content. */
async function requestsHere(storage: IPFSKitStorage, cid: string): Promise<number> {
  return (await requestsOf(() => storage.retrieve(cid)))['blocks'] ?? 0
}

/** The first reading starts them and does not wait. */
async function untilBeside(storage: IPFSKitStorage, cid: string): Promise<void> {
  await vi.waitFor(async () => expect(await requestsHere(storage, cid)).toBeLessThan(LEAVES), { timeout: 10_000 })
}

/** A worker of the library's own as an application makes it. */
function made(): Worker {
  return new Worker(new URL('./fixtures/pack-worker.ts', import.meta.url), { type: 'module' })
}

describe('records read beside the page', () => {
  it('are the same bytes', async () => {
    const { storage, cid, bytes } = await stored()
    expect(same(await storage.retrieve(cid), bytes)).toBe(true)
    await untilBeside(storage, cid)
    expect(same(await storage.retrieve(cid), bytes)).toBe(true)
    expect(same(await storage.retrieve(cid, { verify: false }), bytes)).toBe(true)
    expect(same(await storage.retrieve(cid, { offset: 3 * MIB + 7, length: 9 * MIB }), bytes.subarray(3 * MIB + 7, 12 * MIB + 7))).toBe(
      true,
    )
  })

  it('are checked', async () => {
    const { name, storage, cid, bytes } = await stored()
    await untilBeside(storage, cid)
    const leaf = CID.createV1(0x55, await sha256.digest(bytes.slice(7 * MIB, 8 * MIB))).toString()
    await flipRecord(`${name}/blocks`, leaf, 99)
    const damaged = nextEvent(storage, 'damaged')
    await expect(storage.retrieve(cid)).rejects.toMatchObject({ code: 'integrity' })
    expect(await damaged).toEqual({ cid, block: leaf })
    await storage.store(bytes)
    expect(same(await storage.retrieve(cid), bytes)).toBe(true)
  })

  it('are null where they are gone, and a storage that another one destroys lets go of them', async () => {
    const { name, storage, cid } = await stored()
    await untilBeside(storage, cid)
    const other = localStorageOf({ cacheDir: name, config: { tier: 'records' } })
    await other.delete(cid)
    expect(await storage.retrieve(cid)).toBeNull()
    const again = await other.store(randomBytes(LEAVES * MIB, 6))
    expect(await requestsHere(storage, again)).toBeLessThan(LEAVES)
    await other.close()
    await IPFSKitStorage.destroy(name)
    await expect(storage.retrieve(again)).rejects.toMatchObject({ code: 'database' })
    // Nobody brought the database back to life.
    expect((await indexedDB.databases()).map((database) => database.name)).not.toContain(`${name}/blocks`)
  })

  it('are read here where a worker can not be made, dies, or is of no use', async () => {
    let workers: Worker[] = []
    const without = await stored({
      createWorker() {
        throw new Error('no worker today')
      },
    })
    for (let turn = 0; turn < 2; turn++) expect(same(await without.storage.retrieve(without.cid), without.bytes)).toBe(true)
    expect(await requestsHere(without.storage, without.cid)).toBeGreaterThanOrEqual(LEAVES)
    const dying = await stored({
      createWorker() {
        const worker = made()
        workers.push(worker)
        return worker
      },
    })
    await untilBeside(dying.storage, dying.cid)
    const reading = dying.storage.retrieve(dying.cid)
    for (const worker of workers) worker.terminate()
    expect(same(await reading, dying.bytes)).toBe(true)
    expect(same(await dying.storage.retrieve(dying.cid), dying.bytes)).toBe(true)
    workers = []
  })

  it('need nobody else where there is little of them', async () => {
    const createWorker = vi.fn<() => Worker>(made)
    const name = freshName()
    const storage = localStorageOf({ cacheDir: name, config: { tier: 'records', createWorker } })
    const cid = await storage.store(randomBytes(MIB / 2))
    await storage.retrieve(cid)
    await storage.stat(cid)
    expect(createWorker).not.toHaveBeenCalled()
    const db = await rawOpen(`${name}/blocks`)
    db.close()
  })
})
