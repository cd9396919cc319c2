// Rows of the catalog that are lost, each in its turn: the storage opens and works, nothing wrong is answered, and storing again heals.
import { afterEach, describe, expect, it } from 'vitest'
import { IntegrityError, UnavailableError, type IPFSKitStorage } from '../../src/index.ts'
import { LINKS_A_ROW } from '../../src/limits.ts'
import {
  closeAll,
  countAll,
  freshName,
  localStorageOf,
  NOTHING,
  randomBytes,
  same,
  TIER,
  waitForNothing,
  within,
} from './support/stores.ts'

const MIB = 1024 * 1024
/** Chromium keeps values from here on in files of their own, which can be lost while their row stays. */
const BLOB_BYTES = 64 * 1024
const TEST_TIMEOUT_MS = 120_000

afterEach(closeAll)

const FILE = randomBytes(5 * MIB + 100, 1)
const PINNED = randomBytes(2 * MIB, 2)
const SMALL = Array.from({ length: 3 }, (_, index) => randomBytes(100, 10 + index))
const FOLDER = Array.from({ length: LINKS_A_ROW + 10 }, (_, index) => ({ path: `folder/${index}`, data: `file ${index}` }))

interface Known {
  cid: string
  /** undefined: a directory, of which one file is read. */
  bytes: Uint8Array | undefined
}

/** Stores all that there is to lose; the same again changes nothing where all is whole. */
async function fill(storage: IPFSKitStorage): Promise<Known[]> {
  const file = await storage.store(FILE, { filename: 'file' })
  const pinned = await storage.store(PINNED, { filename: 'pinned', pin: true })
  const small = await storage.storeMany(SMALL.map((data) => ({ data })))
  const folder = await storage.storeDirectory(FOLDER, { filename: 'folder' })
  return [
    { cid: file, bytes: FILE },
    { cid: pinned, bytes: PINNED },
    ...small.map((cid, index) => ({ cid, bytes: SMALL[index] })),
    { cid: folder, bytes: undefined },
  ]
}

const sampled = (): typeof FOLDER => FOLDER.filter((_, index) => index % 50 === 0)

async function isRight(storage: IPFSKitStorage, { cid, bytes }: Known): Promise<boolean> {
  if (bytes !== undefined) return same(await storage.retrieve(cid), bytes)
  for (const { path, data } of sampled()) {
    if (new TextDecoder().decode((await storage.retrieve(`${cid}/${path}`)) ?? undefined) !== data) return false
  }
  return true
}

/** Every byte that is answered is right; what is not is absent, or said to be damaged. */
async function neverWrong(storage: IPFSKitStorage, { cid, bytes }: Known): Promise<void> {
  const parts =
    bytes === undefined
      ? sampled().map(({ path, data }) => [`${cid}/${path}`, new TextEncoder().encode(data)] as const)
      : [[cid, bytes] as const]
  for (const [path, expected] of parts) {
    try {
      const read = await storage.retrieve(path)
      if (read !== null) expect(same(read, expected), path).toBe(true)
    } catch (error) {
      expect(
        [IntegrityError, UnavailableError].some((type) => error instanceof type),
        String(error),
      ).toBe(true)
    }
  }
}

const keysOf = (name: string, store: string): Promise<IDBValidKey[]> =>
  within(`${name}/catalog`, store, 'readonly', (rows) => rows.getAllKeys())

describe.each(['owners', 'references', 'packs', 'places', 'meta'])('a row of %s that is lost', (store) => {
  it(
    'leaves a storage that works and tells what it lacks; storing again heals',
    async () => {
      let count = 1
      for (let index = 0; index < count; index++) {
        const name = freshName()
        const before = localStorageOf({ cacheDir: name })
        const known = await fill(before)
        await before.close()
        const keys = await keysOf(name, store)
        count = keys.length
        const key = keys[index]
        // Records have no packs.
        if (key === undefined) return expect([TIER, keys]).toEqual(['records', []])
        await within(`${name}/catalog`, store, 'readwrite', (rows) => rows.delete(key))

        const storage = localStorageOf({ cacheDir: name })
        const said = `${store} without ${JSON.stringify(key)}`
        for (const info of await storage.listFiles()) {
          const of = known.find(({ cid }) => cid === info.cid)
          if (of === undefined) expect.unreachable(said)
          if (info.state === 'whole') expect(await isRight(storage, of), `${said}: ${info.filename} is whole`).toBe(true)
        }
        for (const one of known) await neverWrong(storage, one)
        await storage.verify()
        await storage.gc()
        expect((await fill(storage)).map(({ cid }) => cid)).toEqual(known.map(({ cid }) => cid))
        expect(
          (await storage.listFiles()).map(({ filename, state }) => [filename, state]),
          said,
        ).toEqual(
          expect.arrayContaining([
            ['file', 'whole'],
            ['folder', 'whole'],
            ['pinned', 'whole'],
          ]),
        )
        expect(
          (await storage.listFiles()).filter(({ state }) => state !== 'whole'),
          said,
        ).toEqual([])
        for (const one of known) expect(await isRight(storage, one), `${said}: ${one.cid}`).toBe(true)
        expect((await storage.verify()).damaged, said).toEqual([])
        await storage.gc()
        for (const one of known) expect(await isRight(storage, one), `${said}: ${one.cid} after gc`).toBe(true)
        for (const { cid } of known) await storage.delete(cid, { force: true })
        await storage.gc({ foreign: true })
        await waitForNothing(name)
        const { usage } = await storage.getBackendStatus()
        expect(usage, said).toMatchObject({ bytes: 0, blocks: 0, files: 0, pinnedBytes: 0, deadBytes: 0 })
        await storage.close()
      }
    },
    TEST_TIMEOUT_MS,
  )
})

describe('no row of the catalog', () => {
  it('is so large that the browser keeps it in a file of its own', async () => {
    const name = freshName()
    const storage = localStorageOf({ cacheDir: name })
    const long = 'n'.repeat(1000)
    await storage.storeDirectory(Array.from({ length: 2500 }, (_, index) => ({ path: `${index}`, data: `file ${index}` })))
    await storage.storeMany(Array.from({ length: 300 }, (_, index) => ({ data: `item ${index}`, filename: `${long}${index}` })))
    await storage.store(randomBytes(5 * MIB))
    await storage.close()
    for (const store of ['meta', 'owners', 'references', 'packs', 'places']) {
      const rows = (await within(`${name}/catalog`, store, 'readonly', (all) => all.getAll())) as object[]
      // The browser counts two bytes a character only where one is beyond Latin-1.
      const largest = Math.max(
        0,
        ...rows.map((row) => JSON.stringify(row, (_, value: unknown) => (value instanceof Uint8Array ? [...value] : value)).length),
      )
      const reserve = store === 'meta' ? Infinity : BLOB_BYTES
      expect(largest, store).toBeLessThan(reserve)
    }
    expect(await countAll(name)).not.toEqual(NOTHING)
  })
})
