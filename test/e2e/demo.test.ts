// Drives the demo in Chromium as a person would: store a model, leave, come back with the server gone, run it, delete it.
import { cp, mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Page } from 'playwright'
import { beforeAll, expect, test } from 'vitest'
import { startDemo } from '../../scripts/start.mjs'
import { computeCids, countBlocks, MODEL_NAME, openDemo, readModelFiles } from './support/demo-page.ts'
import { useDemo } from './support/running-demo.ts'
import type { ModelFile } from './support/demo-page.ts'

const POLL = { timeout: 20_000 }

const demo = useDemo()
const { open } = demo
let files: ModelFile[]

beforeAll(async () => {
  files = await readModelFiles()
})

async function storeModel(page: Page): Promise<void> {
  await page.getByRole('button', { name: 'Store the model' }).click()
  await page.locator('#model-done').waitFor({ timeout: 60_000 })
}

/** The map's numbers as a screen reader would read them. */
async function similarities(page: Page): Promise<number[][]> {
  const rows = await page.getByRole('region', { name: 'Similarity' }).getByRole('row').all()
  return Promise.all(rows.slice(1).map(async (row) => (await row.getByRole('cell').allInnerTexts()).map(Number)))
}

test('a model is stored, survives the browser and the server, runs, and is deleted without a trace', async () => {
  const cids = await computeCids(files)
  const cid = cids.get('') ?? ''
  const total = files.reduce((sum, { bytes }) => sum + bytes.length, 0)
  const server = await startDemo({ build: false, outDir: join(demo.folder, 'dist') })
  const first = await open('story', server.url)
  // The bar is recorded as it moves, since nobody knows how fast that is.
  await first.page.evaluate(() => {
    const seen: number[] = []
    const host = document.querySelector('#model-transfer')!
    new MutationObserver(() => {
      const bar = host.querySelector('progress')
      if (bar) seen.push(bar.value)
    }).observe(host, { childList: true, subtree: true, characterData: true })
    Object.assign(globalThis, { seen })
  })
  await storeModel(first.page)
  const seen = await first.page.evaluate(() => (globalThis as unknown as { seen: number[] }).seen)
  expect(seen.toSorted((a, b) => a - b)).toEqual(seen)
  expect(seen.filter((value) => value > 0 && value < total).length).toBeGreaterThan(3)

  expect(await first.page.locator('#model-cid').innerText()).toBe(cid)
  await first.page.getByRole('button', { name: 'Open its files' }).click()
  const list = first.page.getByRole('list', { name: 'Files of the model' })
  await list.waitFor()
  const listed = await list.getByRole('listitem').all()
  const shown = await Promise.all(
    listed.map(async (item) => [await item.locator('.entry-name').innerText(), await item.locator('.cid').getAttribute('title')]),
  )
  expect(new Map(shown as [string, string][])).toEqual(new Map([...cids].filter(([path]) => path !== '')))
  await first.page.getByRole('button', { name: 'Open group1-shard1of7' }).click()
  const start = [...(files.find(({ name }) => name === 'group1-shard1of7')?.bytes.subarray(0, 16) ?? [])]
  await expect
    .poll(() => first.page.getByRole('region', { name: 'Preview of group1-shard1of7' }).innerText(), POLL)
    .toContain(`000000  ${start.map((byte) => byte.toString(16).padStart(2, '0')).join(' ')}`)
  await first.page.locator('#shell-row[data-ready="true"]').waitFor({ timeout: 60_000 })
  expect(first.errors).toEqual([])

  await demo.leave()
  await server.close()
  await expect(fetch(server.url)).rejects.toThrow('fetch failed')

  const { page, errors } = await open('story', server.url)
  expect(await page.locator('#model-cid').innerText()).toBe(cid)
  await page.getByLabel('Sentences, one a line').fill('A cat is asleep.\nA kitten is napping.\nThe stock market crashed.')
  await page.getByRole('button', { name: 'Compare the sentences' }).click()
  await page.getByText('came from the store: 27.9 MB, verified').waitFor({ timeout: 90_000 })
  const [cat] = await similarities(page)
  expect(cat?.[0]).toBe(1)
  expect(cat?.[1]).toBeGreaterThan((cat?.[2] ?? 1) + 0.2)

  const row = page.locator('#files > li', { hasText: MODEL_NAME })
  await row.getByRole('button', { name: 'Delete' }).click()
  const dialog = page.getByRole('dialog')
  await dialog.getByRole('button', { name: 'Keep it' }).click()
  await row.getByRole('button', { name: 'Delete' }).click()
  await dialog.getByRole('heading', { name: 'It is pinned' }).waitFor()
  await dialog.getByRole('button', { name: 'Unpin and delete' }).click()
  await page.getByText('Nothing is stored yet.').waitFor()
  await expect.poll(() => countBlocks(page), POLL).toBe(0)
  await expect.poll(() => page.locator('#usage-blocks').innerText(), POLL).toBe('0 blocks')
  expect(await page.getByRole('button', { name: 'Store the model' }).isVisible()).toBe(true)
  expect(errors).toEqual([])
}, 240_000)

test('a download cancelled half way, by keyboard, leaves nothing', async () => {
  // Without the app shell, because Playwright does not intercept what passes through a service worker.
  const { page, errors } = await open('cancel', demo.url, { serviceWorkers: 'block' })
  await page.route('**/model/group1-shard4of7', () => undefined)
  await page.getByRole('button', { name: 'Store the model' }).press('Enter')
  const bar = page.getByRole('progressbar', { name: 'Storing the model' })
  const threeShards = 3 * 4_194_304
  await expect.poll(() => bar.evaluate((element) => (element as HTMLProgressElement).value), POLL).toBe(threeShards)
  const cancel = page.getByRole('button', { name: 'Cancel: Storing the model' })
  expect(await cancel.evaluate((element) => element === document.activeElement)).toBe(true)
  await cancel.press('Enter')
  await page.getByText('Nothing was kept.').waitFor()
  expect(await page.evaluate(() => document.activeElement?.id)).toBe('store-model')
  await page.getByText('Nothing is stored yet.').waitFor()
  await expect.poll(() => countBlocks(page), POLL).toBe(0)
  expect(errors).toEqual([])
})

test('files of the user’s: stored, shown in every tab, downloaded, pinned, and a failed download explained', async () => {
  const url = `${demo.url}?fallback`
  const { page, errors } = await open('files', url, { serviceWorkers: 'block' })
  await page.getByText('Browser storage only').waitFor()
  const { page: other } = await openDemo(page.context(), url, await page.context().newPage())

  const content = Buffer.from('Who controls the past controls the future.')
  await page.locator('#choose-files-input').setInputFiles({ name: 'quote.txt', mimeType: 'text/plain', buffer: content })
  const row = page.locator('#files > li', { hasText: 'quote.txt' })
  await row.waitFor()
  await other.locator('#files > li', { hasText: 'quote.txt' }).waitFor()

  const [download] = await Promise.all([page.waitForEvent('download'), row.getByRole('button', { name: 'Download' }).click()])
  expect(download.suggestedFilename()).toBe('quote.txt')
  expect(await readFile(await download.path())).toEqual(content)
  await row.getByRole('button', { name: 'Pin quote.txt', exact: true }).click()
  await other.getByRole('button', { name: 'Unpin quote.txt' }).waitFor()
  await other.getByRole('button', { name: 'Unpin quote.txt' }).click()
  await row.getByRole('button', { name: 'Pin quote.txt', exact: true }).waitFor()
  await row.getByRole('button', { name: 'Delete' }).click()
  await page.getByRole('dialog').getByRole('button', { name: 'Delete', exact: true }).click()
  await other.getByText('Nothing is stored yet.').waitFor()

  const tree = join(demo.folder, 'tree')
  await mkdir(join(tree, 'leaves'), { recursive: true })
  await writeFile(join(tree, 'leaves', 'one.txt'), 'one')
  // In a tab behind, Chromium does not read folders.
  await page.bringToFront()
  await page.locator('#choose-folder-input').setInputFiles(tree)
  await page.getByRole('button', { name: 'Open tree' }).click()
  await page.getByRole('button', { name: 'Open leaves' }).click()
  await page.getByRole('button', { name: 'Open one.txt' }).click()
  await expect.poll(() => page.getByRole('region', { name: 'Preview of one.txt' }).innerText(), POLL).toBe('one')

  await page.route('**/model/**', (route) => route.abort())
  await page.getByRole('button', { name: 'Store the model' }).click()
  await page.getByRole('alert').filter({ hasText: 'The download failed' }).waitFor()
  expect(errors).toEqual([])
})

test('a rebuilt page is offered and taken over', async () => {
  const outDir = join(demo.folder, 'rebuilt')
  await cp(join(demo.folder, 'dist'), outDir, { recursive: true })
  const server = await startDemo({ build: false, outDir })
  try {
    const { page } = await open('rebuilt', server.url)
    await page.locator('#shell-row[data-ready="true"]').waitFor({ timeout: 60_000 })
    const index = join(outDir, 'index.html')
    await writeFile(index, (await readFile(index, 'utf8')).replace('<h1>Large files', '<h1>Even larger files'))
    const worker = join(outDir, 'sw.js')
    await writeFile(worker, (await readFile(worker, 'utf8')).replace(/const VERSION = .*/, 'const VERSION = "next"'))
    await page.reload()
    await page.getByText('A newer version of this page is ready.').waitFor({ timeout: 60_000 })
    expect(await page.getByRole('heading', { level: 1 }).innerText()).toMatch(/^Large files/)
    await page.getByRole('button', { name: 'Reload' }).click()
    await page.getByRole('heading', { name: /^Even larger files/ }).waitFor()
    await expect.poll(() => page.evaluate(() => caches.keys()), POLL).toEqual(['ipfs-kit-web-demo:next'])
  } finally {
    await server.close()
  }
})
