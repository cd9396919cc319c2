// The 27 cases of the system this one follows (reference/original-system.md 1.3, same numbers), on page and worker, with Helia and without.
// Where the contract differs it wins: an absent but valid CID in case 8, File and FileSystemFileHandle in 7 and 23, entries and databases
// for files on disk in 3, 4 and 9, unknown keys refused in 26.
import { afterEach, describe, expect, inject, it } from 'vitest'
import {
  getStorage,
  InvalidCidError,
  InvalidOptionsError,
  IPFSKitStorage,
  resetStorage,
  type ContentStorage,
  type StorageOptions,
} from '../../src/index.ts'
import { connect } from '../../src/worker/index.ts'
import type { Order, Singleton } from './fixtures/original-worker.ts'
import { has, needs, SYNC_HANDLES, WRITABLE_FILES } from './support/needs.ts'
import { countAll, destroyWhole, freshName, NOTHING, same, TIER, tiered, within } from './support/stores.ts'

const ABSENT = 'bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku'
const DEFAULT_CACHE_DIR = 'ipfs_accelerate'

type Place = 'page' | 'worker'
type Mode = 'Helia' | 'fallback'
type Environment = Record<string, string>

const text = (value: string): Uint8Array<ArrayBuffer> => new TextEncoder().encode(value)

const names = new Set<string>()
const endings: (() => void | Promise<void>)[] = []

/** Ends the storages of a test one after the other, the last first, and deletes what they stored. */
async function end(): Promise<void> {
  for (const ending of endings.splice(0).reverse()) await ending()
}

afterEach(async () => {
  await end()
  await resetStorage()
  const all = [...names]
  names.clear()
  for (const name of all) await destroyWhole(name)
})

/** A name that is deleted after the test. */
function named(name = freshName()): string {
  names.add(name)
  return name
}

function worker(): Worker {
  const made = new Worker(new URL('./fixtures/original-worker.ts', import.meta.url), { type: 'module' })
  endings.push(async () => {
    // WebKit leaves open for good what a worker was at when it was terminated.
    const ended = new Promise<void>((resolve) => {
      made.addEventListener('message', ({ data }: MessageEvent<{ ended?: boolean }>) => data.ended === true && resolve())
    })
    order(made, { order: 'end' })
    await ended
    made.terminate()
  })
  return made
}

function order(to: Worker, message: Order): void {
  to.postMessage(message)
}

/** A storage in that place, where a realm has these globals. What its constructor throws rejects the calls, as it does from a worker. */
function openAs(place: Place, options?: StorageOptions, environment: Environment = {}): ContentStorage {
  if (place === 'worker') {
    const to = worker()
    const client = connect(to)
    endings.push(() => client.close())
    order(to, { order: 'serve', options, environment })
    return client
  }
  const realm = globalThis as unknown as Environment
  Object.assign(realm, environment)
  try {
    const storage = new IPFSKitStorage(options)
    endings.push(() => storage.close())
    return storage
  } finally {
    for (const key of Object.keys(environment)) Reflect.deleteProperty(realm, key)
  }
}

/** The same on the tier of this run. */
function open(place: Place, options: StorageOptions = {}, environment: Environment = {}): ContentStorage {
  return openAs(place, tiered(options), environment)
}

async function databases(): Promise<string[]> {
  return (await indexedDB.databases()).map(({ name }) => name ?? '')
}

async function fileHandle(bytes: Uint8Array<ArrayBuffer>): Promise<{ handle: FileSystemFileHandle; remove: () => Promise<void> }> {
  const directory = await navigator.storage.getDirectory()
  const name = freshName()
  const handle = await directory.getFileHandle(name, { create: true })
  const writable = await handle.createWritable()
  await writable.write(bytes)
  await writable.close()
  const remove = (): Promise<void> => directory.removeEntry(name)
  return { handle, remove }
}

async function rejection(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    (value) => new Error(`did not reject but answered ${String(value)}`),
    (error: unknown) => error,
  )
}

describe.each<Place>(['page', 'worker'])('%s', (place) => {
  describe.each<Mode>(['Helia', 'fallback'])('%s', (mode) => {
    const isHelia = mode === 'Helia'
    const settings: StorageOptions = isHelia
      ? { config: { ipfs: { gateways: [inject('gateway404')], delegatedRouters: [] } } }
      : { enableIpfsKit: false, forceFallback: true }

    /** The fixture of the original tests: a storage of its own that is ready, in the mode. */
    async function ready(cacheDir = named()): Promise<{ storage: ContentStorage; cacheDir: string }> {
      const storage = open(place, { ...settings, cacheDir })
      return { storage: await storage.ready(), cacheDir }
    }

    it('1 test_init_with_fallback', async () => {
      const { storage, cacheDir } = await ready()
      const status = await storage.getBackendStatus()
      expect(status).toMatchObject({ usingFallback: !isHelia, cacheDir, tier: TIER })
      expect(status.fallbackReason).toBe(isHelia ? undefined : 'forced')
      expect(await databases()).toEqual(expect.arrayContaining([`${cacheDir}/blocks`, `${cacheDir}/catalog`]))
      expect((await databases()).includes(`${cacheDir}/data`)).toBe(isHelia)
    })

    it('2 test_init_with_env_disable', async () => {
      const cacheDir = named()
      for (const value of ['1', 'true', 'YES']) {
        const options: StorageOptions = { enableIpfsKit: true, cacheDir, ...(isHelia ? { config: settings.config ?? {} } : {}) }
        const storage = await open(place, options, { IPFS_KIT_DISABLE: value }).ready()
        expect(await storage.getBackendStatus()).toMatchObject({ usingFallback: true, ipfsKitAvailable: false, fallbackReason: 'disabled' })
        await end()
      }
      const { storage } = await ready(cacheDir)
      expect(await storage.isAvailable()).toBe(isHelia)
    })

    it('3 test_cache_dir_creation', async () => {
      const cacheDir = named(`${freshName()}/nested/cache`)
      expect((await databases()).filter((name) => name.startsWith(cacheDir))).toEqual([])
      const { storage } = await ready(cacheDir)
      expect(await databases()).toEqual(expect.arrayContaining([`${cacheDir}/blocks`, `${cacheDir}/catalog`]))
      expect((await storage.getBackendStatus()).cacheDir).toBe(cacheDir)
    })

    it('4 test_default_cache_dir', async () => {
      named(DEFAULT_CACHE_DIR)
      const storage = await open(place, settings).ready()
      expect((await storage.getBackendStatus()).cacheDir).toBe(DEFAULT_CACHE_DIR)
      expect(await databases()).toEqual(expect.arrayContaining([`${DEFAULT_CACHE_DIR}/blocks`, `${DEFAULT_CACHE_DIR}/catalog`]))
      const elsewhere = named()
      const other = await open(place, settings, { IPFS_ACCELERATE_CACHE_DIR: elsewhere }).ready()
      expect((await other.getBackendStatus()).cacheDir).toBe(elsewhere)
    })

    it('5 test_store_bytes', async () => {
      const { storage } = await ready()
      const cid = await storage.store(text('Hello, IPFS!'))
      expect(cid).toMatch(/^bafkrei[a-z2-7]{52}$/)
      expect(await storage.exists(cid)).toBe(true)
    })

    it('6 test_store_string', async () => {
      const { storage } = await ready()
      const content = 'Hello, Welt: žluťoučký 🐎'
      expect(await storage.retrieve(await storage.store(content))).toEqual(text(content))
      // A string is content even where it looks like a path.
      expect(await storage.retrieve(await storage.store('/etc/passwd'))).toEqual(text('/etc/passwd'))
    })

    it('7 test_store_file', async () => {
      const { storage } = await ready()
      const bytes = new Uint8Array(2_500_000).map((_, index) => (index * 2_654_435_761) >>> 24)
      const cid = await storage.store(new File([bytes], 'file.bin'))
      expect(await storage.exists(cid)).toBe(true)
      expect(same(await storage.retrieve(cid), bytes)).toBe(true)
      if (!(await has(WRITABLE_FILES))) return
      const { handle, remove } = await fileHandle(bytes)
      await storage.delete(cid)
      expect(await storage.store(handle)).toBe(cid)
      expect(same(await storage.retrieve(cid), bytes)).toBe(true)
      expect(await storage.store(await handle.getFile())).toBe(cid)
      await remove()
    })

    it('8 test_retrieve_nonexistent', async () => {
      const { storage } = await ready()
      expect(await storage.retrieve(ABSENT)).toBe(null)
      expect(await rejection(storage.retrieve('bafynonexistent'))).toBeInstanceOf(InvalidCidError)
    })

    it('9 test_store_with_metadata', async () => {
      const { storage, cacheDir } = await ready()
      const cid = await storage.store(text('test data'), { filename: 'test.txt', pin: true })
      expect(await storage.listFiles()).toMatchObject([{ cid, filename: 'test.txt', fallback: !isHelia, pinned: true, size: 9 }])
      expect(await countAll(cacheDir)).toMatchObject({ blocks: 1, owners: 2 })
    })

    it('10 test_deterministic_cid', async () => {
      const { storage, cacheDir } = await ready()
      const first = await storage.store(text('deterministic'), { filename: 'file1.txt' })
      expect(await storage.store(text('deterministic'), { filename: 'file2.txt' })).toBe(first)
      expect((await storage.listFiles()).map(({ filename }) => filename)).toEqual(['file1.txt', 'file2.txt'])
      expect((await countAll(cacheDir)).blocks).toBe(1)
    })

    it('11 test_different_content_different_cid', async () => {
      const { storage } = await ready()
      expect(await storage.store(text('content 1'))).not.toBe(await storage.store(text('content 2')))
    })

    it('12 test_pin_content', async () => {
      const { storage } = await ready()
      const cid = await storage.store(text('pin me'))
      expect(await storage.listFiles()).toMatchObject([{ cid, pinned: false }])
      expect(await storage.pin(cid)).toBe(true)
      expect(await storage.listFiles()).toMatchObject([{ cid, pinned: true }])
      expect(await storage.pin(ABSENT)).toBe(false)
    })

    it('13 test_unpin_content', async () => {
      const { storage } = await ready()
      const cid = await storage.store(text('unpin me'), { pin: true })
      expect(await storage.pin(cid)).toBe(true)
      expect(await storage.unpin(cid)).toBe(true)
      expect(await storage.listFiles()).toMatchObject([{ cid, pinned: false }])
      expect(await storage.unpin(ABSENT)).toBe(false)
    })

    it('14 test_list_empty', async () => {
      const { storage } = await ready()
      expect(await storage.listFiles()).toEqual([])
    })

    it('15 test_list_files', async () => {
      const { storage } = await ready()
      const first = await storage.store(text('file 1'), { filename: 'file1.txt' })
      const second = await storage.store(text('file 2'), { filename: 'file2.txt', pin: true })
      const files = await storage.listFiles()
      expect(files).toMatchObject([
        { cid: first, filename: 'file1.txt', pinned: false, size: 6, state: 'whole' },
        { cid: second, filename: 'file2.txt', pinned: true, size: 6, state: 'whole' },
      ])
      expect(files[0]?.modified).toBeInstanceOf(Date)
    })

    it('16 test_delete_existing', async () => {
      const { storage } = await ready()
      const cid = await storage.store(text('delete me'))
      expect(await storage.delete(cid)).toBe(true)
      expect(await storage.exists(cid)).toBe(false)
    })

    it('17 test_delete_nonexistent', async () => {
      const { storage } = await ready()
      expect(await storage.delete(ABSENT)).toBe(false)
      expect(await rejection(storage.delete('bafynonexistent'))).toBeInstanceOf(InvalidCidError)
    })

    it('18 test_delete_removes_metadata', async () => {
      const { storage, cacheDir } = await ready()
      const cid = await storage.store(text('with metadata'), { filename: 'meta.txt' })
      expect(await storage.delete(cid)).toBe(true)
      expect(await storage.listFiles()).toEqual([])
      expect(await countAll(cacheDir)).toEqual(NOTHING)
    })

    it('19 test_backend_status_fallback', async () => {
      const { storage, cacheDir } = await ready()
      expect(await storage.getBackendStatus()).toMatchObject({
        ipfsKitAvailable: isHelia,
        usingFallback: !isHelia,
        cacheDir,
        backends: { local: true, ipfs: isHelia, s3: false, filecoin: false },
      })
    })

    it('20 test_is_available', async () => {
      const { storage } = await ready()
      expect(await storage.isAvailable()).toBe(isHelia)
    })

    it('21 test_get_storage_singleton', async () => {
      const options = tiered({ ...settings, cacheDir: named() })
      if (place === 'page') {
        const first = getStorage(options)
        expect(getStorage()).toBe(first)
        expect((await first.getBackendStatus()).cacheDir).toBe(options.cacheDir)
        return
      }
      expect(await singleton(options)).toMatchObject({ same: true, cacheDirs: [options.cacheDir, options.cacheDir] })
      // As seen from a page: however many connect to a worker, there is one storage in it.
      const to = worker()
      const [one, two] = [connect(to), connect(to)]
      order(to, { order: 'serve', options, environment: {} })
      const cid = await one.store('seen by both')
      expect(await two.retrieve(cid)).toEqual(text('seen by both'))
      await Promise.all([one.close(), two.close()])
    })

    it('22 test_reset_storage', async () => {
      const options = tiered({ ...settings, cacheDir: named() })
      if (place === 'worker') {
        expect(await singleton(options)).toMatchObject({ sameAfterReset: false })
        return
      }
      const first = getStorage(options)
      const cid = await first.store('outlives the reset')
      await resetStorage()
      const second = getStorage(options)
      expect(second).not.toBe(first)
      expect(await second.retrieve(cid)).toEqual(text('outlives the reset'))
    })

    it('23 test_store_invalid_path', async ({ skip }) => {
      await needs(skip, WRITABLE_FILES)
      const { storage, cacheDir } = await ready()
      const { handle, remove } = await fileHandle(text('soon gone'))
      const file = await handle.getFile()
      await remove()
      expect(await rejection(storage.store(handle))).toMatchObject({ name: 'NotFoundError' })
      // Firefox calls it an AbortError.
      expect(await rejection(storage.store(file))).toMatchObject({ name: expect.stringMatching(/^(NotFound|NotReadable|Abort)Error$/) })
      expect(await storage.listFiles()).toEqual([])
      expect(await countAll(cacheDir)).toEqual(NOTHING)
    })

    it('24 test_retrieve_after_manual_deletion', async () => {
      const { storage, cacheDir } = await ready()
      const cid = await storage.store(text('will be deleted'))
      await within(`${cacheDir}/blocks`, `${cacheDir}/blocks`, 'readwrite', (blocks) => blocks.clear())
      expect(await storage.retrieve(cid)).toBe(null)
      expect(await storage.exists(cid)).toBe(false)
      // Storing it again makes it whole.
      expect(await storage.store(text('will be deleted'))).toBe(cid)
      expect(await storage.retrieve(cid)).toEqual(text('will be deleted'))
    })

    it('25 test_fallback_when_import_fails', async () => {
      const cacheDir = named()
      // A failing import itself is shown by test/e2e/pack.test.ts. Here Helia fails, because its datastore belongs to a later version.
      if (!isHelia) await laterDatastore(`${cacheDir}/data`)
      const options: StorageOptions = { enableIpfsKit: true, cacheDir, config: { ipfs: { gateways: [], delegatedRouters: [] } } }
      const storage = await open(place, options).ready()
      const status = await storage.getBackendStatus()
      expect(status.usingFallback).toBe(!isHelia)
      expect(status.fallbackReason).toBe(isHelia ? undefined : 'helia-failed')
      expect(typeof status.fallbackDetail).toBe(isHelia ? 'undefined' : 'string')
      const cid = await storage.store(text('stored either way'), { filename: 'a' })
      expect(await storage.exists(cid)).toBe(true)
      expect(await storage.delete(cid)).toBe(true)
      expect((await countAll(cacheDir)).blocks).toBe(0)
    })

    it('26 test_custom_config', async () => {
      const cacheDir = named()
      const config = { ...settings.config, tier: 'records' as const, blocksDatabase: named(`${cacheDir}/elsewhere`) }
      const storage = await open(place, { ...settings, cacheDir, config }).ready()
      const cid = await storage.store('under another name')
      expect(await storage.getBackendStatus()).toMatchObject({ tier: 'records', usingFallback: !isHelia })
      expect(await within(config.blocksDatabase, config.blocksDatabase, 'readonly', (blocks) => blocks.count())).toBe(1)
      expect(await storage.retrieve(cid)).toEqual(text('under another name'))
      const unknown = { ...settings, cacheDir, config: { ...settings.config, custom_option: 'custom_value' } } as StorageOptions
      const error = await rejection((async () => open(place, unknown).ready())())
      expect(error).toBeInstanceOf(InvalidOptionsError)
      expect(error).toMatchObject({ option: 'config.custom_option' })
    })

    it('27 test_no_config', async () => {
      const cacheDir = named()
      // Helia's own defaults: it asks nobody before something is asked of it.
      const storage = await openAs(place, isHelia ? { cacheDir } : { cacheDir, forceFallback: true }).ready()
      const tier = (await has(SYNC_HANDLES)) ? 'packs' : 'records'
      expect(await storage.getBackendStatus()).toMatchObject({ cacheDir, usingFallback: !isHelia, tier })
      const cid = await storage.store('without config')
      expect(await storage.retrieve(cid, { localOnly: true })).toEqual(text('without config'))
    })
  })
})

/** A database as a later version of datastore-idb may leave it: today's refuses to open it. */
async function laterDatastore(name: string): Promise<void> {
  const db = await new Promise<IDBDatabase>((resolve, reject) => {
    const request = indexedDB.open(name, 2)
    request.onupgradeneeded = () => void request.result.createObjectStore(name)
    request.onsuccess = () => resolve(request.result)
    request.onerror = () => reject(request.error ?? new Error('open failed'))
  })
  db.close()
}

/** getStorage() in a worker's own realm. */
async function singleton(options: StorageOptions): Promise<Singleton> {
  const to = worker()
  const answer = new Promise<Singleton>((resolve, reject) => {
    to.addEventListener('message', (event: MessageEvent<{ singleton?: Singleton }>) => {
      if (event.data.singleton !== undefined) resolve(event.data.singleton)
    })
    to.addEventListener('error', (event) => reject(new Error(event.message)))
  })
  order(to, { order: 'singleton', options })
  return answer
}
