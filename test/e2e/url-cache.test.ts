// Loaders of models as they are, against a mirror of the Hub, with a cache of URLs between: in a service worker that they know nothing of, and as a fetch()
// that they are given.
import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import type { Page } from 'playwright'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { FetchRule } from '../../src/url-cache/index.ts'
import type * as Caching from './fixtures/caching.ts'
import type * as Onnx from './fixtures/onnx.ts'
import type * as Transformers from './fixtures/transformers.ts'
import type * as Wllama from './fixtures/wllama.ts'
import { POISONS, startMirror, type HubMirror } from './support/hub-mirror.ts'
import { register, startSite, STORAGE, visit, type Own, type Site, type Visit } from './support/site.ts'

const WASM = 'ort-wasm-simd-threaded.wasm'
/** transformers.js takes the build of the runtime that can have WebGPU. */
const WEBGPU_WASM = 'ort-wasm-simd-threaded.asyncify.wasm'
const SCRIPTS = ['onnx', 'transformers', 'wllama', 'caching']

const REPOSITORY = 'voices/silero'
const CONFIG = 'config.json'
const MODEL = 'onnx/model.onnx'
const GGUF = 'tiny-Q8_0.gguf'
/** Another name of the same revision. */
const COMMIT = 'e5d0a1f1c9f0a4c3b2d1e0f9a8b7c6d5e4f3a2b1'

let site: Site
let mirror: HubMirror
let sha256 = ''
/** What the model must say. */
let said: number[] = []
let here: Visit

beforeAll(async () => {
  const model = await readFile(fileURLToPath(new URL('../../node_modules/@ricky0123/vad-web/dist/silero_vad_v5.onnx', import.meta.url)))
  const gguf = ggufOf(1_500_000)
  sha256 = sha256Of(gguf)
  mirror = await startMirror({
    [CONFIG]: { bytes: Buffer.from(JSON.stringify({ model_type: 'custom' })) },
    [MODEL]: { bytes: model, lfs: true },
    [GGUF]: { bytes: gguf, lfs: true },
  })
  site = await startSite({
    scripts: Object.fromEntries(SCRIPTS.map((name) => [name, `test/e2e/fixtures/${name}.ts`])),
    folders: { '/runtime/': 'node_modules/onnxruntime-web/dist' },
  })
  const first = await visit(site)
  said = await runOnnx(first.page, mirror.resolve(REPOSITORY, MODEL), `/runtime/${WASM}`)
  await first.context.close()
  if (said.length !== 5) throw new Error('the model says nothing')
})

afterAll(async () => {
  await site?.close()
  await mirror?.stop()
})

beforeEach(async () => {
  here = await visit(site)
  mirror.asked()
})

afterEach(async () => {
  await here.context.close()
  mirror.poisons.clear()
  await Promise.all([site.start(), mirror.start()])
})

/** A model's header and nothing of use behind it, which is all that wllama looks at before it loads one. */
function ggufOf(length: number): Uint8Array {
  const bytes = Uint8Array.from({ length }, (_, index) => (index * 31 + (index >> 8)) & 0xff)
  // Magic, version 3, no tensors, no keys.
  bytes.set([0x47, 0x47, 0x55, 0x46, 3, 0, 0, 0, ...Array.from({ length: 16 }, () => 0)])
  return bytes
}

function sha256Of(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex')
}

function runOnnx(page: Page, model: string, wasm: string): Promise<number[]> {
  return page.evaluate(
    async ([model, wasm]) => ((await (globalThis as unknown as Own).load('./onnx.js')) as typeof Onnx).run(model, wasm),
    [model, wasm] as const,
  )
}

function runTransformers(page: Page, wasm: string, progress = false): Promise<number[]> {
  return page.evaluate(
    async ([host, repository, wasm, progress]) =>
      ((await (globalThis as unknown as Own).load('./transformers.js')) as typeof Transformers).runFromHub(host, repository, wasm, {
        progress,
      }),
    [mirror.url, REPOSITORY, wasm, progress] as const,
  )
}

function loadWllama(page: Page, url: string, keepOwn = false): Promise<string> {
  return page.evaluate(
    async ([url, keepOwn]) => ((await (globalThis as unknown as Own).load('./wllama.js')) as typeof Wllama).load(url, keepOwn),
    [url, keepOwn] as const,
  )
}

/** Whole files among what was asked since the last call. */
function downloads(): string[] {
  return mirror
    .asked()
    .filter((asked) => /^GET \/[^ ]*\/resolve\/[^ ]*$/.test(asked))
    .map((asked) => asked.replace(/.*\/resolve\/[^/]+\//, ''))
    .toSorted()
}

describe('behind a service worker', () => {
  /** An application that lies in the store with all of its code, so that it needs no server. */
  let application = ''
  let page: Page

  beforeEach(async () => {
    application = await here.page.evaluate(
      async ([scripts, wasm]) => {
        const of = async (path: string): Promise<ReadableStream<Uint8Array>> => {
          const { body } = await fetch(path)
          if (body === null) throw new Error(`there is no ${path}`)
          return body
        }
        const page = `<!doctype html><title>application</title><script type="module">
          globalThis.load = (script) => import(script)</script>`
        return (globalThis as unknown as Own).storage.storeDirectory([
          { path: 'index.html', data: page },
          ...(await Promise.all(scripts.map(async (name) => ({ path: `${name}.js`, data: await of(`/${name}.js`) })))),
          ...(await Promise.all(wasm.map(async (name) => ({ path: name, data: await of(`/runtime/${name}`) })))),
        ])
      },
      [SCRIPTS, [WASM, WEBGPU_WASM]] as const,
    )
    const rules: FetchRule[] = [
      { match: `${mirror.url}${REPOSITORY}/resolve/`, revalidate: 'never', sha256: 'huggingface' },
      // What wllama compares a file of its own cache with: the pointers of Git LFS, of which the Hub knows no SHA-256.
      { match: `${mirror.url}${REPOSITORY}/raw/`, revalidate: 'never' },
    ]
    await register(here.page, { trust: [application], rules })
    page = await here.context.newPage()
    await reload()
  })

  /** A page that remembers nothing. */
  async function reload(): Promise<void> {
    await page.goto(`${site.url}ipfs/${application}/`)
    await page.waitForFunction(() => 'load' in globalThis)
  }

  /** What is kept, by path of the mirror. */
  async function kept(): Promise<{ path: string; cid: string; sha256?: string | undefined }[]> {
    const entries = await here.page.evaluate(() => (globalThis as unknown as Own).storage.listFiles())
    return entries
      .filter(({ filename }) => filename.startsWith(mirror.url) && filename.includes('/resolve/'))
      .map(({ filename, cid, sha256 }) => ({ path: filename.slice(mirror.url.length), cid, sha256 }))
  }

  const bytesKept = (): Promise<number> =>
    here.page.evaluate(async () => (await (globalThis as unknown as Own).storage.getBackendStatus()).usage.bytes)

  function forget(url: string): Promise<boolean> {
    return here.page.evaluate(async (url) => {
      const { storage } = globalThis as unknown as Own
      const entry = (await storage.listFiles()).find(({ filename }) => filename === url)
      return entry !== undefined && storage.delete(entry.cid, { filename: url })
    }, url)
  }

  const onnx = (revision?: string): Promise<number[]> =>
    runOnnx(page, mirror.resolve(REPOSITORY, MODEL, revision), `/ipfs/${application}/${WASM}`)

  /** Both builds of the runtime round in their own way. */
  const transformers = async (progress?: boolean): Promise<number[]> => {
    const values = await runTransformers(page, `/ipfs/${application}/${WEBGPU_WASM}`, progress)
    return values.map((value, index) => (Math.abs(value - (said[index] ?? Number.NaN)) < 0.000_01 ? (said[index] ?? 0) : value))
  }

  const wllama = (keepOwn?: boolean): Promise<string> => loadWllama(page, mirror.resolve(REPOSITORY, GGUF), keepOwn)

  const LOADERS = [
    { name: 'onnxruntime-web', run: () => onnx(), good: () => said, file: MODEL, others: [] },
    { name: 'transformers.js', run: () => transformers(), good: () => said, file: MODEL, others: [CONFIG] },
    { name: 'transformers.js with progress', run: () => transformers(true), good: () => said, file: MODEL, others: [CONFIG] },
    { name: 'wllama', run: () => wllama(), good: () => sha256, file: GGUF, others: [] },
  ]

  it.each(LOADERS)('$name downloads once, then nothing, then needs no server', async ({ run, good, file, others }) => {
    expect(await run()).toEqual(good())
    expect(downloads()).toEqual([...others, file])
    expect((await kept()).find(({ path }) => path.endsWith(file))).toMatchObject({ sha256: expect.stringMatching(/^[0-9a-f]{64}$/) })
    await reload()
    expect(await run()).toEqual(good())
    expect(mirror.asked()).toEqual([])
    await Promise.all([site.stop(), mirror.stop()])
    await here.killWorkers()
    await reload()
    expect(await run()).toEqual(good())
    expect(here.errors).toEqual([])
  })

  it.each(LOADERS)('$name gets nothing wrong from a poisoned mirror, and the next good answer is kept', async ({ run, good, file }) => {
    for (const poison of POISONS) {
      mirror.poisons.set(file, poison)
      expect(await run().catch(() => 'refused'), poison).not.toEqual(good())
      expect(
        (await kept()).filter(({ path }) => path.endsWith(file)),
        poison,
      ).toEqual([])
      mirror.poisons.clear()
      await reload()
      mirror.asked()
      expect(await run(), poison).toEqual(good())
      expect(downloads(), poison).toContain(file)
      expect(await run(), poison).toEqual(good())
      expect(mirror.asked(), poison).toEqual([])
      expect(await forget(mirror.resolve(REPOSITORY, file))).toBe(true)
      await reload()
    }
  })

  it('what wllama was given of wrong bytes is not whole, so that it does not take it for the model', async () => {
    mirror.poisons.set(GGUF, 'wrong')
    await expect(wllama()).rejects.toThrow()
    mirror.poisons.clear()
    expect(await wllama(true)).toBe(sha256)
  })

  it('two runtimes that load the same file hold one copy, and one of them may let go of it', async () => {
    expect(await transformers()).toEqual(said)
    const bytes = await bytesKept()
    expect(await onnx(COMMIT)).toEqual(said)
    expect(await bytesKept()).toBe(bytes)
    const models = (await kept()).filter(({ path }) => path.endsWith(MODEL))
    expect(models.map(({ path }) => path).toSorted()).toEqual(
      ['main', COMMIT].map((revision) => `${REPOSITORY}/resolve/${revision}/${MODEL}`).toSorted(),
    )
    expect(new Set(models.map(({ cid }) => cid)).size).toBe(1)
    await mirror.stop()
    expect(await forget(mirror.resolve(REPOSITORY, MODEL))).toBe(true)
    await reload()
    await expect(transformers()).rejects.toThrow()
    expect(await onnx(COMMIT)).toEqual(said)
    await mirror.start()
    await reload()
    expect(await transformers()).toEqual(said)
    expect(await forget(mirror.resolve(REPOSITORY, MODEL, COMMIT))).toBe(true)
    await mirror.stop()
    await reload()
    expect(await transformers()).toEqual(said)
  })
})

it('transformers.js with createFetch() as its env.fetch downloads once, then nothing, then needs no mirror', async () => {
  const run = (): Promise<number[]> =>
    here.page.evaluate(
      async ([mirror, repository, wasm, storage]) => {
        const { load } = globalThis as unknown as Own
        const { open } = (await load('./caching.js')) as typeof Caching
        const { runFromHub } = (await load('./transformers.js')) as typeof Transformers
        const fetched = open(storage, [{ match: mirror, revalidate: 'never', sha256: 'huggingface' }])
        return runFromHub(mirror, repository, wasm, { fetched })
      },
      [mirror.url, REPOSITORY, `/runtime/${WEBGPU_WASM}`, { ...STORAGE, cacheDir: 'fetched' }] as const,
    )
  const expectIt = async (): Promise<void> => {
    for (const [index, value] of (await run()).entries()) expect(value).toBeCloseTo(said[index] ?? Number.NaN, 5)
  }
  const reload = async (): Promise<void> => {
    await here.page.reload()
    await here.page.waitForFunction(() => 'kit' in globalThis)
  }
  mirror.poisons.set(MODEL, 'wrong')
  await expect(run()).rejects.toThrow()
  mirror.poisons.clear()
  await reload()
  mirror.asked()
  await expectIt()
  expect(downloads()).toEqual([MODEL])
  await reload()
  await expectIt()
  expect(mirror.asked()).toEqual([])
  await mirror.stop()
  await reload()
  await expectIt()
  expect(here.errors).toEqual([])
})
