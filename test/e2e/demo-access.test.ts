// The demo for everyone: without serious findings of axe, within 360 pixels, and by keyboard alone.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { AxeBuilder } from '@axe-core/playwright'
import type { BrowserContext, Page } from 'playwright'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { startDemo } from '../../scripts/start.mjs'
import { launch, openDemo } from './support/demo-page.ts'

let folder: string
let demo: { url: string; close: () => Promise<void> }
let context: BrowserContext
let page: Page

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ipfs-kit-web-access-'))
  demo = await startDemo({ outDir: join(folder, 'dist') })
  context = await launch(join(folder, 'profile'))
  ;({ page } = await openDemo(context, demo.url))
})

afterAll(async () => {
  await context?.close()
  await demo?.close()
  await rm(folder, { recursive: true, force: true })
})

async function seriousFindings(): Promise<string[]> {
  const { violations } = await new AxeBuilder({ page }).analyze()
  return violations
    .filter(({ impact }) => impact === 'serious' || impact === 'critical')
    .map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html).join(' ')}`)
}

/** What axe finds and what sticks out, in both colour schemes and at both widths. */
async function findingsEverywhere(): Promise<string[]> {
  const findings: string[] = []
  for (const width of [1280, 360]) {
    await page.setViewportSize({ width, height: 800 })
    const excess = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth)
    if (excess > 0) findings.push(`${excess} pixels stick out at ${width}`)
    for (const colorScheme of ['light', 'dark'] as const) {
      await page.emulateMedia({ colorScheme })
      findings.push(...(await seriousFindings()).map((finding) => `${colorScheme}, ${width}: ${finding}`))
    }
  }
  await page.setViewportSize({ width: 1280, height: 800 })
  return findings
}

test('empty, it has no serious findings and no sideways scroll', async () => {
  expect(await findingsEverywhere()).toEqual([])
})

test('Tab reaches every action, and shows where it is', async () => {
  await page.evaluate(() => (document.activeElement as HTMLElement | null)?.blur())
  const reached: string[] = []
  for (let step = 0; step < 15; step++) {
    await page.keyboard.press('Tab')
    const focused = await page.evaluate(() => {
      const element = document.activeElement!
      const { outlineStyle, outlineWidth } = getComputedStyle(element)
      return { id: element.id || element.className, ring: outlineStyle !== 'none' && Number.parseFloat(outlineWidth) >= 2 }
    })
    if (focused.id === '') break
    reached.push(focused.id)
    expect(focused.ring, `${focused.id} has a visible focus`).toBe(true)
  }
  expect(reached).toEqual([
    'skip',
    'persist',
    'store-model',
    'sentences',
    'run-button',
    'store-media',
    'line-switch',
    'start-download',
    'fetch-voices',
    'choose-files',
    'choose-folder',
  ])
})

test('full, with everything opened, neither', async () => {
  const name = `${'a-very-long-name-without-any-space-'.repeat(5)}.bin`
  await page.locator('#choose-files-input').setInputFiles({ name, mimeType: '', buffer: Buffer.alloc(3000, 7) })
  await page.getByRole('button', { name: 'Store the model' }).click()
  await page.getByRole('button', { name: 'Open its files' }).click({ timeout: 60_000 })
  await page.getByRole('button', { name: 'Open group1-shard1of7' }).click()
  await page.getByRole('button', { name: 'Open model.json' }).click()
  await page.getByRole('button', { name: `Open ${name}` }).click()
  await page.locator('.preview').nth(2).waitFor()
  await page.getByRole('button', { name: 'Store pictures and a video' }).click()
  await page.getByRole('button', { name: 'Fetch the model by its CID' }).click({ timeout: 60_000 })
  await page.locator('#fetch-model-result .success').waitFor()
  await expect.poll(() => page.locator('#origins > li').count()).toBeGreaterThan(12)
  await page.getByRole('button', { name: 'Fetch the models' }).click()
  await page.locator('#kept-urls > li').nth(2).waitFor()
  await page.getByRole('button', { name: 'Download it' }).click()
  await page.getByRole('button', { name: 'Pause: onnxruntime' }).click()
  await page.getByRole('button', { name: 'Resume: onnxruntime' }).waitFor()
  await page.getByRole('button', { name: 'Compare the sentences' }).click()
  await page.getByRole('table').waitFor({ timeout: 90_000 })
  expect(await findingsEverywhere()).toEqual([])
  await page.getByRole('button', { name: 'Delete universal-sentence-encoder-lite' }).click()
  await page.getByRole('dialog').waitFor()
  expect(await findingsEverywhere()).toEqual([])
  await page.keyboard.press('Escape')
  await page.getByRole('dialog').waitFor({ state: 'hidden' })
}, 240_000)
