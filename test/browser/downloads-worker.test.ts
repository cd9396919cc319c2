// Downloads by a storage in a worker, asked for by a page.
import { afterEach, describe, expect, it } from 'vitest'
import { DownloadError, IntegrityError, InvalidSourceError, type ContentStorage, type Progress } from '../../src/index.ts'
import { connect } from '../../src/worker/index.ts'
import { SCRIPT } from './fixtures/script.ts'
import { MIB, remote } from './support/downloads.ts'
import { closeAll, countAll, destroyWhole, freshName, localStorageOf, NOTHING, same, TIER } from './support/stores.ts'

const SIZE = 40 * MIB

const stops: (() => Promise<void>)[] = []

afterEach(async () => {
  for (const stop of stops.splice(0)) await stop()
  await closeAll()
})

function start(kind: 'dedicated' | 'shared'): { storage: ContentStorage; cacheDir: string } {
  const cacheDir = freshName()
  // A shared worker can't make the workers that write packs.
  const tier = kind === 'shared' && TIER === 'packs' ? 'auto' : TIER
  const init = { type: 'module', name: JSON.stringify({ cacheDir, forceFallback: true, config: { tier } }) } as const
  const worker = kind === 'shared' ? new SharedWorker(SCRIPT, init) : new Worker(SCRIPT, init)
  const storage = connect(worker)
  stops.push(async () => {
    await storage.close()
    if ('port' in worker) worker.port.postMessage('stop')
    else worker.terminate()
    await destroyWhole(cacheDir)
  })
  return { storage, cacheDir }
}

describe.each(['dedicated', 'shared'] as const)('a %s worker', (kind) => {
  it('downloads, and tells how far it is', async () => {
    const { storage } = start(kind)
    const file = remote(SIZE)
    const heard: Progress[] = []
    const cid = await storage.storeUrl(new Request(file.url, { headers: { 'x-token': 'a' } }), {
      filename: 'f',
      onProgress: (progress) => heard.push(progress),
    })
    expect(cid).toBe(await localStorageOf().store(file.bytes))
    expect(same(await storage.retrieve(cid), file.bytes)).toBe(true)
    expect(heard.at(-1)).toEqual({ bytes: SIZE, total: SIZE, phase: 'download' })
    expect(await storage.downloads()).toEqual([])
  })

  it('is interrupted by a signal, goes on and is cancelled by what downloads() answers', async () => {
    const { storage, cacheDir } = start(kind)
    // A worker may be done before it hears of a signal.
    const file = remote(SIZE, { pace: 1 })
    const interrupt = async (): Promise<void> => {
      const abort = new AbortController()
      const reason = new Error('for now')
      const onProgress = ({ bytes }: Progress): void => void (bytes >= SIZE / 2 && abort.abort(reason))
      await expect(storage.storeUrl(file.url, { signal: abort.signal, onProgress })).rejects.toBe(reason)
    }
    await interrupt()
    const [one] = await storage.downloads()
    expect(one).toMatchObject({ url: file.url, state: 'interrupted', total: SIZE })
    const cid = (await one?.resume({ onProgress: () => undefined })) ?? ''
    expect(same(await storage.retrieve(cid), file.bytes)).toBe(true)
    await storage.delete(cid)
    await interrupt()
    const [two] = await storage.downloads()
    expect(await two?.cancel()).toBe(true)
    expect(await storage.downloads()).toEqual([])
    await storage.gc()
    await expect.poll(() => countAll(cacheDir)).toEqual(NOTHING)
  })

  it('fails with the errors of the storage', async () => {
    const { storage } = start(kind)
    const file = remote(1000, { status: 404 })
    await expect(storage.storeUrl(file.url)).rejects.toBeInstanceOf(DownloadError)
    await expect(storage.storeUrl(file.url)).rejects.toMatchObject({ url: file.url, status: 404 })
    await expect(storage.storeUrl(remote(1000).url, { sha256: '0'.repeat(64) })).rejects.toBeInstanceOf(IntegrityError)
    await expect(storage.storeUrl('data:,x')).rejects.toBeInstanceOf(InvalidSourceError)
    await expect(storage.storeUrl(new Request(file.url, { method: 'PUT' }))).rejects.toBeInstanceOf(InvalidSourceError)
    await expect(storage.storeUrl(new Request(file.url, { mode: 'no-cors' }))).rejects.toBeInstanceOf(InvalidSourceError)
  })
})
