// The demo's pictures, video and model by their CIDs, and models by their URLs: answered by its service worker, with the server stopped, and told of on the
// page.
import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { mkdtemp, rm, stat } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { extname, join } from 'node:path'
import type { BrowserContext, Locator, Page } from 'playwright'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { startDemo } from '../../scripts/start.mjs'
import { computeCids, launch, openDemo, readModelFiles, readVoiceFiles } from './support/demo-page.ts'
import type { ModelFile } from './support/demo-page.ts'

const POLL = { timeout: 20_000 }
const PICTURES = ['dunes.webp', 'contours.webp', 'weave.webp']
const VIDEO = 'dusk.webm'

let folder: string
let outDir: string
let context: BrowserContext | undefined

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ipfs-kit-web-served-'))
  outDir = join(folder, 'dist')
  const built = await startDemo({ outDir })
  await built.close()
})

afterEach(async () => {
  await context?.close()
  context = undefined
})

afterAll(async () => {
  await rm(folder, { recursive: true, force: true })
})

async function open(profile: string, url: string): Promise<{ page: Page; errors: string[] }> {
  context = await launch(join(folder, profile))
  return openDemo(context, url)
}

async function storeMedia(page: Page): Promise<void> {
  await page.getByRole('button', { name: 'Store pictures and a video' }).click()
  await page.locator('#shell-row[data-ready="true"]').waitFor({ timeout: 60_000 })
  await page.locator('#media-shown video').waitFor()
}

/** Widths of what the pictures show: 0 where there is nothing. */
function widths(page: Page): Promise<number[]> {
  return page.locator('#media-shown img').evaluateAll((images) => images.map((image) => (image as HTMLImageElement).naturalWidth))
}

/** Where the video stands after seeking, and how long it is. */
function sought(page: Page, seconds: number): Promise<{ at: number; duration: number }> {
  return page.locator('#media-shown video').evaluate(async (element, to) => {
    const video = element as HTMLVideoElement
    const when = (type: string): Promise<unknown> => new Promise((resolve) => video.addEventListener(type, resolve, { once: true }))
    if (video.readyState === 0) await when('loadedmetadata')
    const seeked = when('seeked')
    video.currentTime = to
    await seeked
    return { at: video.currentTime, duration: video.duration }
  }, seconds)
}

/** What the page says of each, by its name. */
async function origins(page: Page): Promise<Map<string, string>> {
  const rows = await page.getByRole('list', { name: 'What came from where' }).getByRole('listitem').all()
  const told = rows.map(async (row): Promise<[string, string]> => [
    await row.locator('.origin-name').innerText(),
    (await row.locator('.origin-where').innerText()).replaceAll(/\s+/g, ' '),
  ])
  return new Map(await Promise.all(told))
}

test('pictures, a video and the model are there by their CIDs with the server stopped, and the page tells where from', async () => {
  const server = await startDemo({ build: false, outDir })
  const first = await open('served', server.url)
  await first.page.getByRole('button', { name: 'Store the model' }).click()
  await first.page.locator('#model-done').waitFor({ timeout: 60_000 })
  await storeMedia(first.page)
  await expect.poll(() => widths(first.page), POLL).toEqual([960, 960, 960])
  await expect.poll(async () => [...(await origins(first.page)).keys()], POLL).toEqual(expect.arrayContaining([...PICTURES, VIDEO]))
  expect((await origins(first.page)).get('dunes.webp')).toBe('Block store checked on its way')
  await server.close()
  await expect(fetch(server.url)).rejects.toThrow('fetch failed')

  await first.page.reload()
  await expect.poll(() => widths(first.page), POLL).toEqual([960, 960, 960])
  await expect.poll(async () => [...(await origins(first.page)).keys()], POLL).toEqual(expect.arrayContaining([...PICTURES, VIDEO]))
  expect(first.errors).toEqual([])
  await context?.close()

  const { page, errors } = await open('served', server.url)
  await expect.poll(() => widths(page), POLL).toEqual([960, 960, 960])
  expect(await sought(page, 5)).toEqual({ at: 5, duration: 8 })
  expect(await sought(page, 1)).toEqual({ at: 1, duration: 8 })

  await page.getByRole('button', { name: 'Fetch the model by its CID' }).click()
  await page.locator('#fetch-model-result').getByText('28.4 MB in 9 files came by fetch()').waitFor()
  const model = await readModelFiles()
  const cid = await page.locator('#model-cid').innerText()
  const hashes = await page.evaluate(
    async ([root, names]) => {
      const hashOf = async (name: string): Promise<number[]> => {
        const bytes = await (await fetch(`ipfs/${root}/${name}`)).arrayBuffer()
        return [...new Uint8Array(await crypto.subtle.digest('SHA-256', bytes))]
      }
      return Promise.all(names.map(hashOf))
    },
    [cid, model.map(({ name }) => name)] as const,
  )
  expect(hashes).toEqual(model.map(({ bytes }) => [...createHash('sha256').update(bytes).digest()]))

  const told = await origins(page)
  expect([...told.keys()].sort()).toEqual([...PICTURES, VIDEO, ...model.map(({ name }) => name)].sort())
  for (const name of [...PICTURES, VIDEO]) expect(told.get(name)).toContain('Block store checked on its way')
  expect(told.get('group1-shard1of7')).toContain('Pack file checked, read by the browser')
  expect(errors).toEqual([])
}, 240_000)

test('what is fetched below voice/ is kept by URL, and answered with the server stopped', async () => {
  const server = await startDemo({ build: false, outDir })
  const { page, errors } = await open('urls', server.url)
  const models = await readVoiceFiles()
  const cids = await computeCids(models)
  const result = page.locator('#fetch-voices-result')
  const rowOf = (name: string): Locator => page.locator('#kept-urls > li', { hasText: `voice/${name}` })
  await page.locator('#urls[aria-busy="false"]').waitFor()
  await page.getByRole('button', { name: 'Fetch the models' }).click()
  await result.getByText('0 from the store, 3 from the network').waitFor()
  for (const { name } of models) {
    await rowOf(name).getByText('From the network').waitFor()
    expect(await rowOf(name).locator('.cid').getAttribute('title')).toBe(cids.get(name))
  }
  // What comes by URL is not told of among what comes by CID.
  expect([...(await origins(page)).keys()]).toEqual([])
  await page.getByRole('button', { name: 'Fetch the models' }).click()
  await result.getByText('3 from the store, 0 from the network').waitFor()
  const [first, second] = models as [ModelFile, ModelFile]
  await rowOf(first.name).getByText('1 answer from the store').waitFor()
  await page.getByRole('button', { name: `Fetch again ${first.name}` }).click()
  await rowOf(first.name).getByText('From the network').waitFor()
  await server.close()

  await page.reload()
  await rowOf(first.name).waitFor()
  await page.getByRole('button', { name: 'Fetch the models' }).click()
  await result.getByText('3 from the store, 0 from the network').waitFor()
  await rowOf(second.name).getByText('2 answers from the store').waitFor()
  await page.getByRole('button', { name: `Fetch again ${second.name}` }).click()
  await page.locator('#notices').getByRole('alert').filter({ hasText: 'The download failed' }).waitFor()
  const hash = await page.evaluate(async (path) => {
    const bytes = await (await fetch(path)).arrayBuffer()
    return [...new Uint8Array(await crypto.subtle.digest('SHA-256', bytes))]
  }, `voice/${second.name}`)
  expect(hash).toEqual([...createHash('sha256').update(second.bytes).digest()])

  await page.getByRole('button', { name: `Forget ${first.name}` }).click()
  await rowOf(first.name).waitFor({ state: 'detached' })
  expect(await page.locator('#kept-urls > li').count()).toBe(2)
  await page.locator('#files > li', { hasText: first.name }).waitFor({ state: 'detached' })
  await page.getByRole('button', { name: 'Fetch the models' }).click()
  await result.getByRole('alert').filter({ hasText: 'The download failed' }).waitFor()
  expect(errors).toEqual([])
}, 240_000)

test('below a path of its server, it serves below that path', async () => {
  const server = await serveBelow('/some/where/', outDir)
  const { page, errors } = await open('below', server.url)
  await storeMedia(page)
  await expect.poll(() => widths(page), POLL).toEqual([960, 960, 960])
  const source = await page.locator('#media-shown img').first().getAttribute('src')
  expect(source).toMatch(new RegExp(`^${server.url}ipfs/bafy[a-z2-7]+/dunes\\.webp$`))
  await server.close()
  await page.reload()
  await expect.poll(() => widths(page), POLL).toEqual([960, 960, 960])
  expect(await sought(page, 5)).toEqual({ at: 5, duration: 8 })
  expect(errors).toEqual([])
})

const TYPES: Record<string, string> = {
  '.css': 'text/css',
  '.html': 'text/html',
  '.js': 'text/javascript',
  '.json': 'application/json',
  '.svg': 'image/svg+xml',
}

/** The built demo as a server of files has it that serves other things as well. */
async function serveBelow(path: string, root: string): Promise<{ url: string; close: () => Promise<void> }> {
  const server = createServer((request, response) => {
    const { pathname } = new URL(request.url ?? '/', 'http://localhost')
    const name = pathname === path ? 'index.html' : pathname.slice(path.length)
    const file = join(root, name)
    const there = pathname.startsWith(path) ? stat(file) : Promise.reject(new Error('elsewhere'))
    there.then(
      () => {
        response.writeHead(200, { 'content-type': TYPES[extname(file)] ?? 'application/octet-stream' })
        createReadStream(file).pipe(response)
      },
      () => response.writeHead(404).end(),
    )
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}${path}`,
    async close() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}
