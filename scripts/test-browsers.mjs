// `npm run test:browsers`: the tests of test/browser in Chromium, Firefox and WebKitGTK, what each engine can do, and why a test was skipped. The last
// line says how many passed and failed.
//
//   npm run test:browsers -- --engines chromium,firefox   these alone
//   npm run test:browsers -- --runs plain,private         these runs alone
//   npm run test:browsers -- damage                       the rest is given to vitest as filters on file names
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { ENGINE_NAMES, ENGINES } from './engines.mjs'
import { runTool } from './tool.mjs'

/**
 * What test/setup/engine-reporter.ts writes.
 *
 * @typedef {{ passed: number, failed: string[], skipped: { name: string, reason: string }[], capabilities: Record<string, string>, ended: string }} RunReport
 * @typedef {import('./engines.mjs').EngineName} EngineName
 * @typedef {{ engine: EngineName, run: string, report: RunReport }} Done
 */

/** Every run of an engine; vitest.browsers.config.ts has a project for each. */
const RUNS = {
  plain: 'probes, and the least that works everywhere',
  isolated: 'the same in a page with COOP and COEP headers',
  private: 'the same in a private window',
  insecure: 'the same over http on a name that is no loopback',
  records: 'the whole suite with the blocks in records',
  packs: 'the whole suite with the leaves of large files in packs',
}
const PLAIN = 'plain'
const PACKS = 'packs'
/** As test/engines/probes.ts has it. */
const SYNC_HANDLES = 'OPFS, createSyncAccessHandle'
/** Milliseconds for one run: the whole suite takes a quarter of an hour in an engine with nothing beside it. */
const RUN_TIMEOUT_MS = 2 * 3_600_000
/** So many skipped for one reason are not told one by one. */
const MANY = 20

const { values, positionals } = parseArgs({
  options: { engines: { type: 'string', multiple: true }, runs: { type: 'string', multiple: true } },
  allowPositionals: true,
})
const engines = /** @type {EngineName[]} */ (wanted('engines', values.engines, ENGINE_NAMES))
const runs = wanted('runs', values.runs, Object.keys(RUNS))

/**
 * @param {string} option
 * @param {string[] | undefined} asked
 * @param {string[]} known
 * @returns {string[]}
 */
function wanted(option, asked, known) {
  const names = asked?.flatMap((each) => each.split(',')) ?? known
  const unknown = names.find((name) => !known.includes(name))
  if (unknown !== undefined) throw new Error(`--${option} takes ${known.join(', ')}, not '${unknown}'`)
  return names
}

/** @type {Done[]} */
const done = []
/** @type {string[]} */
const missing = []
/** @type {Record<string, string>} */
const versions = {}
const reports = await mkdtemp(join(tmpdir(), 'ipfs-kit-web-browsers-'))
try {
  for (const engine of engines) {
    const { title, install, find } = ENGINES[engine]
    const found = await find()
    if (found === undefined) {
      console.error(`\nno ${title} found: ${install}`)
      missing.push(`no ${title} found: ${install}`)
      continue
    }
    versions[engine] = found.version
    for (const run of runs) {
      console.log(`\n== ${title}, ${run}: ${RUNS[/** @type {keyof typeof RUNS} */ (run)]}`)
      const reason = run === PACKS ? await whyNoPacks(engine) : undefined
      if (reason !== undefined) console.log(`not run: ${reason}`)
      done.push({ engine, run, report: reason === undefined ? await test(`${engine}-${run}`, positionals) : notRun(reason) })
    }
  }
} finally {
  await rm(reports, { recursive: true, force: true })
}
tellCapabilities()
tellSkipped()
tellCounts()

/**
 * What an engine lacks for packs, as its probes found it.
 *
 * @param {EngineName} engine
 * @returns {Promise<string | undefined>}
 */
async function whyNoPacks(engine) {
  const plain = done.find((each) => each.engine === engine && each.run === PLAIN)?.report
  const { capabilities } = plain && SYNC_HANDLES in plain.capabilities ? plain : await test(`${engine}-${PLAIN}`, ['capabilities'])
  const found = capabilities[SYNC_HANDLES]
  return found?.startsWith('no: ') ? `${SYNC_HANDLES}: ${found}` : undefined
}

/**
 * @param {string} reason
 * @returns {RunReport}
 */
function notRun(reason) {
  return { passed: 0, failed: [], skipped: [{ name: 'all of it', reason }], capabilities: {}, ended: 'not run' }
}

/**
 * Runs one project. A run that ends badly without a failed test (a browser that does not start, a crash) is one failure.
 *
 * @param {string} project
 * @param {string[]} filters on file names
 * @returns {Promise<RunReport>}
 */
async function test(project, filters) {
  const path = join(reports, `${project}.json`)
  process.env['BROWSERS_REPORT'] = path
  const args = ['run', '--config', 'vitest.browsers.config.ts', '--project', project, '--passWithNoTests', ...filters]
  const ended = await runTool('vitest', args, RUN_TIMEOUT_MS)
  /** @type {RunReport} */
  const nothing = { passed: 0, failed: [], skipped: [], capabilities: {}, ended: 'failed' }
  /** @type {RunReport} */
  const report = await readFile(path, 'utf8').then(JSON.parse, () => nothing)
  if (!ended && report.failed.length === 0) report.failed.push(`${project}: vitest ended badly (${report.ended})`)
  return report
}

/** A table with a column an engine, and under it what other circumstances change. */
function tellCapabilities() {
  const plain = done.filter(({ run, report }) => run === PLAIN && Object.keys(report.capabilities).length > 0)
  if (plain.length === 0) return
  console.log('\n== What each engine can do, probed in it')
  const names = [...new Set(plain.flatMap(({ report }) => Object.keys(report.capabilities)))]
  const rows = [['', ...plain.map(({ engine }) => titleOf(engine))]]
  for (const name of names) rows.push([name, ...plain.map(({ report }) => report.capabilities[name] ?? '')])
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)))
  for (const row of rows)
    console.log(
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join(' | ')
        .trimEnd(),
    )
  for (const { engine, run, report } of done) {
    const usual = plain.find((each) => each.engine === engine)?.report.capabilities
    if (run === PLAIN || usual === undefined) continue
    const changed = Object.entries(report.capabilities).filter(([name, found]) => usual[name] !== found)
    if (changed.length > 0) console.log(`\n${titleOf(engine)}, ${run}:`)
    for (const [name, found] of changed) console.log(`  ${name}: ${found}`)
  }
}

/** Each with its reason; many of a run for one reason are told together. */
function tellSkipped() {
  if (done.every(({ report }) => report.skipped.length === 0)) return
  console.log('\n== Skipped')
  for (const { engine, run, report } of done) {
    for (const reason of new Set(report.skipped.map((each) => each.reason))) {
      const names = report.skipped.filter((each) => each.reason === reason).map(({ name }) => name)
      if (names.length > MANY) console.log(`${engine}-${run}: ${names.length} tests: ${reason}`)
      else for (const name of names) console.log(`${engine}-${run}: ${name}: ${reason}`)
    }
  }
}

function tellCounts() {
  const failed = done.flatMap(({ engine, run, report }) => report.failed.map((name) => `${engine}-${run}: ${name}`))
  console.log('\n== Counts')
  for (const { engine, run, report } of done) {
    console.log(`${engine}-${run}: ${report.passed} passed, ${report.failed.length} failed, ${report.skipped.length} skipped`)
  }
  for (const name of failed) console.log(`failed: ${name}`)
  for (const reason of missing) console.log(`failed: ${reason}`)
  const count = failed.length + missing.length
  console.log(`${done.reduce((sum, { report }) => sum + report.passed, 0)} passed, ${count} failed`)
  process.exitCode = count === 0 ? 0 : 1
}

/**
 * @param {EngineName} engine
 * @returns {string}
 */
function titleOf(engine) {
  const number = versions[engine]?.match(/\d+[.\d]*/)?.[0] ?? ''
  return `${ENGINES[engine].title} ${number}`
}
