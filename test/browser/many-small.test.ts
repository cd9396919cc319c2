// Many small files stored together: their blocks share a pack where there are packs, their entries share rows of the catalog. Nobody may notice.
import { afterEach, describe, expect, it } from 'vitest'
import type { FileInfo, IPFSKitStorage } from '../../src/index.ts'
import { bytesOf, flip, gather, nextEvent, readBlock, seeded } from './support/outside.ts'
import { closeAll, countAll, freshName, localStorageOf, NOTHING, randomBytes, same, TIER, waitForNothing } from './support/stores.ts'

/** Enough to make a pack, and several rows of entries. */
const COUNT = 600

afterEach(closeAll)

interface Item {
  data: Uint8Array<ArrayBuffer>
  filename: string
}

/** In an order that is not the one of their names. `count`: no multiple of 7. */
function itemsOf(count = COUNT, seed = 7): Item[] {
  return Array.from({ length: count }, (_, index) => ({
    data: randomBytes(20 + (index % 50), seed * 10_000 + index),
    filename: `small/${String((index * 7) % count).padStart(4, '0')}`,
  }))
}

async function filled(items = itemsOf()): Promise<{ name: string; storage: IPFSKitStorage; items: Item[]; cids: string[] }> {
  const name = freshName()
  const storage = localStorageOf({ cacheDir: name })
  return { name, storage, items, cids: await storage.storeMany(items) }
}

function at<T>(list: readonly T[], index: number): T {
  const value = list[index]
  if (value === undefined) throw new Error(`nothing at ${index}`)
  return value
}

function namesOf(files: readonly FileInfo[]): string[] {
  return files.map(({ filename }) => filename)
}

/** Does `work` and, while that has just looked up what entries refer to, `other` from its beginning to its end. */
async function meanwhile<T>(cacheDir: string, work: () => Promise<T>, other: () => Promise<unknown>): Promise<T> {
  const { prototype } = IDBTransaction
  const original = Object.getOwnPropertyDescriptor(prototype, 'oncomplete') as PropertyDescriptor
  let done: Promise<unknown> | undefined
  Object.defineProperty(prototype, 'oncomplete', {
    ...original,
    set(this: IDBTransaction, handler: (event: Event) => void) {
      const isIt = this.db.name === `${cacheDir}/catalog` && this.mode === 'readonly' && this.objectStoreNames.contains('references')
      original.set?.call(this, (event: Event) => {
        if (!isIt || done !== undefined) return handler.call(this, event)
        done = other()
        void done.finally(() => handler.call(this, event))
      })
    },
  })
  try {
    const answer = await work()
    expect(await done).toBe(true)
    return answer
  } finally {
    Object.defineProperty(prototype, 'oncomplete', original)
  }
}

describe('many small files stored together', () => {
  it('are whole or not there in a listing, whatever another storage deletes while it is made', async () => {
    const { name, storage, items, cids } = await filled(itemsOf(12))
    const other = localStorageOf({ cacheDir: name })
    await other.ready()
    const names = items.map(({ filename }) => filename).toSorted()
    const goes = (index: number): Promise<boolean> => other.delete(at(cids, index))
    const left = (...gone: number[]): string[] => names.filter((one) => !gone.some((index) => at(items, index).filename === one))
    const whole = (files: readonly FileInfo[]): string[] => files.map(({ filename, state }) => (state === 'whole' ? filename : state))

    const all = await meanwhile(
      name,
      () => storage.listFiles(),
      () => goes(3),
    )
    expect(whole(all)).toEqual(left(3))
    // One that is full says that there may be more.
    const page = await meanwhile(
      name,
      () => storage.listFiles('/', { limit: 5 }),
      () => goes(0),
    )
    expect(whole(page)).toEqual(left(3, 0).slice(0, 5))
    expect(whole(await storage.listFiles('/', { after: at(page, 4) }))).toEqual(left(3, 0).slice(5))
  })

  it('are each there, in order, and go each by itself', async () => {
    const { name, storage, items, cids } = await filled()
    expect(await countAll(name)).toMatchObject(
      TIER === 'packs'
        ? { blocks: COUNT, records: 0, packed: COUNT, packs: 1, packFiles: 1, owners: COUNT, references: 0 }
        : { blocks: COUNT, records: COUNT, packed: 0, packs: 0, packFiles: 0, owners: COUNT, references: 0 },
    )
    for (const index of [0, 1, 127, 128, 300, COUNT - 1]) {
      const [cid, { data }] = [at(cids, index), at(items, index)]
      expect(same(await storage.retrieve(cid), data)).toBe(true)
      expect(same(new Uint8Array(await ((await storage.blob(cid)) ?? new Blob()).arrayBuffer()), data)).toBe(true)
      expect(same(await bytesOf((await storage.stream(cid)) ?? []), data)).toBe(true)
      expect(await storage.exists(cid)).toBe(true)
    }
    expect(namesOf(await storage.listFiles())).toEqual(items.map(({ filename }) => filename).toSorted())
    expect((await storage.getBackendStatus()).usage).toMatchObject({
      blocks: COUNT,
      files: COUNT,
      bytes: items.reduce((sum, { data }) => sum + data.byteLength, 0),
    })
    expect((await storage.verify()).damaged).toEqual([])

    const gone = [5, 6, 200, 599]
    for (const index of gone) expect(await storage.delete(at(cids, index))).toBe(true)
    for (const index of gone) expect(await storage.retrieve(at(cids, index))).toBeNull()
    const left = items.filter((_, index) => !gone.includes(index))
    expect(namesOf(await storage.listFiles())).toEqual(left.map(({ filename }) => filename).toSorted())
    expect(same(await storage.retrieve(at(cids, 7)), at(items, 7).data)).toBe(true)
    expect((await storage.getBackendStatus()).usage).toMatchObject({ blocks: left.length, files: left.length })
    await storage.gc()
    expect(await countAll(name)).toMatchObject({ blocks: left.length, owners: left.length, references: 0 })

    for (const [index, cid] of cids.entries()) expect(await storage.delete(cid)).toBe(!gone.includes(index))
    expect((await storage.getBackendStatus()).usage).toMatchObject({ blocks: 0, files: 0, bytes: 0 })
    await waitForNothing(name)
  })

  it('are listed in pages among files that were stored one by one', async () => {
    const { storage, items } = await filled(itemsOf(300))
    const others = ['small/0000a', 'small/0100', 'small/01500', 'small/zzz', 'small', 'smaller', '/small/0042']
    for (const filename of others) await storage.store(`one by one: ${filename}`, { filename })
    const under = [...items.map(({ filename }) => filename), ...others.filter((filename) => filename !== 'smaller')].toSorted()
    expect(namesOf(await storage.listFiles('small'))).toEqual(under)
    for (const limit of [1, 2, 7, 100, 1000]) {
      const pages: string[] = []
      for (let after: FileInfo | undefined; ;) {
        const page = await storage.listFiles('small', { limit, ...(after === undefined ? {} : { after }) })
        pages.push(...namesOf(page))
        after = page.at(-1)
        if (page.length < limit || after === undefined) break
        if (limit < 7 && pages.length > 40) break
      }
      expect(pages).toEqual(under.slice(0, pages.length))
      if (limit >= 7) expect(pages).toHaveLength(under.length)
    }
    expect(namesOf(await storage.listFiles('small/0042'))).toEqual(['/small/0042', 'small/0042'])
    expect(namesOf(await storage.listFiles('', { after: { filename: 'small/0298', cid: 'z' }, limit: 3 }))).toEqual([
      'small/0299',
      'small/zzz',
      'smaller',
    ])
  })

  it('are told of, and told of as updated where they are stored again', async () => {
    const name = freshName()
    const storage = localStorageOf({ cacheDir: name })
    const changes = gather(storage, 'change')
    const items = itemsOf(200)
    const cids = await storage.storeMany(items)
    const expected = items.map(({ filename }, index) => ({ filename, cid: at(cids, index) }))
    expect(changes.map(({ filename, cid }) => ({ filename, cid }))).toEqual(expect.arrayContaining(expected))
    expect(changes.map(({ kind }) => kind)).toEqual(items.map(() => 'stored'))
    const before = await storage.listFiles()
    changes.length = 0
    const more = itemsOf(30, 8).map((item) => ({ ...item, filename: `more/${item.filename}` }))
    const mixed = [...items.slice(50, 120).map((item) => ({ ...item, mediaType: 'text/x-again' })), ...more]
    await storage.storeMany(mixed)
    expect(changes.filter(({ kind }) => kind === 'updated')).toHaveLength(70)
    expect(changes.filter(({ kind }) => kind === 'stored')).toHaveLength(30)
    const after = await storage.listFiles()
    expect(after).toHaveLength(230)
    const again = new Set(mixed.map(({ filename }) => filename))
    for (const file of before) {
      const now = after.find(({ filename }) => filename === file.filename)
      if (again.has(file.filename)) expect(now).toMatchObject({ cid: file.cid, mediaType: 'text/x-again' })
      else expect(now).toEqual(file)
    }
    expect(await countAll(name)).toMatchObject({ blocks: 230, owners: 230 })
    expect((await storage.getBackendStatus()).usage).toMatchObject({ blocks: 230, files: 230 })
  })

  it('may be of one content under several names, and of one name with several contents', async () => {
    const name = freshName()
    const storage = localStorageOf({ cacheDir: name })
    const [x, y, z] = ['same bytes', 'other bytes', 'third bytes']
    const items = [
      { data: x, filename: 'a' },
      { data: x, filename: 'b' },
      { data: y, filename: 'a' },
      { data: x, filename: 'a', mediaType: 'text/the-last' },
      { data: z, filename: 'c' },
    ]
    const [cid = '', , other = '', , third = ''] = await storage.storeMany(items)
    expect((await storage.listFiles()).map(({ filename, cid: is }) => [filename, is])).toEqual(
      expect.arrayContaining([
        ['a', cid],
        ['a', other],
        ['b', cid],
        ['c', third],
      ]),
    )
    expect(await storage.delete(cid, { filename: 'a' })).toBe(true)
    expect(await storage.exists(cid)).toBe(true)
    expect(await storage.delete(cid)).toBe(true)
    expect(await storage.exists(cid)).toBe(false)
    expect(namesOf(await storage.listFiles())).toEqual(['a', 'c'])
    expect((await storage.getBackendStatus()).usage).toMatchObject({ blocks: 2, files: 2, bytes: y.length + z.length })
    await storage.delete(other)
    await storage.delete(third)
    expect(await countAll(name)).toEqual(NOTHING)
  })

  it('are all names of a content deleted at once that share a row', async () => {
    const name = freshName()
    const storage = localStorageOf({ cacheDir: name })
    const names = ['a', 'b', 'c', 'd']
    const [cid = ''] = await storage.storeMany(names.map((filename) => ({ data: 'one content', filename })))
    expect(await storage.delete(cid)).toBe(true)
    expect(await countAll(name)).toEqual(NOTHING)
  })

  it('are pinned, unpinned and last used each by itself', async () => {
    const { name, storage, items, cids } = await filled(itemsOf(143))
    const [one, two] = [at(cids, 10), at(cids, 11)]
    expect(await storage.pin(one)).toBe(true)
    expect(await storage.pin(one, { holder: 'b' })).toBe(true)
    await expect(storage.delete(one)).rejects.toMatchObject({ code: 'pinned' })
    expect(await storage.delete(two)).toBe(true)
    await storage.gc()
    expect((await storage.listFiles()).filter(({ pinned }) => pinned).map(({ cid }) => cid)).toEqual([one])
    expect((await storage.getBackendStatus()).usage.pinnedBytes).toBe(at(items, 10).data.byteLength)
    const used = (await storage.listFiles(at(items, 12).filename))[0]?.lastUsed.getTime() ?? Number.NaN
    await storage.retrieve(at(cids, 12))
    // What was used is written at the latest when the storage closes.
    await storage.close()
    const again = localStorageOf({ cacheDir: name })
    expect((await again.listFiles(at(items, 12).filename))[0]?.lastUsed.getTime()).toBeGreaterThan(used)
    expect((await again.listFiles(at(items, 13).filename))[0]?.lastUsed.getTime()).toBeLessThanOrEqual(used)
    expect(await again.unpin(one)).toBe(true)
    expect(await again.delete(one, { force: true })).toBe(true)
    expect(await again.listFiles()).toHaveLength(141)
  })

  it('are the same once where two storages store them at once', async () => {
    const name = freshName()
    const items = itemsOf()
    const both = [localStorageOf({ cacheDir: name }), localStorageOf({ cacheDir: name })]
    const [one, two] = await Promise.all(both.map((storage) => storage.storeMany(items)))
    expect(one).toEqual(two)
    expect(await at(both, 0).listFiles()).toHaveLength(COUNT)
    expect((await at(both, 1).getBackendStatus()).usage).toMatchObject({ blocks: COUNT, files: COUNT })
    await at(both, 0).gc()
    expect(await countAll(name)).toMatchObject({ blocks: COUNT, owners: COUNT, references: 0 })
    for (const cid of one ?? []) await at(both, 1).delete(cid)
    await at(both, 0).gc()
    await waitForNothing(name)
  })

  it('are whatever two storages make of them at once', async () => {
    const name = freshName()
    const both = [localStorageOf({ cacheDir: name }), localStorageOf({ cacheDir: name })]
    const random = seeded(77)
    const pick = (count: number): number => Math.floor(random() * count)
    const items = itemsOf(40)
    for (let round = 0; round < 12; round++) {
      await Promise.all(
        both.map(async (storage) => {
          const some = Array.from({ length: 1 + pick(20) }, () => at(items, pick(items.length)))
          const cids = await storage.storeMany(some)
          for (const cid of cids.slice(0, pick(cids.length))) await storage.delete(cid)
          if (pick(4) === 0) await storage.gc()
        }),
      )
      const files = await at(both, round % 2).listFiles()
      expect(new Set(files.map(({ filename, cid }) => `${filename} ${cid}`)).size).toBe(files.length)
      expect(files.map(({ state }) => state)).toEqual(files.map(() => 'whole'))
      const { usage } = await at(both, 0).getBackendStatus()
      expect(usage.files).toBe(files.length)
      for (const { cid, filename } of files) {
        const item = items.find((one) => one.filename === filename)
        expect(same(await at(both, 1).retrieve(cid), at([item?.data ?? new Uint8Array(0)], 0))).toBe(true)
      }
    }
    for (const { cid } of await at(both, 0).listFiles()) await at(both, 0).delete(cid)
    await at(both, 1).gc()
    await waitForNothing(name)
  })

  it('of which one fails are none of them there', async () => {
    const name = freshName()
    const storage = localStorageOf({ cacheDir: name })
    const failure = new Error('the source fails')
    function* failing(): Generator<{ data: Uint8Array<ArrayBuffer> }> {
      yield* itemsOf(COUNT + 100)
      throw failure
    }
    await expect(storage.storeMany(failing())).rejects.toBe(failure)
    expect(await storage.listFiles()).toEqual([])
    await storage.gc()
    expect(await countAll(name)).toEqual(NOTHING)
  })

  it('are healed where they are stored again', async () => {
    const { name, storage, items, cids } = await filled()
    const bad = [3, 4, 400].map((index) => at(cids, index))
    for (const cid of bad) await flip(name, cid)
    const damaged = nextEvent(storage, 'damaged')
    await expect(storage.retrieve(at(bad, 0))).rejects.toMatchObject({ code: 'integrity' })
    expect((await damaged).block).toBe(at(bad, 0))
    expect((await storage.verify()).damaged.map(({ cid }) => cid).toSorted()).toEqual(bad.toSorted())
    await storage.storeMany(items)
    expect((await storage.verify()).damaged).toEqual([])
    for (const index of [3, 4, 5, 400]) expect(same(await storage.retrieve(at(cids, index)), at(items, index).data)).toBe(true)
    expect((await storage.listFiles()).map(({ state }) => state)).toEqual(items.map(() => 'whole'))
    expect(await countAll(name)).toMatchObject({ blocks: COUNT, owners: COUNT, damaged: 0 })
  })

  it('may be the files of a directory', async () => {
    const name = freshName()
    const storage = localStorageOf({ cacheDir: name })
    const items = itemsOf()
    const root = await storage.storeDirectory(items.map(({ data, filename }) => ({ path: filename, data })))
    const counts = await countAll(name)
    expect(counts).toMatchObject(TIER === 'packs' ? { packed: COUNT, packs: 1 } : { packed: 0, packs: 0 })
    for (const index of [0, 333]) {
      expect(same(await storage.retrieve(`${root}/${at(items, index).filename}`), at(items, index).data)).toBe(true)
    }
    expect(await storage.stat(root)).toMatchObject({ blocks: counts.blocks, localBlocks: counts.blocks })
    expect(await storage.delete(root)).toBe(true)
    await waitForNothing(name)
  })

  it('of which most are deleted give back their space', async () => {
    const { name, storage, items, cids } = await filled()
    for (const cid of cids.slice(0, 400)) await storage.delete(cid)
    await storage.gc()
    const { usage } = await storage.getBackendStatus()
    expect(usage).toMatchObject({ blocks: 200, files: 200 })
    expect(usage.deadBytes).toBeLessThanOrEqual(usage.bytes)
    expect(await countAll(name)).toMatchObject({ blocks: 200, owners: 200, packFiles: TIER === 'packs' ? 1 : 0 })
    for (const index of [400, 500, 599]) expect(same(await storage.retrieve(at(cids, index)), at(items, index).data)).toBe(true)
    await storage.close()
    const again = localStorageOf({ cacheDir: name })
    expect(same(await again.retrieve(at(cids, 450)), at(items, 450).data)).toBe(true)
  })

  it('are few enough to be records where there are few of them', async () => {
    const { name } = await filled(itemsOf(20))
    expect(await countAll(name)).toMatchObject({ blocks: 20, records: 20, packed: 0, packFiles: 0, owners: 20 })
  })

  it('may be empty, one of them', async () => {
    const { name, storage, items, cids } = await filled([...itemsOf(), { data: new Uint8Array(0), filename: 'empty' }])
    const empty = at(cids, COUNT)
    expect(await countAll(name)).toMatchObject({ blocks: COUNT + 1, records: TIER === 'packs' ? 1 : COUNT + 1 })
    expect(await storage.retrieve(empty)).toHaveLength(0)
    await storage.delete(empty)
    expect(await storage.retrieve(empty)).toBeNull()
    await storage.store('', { filename: 'empty again' })
    expect((await storage.listFiles('empty again'))[0]).toMatchObject({ cid: empty, state: 'whole', size: 0 })
    for (const cid of cids.slice(0, COUNT)) await storage.delete(cid)
    await storage.close()
    const again = localStorageOf({ cacheDir: name })
    expect(await again.retrieve(empty)).toHaveLength(0)
    expect(await again.retrieve(at(cids, 3))).toBeNull()
    expect(items).toHaveLength(COUNT + 1)
    await again.delete(empty)
    await waitForNothing(name)
  })

  it('of which one was pinned below a directory is freed with its last pin', async () => {
    const name = freshName()
    const storage = localStorageOf({ cacheDir: name })
    const items = itemsOf()
    const root = await storage.storeDirectory(items.map(({ data, filename }) => ({ path: filename, data })))
    const [first] = (await storage.listDirectory(`${root}/small`)) ?? []
    await storage.pin(first?.cid ?? '')
    await storage.delete(root)
    expect(await storage.exists(first?.cid ?? '')).toBe(true)
    await storage.unpin(first?.cid ?? '')
    await storage.gc()
    await waitForNothing(name)
    expect((await storage.getBackendStatus()).usage).toMatchObject({ blocks: 0, files: 0, bytes: 0, deadBytes: 0 })
  })

  it('that are very many have several packs', async () => {
    const many = Array.from({ length: 8800 }, (_, index) => ({ data: new TextEncoder().encode(`item ${index}`), filename: `${index}` }))
    const { name, storage, cids } = await filled(many)
    expect(await countAll(name)).toMatchObject({ blocks: 8800, owners: 8800, packFiles: TIER === 'packs' ? 2 : 0 })
    expect(same(await storage.retrieve(at(cids, 8799)), at(many, 8799).data)).toBe(true)
    expect(await storage.listFiles()).toHaveLength(8800)
    await storage.storeMany(many)
    expect((await storage.getBackendStatus()).usage).toMatchObject({ blocks: 8800, files: 8800 })
  })

  it('of which one has the bytes of a directory leave that readable', async () => {
    const entries = [{ path: 'a', data: 'in a directory' }]
    const first = freshName()
    const root = await localStorageOf({ cacheDir: first }).storeDirectory(entries)
    const node = await readBlock(first, root)
    const { storage, cids } = await filled([...itemsOf(), { data: node ?? new Uint8Array(0), filename: 'a node as a file' }])
    expect(await storage.storeDirectory(entries)).toBe(root)
    expect((await storage.listDirectory(root))?.map(({ name }) => name)).toEqual(['a'])
    expect(same(await storage.retrieve(at(cids, COUNT)), node ?? new Uint8Array(0))).toBe(true)
    expect((await storage.verify()).damaged).toEqual([])
  })
})
