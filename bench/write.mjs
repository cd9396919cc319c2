// Writes a run's results into a folder: as JSON, as an HTML report, and the report's first charts as a picture.
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { chromium } from 'playwright'
import { CHROMIUM_ARGS } from '../scripts/chromium.mjs'
import { ROOT } from '../scripts/tool.mjs'
import { reportOf } from './report.mjs'

/** @typedef {import('./run.mjs').Report} Report */

const RESULTS = 'results.json'
const PICTURE_WIDTH = 1160
const PICTURE_TIMEOUT_MS = 60_000

/**
 * @param {Report} report
 * @param {{ folder: string, executablePath: string }} options
 * @returns {Promise<string[]>} what was written
 */
export async function write(report, { folder, executablePath }) {
  const path = resolve(ROOT, folder)
  await mkdir(path, { recursive: true })
  const html = join(path, 'report.html')
  await writeFile(join(path, RESULTS), `${asJson(report)}\n`)
  await writeFile(html, reportOf(report))
  await takePicture(html, join(path, 'report.png'), executablePath)
  return [RESULTS, 'report.html', 'report.png'].map((name) => join(folder, name))
}

/**
 * What an earlier run wrote into that folder.
 *
 * @param {string} folder
 * @returns {Promise<Report>}
 */
export async function readReport(folder) {
  return JSON.parse(await readFile(join(resolve(ROOT, folder), RESULTS), 'utf8'))
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
