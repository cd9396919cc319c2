// Measures what a storage of 100,000 small entries and 64 GiB of catalogued files does, beside one of 100 entries and one file.
//
//   node bench/scale.mjs             5 rounds
//   node bench/scale.mjs --rounds 2
//
// Each storage has an origin, and so a database of the browser's, of its own. Both are filled by writes of our own, in one profile; then each
// round of openings starts the browser anew, and rounds of everything else follow in the last of them, in turns between both.
import { createServer } from 'node:http'
import { pathToFileURL } from 'node:url'
import { parseArgs } from 'node:util'
import { build } from 'esbuild'
import { chromium } from 'playwright'
import { CHROMIUM_ARGS, findChromium } from '../scripts/chromium.mjs'
import { withProfile } from './browser.mjs'

/** @typedef {{ name: string, entries: number, medianMs: number, minMs: number, maxMs: number }} Row the least and most are those of a round's medians */
/** @typedef {{ name: string, ratio: number }} Ratio the median among many entries over that among few */
/** @typedef {{ entries: number, largeFiles: number, url: string }} Contender */
/** @typedef {Map<string, number[]>} Medians of each round, by name */

const FEW = { entries: 100, largeFiles: 1 }
const MANY = { entries: 100_000, largeFiles: 64 }

/** How often each group of measures is done in a round. */
const REPEATS = { list: 8, read: 30, pin: 10, delete: 10, status: 10, gc: 5, large: 3 }
const WARM_OPENINGS = 5
/** Of all that is done in one start of a browser: filling takes about a minute. */
const BROWSER_TIMEOUT_MS = 600_000

/**
 * @param {{ executablePath: string, rounds?: number, log?: (line: string) => void }} options
 * @returns {Promise<{ rounds: number, rows: Row[], ratios: Ratio[] }>}
 */
export async function measureScale({ executablePath, rounds = 5, log = () => undefined }) {
  return withProfile((profile) => measureIn(profile, { executablePath, rounds, log }))
}

/**
 * @param {string} profile
 * @param {{ executablePath: string, rounds: number, log: (line: string) => void }} options
 * @returns {Promise<{ rounds: number, rows: Row[], ratios: Ratio[] }>}
 */
async function measureIn(profile, { executablePath, rounds, log }) {
  const script = await bundle()
  const servers = await Promise.all([serve(script), serve(script)])
  const [few, many] = [FEW, MANY].map((contents, index) => ({ ...contents, url: servers[index]?.url ?? '' }))
  if (few === undefined || many === undefined) throw new Error('two storages are measured')
  /** @type {Map<Contender, Medians>} */
  const seen = new Map([few, many].map((contender) => [contender, new Map()]))
  try {
    await withPages({ profile, executablePath, contenders: [few, many] }, async (run) => {
      for (const contender of [few, many]) {
        const began = performance.now()
        await run(contender, 'fill()')
        log(`${contender.entries} entries and ${contender.largeFiles} GiB in ${Math.round((performance.now() - began) / 1000)} s`)
      }
    })
    for (let round = 0; round < rounds; round++) {
      await withPages({ profile, executablePath, contenders: [few, many] }, async (run) => {
        for (const contender of inTurns([few, many], round)) await measureOpenings(run, contender, seen.get(contender))
        log(`openings, round ${round + 1} of ${rounds}`)
        if (round < rounds - 1) return
        for (const contender of [few, many]) await run(contender, 'open()')
        for (let again = 0; again < rounds; again++) {
          for (const [group, count] of Object.entries(REPEATS)) {
            for (const contender of inTurns([few, many], again)) {
              note(seen.get(contender), await run(contender, `sample('${group}', ${count})`))
            }
          }
          log(`everything else, round ${again + 1} of ${rounds}`)
        }
      })
    }
  } finally {
    for (const server of servers) server.close()
  }
  const rows = [few, many].flatMap((contender) =>
    [...(seen.get(contender) ?? [])].map(([name, medians]) => rowOf(name, contender, medians)),
  )
  return { rounds, rows, ratios: ratiosOf(rows) }
}

/** @typedef {(contender: Contender, step: string) => Promise<any>} Run */

/**
 * @param {Run} run
 * @param {Contender} contender
 * @param {Medians | undefined} medians
 */
async function measureOpenings(run, contender, medians) {
  note(medians, [await run(contender, 'open()')], ', browser just started')
  const warm = []
  for (let opening = 0; opening < WARM_OPENINGS; opening++) {
    await run(contender, 'close()')
    warm.push(await run(contender, 'open()'))
  }
  note(medians, warm, ', again')
  await run(contender, 'close()')
}

/**
 * One browser on the profile with one page for each storage. Only what was started here is ended.
 *
 * @param {{ profile: string, executablePath: string, contenders: Contender[] }} setting
 * @param {(run: Run) => Promise<void>} work
 */
async function withPages({ profile, executablePath, contenders }, work) {
  const context = await chromium.launchPersistentContext(profile, { executablePath, args: CHROMIUM_ARGS })
  const timer = setTimeout(() => void context.close(), BROWSER_TIMEOUT_MS)
  try {
    const pages = new Map()
    for (const contender of contenders) {
      const page = await context.newPage()
      await page.goto(contender.url)
      await page.waitForFunction(() => 'steps' in globalThis)
      await page.evaluate(`steps.describe(${contender.entries}, ${contender.largeFiles})`)
      pages.set(contender, page)
    }
    await work((contender, step) => pages.get(contender)?.evaluate(`steps.${step}`))
  } finally {
    clearTimeout(timer)
    await context.close()
  }
}

/** @returns {Promise<string>} */
async function bundle() {
  const { outputFiles } = await build({
    entryPoints: [new URL('scale-page.ts', import.meta.url).pathname],
    bundle: true,
    write: false,
    format: 'esm',
    platform: 'browser',
    target: 'es2022',
    logLevel: 'error',
  })
  return outputFiles[0]?.text ?? ''
}

/**
 * An origin of its own. Isolated, so that performance.now() counts in 5 µs instead of 100.
 *
 * @param {string} script
 * @returns {Promise<{ url: string, close: () => void }>}
 */
async function serve(script) {
  const isolated = { 'cross-origin-opener-policy': 'same-origin', 'cross-origin-embedder-policy': 'require-corp' }
  const server = createServer((request, response) => {
    const isScript = request.url === '/page.js'
    response.writeHead(200, { ...isolated, 'content-type': isScript ? 'text/javascript' : 'text/html' })
    response.end(isScript ? script : '<!doctype html><script type="module" src="/page.js"></script>')
  })
  await new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(undefined)))
  const { port } = /** @type {import('node:net').AddressInfo} */ (server.address())
  return {
    url: `http://127.0.0.1:${port}/`,
    close() {
      server.closeAllConnections()
      server.close()
    },
  }
}

/**
 * @template T
 * @param {T[]} contenders
 * @param {number} round
 * @returns {T[]}
 */
function inTurns(contenders, round) {
  return round % 2 === 0 ? contenders : contenders.toReversed()
}

/**
 * Adds the median of each measure in this round.
 *
 * @param {Medians | undefined} medians
 * @param {Record<string, number>[]} samples
 * @param {string} [suffix]
 */
function note(medians, samples, suffix = '') {
  for (const name of Object.keys(samples[0] ?? {})) {
    const rounds = medians?.get(`${name}${suffix}`) ?? []
    medians?.set(`${name}${suffix}`, [...rounds, medianOf(samples.map((sample) => sample[name] ?? Number.NaN))])
  }
}

/**
 * @param {string} name
 * @param {Contender} contender
 * @param {number[]} medians
 * @returns {Row}
 */
function rowOf(name, { entries }, medians) {
  return { name, entries, medianMs: medianOf(medians), minMs: Math.min(...medians), maxMs: Math.max(...medians) }
}

/**
 * @param {Row[]} rows
 * @returns {Ratio[]}
 */
function ratiosOf(rows) {
  const few = new Map(rows.filter(({ entries }) => entries === FEW.entries).map((row) => [row.name, row.medianMs]))
  return rows
    .filter(({ entries }) => entries === MANY.entries)
    .map(({ name, medianMs }) => ({ name, ratio: medianMs / (few.get(name) ?? Number.NaN) }))
}

/** @param {number[]} values */
function medianOf(values) {
  const sorted = [...values].sort((a, b) => a - b)
  const [low, high] = [sorted[Math.floor((sorted.length - 1) / 2)], sorted[Math.ceil((sorted.length - 1) / 2)]]
  return ((low ?? Number.NaN) + (high ?? Number.NaN)) / 2
}

async function main() {
  const { values } = parseArgs({ options: { rounds: { type: 'string', default: '5' } } })
  const rounds = Number(values.rounds)
  if (!Number.isSafeInteger(rounds) || rounds < 1) throw new Error(`--rounds takes a whole number, not '${values.rounds}'`)
  const { rows, ratios } = await measureScale({ executablePath: await findChromium(), rounds, log: (line) => console.error(line) })
  /** @param {Row | undefined} row */
  const cell = (row) => (row === undefined ? '' : `${row.medianMs.toFixed(2)} (${row.minMs.toFixed(2)}–${row.maxMs.toFixed(2)})`)
  console.log(`${''.padEnd(50)}${'100 entries, ms'.padStart(28)}${'100,000 entries, ms'.padStart(28)}${'ratio'.padStart(8)}`)
  for (const { name, ratio } of ratios) {
    const [few, many] = [FEW, MANY].map(({ entries }) => cell(rows.find((row) => row.name === name && row.entries === entries)))
    console.log(`${name.padEnd(50)}${few?.padStart(28)}${many?.padStart(28)}${ratio.toFixed(2).padStart(8)}`)
  }
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) await main()
