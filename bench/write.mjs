// Writes a run's results into a folder: as JSON, as an HTML report, and the report's first charts as a picture.
import { mkdir, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { chromium } from 'playwright'
import { CHROMIUM_ARGS } from '../scripts/chromium.mjs'
import { ROOT } from '../scripts/tool.mjs'
import { reportOf } from './report.mjs'

const PICTURE_WIDTH = 1160
const PICTURE_TIMEOUT_MS = 60_000

/**
 * @param {import('./run.mjs').Report} report
 * @param {{ out: string, executablePath: string }} options
 * @returns {Promise<string[]>} what was written
 */
export async function write(report, { out, executablePath }) {
  const folder = resolve(ROOT, out)
  await mkdir(folder, { recursive: true })
  const html = join(folder, 'report.html')
  await writeFile(join(folder, 'results.json'), `${asJson(report)}\n`)
  await writeFile(html, reportOf(report))
  await takePicture(html, join(folder, 'report.png'), executablePath)
  return ['results.json', 'report.html', 'report.png'].map((name) => join(out, name))
}

/**
 * Digits beyond what a clock tells, and a line for each number, would make it three times as long.
 *
 * @param {unknown} report
 * @returns {string}
 */
function asJson(report) {
  const text = JSON.stringify(report, (_, value) => (typeof value === 'number' ? Number(value.toPrecision(5)) : value), 2)
  return text.replace(/\[[^[\]{}]*\]/g, (list) => list.replace(/\s+/g, ' '))
}

/**
 * @param {string} html
 * @param {string} png
 * @param {string} executablePath
 */
async function takePicture(html, png, executablePath) {
  const browser = await chromium.launch({ executablePath, args: CHROMIUM_ARGS, timeout: PICTURE_TIMEOUT_MS })
  try {
    const page = await browser.newPage({ viewport: { width: PICTURE_WIDTH, height: 800 }, deviceScaleFactor: 1.5 })
    page.setDefaultTimeout(PICTURE_TIMEOUT_MS)
    await page.goto(pathToFileURL(html).href)
    await page.locator('#picture').screenshot({ path: png })
  } finally {
    await browser.close()
  }
}
