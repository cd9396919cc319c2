// `npm test`: lint, format, types, then the tests: those of the storage twice, on records (`browser`) and on packs (`packs`). It ends by naming what
// failed, since a long run is often seen by its end alone; the last line says how many passed and failed.
//
//   npm test -- --only unit                   one step, or several: --only types,unit
//   npm test -- --only browser,packs damage   the rest is given to vitest as filters on file names
//   npm run test:conformance                  the cases of ipfs/gateway-conformance alone, which need Go
//   npm run test:faults                       the faults alone, with many more kills (--kills) and a longer hammering (--hammer, in seconds)
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { parseArgs } from 'node:util'
import { findChromium } from './chromium.mjs'
import { testConformance } from './conformance.mjs'
import { runTool } from './tool.mjs'

/** @typedef {{ passed: number, failed: number, skipped: number }} Count */

/** How much of a failure is said once more at the end. */
const FAILURE_LINES = 8
const FAILURE_COLUMNS = 300
const NOTHING = { passed: 0, failed: 0, skipped: 0 }

const { values, positionals } = parseArgs({
  options: { only: { type: 'string', multiple: true }, kills: { type: 'string' }, hammer: { type: 'string' } },
  allowPositionals: true,
})
if (values.kills !== undefined) process.env.FAULTS_KILLS = values.kills
if (values.hammer !== undefined) process.env.HAMMER_SECONDS = values.hammer
/** Milliseconds for each step where many kills were asked for: 200 a tier, and half as many power cuts, take some hours on a small machine. */
const MANY_KILLS_TIMEOUT_MS = 5 * 3_600_000
const timeoutMs = values.kills === undefined ? undefined : MANY_KILLS_TIMEOUT_MS
const reports = await mkdtemp(join(tmpdir(), 'ipfs-kit-web-test-'))

/** @type {Record<string, () => Promise<Count>>} */
const STEPS = {
  lint: check('oxlint', ['--type-aware', '--deny-warnings']),
  format: check('prettier', ['--check', '--log-level', 'warn', '.']),
  types: check('typescript:tsc', ['-p', 'tsconfig.json'], ['-p', 'tsconfig.build.json', '--noEmit'], ['-p', 'demo/tsconfig.json']),
  unit: () => tests('unit'),
  browser: async () => {
    await findChromium()
    return tests('browser')
  },
  packs: async () => {
    await findChromium()
    return tests('packs')
  },
  e2e: async () => {
    await findChromium()
    return tests('e2e')
  },
  faults: async () => {
    await findChromium()
    return tests('faults')
  },
  conformance: testConformance,
}

/**
 * A step that runs a tool once for each list of arguments; each run that ends badly is one failure.
 *
 * @param {string} tool
 * @param {string[][]} runs
 * @returns {() => Promise<Count>}
 */
function check(tool, ...runs) {
  return async () => {
    let failed = 0
    for (const args of runs) if (!(await runTool(tool, args))) failed++
    return { ...NOTHING, failed }
  }
}

/**
 * Runs one project of vitest.config.ts. A run that ends badly without a failed test (a file that does not load, a crash) is one failure.
 *
 * @param {string} project
 * @returns {Promise<Count>}
 */
async function tests(project) {
  const report = join(reports, `${project}.json`)
  const args = ['--project', project, '--reporter=default', '--reporter=json', `--outputFile.json=${report}`, '--passWithNoTests']
  const ended = await runTool('vitest', ['run', ...args, ...positionals], timeoutMs)
  const written = await readFile(report, 'utf8').catch(() => undefined)
  // Ended before it could tell.
  if (written === undefined) return { ...NOTHING, failed: 1 }
  const counted = JSON.parse(written)
  const failed = counted.numFailedTests
  failures.push(...failuresOf(counted, project))
  return {
    passed: counted.numPassedTests,
    failed: failed === 0 && !ended ? 1 : failed,
    skipped: counted.numPendingTests + counted.numTodoTests,
  }
}

/**
 * What failed of a report of vitest, each with the beginning of what it said.
 *
 * @param {{ testResults: { name: string, status: string, message: string, assertionResults: { status: string, fullName: string, failureMessages: string[] }[] }[] }} report
 * @param {string} project
 * @returns {string[]}
 */
function failuresOf({ testResults }, project) {
  return testResults.flatMap((file) => {
    const where = `${project} ${relative(process.cwd(), file.name)}`
    const failed = file.assertionResults.filter((test) => test.status === 'failed')
    // A file that does not load, or whose hooks fail, has no failed test.
    if (failed.length === 0) return file.status === 'failed' ? [`${where}\n${beginning(file.message)}`] : []
    return failed.map((test) => `${where} > ${test.fullName}\n${beginning(test.failureMessages.join('\n'))}`)
  })
}

/**
 * @param {string} text
 * @returns {string}
 */
function beginning(text) {
  // Where it went through other people's code says nothing of ours.
  const told = text.split('\n').filter((line) => !line.includes('node_modules'))
  const lines = told.slice(0, FAILURE_LINES)
  return lines.map((line) => `    ${line.slice(0, FAILURE_COLUMNS)}`).join('\n')
}

const wanted = values.only?.flatMap((names) => names.split(',')) ?? Object.keys(STEPS)
const total = { ...NOTHING }
/** @type {string[]} */
const failedSteps = []
/** @type {string[]} */
const failures = []
try {
  for (const name of wanted) {
    const step = STEPS[name]
    if (step === undefined) throw new Error(`--only takes ${Object.keys(STEPS).join(', ')}, not '${name}'`)
    console.log(`\n== ${name}`)
    const counted = await step().catch((/** @type {unknown} */ error) => {
      console.error(error)
      return { ...NOTHING, failed: 1 }
    })
    total.passed += counted.passed
    total.failed += counted.failed
    total.skipped += counted.skipped
    if (counted.failed > 0) failedSteps.push(name)
  }
} finally {
  await rm(reports, { recursive: true, force: true })
}
console.log('')
for (const failure of failures) console.log(`FAILED ${failure}\n`)
if (total.skipped > 0) console.log(`${total.skipped} skipped`)
if (failedSteps.length > 0) console.log(`failed: ${failedSteps.join(', ')}`)
console.log(`${total.passed} passed, ${total.failed} failed`)
process.exitCode = total.failed === 0 ? 0 : 1
