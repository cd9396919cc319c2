// The databases behind a storage: destroyed, held, of another release, refused, closed; and what other storages of the name hear and list.
import { unixfs } from '@helia/unixfs'
import type { Helia } from 'helia'
import { afterEach, beforeAll, describe, expect, it } from 'vitest'
import { ClosedError, DatabaseError, IPFSKitStorage, type ContentStorage } from '../../src/index.ts'
import { bytesOf, gather, nextEvent } from './support/outside.ts'
import {
  closeAll,
  countAll,
  freshName,
  localStorageOf,
  NOTHING,
  randomBytes,
  rawOpen,
  same,
  storageOf,
  tiered,
  within,
} from './support/stores.ts'

const MIB = 1024 * 1024
const HELLO = 'bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e'
const QUIET = { config: { ipfs: { gateways: [], delegatedRouters: [] } } }

const held: IDBDatabase[] = []
let car: Blob = new Blob()

beforeAll(async () => {
  const storage = localStorageOf()
  car = await new Response(await storage.exportCar(await storage.store('in a CAR'))).blob()
})

afterEach(async () => {
  for (const db of held.splice(0)) db.close()
  await closeAll()
})

/** An open connection of somebody who gives way to nobody. */
async function hold(name: string): Promise<IDBDatabase> {
  const db = await rawOpen(name)
  held.push(db)
  return db
}

async function rejection(work: Promise<unknown> | (() => Promise<unknown>)): Promise<unknown> {
  try {
    return new Error(`did not reject, but answered ${String(await (typeof work === 'function' ? work() : work))}`)
  } catch (error) {
    return error
  }
}

async function names(cacheDir: string): Promise<string[]> {
  const all = (await indexedDB.databases()).map((database) => database.name ?? '')
  return all.filter((name) => name.startsWith(`${cacheDir}/`)).toSorted()
}

/** A call of every method that needs the databases. */
function methods(storage: ContentStorage): [string, () => Promise<unknown>][] {
  return [
    ['store', () => storage.store('x')],
    ['storeMany', () => storage.storeMany([{ data: 'x' }])],
    ['storeDirectory', () => storage.storeDirectory([{ path: 'x', data: 'x' }])],
    ['retrieve', () => storage.retrieve(HELLO)],
    ['stream', () => storage.stream(HELLO)],
    ['blob', () => storage.blob(HELLO)],
    ['stat', () => storage.stat(HELLO)],
    ['listDirectory', () => storage.listDirectory(HELLO)],
    ['listFiles', () => storage.listFiles()],
    ['exists', () => storage.exists(HELLO)],
    ['delete', () => storage.delete(HELLO)],
    ['pin', () => storage.pin(HELLO)],
    ['unpin', () => storage.unpin(HELLO)],
    ['verify', () => storage.verify()],
    ['gc', () => storage.gc()],
    ['exportCar', () => storage.exportCar(HELLO)],
    ['importCar', () => storage.importCar(car)],
    ['getBackendStatus', () => storage.getBackendStatus()],
  ]
}

async function* endless(at: (count: number) => void): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  for (let count = 0; ; count++) {
    at(count)
    yield randomBytes(MIB, 1 + count)
  }
}

/** Everything a storage is for, on one that has nothing yet. */
async function expectToWork(storage: IPFSKitStorage): Promise<void> {
  const bytes = randomBytes(5 * MIB + 5)
  const cid = await storage.store(bytes, { filename: 'a', pin: true })
  expect(same(await storage.retrieve(cid), bytes)).toBe(true)
  const root = await storage.storeDirectory([{ path: 'x/y', data: 'inside' }])
  expect(new TextDecoder().decode((await storage.retrieve(`${root}/x/y`)) ?? undefined)).toBe('inside')
  const exported = await new Response(await storage.exportCar(root)).blob()
  expect(await storage.importCar(exported, { filename: 'again' })).toEqual([root])
  expect((await storage.listFiles()).map((file) => [file.filename, file.state])).toEqual([
    ['a', 'whole'],
    ['again', 'whole'],
    [root, 'whole'],
  ])
  expect((await storage.verify()).damaged).toEqual([])
  expect(await storage.unpin(cid)).toBe(true)
  expect(await storage.delete(cid)).toBe(true)
  expect(await storage.delete(root)).toBe(true)
  await storage.gc()
  expect(await storage.exists(cid)).toBe(false)
  expect((await storage.getBackendStatus()).usage).toMatchObject({ files: 0, blocks: 0, bytes: 0, pinnedBytes: 0 })
}

describe('the databases', () => {
  it('are the three that the contract names, the blocks at version 1', async () => {
    const name = freshName()
    const storage = localStorageOf({ cacheDir: name })
    await storage.store('x')
    await storage.gc()
    expect((await names(name)).filter((each) => each !== `${name}/data`)).toEqual([`${name}/blocks`, `${name}/catalog`])
    const db = await hold(`${name}/blocks`)
    expect([db.version, [...db.objectStoreNames]]).toEqual([1, [`${name}/blocks`]])
    db.close()
    await storage.close()
    await IPFSKitStorage.destroy(name)
    expect(await names(name)).toEqual([])
  })
})

describe('destroy()', () => {
  it('of a storage that is open elsewhere is told there, and later calls are DatabaseErrors', async () => {
    const name = freshName()
    const storage = await localStorageOf({ cacheDir: name }).ready()
    const cid = await storage.store('here', { filename: 'here' })
    const status = nextEvent(storage, 'status', ({ backends }) => !backends.local)
    await IPFSKitStorage.destroy(name)
    expect(await status).toMatchObject({ cacheDir: name, backends: { local: false } })
    for (const [method, call] of methods(storage)) {
      // The status is what tells of it, so it must not fail with it.
      if (method === 'getBackendStatus') continue
      expect([method, await rejection(call)]).toEqual([method, expect.any(DatabaseError)])
    }
    expect((await storage.getBackendStatus()).backends.local).toBe(false)
    expect(await rejection(storage.retrieve(cid))).toMatchObject({ code: 'database', database: expect.stringContaining(name) })
    await storage.close()
    const again = localStorageOf({ cacheDir: name })
    expect(await again.listFiles()).toEqual([])
    expect(await again.retrieve(cid)).toBe(null)
    expect(await countAll(name)).toEqual(NOTHING)
  })

  it('ends what is under way elsewhere with DatabaseError', async () => {
    const name = freshName()
    const storage = await localStorageOf({ cacheDir: name }).ready()
    const cid = await storage.store(randomBytes(40 * MIB, 99))
    const reader = (await storage.stream(cid))?.getReader()
    await reader?.read()
    let destroyed: Promise<void> | undefined
    const source = endless((count) => {
      if (count === 20) destroyed = IPFSKitStorage.destroy(name)
    })
    expect(await rejection(storage.store(source))).toBeInstanceOf(DatabaseError)
    await destroyed
    const drained = async (): Promise<void> => {
      while ((await reader?.read())?.done !== true);
    }
    expect(await rejection(drained)).toBeInstanceOf(DatabaseError)
    expect(await names(name)).toEqual([])
    await storage.close()
    expect(await names(name)).toEqual([])
  })

  it('that comes while a storage looks at its catalog is told to it, and does not wait for it', async () => {
    const name = freshName()
    const before = localStorageOf({ cacheDir: name })
    await before.store('here')
    await before.close()
    const db = await hold(`${name}/catalog`)
    const store = db.transaction('meta', 'readwrite').objectStore('meta')
    let isHeld = true
    const goOn = (): void => {
      if (isHeld) store.get('format').onsuccess = goOn
    }
    goOn()
    const open = Object.getOwnPropertyDescriptor(IDBFactory.prototype, 'open') as { value: IDBFactory['open'] }
    const asked = new Promise<void>((resolve) => {
      IDBFactory.prototype.open = function (this: IDBFactory, ...args) {
        if (args[0] === `${name}/catalog`) resolve()
        return open.value.apply(this, args)
      }
    })
    try {
      const storage = localStorageOf({ cacheDir: name })
      const opening = rejection(storage.ready())
      await asked
      const deleted = new Promise<string>((resolve) => {
        indexedDB.deleteDatabase(`${name}/catalog`).onsuccess = () => resolve('deleted')
        db.onversionchange = () => {
          isHeld = false
          db.close()
        }
      })
      expect(await opening).toMatchObject({ code: 'database', message: expect.stringContaining('was deleted') as string })
      expect(await deleted).toBe('deleted')
    } finally {
      IDBFactory.prototype.open = open.value
    }
  })

  it('goes past a Helia that runs', async () => {
    const name = freshName()
    const storage = await storageOf({ cacheDir: name, ...QUIET }).ready()
    const node = (await storage.helia()) as Helia
    await unixfs(node).addBytes(randomBytes(MIB + 1), { profile: 'unixfs-v1-2025' })
    await IPFSKitStorage.destroy(name)
    expect(await names(name)).toEqual([])
    expect(await rejection(storage.store('x'))).toBeInstanceOf(DatabaseError)
    await storage.close()
    expect(await names(name)).toEqual([])
  })

  it('of what does not exist does nothing, twice too', async () => {
    const name = freshName()
    await IPFSKitStorage.destroy(name)
    await Promise.all([IPFSKitStorage.destroy(name), IPFSKitStorage.destroy(name)])
    expect(await names(name)).toEqual([])
  })

  it.each(['blocks', 'catalog', 'data'])('says so where somebody holds %s, and is finished at the next opening', async (database) => {
    const name = freshName()
    const storage = localStorageOf({ cacheDir: name })
    const cid = await storage.store('to be destroyed')
    await storage.gc()
    // Somebody has opened what Helia keeps, or would.
    await storage.pin(cid)
    await storage.unpin(cid)
    await storage.close()
    const holder = await hold(`${name}/${database}`)
    const error = await rejection(IPFSKitStorage.destroy(name))
    expect(error).toBeInstanceOf(DatabaseError)
    expect((error as DatabaseError).database).toBe(`${name}/${database}`)
    expect((error as Error).message).toMatch(/another tab.*next opening/)
    // As long as it is held, nobody can use it. Not waited for thrice: that takes as long again.
    if (database === 'blocks') expect(await rejection(localStorageOf({ cacheDir: name }).ready())).toBeInstanceOf(DatabaseError)
    holder.close()
    const late = localStorageOf({ cacheDir: name })
    expect(await late.listFiles()).toEqual([])
    expect(await late.retrieve(cid)).toBe(null)
    expect(await countAll(name)).toEqual(NOTHING)
    expect(await late.store('begins anew')).toMatch(/^bafkrei/)
  })
})

describe('a catalog of another release', () => {
  const setFormat = async (name: string, format: object): Promise<void> => {
    await within(`${name}/catalog`, 'meta', 'readwrite', (meta) => meta.put(format, 'format'))
  }

  it('that only newer code writes is read, and not written', async () => {
    const name = freshName()
    const before = localStorageOf({ cacheDir: name })
    const cid = await before.store('kept', { filename: 'kept' })
    // An open context learns of it as well as one that opens.
    await setFormat(name, { readableBy: 1, writableBy: 2 })
    const after = localStorageOf({ cacheDir: name })
    for (const storage of [before, after]) {
      expect(new TextDecoder().decode((await storage.retrieve(cid)) ?? undefined)).toBe('kept')
      expect(await storage.listFiles()).toMatchObject([{ filename: 'kept', state: 'whole' }])
      expect(await storage.exists(cid)).toBe(true)
      expect(await storage.verify()).toMatchObject({ blocks: 1, damaged: [] })
      for (const write of [
        () => storage.store('more'),
        () => storage.storeDirectory([{ path: 'a', data: 'b' }]),
        () => storage.delete(cid),
        () => storage.pin(cid),
      ]) {
        const error = await rejection(write)
        expect(error).toBeInstanceOf(DatabaseError)
        expect((error as Error).message).toMatch(/newer release.*reload/)
      }
    }
    expect((await countAll(name)).blocks).toBe(1)
    await setFormat(name, { readableBy: 1, writableBy: 1 })
    expect(await before.delete(cid)).toBe(true)
    expect(await countAll(name)).toEqual(NOTHING)
  })

  it('that only newer code reads is a DatabaseError', async () => {
    const name = freshName()
    const storage = localStorageOf({ cacheDir: name })
    await storage.store('kept')
    await storage.close()
    await setFormat(name, { readableBy: 2, writableBy: 2 })
    const later = localStorageOf({ cacheDir: name })
    expect(await rejection(later.ready())).toMatchObject({ name: 'DatabaseError', message: expect.stringMatching(/newer release/) })
    for (const [method, call] of methods(later)) expect([method, await rejection(call)]).toEqual([method, expect.any(DatabaseError)])
    await later.close()
    // Nothing was touched: the newer code finds it as it was.
    expect((await countAll(name)).blocks).toBe(1)
    await setFormat(name, { readableBy: 1, writableBy: 1 })
    expect(await localStorageOf({ cacheDir: name }).listFiles()).toHaveLength(1)
  })

  it('that was upgraded and is not for this code any more is refused by an open context', async () => {
    const name = freshName()
    const storage = localStorageOf({ cacheDir: name })
    const cid = await storage.store('kept')
    await upgrade(name, (db, transaction) => {
      db.createObjectStore('later')
      transaction.objectStore('meta').put({ readableBy: 2, writableBy: 2 }, 'format')
    })
    expect(await rejection(storage.listFiles())).toMatchObject({ name: 'DatabaseError', message: expect.stringMatching(/newer release/) })
    expect(await rejection(storage.store('more'))).toBeInstanceOf(DatabaseError)
    expect(await rejection(storage.delete(cid))).toBeInstanceOf(DatabaseError)
    await setFormat(name, { readableBy: 1, writableBy: 1 })
  })

  it('with more in it is used, also by a context that was open', async () => {
    const name = freshName()
    const before = localStorageOf({ cacheDir: name })
    const bytes = randomBytes(20 * MIB, 5)
    const first = await before.store('first')
    let upgraded: Promise<void> | undefined
    const source = endless((count) => {
      if (count === 10) upgraded = upgrade(name, (db) => void db.createObjectStore('later', { keyPath: 'id' }).createIndex('of', 'of'))
    })
    // In the middle of a store.
    const parts = async function* (): AsyncGenerator<Uint8Array<ArrayBuffer>> {
      let count = 0
      for await (const part of source) {
        if (count++ === 20) return
        yield part
      }
    }
    const second = await before.store(parts())
    await upgraded
    const after = localStorageOf({ cacheDir: name })
    for (const storage of [before, after]) {
      expect((await storage.retrieve(second))?.length).toBe(20 * MIB)
      expect(new TextDecoder().decode((await storage.retrieve(first)) ?? undefined)).toBe('first')
      const cid = await storage.store(bytes)
      expect(await storage.delete(cid)).toBe(true)
      expect(await storage.listFiles()).toHaveLength(2)
    }
    const db = await hold(`${name}/catalog`)
    expect([...db.objectStoreNames]).toContain('later')
    expect(db.version).toBe(2)
    db.close()
  })

  it('that lacks what this release added is completed', async () => {
    const name = freshName()
    // What lies in packs is nowhere else than in their index, which an earlier release has not.
    const storage = localStorageOf({ cacheDir: name, config: { tier: 'records' } })
    const cid = await storage.store(randomBytes(5 * MIB))
    await storage.close()
    await upgrade(name, (db) => {
      db.deleteObjectStore('packs')
      db.deleteObjectStore('places')
      db.deleteObjectStore('damaged')
    })
    const [one, two] = [localStorageOf({ cacheDir: name }), localStorageOf({ cacheDir: name })]
    expect(await Promise.all([one.exists(cid), two.exists(cid)])).toEqual([true, true])
    await one.delete(cid)
    expect(await countAll(name)).toEqual(NOTHING)
  })

  function upgrade(name: string, change: (db: IDBDatabase, transaction: IDBTransaction) => void): Promise<void> {
    return new Promise((resolve, reject) => {
      const ask = indexedDB.open(`${name}/catalog`)
      ask.onerror = () => reject(ask.error ?? new Error('open failed'))
      ask.onsuccess = () => {
        const { version } = ask.result
        ask.result.close()
        const request = indexedDB.open(`${name}/catalog`, version + 1)
        request.onupgradeneeded = () => {
          if (request.transaction !== null) change(request.result, request.transaction)
        }
        request.onerror = () => reject(request.error ?? new Error('upgrade failed'))
        request.onsuccess = () => {
          request.result.close()
          resolve()
        }
      }
    })
  }
})

describe('a database that the browser takes away', () => {
  it('ends what is under way on it, though its transactions never end, and is made again', async () => {
    const storage = localStorageOf()
    const cid = await storage.store('kept')
    const connections = new Set<IDBDatabase>()
    // As Chromium leaves transactions that begin while it clears the data of the site.
    const never: object = new Proxy({}, { get: () => () => never, set: () => true })
    const original = Object.getOwnPropertyDescriptor(IDBDatabase.prototype, 'transaction')!
    Object.defineProperty(IDBDatabase.prototype, 'transaction', {
      ...original,
      value(this: IDBDatabase, _: unknown, mode: IDBTransactionMode) {
        connections.add(this)
        return new Proxy({ db: this, mode, objectStore: () => never }, { set: () => true })
      },
    })
    try {
      const [reading, writing] = [rejection(storage.retrieve(cid)), rejection(storage.store('more'))]
      while (connections.size === 0) await new Promise((resolve) => setTimeout(resolve))
      await new Promise((resolve) => setTimeout(resolve))
      for (const connection of connections) connection.dispatchEvent(new Event('close'))
      expect(await Promise.race([reading, writing])).toBeInstanceOf(DatabaseError)
    } finally {
      Object.defineProperty(IDBDatabase.prototype, 'transaction', original)
    }
    expect(new TextDecoder().decode((await storage.retrieve(cid)) ?? undefined)).toBe('kept')
  })
})

describe('a context without IndexedDB', () => {
  const original = Object.getOwnPropertyDescriptor(globalThis, 'indexedDB')

  afterEach(restore)

  function restore(): void {
    if (original === undefined) delete (globalThis as { indexedDB?: unknown }).indexedDB
    else Object.defineProperty(globalThis, 'indexedDB', original)
  }

  function replace(value: unknown): void {
    Object.defineProperty(globalThis, 'indexedDB', { configurable: true, value })
  }

  it.each<[string, () => unknown]>([
    ['has none', () => undefined],
    [
      'refuses at once',
      () => ({
        open() {
          throw new DOMException('The operation is insecure.', 'SecurityError')
        },
        deleteDatabase() {
          throw new DOMException('The operation is insecure.', 'SecurityError')
        },
      }),
    ],
    [
      'refuses when asked',
      () => {
        const refuse = (): unknown => {
          const request = new EventTarget() as EventTarget & { error?: DOMException; onerror?: (event: Event) => void }
          queueMicrotask(() => {
            request.error = new DOMException(
              'A mutation operation was attempted on a database that did not allow mutations.',
              'InvalidStateError',
            )
            request.onerror?.(new Event('error'))
          })
          return request
        }
        return { open: refuse, deleteDatabase: refuse }
      },
    ],
  ])('that %s keeps everything in memory, and says so', async (_, make) => {
    replace(make())
    const name = freshName()
    const storage = new IPFSKitStorage({ cacheDir: name, forceFallback: true })
    try {
      await storage.ready()
      expect(await storage.getBackendStatus()).toMatchObject({ tier: 'memory', backends: { local: true } })
      await expectToWork(storage)
    } finally {
      await storage.close()
      await IPFSKitStorage.destroy(name)
      restore()
    }
    expect(await names(name)).toEqual([])
  })

  /** A factory whose open() fails so many times, as Chromium's does while another process holds the files, and then goes on. */
  function failing(times: number): IDBFactory {
    const native = original?.get?.call(globalThis) as IDBFactory
    let left = times
    const open = (...args: [string, number?]): unknown => {
      if (left-- <= 0) return native.open(...args)
      const request = new EventTarget() as EventTarget & { error?: DOMException; onerror?: (event: Event) => void }
      queueMicrotask(() => {
        request.error = new DOMException('Internal error opening backing store for indexedDB.open.', 'UnknownError')
        request.onerror?.(new Event('error'))
      })
      return request
    }
    return { open, databases: () => native.databases(), deleteDatabase: (name: string) => native.deleteDatabase(name) } as IDBFactory
  }

  it('for a moment is waited for: what was stored is there', async () => {
    const name = freshName()
    const before = await localStorageOf({ cacheDir: name }).ready()
    const cid = await before.store('still there')
    await before.close()
    replace(failing(3))
    const storage = await localStorageOf({ cacheDir: name }).ready()
    expect((await storage.getBackendStatus()).tier).not.toBe('memory')
    expect(new TextDecoder().decode((await storage.retrieve(cid)) ?? undefined)).toBe('still there')
    restore()
  })

  it('where a storage is known to be is a DatabaseError, and never an empty storage', async () => {
    const name = freshName()
    await (await localStorageOf({ cacheDir: name }).ready()).store('still there')
    replace(failing(Number.POSITIVE_INFINITY))
    const storage = new IPFSKitStorage({ cacheDir: name, forceFallback: true })
    await expect(storage.ready()).rejects.toThrow(DatabaseError)
    await expect(storage.listFiles()).rejects.toThrow(DatabaseError)
    await storage.close()
    replace(failing(Number.POSITIVE_INFINITY))
    const other = await new IPFSKitStorage({ cacheDir: freshName(), forceFallback: true }).ready()
    expect((await other.getBackendStatus()).tier).toBe('memory')
    await other.close()
    restore()
  })

  it("runs Helia there too, and honours Helia's pins", async () => {
    replace(undefined)
    const storage = await new IPFSKitStorage({ cacheDir: freshName(), ...QUIET }).ready()
    try {
      const node = (await storage.helia()) as Helia
      expect(await storage.getBackendStatus()).toMatchObject({ tier: 'memory', ipfsKitAvailable: true })
      const bytes = randomBytes(MIB + 1)
      const added = await unixfs(node).addBytes(bytes, { profile: 'unixfs-v1-2025' })
      expect(same(await storage.retrieve(added), bytes)).toBe(true)
      const mine = await storage.store('mine')
      const { CID } = await import('multiformats/cid')
      for await (const _ of node.pins.add(CID.parse(mine))) void _
      await storage.delete(mine)
      await storage.gc()
      expect(new TextDecoder().decode(await bytesOf(unixfs(node).cat(CID.parse(mine))))).toBe('mine')
      await node.gc()
      expect(await storage.exists(added)).toBe(false)
    } finally {
      await storage.close()
    }
  })
})

describe('close()', () => {
  it('may be called twice, and every method after it is a ClosedError', async () => {
    const storage = localStorageOf()
    await storage.store('x')
    await Promise.all([storage.close(), storage.close()])
    await storage.close()
    const calls: [string, () => Promise<unknown>][] = [
      ...methods(storage),
      ['ready', () => storage.ready()],
      ['isAvailable', () => storage.isAvailable()],
      ['persist', () => storage.persist()],
      ['helia', () => storage.helia()],
    ]
    for (const [method, call] of calls) expect([method, await rejection(call)]).toEqual([method, expect.any(ClosedError)])
  })

  it('ends what is under way with ClosedError, and leaves what was stored', async () => {
    const name = freshName()
    const storage = localStorageOf({ cacheDir: name })
    const bytes = randomBytes(40 * MIB, 6)
    const cid = await storage.store(bytes)
    const reader = (await storage.stream(cid))?.getReader()
    await reader?.read()
    let closing: Promise<void> | undefined
    const storing = storage.store(
      endless((count) => {
        if (count === 20) closing = storage.close()
      }),
    )
    expect(await rejection(storing)).toBeInstanceOf(ClosedError)
    await closing
    const drained = async (): Promise<void> => {
      while ((await reader?.read())?.done !== true);
    }
    expect(await rejection(drained)).toBeInstanceOf(ClosedError)
    const again = localStorageOf({ cacheDir: name })
    expect(same(await again.retrieve(cid), bytes)).toBe(true)
    await again.gc()
    expect((await countAll(name)).blocks).toBe(41)
  })

  it('may come before the databases are open', async () => {
    const name = freshName()
    const storage = new IPFSKitStorage(tiered({ cacheDir: name, ...QUIET }))
    const storing = rejection(storage.store('x'))
    await storage.close()
    expect(await storing).toBeInstanceOf(ClosedError)
    await IPFSKitStorage.destroy(name)
    expect(await names(name)).toEqual([])
  })

  it('keeps when content was last used', async () => {
    const name = freshName()
    const storage = localStorageOf({ cacheDir: name })
    const cid = await storage.store('used')
    const stored = (await storage.listFiles())[0]?.lastUsed.getTime() ?? 0
    while (Date.now() <= stored) await Promise.resolve()
    await storage.retrieve(cid)
    await storage.close()
    expect((await localStorageOf({ cacheDir: name }).listFiles())[0]?.lastUsed.getTime()).toBeGreaterThan(stored)
  })
})

describe('what other storages of the name hear', () => {
  it('is every change, once, in order', async () => {
    const name = freshName()
    const [one, two] = [localStorageOf({ cacheDir: name }), localStorageOf({ cacheDir: name })]
    const stranger = localStorageOf()
    await Promise.all([one.ready(), two.ready(), stranger.ready()])
    const [here, there, elsewhere] = [gather(one, 'change'), gather(two, 'change'), gather(stranger, 'change')]
    const last = nextEvent(two, 'change', ({ filename }) => filename === 'last')
    const cid = await one.store('content', { filename: 'a' })
    await one.store('content', { filename: 'b' })
    await one.store('content', { filename: 'a' })
    await one.pin(cid)
    await one.pin(cid, { holder: 'x' })
    await one.unpin(cid, { holder: 'x' })
    await one.unpin(cid)
    await one.delete(cid, { filename: 'a' })
    await one.store('last', { filename: 'last' })
    await last
    const both = (kind: string): object[] => ['a', 'b'].map((filename) => ({ cid, filename, kind }))
    const expected = [
      { cid, filename: 'a', kind: 'stored' },
      { cid, filename: 'b', kind: 'stored' },
      { cid, filename: 'a', kind: 'updated' },
      // A second holder changes nothing of whether it is pinned.
      ...['pinned', 'updated', 'updated', 'unpinned'].flatMap(both),
      { cid, filename: 'a', kind: 'deleted' },
      { cid: expect.any(String), filename: 'last', kind: 'stored' },
    ]
    // Entries of one content change together, in no order.
    for (const heard of [here, there]) expect([...heard.slice(0, 3), ...pairwise(heard.slice(3, 11)), ...heard.slice(11)]).toEqual(expected)
    expect(elsewhere).toEqual([])
  })

  function pairwise<T extends { filename: string }>(details: readonly T[]): T[] {
    return details.flatMap((_, index) =>
      index % 2 === 0 ? details.slice(index, index + 2).toSorted((a, b) => (a.filename < b.filename ? -1 : 1)) : [],
    )
  }

  it('can be cloned', async () => {
    const storage = localStorageOf()
    const change = nextEvent(storage, 'change')
    await storage.store('x', { filename: 'x' })
    expect(structuredClone(await change)).toEqual(await change)
  })
})

describe('listFiles()', () => {
  const FILENAMES = [
    'models',
    'models/a',
    'models/a/b',
    'models/b',
    'models2',
    'models2/a',
    'Models/a',
    '/models/c',
    'modelt',
    'other',
    '\u{1f600}',
    '\uffff',
  ]

  async function filled(): Promise<IPFSKitStorage> {
    const storage = localStorageOf()
    await storage.storeMany(FILENAMES.toReversed().map((filename) => ({ data: `content of ${filename}`, filename })))
    return storage
  }

  const listed = async (storage: IPFSKitStorage, path?: string): Promise<string[]> =>
    (await storage.listFiles(path)).map((file) => file.filename)

  it('lists by segments', async () => {
    const storage = await filled()
    const under = FILENAMES.filter((name) => /^\/?models(\/|$)/.test(name)).toSorted()
    for (const path of ['models', '/models', 'models/', '/models/']) expect((await listed(storage, path)).toSorted()).toEqual(under)
    expect(await listed(storage, 'models/a')).toEqual(['models/a', 'models/a/b'])
    expect(await listed(storage, 'models/a/b')).toEqual(['models/a/b'])
    expect(await listed(storage, 'model')).toEqual([])
    expect(await listed(storage, 'nothing')).toEqual([])
    expect(await listed(storage, 'other')).toEqual(['other'])
  })

  it('lists all by filename, then CID', async () => {
    const storage = await filled()
    const cids = await storage.storeMany(['1', '2', '3'].map((data) => ({ data, filename: 'same' })))
    for (const path of [undefined, '/', '']) expect(await listed(storage, path)).toEqual([...FILENAMES, 'same', 'same', 'same'].toSorted())
    expect((await storage.listFiles('same')).map((file) => file.cid)).toEqual(cids.toSorted())
  })

  it('goes on after an entry, page by page, whatever is deleted meanwhile', async () => {
    const storage = await filled()
    await storage.storeMany(['1', '2', '3'].map((data) => ({ data, filename: 'same' })))
    const all = await storage.listFiles()
    for (const limit of [1, 2, 5, 100]) {
      const pages: string[][] = []
      for (let page = await storage.listFiles('/', { limit }); page.length > 0;) {
        expect(page.length).toBeLessThanOrEqual(limit)
        pages.push(page.map((file) => `${file.filename} ${file.cid}`))
        const after = page.at(-1)
        if (after === undefined) break
        page = await storage.listFiles('/', { limit, after: { filename: after.filename, cid: after.cid } })
      }
      expect(pages.flat()).toEqual(all.map((file) => `${file.filename} ${file.cid}`))
    }
    const [first, second] = all
    await storage.delete(first?.cid ?? '')
    const rest = await storage.listFiles('/', { after: { filename: first?.filename ?? '', cid: first?.cid ?? '' }, limit: 1 })
    expect(rest.map((file) => file.filename)).toEqual([second?.filename])
    const under = await storage.listFiles('models')
    const later = await storage.listFiles('models', { after: { filename: under[1]?.filename ?? '', cid: under[1]?.cid ?? '' } })
    expect(later.map((file) => file.filename)).toEqual(under.slice(2).map((file) => file.filename))
    expect(await storage.listFiles('models', { after: { filename: 'zzz', cid: '' } })).toEqual([])
  })
})
