// What must not depend on how many entries there are: what is asked of the databases is counted, and the sums that are kept are counted anew.
import { afterEach, describe, expect, it, vi } from 'vitest'
import { mayLoseLog } from '../../src/catalog/log.ts'
import type { IPFSKitStorage } from '../../src/index.ts'
import { keyOf, nextEvent, seeded } from './support/outside.ts'
import { requestsOf } from './support/requests.ts'
import { closeAll, freshName, localStorageOf, randomBytes, within } from './support/stores.ts'

afterEach(async () => {
  vi.unstubAllGlobals()
  await closeAll()
})

interface OwnerRow {
  id: string
  kind: string
  names: [string, string][]
  entries: { size: number }[]
  size?: number
  pinned: string
  implicit?: number
}

async function ownersIn(name: string): Promise<OwnerRow[]> {
  return (await within(`${name}/catalog`, 'owners', 'readonly', (store) => store.getAll())) as OwnerRow[]
}

/** Bytes of pinned contents, from the rows themselves. */
async function countPinned(name: string): Promise<number> {
  const owners = await ownersIn(name)
  const pinned = new Set(owners.filter((owner) => owner.kind === 'pin').map((owner) => owner.pinned))
  const entries = owners.filter((owner) => owner.kind === 'entry')
  const sizes = new Map(entries.flatMap((row) => row.names.map(([, cid], index) => [cid, row.entries[index]?.size ?? Number.NaN])))
  return [...pinned].reduce((sum, cid) => sum + (sizes.get(cid) ?? Number.NaN), 0)
}

async function pinnedBytes(storage: IPFSKitStorage): Promise<number> {
  return (await storage.getBackendStatus()).usage.pinnedBytes
}

function usageIn(name: string): Promise<Record<string, number>> {
  return within(`${name}/catalog`, 'meta', 'readonly', (store) => store.get('usage') as IDBRequest<Record<string, number>>)
}

/** Puts the catalog back to what code wrote that kept no sum of pins. */
async function forgetPinned(name: string): Promise<void> {
  const { pinnedBytes: _sum, ...usage } = await usageIn(name)
  await within(`${name}/catalog`, 'meta', 'readwrite', (store) => store.put(usage, 'usage'))
  for (const owner of await ownersIn(name)) {
    if (owner.kind === 'pin') {
      const { size: _size, ...pin } = owner
      await within(`${name}/catalog`, 'owners', 'readwrite', (store) => store.put(pin))
    } else if (owner.implicit !== undefined) {
      await within(`${name}/catalog`, 'owners', 'readwrite', (store) => store.put({ ...owner, implicit: 1 }))
    }
  }
}

/** What an opening does first after something was written, in requests that would be counted or not. */
async function logIsRenewed(name: string): Promise<void> {
  if (!mayLoseLog()) return
  const isOpen = async (): Promise<boolean> =>
    ((await navigator.locks.query()).held ?? []).some((lock) => lock.name === `ipfs-kit:${name}:open` && lock.mode === 'shared')
  await expect.poll(isOpen).toBe(true)
}

/** Entries in folders of 10; a fifth of them pinned, half of those without a name of their own. */
async function filled(entries: number): Promise<{ name: string; storage: IPFSKitStorage; cids: string[] }> {
  const name = freshName()
  const storage = localStorageOf({ cacheDir: name })
  const nameOf = (index: number): string => `f${String(Math.floor(index / 10)).padStart(2, '0')}/${index % 10}`
  const cids = await storage.storeMany(
    Array.from({ length: entries }, (_, index) => ({ data: `entry ${index}`, filename: nameOf(index), pin: index % 10 === 5 })),
  )
  const files = Array.from({ length: entries / 10 }, (_, index) => ({ path: `${index}`, data: `below ${index}` }))
  const root = await storage.storeDirectory(files, { filename: 'root' })
  for (const { cid } of (await storage.listDirectory(root)) ?? []) await storage.pin(cid)
  await storage.gc()
  return { name, storage, cids }
}

describe('what is asked of the databases', () => {
  it('is the same among 20 entries and among 200', async () => {
    // What is done in idle time would be counted or not.
    vi.stubGlobal('requestIdleCallback', () => 0)
    const seen: Record<string, Record<string, number>>[] = []
    for (const entries of [20, 200]) {
      const { name, storage, cids } = await filled(entries)
      const cid = cids[entries / 2 + 3] ?? ''
      const filename = 'f00/8'
      const counts: Record<string, Record<string, number>> = {}
      const count = async (method: string, work: () => Promise<unknown>): Promise<void> => {
        counts[method] = await requestsOf(work)
      }
      await count('listFiles', () => storage.listFiles('', { limit: 2 }))
      await count('listFiles after', () => storage.listFiles('', { after: { filename: 'f01/', cid: '' }, limit: 5 }))
      await count('listFiles of a folder', () => storage.listFiles('f01'))
      await count('exists', () => storage.exists(cid))
      await count('stat', () => storage.stat(cid))
      await count('retrieve', () => storage.retrieve(cid))
      await count('pin', () => storage.pin(cid))
      await count('unpin', () => storage.unpin(cid))
      await count('getBackendStatus', () => storage.getBackendStatus())
      await count('gc', () => storage.gc())
      await count('store', () => storage.store('one more', { filename: 'one more' }))
      await count('store pinned', () => storage.store('another', { filename: 'another', pin: true }))
      await count('delete', async () => {
        const told = nextEvent(storage, 'status')
        expect(await storage.delete(cids[8] ?? '', { filename })).toBe(true)
        await told
      })
      await storage.close()
      const between = await localStorageOf({ cacheDir: name }).ready()
      await logIsRenewed(name)
      await between.close()
      await count('opening', async () => {
        const opened = await localStorageOf({ cacheDir: name }).ready()
        await opened.exists(cid)
        // Waits for what goes on behind an opening.
        await opened.gc()
      })
      seen.push(counts)
    }
    // Stored, then asked: without both there is nothing to compare.
    expect(Object.keys(seen[0] ?? {})).toHaveLength(14)
    expect(seen[1]).toEqual(seen[0])
  })

  it('is the same with 3 and with 300 blocks noted damaged, and no less is seen', async () => {
    const name = freshName()
    const storage = localStorageOf({ cacheDir: name })
    const cids = await storage.storeMany(Array.from({ length: 20 }, (_, index) => ({ data: `entry ${index}`, filename: `${index}` })))
    const [spoilt = '', whole = ''] = cids
    const note = (keys: string[]): Promise<unknown> =>
      within(`${name}/catalog`, 'damaged', 'readwrite', (store) => keys.map((key) => store.put(1, key)).at(-1) as IDBRequest)
    await note([keyOf(spoilt), '/X', '/Y'])
    const look = async (): Promise<unknown> => [
      await storage.exists(spoilt),
      await storage.exists(whole),
      (await storage.listFiles()).map((file) => [file.filename, file.state]),
    ]
    const few = await look()
    expect(few).toMatchObject([
      false,
      true,
      expect.arrayContaining([
        ['0', 'damaged'],
        ['1', 'whole'],
      ]),
    ])
    await note(Array.from({ length: 300 }, (_, index) => `/Z${index}`))
    expect(await look()).toEqual(few)
    expect((await requestsOf(() => storage.exists(whole)))['damaged']).toBeLessThan(100)
    // Storing it again heals it, however many others there are.
    await storage.store('entry 0', { filename: '0' })
    expect(await storage.exists(spoilt)).toBe(true)
  })
})

describe('bytes that are pinned', () => {
  it('are the sum over the pins after whatever two storages do at once', async () => {
    const name = freshName()
    const both = [localStorageOf({ cacheDir: name }), localStorageOf({ cacheDir: name })] as const
    const random = seeded(31)
    const pick = (count: number): number => Math.floor(random() * count)
    const contents = Array.from({ length: 5 }, (_, index) => randomBytes(100 + index, index))
    const holders = ['', 'a', 'b']
    const root = await both[0].storeDirectory([
      { path: 'x', data: 'in a directory' },
      { path: 'y/z', data: contents[0] ?? '' },
    ])
    const cids = await both[1].storeMany(contents.map((data) => ({ data })))
    cids.push(root, ...((await both[0].listDirectory(root)) ?? []).map(({ cid }) => cid))
    for (let round = 0; round < 40; round++) {
      await Promise.all(
        Array.from({ length: 6 }, async () => {
          const storage = both[pick(2)] ?? both[0]
          const [cid = '', holder = '', filename] = [cids[pick(cids.length)], holders[pick(3)], `${pick(3)}`]
          const data = contents[pick(contents.length)] ?? ''
          const refused = (error: unknown): void => expect(error).toMatchObject({ code: 'pinned' })
          switch (pick(7)) {
            case 0:
              return storage.store(data, { filename, pin: random() < 0.5, holder })
            case 1:
              return storage.storeMany([
                { data, filename, pin: true, holder },
                { data, filename, pin: true, holder: 'c' },
                { data: 'other' },
              ])
            case 2:
              return storage.pin(cid, { holder })
            case 3:
              return storage.unpin(cid, { holder })
            case 4:
              return storage.delete(cid, { force: random() < 0.3 }).catch(refused)
            case 5:
              return storage.delete(cid, { filename }).catch(refused)
            default:
              return storage.gc()
          }
        }),
      )
      expect(await pinnedBytes(both[round % 2] ?? both[0])).toBe(await countPinned(name))
    }
    for (const { cid } of await both[0].listFiles()) await both[0].delete(cid, { force: true })
    expect(await pinnedBytes(both[1])).toBe(0)
    expect((await usageIn(name))['pinnedBytes']).toBe(0)
  })

  it('are counted in a catalog that keeps no sum of them, and kept from the next change on', async () => {
    const name = freshName()
    const storage = localStorageOf({ cacheDir: name })
    const cid = await storage.store('12345', { pin: true })
    await storage.pin(cid, { holder: 'b' })
    await storage.store('678', { pin: true })
    await forgetPinned(name)
    expect(await pinnedBytes(storage)).toBe(8)
    await storage.store('unpinned')
    expect((await usageIn(name))['pinnedBytes']).toBe(8)
    await storage.unpin(cid)
    expect(await pinnedBytes(storage)).toBe(8)
    await storage.unpin(cid, { holder: 'b' })
    expect(await pinnedBytes(storage)).toBe(3)
    await forgetPinned(name)
    await storage.pin(cid, { holder: 'c' })
    expect((await usageIn(name))['pinnedBytes']).toBe(8)
    expect(await pinnedBytes(storage)).toBe(await countPinned(name))
  })
})

describe('gc() of entries that a pin made', () => {
  async function below(storage: IPFSKitStorage): Promise<string[]> {
    const root = await storage.storeDirectory([
      { path: 'x', data: 'in a directory' },
      { path: 'y', data: 'and another' },
    ])
    const cids = ((await storage.listDirectory(root)) ?? []).map(({ cid }) => cid)
    for (const cid of cids) await storage.pin(cid, { holder: 'a' })
    return cids
  }

  it('ends those whose last pin went and did not come back', async () => {
    const storage = localStorageOf()
    const [x = '', y = ''] = await below(storage)
    await storage.pin(x, { holder: 'b' })
    const names = async (): Promise<string[]> => (await storage.listFiles()).map((file) => file.cid).filter((cid) => cid === x || cid === y)
    await storage.unpin(x, { holder: 'a' })
    await storage.unpin(y, { holder: 'a' })
    expect((await names()).toSorted()).toEqual([x, y].toSorted())
    await storage.pin(y, { holder: 'again' })
    await storage.gc()
    expect((await names()).toSorted()).toEqual([x, y].toSorted())
    await storage.unpin(x, { holder: 'b' })
    await storage.gc()
    expect(await names()).toEqual([y])
    await storage.unpin(y, { holder: 'again' })
    // Stored by name in the meantime, it is somebody's.
    await storage.store('and another')
    await storage.gc()
    expect(await names()).toEqual([y])
  })

  it('in a catalog that does not say which of them lost their pins', async () => {
    const name = freshName()
    const storage = localStorageOf({ cacheDir: name })
    const [x = '', y = ''] = await below(storage)
    await storage.unpin(x, { holder: 'a' })
    await forgetPinned(name)
    await storage.gc()
    const left = (await ownersIn(name)).filter((owner) => owner.implicit !== undefined)
    expect(left.flatMap((owner) => owner.names.map(([, cid]) => cid))).toEqual([y])
    expect(await pinnedBytes(storage)).toBe('and another'.length)
  })
})
