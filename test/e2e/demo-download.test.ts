// The demo's large download in Chromium: cut at the server, left by a reload, gone on with; paused; cancelled. The server counts what it sends.
import type { Locator, Page } from 'playwright'
import { beforeAll, expect, test } from 'vitest'
import { openArchive, type Archive } from '../../demo/plugins/archive.ts'
import type { LargeFileState } from '../../demo/src/large-file-state.ts'
import { computeCids, countBlocks } from './support/demo-page.ts'
import { useDemo } from './support/running-demo.ts'

const MIB = 1024 * 1024
const CHECKPOINT_BYTES = 16 * MIB
/** The server sends 4 MiB a second. */
const SLOW = { timeout: 60_000 }
const POLL = { timeout: 20_000 }

const demo = useDemo()
const { open } = demo
let archive: Archive

beforeAll(async () => {
  archive = await openArchive()
})

async function cidOfArchive(): Promise<string> {
  const pieces: Buffer[] = []
  for await (const piece of archive.read(0, archive.size)) pieces.push(piece)
  const cids = await computeCids([{ name: archive.name, bytes: Buffer.concat(pieces) }])
  return cids.get(archive.name) ?? ''
}

const rowOf = (page: Page, state: 'here' | 'interrupted'): Locator => page.locator(`#downloads > [data-state="${state}"]`)

function bytesOf(page: Page): Promise<number> {
  return page.locator('#downloads progress').evaluate((bar) => (bar as HTMLProgressElement).value)
}

/** What is on record, as the page lists it. */
async function interruptedBytes(page: Page): Promise<number> {
  await rowOf(page, 'interrupted').waitFor()
  return bytesOf(page)
}

/** Asked of the server beside the page. */
async function stateOf(page: Page): Promise<LargeFileState> {
  const address = await page.evaluate(() => localStorage.getItem('ipfs-kit-web-demo:download') ?? '')
  const response = await fetch(`${demo.url}download/state${new URL(address).search}`)
  return (await response.json()) as LargeFileState
}

test('cut, reloaded and gone on with, it is the right content, and the server sent little of it twice', async () => {
  const { page, errors } = await open('cut')
  await page.getByRole('button', { name: 'Download it' }).press('Enter')
  expect(await page.evaluate(() => document.activeElement?.textContent)).toBe('Pause')
  await expect.poll(() => bytesOf(page), SLOW).toBeGreaterThan(CHECKPOINT_BYTES + 4 * MIB)

  const line = page.getByRole('switch', { name: 'Network: on' })
  await line.click()
  await page.getByRole('switch', { name: 'Network: off' }).waitFor()
  await page.locator('#downloads > [data-waiting="true"]').waitFor()
  const cut = await stateOf(page)
  expect(cut.network).toBe('off')
  await expect(fetch(`${demo.url}download/${archive.name}`)).rejects.toThrow('fetch failed')

  await page.reload()
  const before = await interruptedBytes(page)
  expect(before % CHECKPOINT_BYTES).toBe(0)
  expect(before).toBeGreaterThanOrEqual(CHECKPOINT_BYTES)
  expect((await stateOf(page)).sent).toBe(cut.sent)

  await page.getByRole('switch', { name: 'Network: off' }).click()
  await line.waitFor()
  await page.getByRole('button', { name: `Resume: ${archive.name}` }).click()
  await page.locator('#download-cid').waitFor(SLOW)
  const cid = await cidOfArchive()
  expect(await page.locator('#download-cid').innerText()).toBe(cid)
  await page.locator('#files > li', { hasText: archive.name }).getByTitle(cid).waitFor()
  const { sent } = await stateOf(page)
  expect(sent).toBeGreaterThanOrEqual(archive.size)
  expect(sent).toBeLessThanOrEqual(archive.size + CHECKPOINT_BYTES)
  await page
    .locator('#download-facts')
    .getByText(`${(sent / 1e6).toFixed(1)} MB`, { exact: false })
    .waitFor()
  expect(errors).toEqual([])

  await page.reload()
  expect(await page.locator('#download-cid').innerText()).toBe(cid)
  expect(await page.locator('#downloads > *').count()).toBe(0)
}, 240_000)

test('paused it keeps what came, switched on again it goes on at once, cancelled it leaves nothing', async () => {
  const { page, errors } = await open('paused')
  await page.getByRole('button', { name: 'Download it' }).click()
  await expect.poll(() => bytesOf(page), SLOW).toBeGreaterThan(3 * MIB)
  await page.getByRole('button', { name: `Pause: ${archive.name}` }).press('Enter')
  const paused = await interruptedBytes(page)
  expect(paused).toBeGreaterThan(3 * MIB)
  expect(await page.evaluate(() => document.activeElement?.textContent)).toBe('Resume')

  await page.getByRole('switch', { name: 'Network: on' }).click()
  await page.getByRole('button', { name: `Resume: ${archive.name}` }).click()
  await page.locator('#downloads > [data-waiting="true"]').waitFor()
  await page.getByRole('switch', { name: 'Network: off' }).click()
  await expect.poll(() => bytesOf(page), POLL).toBeGreaterThan(paused + 2 * MIB)
  await rowOf(page, 'here').waitFor()

  await page.getByRole('button', { name: `Cancel: ${archive.name}` }).click()
  await page.getByText('cancelled. Nothing of it was kept.').waitFor()
  await page.getByRole('button', { name: 'Download it' }).waitFor()
  expect(await page.evaluate(() => document.activeElement?.id)).toBe('start-download')
  await expect.poll(() => countBlocks(page), POLL).toBe(0)
  await page.getByText('Nothing is stored yet.').waitFor()
  await expect.poll(() => page.locator('#usage-bytes').innerText(), POLL).toBe('0 B')
  expect(errors).toEqual([])
}, 240_000)
