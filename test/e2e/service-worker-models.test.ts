// Runtimes of models, unchanged, load by URL what is served by CID: an application that lies in the store itself, with its runtime and its model, needs no
// server any more.
import type { Page } from 'playwright'
import { afterAll, beforeAll, expect, it } from 'vitest'
import type * as Onnx from './fixtures/onnx.ts'
import type * as Transformers from './fixtures/transformers.ts'
import { register, startSite, visit, type Own, type Site, type Visit } from './support/site.ts'

const WASM = 'ort-wasm-simd-threaded.wasm'
/** transformers.js takes the build of the runtime that can have WebGPU. */
const WEBGPU_WASM = 'ort-wasm-simd-threaded.asyncify.wasm'

let site: Site
let here: Visit
let [application, models] = ['', '']

beforeAll(async () => {
  site = await startSite({
    scripts: { onnx: 'test/e2e/fixtures/onnx.ts', transformers: 'test/e2e/fixtures/transformers.ts' },
    folders: { '/runtime/': 'node_modules/onnxruntime-web/dist', '/model/': 'node_modules/@ricky0123/vad-web/dist' },
  })
  here = await visit(site)
  ;[application, models] = await here.page.evaluate(
    async (wasm) => {
      const { storage } = globalThis as unknown as Own
      const of = async (path: string): Promise<ReadableStream<Uint8Array>> => {
        const { body } = await fetch(path)
        if (body === null) throw new Error(`there is no ${path}`)
        return body
      }
      const page = `<!doctype html><title>application</title><script type="module">
        globalThis.load = (script) => import('./' + script)</script>`
      const application = await storage.storeDirectory([
        { path: 'index.html', data: page },
        { path: 'onnx.js', data: await of('/onnx.js') },
        { path: 'transformers.js', data: await of('/transformers.js') },
      ])
      const models = await storage.storeDirectory([
        { path: 'silero/config.json', data: JSON.stringify({ model_type: 'custom' }) },
        { path: 'silero/onnx/model.onnx', data: await of('/model/silero_vad_v5.onnx') },
        ...(await Promise.all(wasm.map(async (name) => ({ path: `runtime/${name}`, data: await of(`/runtime/${name}`) })))),
      ])
      return [application, models]
    },
    [WASM, WEBGPU_WASM],
  )
})

afterAll(async () => {
  await here?.context.close()
  await site?.close()
})

const runOnnx = (page: Page, model: string, wasm: string): Promise<number[]> =>
  page.evaluate(async ([model, wasm]) => ((await (globalThis as unknown as Own).load('onnx.js')) as typeof Onnx).run(model, wasm), [
    model,
    wasm,
  ] as const)

const runTransformers = (page: Page, from: 'local' | 'remote'): Promise<number[]> =>
  page.evaluate(
    async ([models, wasm, from]) =>
      ((await (globalThis as unknown as Own).load('transformers.js')) as typeof Transformers).run(models, wasm, from),
    [`/ipfs/${models}/`, `/ipfs/${models}/runtime/${WEBGPU_WASM}`, from] as const,
  )

/** What they say of files that lie in the store. */
async function expectThat(page: Page, said: readonly number[]): Promise<void> {
  expect(await runOnnx(page, `/ipfs/${models}/silero/onnx/model.onnx`, `/ipfs/${models}/runtime/${WASM}`)).toEqual(said)
  for (const from of ['local', 'remote'] as const) {
    for (const [index, value] of (await runTransformers(page, from)).entries()) expect(value).toBeCloseTo(said[index] ?? Number.NaN, 5)
  }
}

it('onnxruntime-web and transformers.js load a model by CID, with the server there and without it', async () => {
  const { page, errors } = here
  const said = await page.evaluate(
    async (wasm) =>
      ((await (globalThis as unknown as Own).load('/onnx.js')) as typeof Onnx).run('/model/silero_vad_v5.onnx', `/runtime/${wasm}`),
    WASM,
  )
  expect(said).toHaveLength(5)
  await register(page, { trust: [application] })
  await page.goto(`${site.url}ipfs/${application}/`)
  await expectThat(page, said)
  await site.stop()
  await here.killWorkers()
  await page.reload()
  await page.waitForFunction(() => 'load' in globalThis)
  await expectThat(page, said)
  expect(site.requests.filter((path) => path.startsWith('/ipfs/'))).toEqual([])
  expect(errors).toEqual([])
})
