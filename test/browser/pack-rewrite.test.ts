// Packs of which less than half is needed: what is needed moves into a new one, and whoever is in the midst of it loses nothing.
import { decode } from '@ipld/dag-pb'
import { afterEach, describe, expect, it, vi } from 'vitest'
import type { IPFSKitStorage } from '../../src/index.ts'
import { connect } from '../../src/worker/index.ts'
import { SCRIPT } from './fixtures/script.ts'
import { needs, READ_ONLY_HANDLES } from './support/needs.ts'
import { bytesOf, flip, losePack, ownersOfKind, placeOf, readRecord } from './support/outside.ts'
import {
  closeAll,
  countAll,
  freshName,
  localStorageOf,
  NOTHING,
  packFiles,
  randomBytes,
  same,
  tiered,
  waitForNothing,
  within,
} from './support/stores.ts'

const MIB = 1024 * 1024
const WAIT_TIMEOUT_MS = 20_000

const [HEAD, TAIL, OTHER] = [randomBytes(4 * MIB, 1), randomBytes(6 * MIB + 17, 2), randomBytes(5 * MIB, 3)]
/** Bytes of the first pack that are dead once its file is deleted: the second file needs its head alone. */
const DEAD = TAIL.byteLength

const releases: (() => void)[] = []

afterEach(async () => {
  vi.restoreAllMocks()
  for (const release of releases.splice(0)) release()
  await closeAll()
})

interface Stored {
  name: string
  storage: IPFSKitStorage
  /** A file whose leaves all lie in `pack`. */
  first: string
  /** One that begins with the same leaves; its others lie in a pack of its own. */
  second: string
  bytes: Uint8Array<ArrayBuffer>
  pack: string
}

async function join(...parts: Uint8Array<ArrayBuffer>[]): Promise<Uint8Array<ArrayBuffer>> {
  return new Uint8Array(await new Blob(parts).arrayBuffer())
}

async function stored(head = HEAD, tail = TAIL, other = OTHER): Promise<Stored> {
  const name = freshName()
  const storage = localStorageOf({ cacheDir: name })
  const first = await storage.store([head, tail], { filename: 'first' })
  const [pack = ''] = await packFiles(name)
  const second = await storage.store([head, other], { filename: 'second' })
  return { name, storage, first, second, bytes: await join(head, other), pack }
}

/** Deletes by a storage that writes no packs, and so rewrites none. */
async function deleteElsewhere(name: string, cid: string): Promise<void> {
  const elsewhere = localStorageOf({ cacheDir: name, config: { tier: 'records' } })
  expect(await elsewhere.delete(cid)).toBe(true)
  await elsewhere.close()
}

/** As stored, but the first file is deleted and the storage closed: nobody has looked at its pack since. */
async function halfDead(): Promise<Stored> {
  const one = await stored()
  await one.storage.close()
  await deleteElsewhere(one.name, one.first)
  return one
}

/** Takes a lock as another tab may. The function answered lets go of it. */
async function hold(lock: string, mode: LockMode): Promise<() => void> {
  let release = (): void => undefined
  const held = new Promise<void>((resolve) => {
    release = resolve
  })
  releases.push(release)
  await new Promise<void>((resolve, reject) => {
    const taken = (): Promise<void> => {
      resolve()
      return held
    }
    navigator.locks.request(lock, { mode }, taken).catch(reject)
  })
  return release
}

/** Resolves once so many ask for a lock in that mode and wait. */
async function asked(lock: string, mode: LockMode, count = 1): Promise<void> {
  await vi.waitFor(
    async () => {
      const { pending = [] } = await navigator.locks.query()
      expect(pending.filter((one) => one.name === lock && one.mode === mode)).toHaveLength(count)
    },
    { timeout: WAIT_TIMEOUT_MS },
  )
}

async function deadBytes(storage: IPFSKitStorage): Promise<number> {
  return (await storage.getBackendStatus()).usage.deadBytes
}

async function leavesOf(name: string, cid: string): Promise<string[]> {
  return decode((await readRecord(`${name}/blocks`, cid)) ?? new Uint8Array(0)).Links.map((link) => link.Hash.toString())
}

/** Nothing is left of the old pack, and all that is needed is here, once. */
async function expectRewritten({ name, second, bytes, pack }: Stored, storage: IPFSKitStorage): Promise<void> {
  expect(await packFiles(name)).not.toContain(pack)
  expect(await countAll(name)).toMatchObject({ blocks: 10, records: 1, packed: 9, packs: 2, packFiles: 2, owners: 1, damaged: 0 })
  const root = (await readRecord(`${name}/blocks`, second))?.byteLength ?? Number.NaN
  expect((await storage.getBackendStatus()).usage).toMatchObject({ blocks: 10, bytes: bytes.byteLength + root, files: 1, deadBytes: 0 })
  expect((await storage.verify()).damaged).toEqual([])
  expect(same(await storage.retrieve(second), bytes)).toBe(true)
}

async function bytesIn(blob: Blob | null): Promise<Uint8Array<ArrayBuffer>> {
  return new Uint8Array((await blob?.arrayBuffer()) ?? new ArrayBuffer(0))
}

async function waitForRewritten(one: Stored, storage: IPFSKitStorage): Promise<void> {
  await vi.waitFor(
    async () => {
      expect(await packFiles(one.name)).not.toContain(one.pack)
      expect(await countAll(one.name)).toMatchObject({ packs: 2, packFiles: 2 })
    },
    { timeout: WAIT_TIMEOUT_MS },
  )
  await expectRewritten(one, storage)
}

describe('a pack of which less than half is needed', () => {
  it('is rewritten by gc(), which answers what removals freed', async () => {
    const one = await stored()
    const { name, storage, first } = one
    await deleteElsewhere(name, first)
    expect(await deadBytes(storage)).toBe(DEAD)
    expect(await storage.gc()).toEqual({ blocks: 0, bytes: 0 })
    await expectRewritten(one, storage)
    // Nothing is left to do, and it goes as any other.
    const files = await packFiles(name)
    await storage.gc()
    expect(await packFiles(name)).toEqual(files)
    await storage.delete(one.second)
    await waitForNothing(name)
  })

  it('is rewritten behind the back of whoever deleted the rest', async () => {
    const one = await stored()
    expect(await one.storage.delete(one.first)).toBe(true)
    await waitForRewritten(one, one.storage)
    expect(same(await bytesIn(await one.storage.blob(one.second)), one.bytes)).toBe(true)
  })

  it('is rewritten behind the back of whoever opens', async () => {
    const one = await halfDead()
    expect(await packFiles(one.name)).toContain(one.pack)
    const storage = await localStorageOf({ cacheDir: one.name }).ready()
    await waitForRewritten(one, storage)
  })

  it('is rewritten in a worker, where nobody tells when it is idle', async () => {
    const one = await stored()
    const worker = new Worker(SCRIPT, { type: 'module', name: JSON.stringify(tiered({ cacheDir: one.name, forceFallback: true })) })
    const client = connect(worker)
    expect(await client.delete(one.first)).toBe(true)
    await waitForRewritten(one, one.storage)
    await client.close()
    worker.terminate()
  })

  it('is rewritten once where two storages collect at once', async () => {
    const one = await halfDead()
    const [storage, other] = [localStorageOf({ cacheDir: one.name }), localStorageOf({ cacheDir: one.name })]
    await Promise.all([storage.gc(), other.gc()])
    await waitForRewritten(one, storage)
    expect(same(await other.retrieve(one.second), one.bytes)).toBe(true)
  })

  it('is rewritten as a small one where little is needed', async () => {
    const { name, storage, first, second, pack } = await stored(randomBytes(MIB, 4), randomBytes(9 * MIB, 5))
    await storage.delete(first)
    await storage.gc()
    expect(await packFiles(name)).not.toContain(pack)
    expect(await countAll(name)).toMatchObject({ blocks: 7, packed: 6, packs: 2, packFiles: 2 })
    expect(await deadBytes(storage)).toBe(0)
    expect(same(await storage.retrieve(second), await join(randomBytes(MIB, 4), OTHER))).toBe(true)
  })

  it('stays where packs are only read', async () => {
    const { name, second, bytes, pack } = await halfDead()
    const storage = localStorageOf({ cacheDir: name, config: { tier: 'records' } })
    await storage.gc()
    expect(await packFiles(name)).toContain(pack)
    expect(await countAll(name)).toMatchObject({ packed: 9, packs: 2, packFiles: 2 })
    expect(await deadBytes(storage)).toBe(DEAD)
    expect(same(await storage.retrieve(second), bytes)).toBe(true)
  })

  it('stays where half is needed', async () => {
    const { name, storage, first, pack } = await stored(randomBytes(5 * MIB, 4), randomBytes(5 * MIB, 5))
    await storage.delete(first)
    await storage.gc()
    expect(await packFiles(name)).toContain(pack)
    expect(await deadBytes(storage)).toBe(5 * MIB)
  })
})

describe('damage', () => {
  it('stays where it is and is told, and the rest moves', async () => {
    const one = await stored()
    const { name, storage, first, second, bytes, pack } = one
    const leaves = await leavesOf(name, second)
    const [leaf = ''] = leaves
    await deleteElsewhere(name, first)
    await flip(name, leaf, 5)
    await storage.gc()
    const places = await Promise.all(leaves.slice(0, 4).map((cid) => placeOf(name, cid)))
    expect(places.map((place) => place?.pack === pack)).toEqual([true, false, false, false])
    expect(await countAll(name)).toMatchObject({ packed: 9, packs: 3, packFiles: 3, damaged: 1 })
    expect(await deadBytes(storage)).toBe(DEAD + 3 * MIB)
    expect(await storage.listFiles()).toMatchObject([{ filename: 'second', state: 'damaged' }])
    // Known by now, it is not copied over and over.
    const files = await packFiles(name)
    await storage.gc()
    expect(await packFiles(name)).toEqual(files)
    expect(await storage.store([HEAD, OTHER], { filename: 'second' })).toBe(second)
    await storage.gc()
    expect(await countAll(name)).toMatchObject({ blocks: 10, packs: 2, packFiles: 2, damaged: 0 })
    expect(await deadBytes(storage)).toBe(0)
    expect(same(await storage.retrieve(second), bytes)).toBe(true)
  })

  it('of a leaf that lies whole in a record as well is left behind', async () => {
    const { name, storage, first, second, bytes, pack } = await stored()
    const records = localStorageOf({ cacheDir: name, config: { tier: 'records' } })
    await records.store(bytes, { filename: 'second' })
    const [leaf = ''] = await leavesOf(name, second)
    await records.delete(first)
    await records.close()
    await flip(name, leaf)
    await storage.gc()
    expect(await packFiles(name)).not.toContain(pack)
    expect(await countAll(name)).toMatchObject({ blocks: 10, records: 10, packed: 9, packs: 2, packFiles: 2, damaged: 0 })
    expect(await deadBytes(storage)).toBe(0)
    expect(same(await bytesIn(await storage.blob(second)), bytes)).toBe(true)
  })

  it('of all that is needed leaves things as they are', async () => {
    const { name, storage, first, second, pack } = await stored()
    await deleteElsewhere(name, first)
    for (const leaf of (await leavesOf(name, second)).slice(0, 4)) await flip(name, leaf)
    await storage.gc()
    expect(await packFiles(name)).toContain(pack)
    expect(await countAll(name)).toMatchObject({ packed: 9, packs: 2, packFiles: 2, owners: 1, damaged: 4 })
    expect(await deadBytes(storage)).toBe(DEAD)
  })
})

describe('whoever reads', () => {
  it('by a Blob keeps the old file, whose bytes are told of', async () => {
    const { name, storage, first, second, bytes, pack } = await stored()
    const blob = await storage.blob(second)
    await deleteElsewhere(name, first)
    await storage.gc()
    expect(await packFiles(name)).toContain(pack)
    expect(await countAll(name)).toMatchObject({ packed: 9, packs: 3, packFiles: 3 })
    expect(await deadBytes(storage)).toBe(HEAD.byteLength + DEAD)
    expect(same(await bytesIn(blob), bytes)).toBe(true)
    expect(same(await storage.retrieve(second), bytes)).toBe(true)
    await storage.gc()
    expect(await packFiles(name)).toContain(pack)
  })

  /** A stream over a file that ends with the leaves of a pack, which was rewritten since the stream began. */
  async function streamed(): Promise<Stored & { rest: () => Promise<Uint8Array<ArrayBuffer>> }> {
    const name = freshName()
    const storage = localStorageOf({ cacheDir: name })
    const first = await storage.store([HEAD, TAIL])
    const [pack = ''] = await packFiles(name)
    const long = randomBytes(60 * MIB, 4)
    const second = await storage.store([long, HEAD])
    const pieces = ((await storage.stream(second)) ?? new ReadableStream<Uint8Array>())[Symbol.asyncIterator]()
    const begun = await pieces.next()
    await deleteElsewhere(name, first)
    await storage.gc()
    expect(await countAll(name)).toMatchObject({ packed: 64, packs: 3, packFiles: 3 })
    expect(await packFiles(name)).toContain(pack)
    const rest = async (): Promise<Uint8Array<ArrayBuffer>> =>
      join(new Uint8Array(begun.value ?? new Uint8Array(0)), await bytesOf({ [Symbol.asyncIterator]: () => pieces }))
    return { name, storage, first, second, pack, bytes: await join(long, HEAD), rest }
  }

  it.each(['itself', 'another'])('by a stream is not disturbed, though the content is deleted by %s as well', async (which) => {
    const { name, storage, second, bytes, pack, rest } = await streamed()
    if (which === 'itself') await storage.delete(second)
    else await deleteElsewhere(name, second)
    expect(await packFiles(name)).toContain(pack)
    expect(same(await rest(), bytes)).toBe(true)
    await storage.gc()
    await waitForNothing(name)
  })

  it('by a stream goes on in the old pack, which it holds, where the new one goes', async () => {
    const { name, storage, second, bytes, rest } = await streamed()
    const [leaf = ''] = (await leavesOf(name, second)).slice(60)
    const moved = (await placeOf(name, leaf))?.pack ?? ''
    await losePack(name, moved)
    await deleteElsewhere(name, second)
    expect(same(await rest(), bytes)).toBe(true)
    await storage.gc()
    await waitForNothing(name)
  })

  it('over and over reads the same all along', async () => {
    const one = await halfDead()
    const storage = localStorageOf({ cacheDir: one.name })
    const readers = [storage, localStorageOf({ cacheDir: one.name, config: { tier: 'records' } }), localStorageOf({ cacheDir: one.name })]
    let over = false
    const read = async (reader: IPFSKitStorage): Promise<void> => {
      do expect(same(await reader.retrieve(one.second), one.bytes)).toBe(true)
      while (!over)
    }
    const reading = Promise.all(readers.map(read))
    await storage.gc()
    over = true
    await reading
    await vi.waitFor(
      async () => {
        await storage.gc()
        await expectRewritten(one, storage)
      },
      { timeout: WAIT_TIMEOUT_MS },
    )
  })
})

describe('whoever writes meanwhile', () => {
  it('keeps what it found in the old pack', async () => {
    const head = randomBytes(9 * MIB, 4)
    const { name, storage, first, second, pack } = await stored(head, randomBytes(12 * MIB, 5))
    let goOn = (): void => undefined
    const paused = new Promise<void>((resolve) => {
      goOn = resolve
    })
    const end = randomBytes(4 * MIB, 6)
    async function* halting(): AsyncGenerator<Uint8Array> {
      yield head
      await paused
      yield end
    }
    const writer = localStorageOf({ cacheDir: name })
    const storing = writer.store(halting())
    await vi.waitFor(async () => expect(await ownersOfKind(name, 'writer')).toHaveLength(1), { timeout: WAIT_TIMEOUT_MS })
    await deleteElsewhere(name, first)
    await deleteElsewhere(name, second)
    // What it has not named yet is gone, and so is most of what was needed.
    await storage.gc()
    goOn()
    const third = await storing
    await vi.waitFor(
      async () => {
        await storage.gc()
        expect(await packFiles(name)).not.toContain(pack)
      },
      { timeout: WAIT_TIMEOUT_MS },
    )
    expect((await storage.verify()).damaged).toEqual([])
    expect(same(await storage.retrieve(third), await join(head, end))).toBe(true)
    expect(await deadBytes(storage)).toBe(0)
  })

  it('or asks while rows are about to be pointed anew finds the new ones', async () => {
    const one = await halfDead()
    const { name, second } = one
    const release = await hold(`ipfs-kit:${name}`, 'shared')
    const storage = await localStorageOf({ cacheDir: name }).ready()
    await asked(`ipfs-kit:${name}`, 'exclusive')
    const writer = localStorageOf({ cacheDir: name })
    const storing = writer.store([HEAD, OTHER], { filename: 'again' })
    await asked(`ipfs-kit:${name}`, 'shared')
    release()
    expect(await storing).toBe(second)
    await storage.delete(second, { filename: 'again' })
    await waitForRewritten(one, storage)
  })

  it('and deletes it all leaves nothing', async () => {
    const { name, second } = await halfDead()
    const release = await hold(`ipfs-kit:${name}`, 'shared')
    const other = localStorageOf({ cacheDir: name, config: { tier: 'records' } })
    const deleting = other.delete(second)
    await asked(`ipfs-kit:${name}`, 'exclusive')
    // The removal is the first to ask: the rows are gone when those of the copy are to be put.
    const storage = await localStorageOf({ cacheDir: name }).ready()
    await asked(`ipfs-kit:${name}`, 'exclusive', 2)
    release()
    expect(await deleting).toBe(true)
    await waitForNothing(name)
    await storage.gc()
    expect((await storage.getBackendStatus()).usage).toMatchObject({ blocks: 0, bytes: 0, files: 0, deadBytes: 0 })
  })

  it('and stores it all anew wins', async ({ skip }) => {
    // Where packs are read as files, whoever copies one asks for no lock that could be seen waiting.
    await needs(skip, READ_ONLY_HANDLES)
    const { name, second, bytes, pack } = await halfDead()
    // Before anything of it is copied.
    const release = await hold(`ipfs-kit:${name}:pack:${pack}`, 'exclusive')
    const storage = await localStorageOf({ cacheDir: name }).ready()
    await asked(`ipfs-kit:${name}:pack:${pack}`, 'shared')
    const writer = localStorageOf({ cacheDir: name })
    await writer.delete(second)
    expect(await writer.store(bytes)).toBe(second)
    const leaves = await leavesOf(name, second)
    const places = await Promise.all(leaves.map((leaf) => placeOf(name, leaf)))
    release()
    await vi.waitFor(async () => expect(await packFiles(name)).toEqual([places[0]?.pack]), { timeout: WAIT_TIMEOUT_MS })
    expect(await Promise.all(leaves.map((leaf) => placeOf(name, leaf)))).toEqual(places)
    expect(await countAll(name)).toMatchObject({ blocks: 10, packed: 9, packs: 1, packFiles: 1, owners: 1 })
    expect(await deadBytes(storage)).toBe(0)
    expect(same(await storage.retrieve(second), bytes)).toBe(true)
  })
})

describe('an end in the midst of it', () => {
  it('by close() leaves all as it was', async () => {
    const one = await halfDead()
    const { name, second, bytes, pack } = one
    const files = await packFiles(name)
    const release = await hold(`ipfs-kit:${name}`, 'shared')
    const storage = await localStorageOf({ cacheDir: name }).ready()
    await asked(`ipfs-kit:${name}`, 'exclusive')
    expect(await packFiles(name)).toHaveLength(3)
    await storage.close()
    expect(await packFiles(name)).toEqual(files)
    expect(await countAll(name)).toMatchObject({ packed: 9, packs: 2, packFiles: 2, owners: 1 })
    release()
    const again = localStorageOf({ cacheDir: name })
    expect(same(await again.retrieve(second), bytes)).toBe(true)
    expect(files).toContain(pack)
    await waitForRewritten(one, again)
  })

  it('by the signal of gc() leaves all as it was', async () => {
    const one = await stored()
    const { name, storage, first, second, bytes } = one
    const files = await packFiles(name)
    await deleteElsewhere(name, first)
    const release = await hold(`ipfs-kit:${name}`, 'shared')
    const abort = new AbortController()
    const collecting = storage.gc({ signal: abort.signal }).catch((error: unknown) => error)
    await asked(`ipfs-kit:${name}`, 'exclusive')
    const reason = new Error('enough')
    abort.abort(reason)
    expect(await collecting).toBe(reason)
    expect(await packFiles(name)).toEqual(files)
    expect(await deadBytes(storage)).toBe(DEAD)
    release()
    expect(same(await storage.retrieve(second), bytes)).toBe(true)
    await storage.gc()
    await expectRewritten(one, storage)
  })

  it.each<[string, (one: Stored) => string, (one: Stored) => Promise<void>]>([
    [
      'copying',
      ({ name }) => `ipfs-kit:${name}`,
      ({ name }) => vi.waitFor(async () => expect(await packFiles(name)).toHaveLength(3), { timeout: WAIT_TIMEOUT_MS, interval: 1 }),
    ],
    ['the copy waits to be pointed at', ({ name }) => `ipfs-kit:${name}`, ({ name }) => asked(`ipfs-kit:${name}`, 'exclusive')],
    [
      'the old file waits to be removed',
      ({ name, pack }) => `ipfs-kit:${name}:pack:${pack}`,
      ({ name, pack }) =>
        vi.waitFor(
          async () => {
            const row = await within(`${name}/catalog`, 'packs', 'readonly', (rows) => rows.get(pack) as IDBRequest<{ live: number }>)
            expect(row.live).toBe(0)
          },
          { timeout: WAIT_TIMEOUT_MS },
        ),
    ],
  ])('by a crash while %s leaves all readable, and nothing after a sweep', async (_, lock, reached) => {
    const one = await halfDead()
    const { name, second, bytes } = one
    const release = await hold(lock(one), 'shared')
    const worker = new Worker(SCRIPT, { type: 'module', name: JSON.stringify(tiered({ cacheDir: name, forceFallback: true })) })
    connect(worker)
      .gc()
      .catch(() => undefined)
    await reached(one)
    worker.terminate()
    release()
    const storage = localStorageOf({ cacheDir: name })
    expect(same(await storage.retrieve(second), bytes)).toBe(true)
    // Its workers let go of their files when the browser gets there.
    await vi.waitFor(
      async () => {
        await storage.gc()
        await expectRewritten(one, storage)
      },
      { timeout: WAIT_TIMEOUT_MS },
    )
  })

  it('by a pack worker that ends leaves all readable', async ({ skip }) => {
    await needs(skip, READ_ONLY_HANDLES)
    const one = await halfDead()
    const { name, second, bytes, pack } = one
    const release = await hold(`ipfs-kit:${name}:pack:${pack}`, 'exclusive')
    const workers: Worker[] = []
    const createWorker = (): Worker => {
      const worker = new Worker(new URL('./fixtures/pack-worker.ts', import.meta.url), { type: 'module' })
      workers.push(worker)
      return worker
    }
    const storage = await localStorageOf({ cacheDir: name, config: { createWorker } }).ready()
    await asked(`ipfs-kit:${name}:pack:${pack}`, 'shared')
    for (const worker of workers) worker.terminate()
    release()
    expect(same(await storage.retrieve(second), bytes)).toBe(true)
    const other = localStorageOf({ cacheDir: name })
    await vi.waitFor(
      async () => {
        await other.gc()
        await expectRewritten(one, other)
      },
      { timeout: WAIT_TIMEOUT_MS },
    )
  })
})

it('a storage without packs has nothing to rewrite', async () => {
  const storage = localStorageOf({ config: { tier: 'records' } })
  expect(await storage.gc()).toEqual({ blocks: 0, bytes: 0 })
  expect(await countAll((await storage.getBackendStatus()).cacheDir)).toEqual(NOTHING)
})
