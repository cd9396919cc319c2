// Blobs over packs: ready without reading, and readable as long as the page or worker that asked for them lives.
import { afterEach, describe, expect, it, vi } from 'vitest'
import { IntegrityError, type ContentStorage, type IPFSKitStorage } from '../../src/index.ts'
import { connect } from '../../src/worker/index.ts'
import { SCRIPT } from './fixtures/script.ts'
import { flip, readRecord } from './support/outside.ts'
import { decode } from '@ipld/dag-pb'
import { CID } from 'multiformats/cid'
import {
  closeAll,
  countAll,
  destroyWhole,
  freshName,
  localStorageOf,
  NOTHING,
  packFiles,
  randomBytes,
  same,
  tiered,
  waitForNothing,
} from './support/stores.ts'

const MIB = 1024 * 1024
const SIZE = 9 * MIB + 17

const endings: (() => Promise<void> | void)[] = []

afterEach(async () => {
  vi.restoreAllMocks()
  for (const ending of endings.splice(0).reverse()) await ending()
  await closeAll()
})

interface Stored {
  name: string
  storage: IPFSKitStorage
  cid: string
  bytes: Uint8Array<ArrayBuffer>
}

async function stored(mediaType?: string): Promise<Stored> {
  const name = freshName()
  const storage = localStorageOf({ cacheDir: name })
  const bytes = randomBytes(SIZE)
  const cid = await storage.store(bytes, mediaType === undefined ? {} : { mediaType })
  return { name, storage, cid, bytes }
}

async function bytesIn(blob: Blob | null): Promise<Uint8Array<ArrayBuffer>> {
  return new Uint8Array((await blob?.arrayBuffer()) ?? new ArrayBuffer(0))
}

async function secondLeaf(name: string, cid: string): Promise<string> {
  const root = await readRecord(`${name}/blocks`, cid)
  return decode(root ?? new Uint8Array(0)).Links[1]?.Hash.toString() ?? ''
}

/** A storage in a dedicated worker on the same name. */
function worked(name: string): { client: ContentStorage; worker: Worker } {
  const worker = new Worker(SCRIPT, { type: 'module', name: JSON.stringify(tiered({ cacheDir: name, forceFallback: true })) })
  const client = connect(worker)
  endings.push(
    () => worker.terminate(),
    () => client.close(),
  )
  return { client, worker }
}

describe('a Blob over packs', () => {
  it('is ready without a byte read, and has its media type', async () => {
    const { storage, cid, bytes } = await stored('application/x-weights')
    // Whatever opens first has been read by now.
    await storage.retrieve(cid, { length: 1 })
    const asked = vi.spyOn(Worker.prototype, 'postMessage')
    const read = vi.spyOn(Blob.prototype, 'arrayBuffer')
    const progress: number[] = []
    const blob = await storage.blob(cid, { onProgress: (done) => void progress.push(done.bytes) })
    expect(asked.mock.calls.filter(([message]) => (message as { method?: string }).method === 'read')).toEqual([])
    expect(read).not.toHaveBeenCalled()
    expect(blob).toMatchObject({ size: SIZE, type: 'application/x-weights' })
    expect(progress.at(-1)).toBe(SIZE)
    expect(same(await bytesIn(blob), bytes)).toBe(true)
    expect(same(await bytesIn(blob?.slice(MIB - 3, 2 * MIB + 3) ?? null), bytes.subarray(MIB - 3, 2 * MIB + 3))).toBe(true)
    expect(same(new Uint8Array(await new Response(blob?.stream() ?? null).arrayBuffer()), bytes)).toBe(true)
  })

  it('has none where none was given', async () => {
    const { storage, cid } = await stored()
    expect((await storage.blob(cid))?.type).toBe('')
  })

  it('may hold damage, which verify: true tells', async () => {
    const { name, storage, cid, bytes } = await stored()
    expect(same(await bytesIn(await storage.blob(cid, { verify: true })), bytes)).toBe(true)
    const leaf = await secondLeaf(name, cid)
    await flip(name, leaf, 5)
    const wrong = bytes.slice()
    wrong[MIB + 5] = (wrong[MIB + 5] ?? 0) ^ 1
    expect(same(await bytesIn(await storage.blob(cid)), wrong)).toBe(true)
    const error = await storage.blob(cid, { verify: true }).catch((cause: unknown) => cause)
    expect(error).toBeInstanceOf(IntegrityError)
    expect(error).toMatchObject({ cid: leaf })
  })

  it('of content that lies in records in part is all of it', async () => {
    const storage = localStorageOf()
    const [head, middle, tail] = [randomBytes(2 * MIB, 1), randomBytes(5 * MIB, 2), randomBytes(MIB + 5, 3)]
    await storage.store(head)
    await storage.store(tail)
    const cid = await storage.store([head, middle, tail])
    const { cacheDir } = await storage.getBackendStatus()
    expect(await countAll(cacheDir)).toMatchObject({ packed: 5, packs: 1 })
    const whole = new Uint8Array(await new Blob([head, middle, tail]).arrayBuffer())
    for (const verify of [false, true]) expect(same(await bytesIn(await storage.blob(cid, { verify })), whole)).toBe(true)
  })

  it('of a file in a directory reads its pack', async () => {
    const storage = localStorageOf()
    const bytes = randomBytes(SIZE)
    const root = await storage.storeDirectory([
      { path: 'a/b', data: bytes },
      { path: 'c', data: 'c' },
    ])
    expect(same(await bytesIn(await storage.blob(`${root}/a/b`)), bytes)).toBe(true)
  })

  it('stays readable when its content is deleted here, and its bytes are told of', async () => {
    const { name, storage, cid, bytes } = await stored()
    const blob = await storage.blob(cid)
    expect(await storage.delete(cid)).toBe(true)
    await storage.gc()
    expect(await storage.exists(cid)).toBe(false)
    expect(await countAll(name)).toEqual({ ...NOTHING, packs: 1, packFiles: 1 })
    expect((await storage.getBackendStatus()).usage).toMatchObject({ bytes: 0, blocks: 0, files: 0, deadBytes: SIZE })
    expect(same(await bytesIn(blob), bytes)).toBe(true)
    // Beyond the storage, too: the page is what it belongs to.
    await storage.close()
    const again = await localStorageOf({ cacheDir: name }).ready()
    await again.gc()
    expect(same(await bytesIn(blob), bytes)).toBe(true)
    // Stored again it lies in another pack.
    expect(await again.store(bytes)).toBe(cid)
    expect(await countAll(name)).toMatchObject({ packed: 10, packs: 2, packFiles: 2 })
    await again.delete(cid)
    expect(await countAll(name)).toEqual({ ...NOTHING, packs: 1, packFiles: 1 })
  })

  it('stays readable when another storage of the name deletes its content', async () => {
    const { name, storage, cid, bytes } = await stored()
    const blob = await storage.blob(cid)
    const { client } = worked(name)
    expect(await client.delete(cid)).toBe(true)
    await client.gc()
    expect(same(await bytesIn(blob), bytes)).toBe(true)
    expect((await client.getBackendStatus()).usage).toMatchObject({ blocks: 0, deadBytes: SIZE })
  })

  it('is none of a directory whose leaves lie in packs, and another one of the root as a raw block', async () => {
    const storage = localStorageOf()
    const files = Array.from({ length: 8 }, (_, index) => ({ path: `${index}`, data: randomBytes(700_000, index + 1) }))
    const directory = await storage.storeDirectory(files)
    await expect(storage.blob(directory)).rejects.toMatchObject({ name: 'NotAFileError' })
    const cid = await storage.store(randomBytes(SIZE))
    expect((await storage.blob(cid))?.size).toBe(SIZE)
    const raw = CID.createV1(0x55, CID.parse(cid).multihash)
    expect(await bytesIn(await storage.blob(raw))).toEqual(await storage.retrieve(raw))
  })

  it('goes with the page that asked for it, at the next opening', async () => {
    const { name, storage, cid, bytes } = await stored()
    const frame = document.createElement('iframe')
    frame.name = JSON.stringify({ options: tiered({ cacheDir: name, forceFallback: true }), cid })
    frame.srcdoc = `<script type="module" src="${new URL('./fixtures/blob-page.ts', import.meta.url).href}"></script>`
    const told = (): Promise<unknown> =>
      new Promise((resolve) => {
        addEventListener('message', (event: MessageEvent<{ told: unknown }>) => resolve(event.data.told), { once: true })
      })
    const held = told()
    document.body.append(frame)
    expect(await held).toBe('held')
    expect(await storage.delete(cid)).toBe(true)
    await storage.gc()
    expect(await countAll(name)).toEqual({ ...NOTHING, packs: 1, packFiles: 1 })
    const read = told()
    frame.contentWindow?.postMessage('read', '*')
    expect(same((await read) as Uint8Array, bytes)).toBe(true)
    await storage.close()
    frame.remove()
    // As soon as the browser has let go of its locks, an opening finds nobody.
    await vi.waitFor(
      async () => {
        const next = await localStorageOf({ cacheDir: name }).ready()
        await next.close()
        expect(await packFiles(name)).toEqual([])
      },
      { timeout: 20_000 },
    )
    const last = localStorageOf({ cacheDir: name })
    await waitForNothing(name)
    expect((await last.getBackendStatus()).usage).toMatchObject({ bytes: 0, blocks: 0, deadBytes: 0 })
  })
})

describe('a Blob that came through a worker', () => {
  it('belongs to the page: it outlives the worker and its content', async () => {
    const name = freshName()
    endings.push(() => destroyWhole(name))
    const { client, worker } = worked(name)
    const bytes = randomBytes(SIZE)
    const cid = await client.store(bytes, { mediaType: 'application/x-weights' })
    const blob = await client.blob(cid)
    expect(blob).toMatchObject({ size: SIZE, type: 'application/x-weights' })
    worker.terminate()
    const storage = localStorageOf({ cacheDir: name })
    expect(await storage.delete(cid)).toBe(true)
    await storage.gc()
    await storage.close()
    const again = await localStorageOf({ cacheDir: name }).ready()
    await again.gc()
    expect(await countAll(name)).toEqual({ ...NOTHING, packs: 1, packFiles: 1 })
    expect(same(await bytesIn(blob), bytes)).toBe(true)
  })

  it('is read and checked first where that is asked for', async () => {
    const name = freshName()
    endings.push(() => destroyWhole(name))
    const { client } = worked(name)
    const cid = await client.store(randomBytes(SIZE))
    await flip(name, await secondLeaf(name, cid))
    expect(await client.blob(cid, { verify: true }).catch((cause: unknown) => cause)).toBeInstanceOf(IntegrityError)
    expect((await client.blob(cid))?.size).toBe(SIZE)
  })
})
