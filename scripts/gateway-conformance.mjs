// Runs the tool github.com/ipfs/gateway-conformance, in Go. GATEWAY_CONFORMANCE names its binary or a folder of its source; else Go fetches it.
import { spawn } from 'node:child_process'
import { readdir, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'

/** @typedef {{ spec: string, name: string, passed: boolean, reason: string }} Case */
/** @typedef {{ Action: string, Test?: string, Output?: string }} TestEvent */

const MODULE = 'github.com/ipfs/gateway-conformance/cmd/gateway-conformance@v0.13.2'

/** To fetch it, where it is not here, and to compile it. */
const BUILD_TIMEOUT_MS = 300_000
const EXTRACT_TIMEOUT_MS = 30_000
/** Its tests are compiled each time. */
const TEST_TIMEOUT_MS = 300_000

const REASON_CHARACTERS = 400
const SAID_CHARACTERS = 400
const SIGNALS = ['SIGINT', 'SIGTERM']

/** The tool can't be had here. */
export class NoToolError extends Error {
  /** @override */
  name = 'NoToolError'
}

/**
 * Answers the path of its binary.
 *
 * @param {string} folder where it may be built
 * @returns {Promise<string>}
 * @throws NoToolError
 */
export async function findTool(folder) {
  const asked = process.env['GATEWAY_CONFORMANCE']
  const binary = join(folder, process.platform === 'win32' ? 'gateway-conformance.exe' : 'gateway-conformance')
  if (!asked) {
    await orNone(run('go', ['install', MODULE], { env: { ...process.env, GOBIN: folder }, milliseconds: BUILD_TIMEOUT_MS }))
    return binary
  }
  if (!(await stat(asked)).isDirectory()) return asked
  await orNone(run('go', ['build', '-o', binary, './cmd/gateway-conformance'], { cwd: asked, milliseconds: BUILD_TIMEOUT_MS }))
  return binary
}

/** @param {Promise<{ error: string | undefined }>} running */
async function orNone(running) {
  const { error } = await running
  if (error !== undefined) throw new NoToolError(error)
}

/**
 * Answers the CARs that the cases are about.
 *
 * @param {string} tool
 * @param {string} folder an empty one
 * @returns {Promise<Uint8Array[]>}
 * @throws NoToolError
 */
export async function extractFixtures(tool, folder) {
  await orNone(run(tool, ['extract-fixtures', '--dir', folder], { milliseconds: EXTRACT_TIMEOUT_MS }))
  const names = await readdir(folder, { recursive: true })
  return Promise.all(names.filter((name) => name.endsWith('.car')).map((name) => readFile(join(folder, name))))
}

/**
 * Runs the cases of `specs` against a gateway.
 *
 * @param {string} tool
 * @param {{ url: string, specs: readonly string[], folder: string }} options
 * @returns {Promise<Case[]>}
 * @throws NoToolError
 */
export async function runCases(tool, { url, specs, folder }) {
  // With every specification switched off, each test is skipped and says which it is of.
  const none = await runTests(tool, { url, specs: [specs[0] ?? '', `-${specs[0]}`], report: join(folder, 'none.json') })
  if (none.events.length === 0) throw new NoToolError(none.error ?? 'its tests say nothing')
  const { events, error } = await runTests(tool, { url, specs, report: join(folder, 'report.json') })
  const cases = casesOf(events, specsOf(none.events))
  if (cases.length === 0) throw new Error(`gateway-conformance ran no case: ${error}`)
  return cases
}

/**
 * @param {string} tool
 * @param {{ url: string, specs: readonly string[], report: string }} options
 * @returns {Promise<{ events: TestEvent[], error: string | undefined }>}
 */
async function runTests(tool, { url, specs, report }) {
  const bound = `${TEST_TIMEOUT_MS / 1000}s`
  const args = ['test', '--gateway-url', url, '--json', report, '--specs', specs.join(','), '--', '-count', '1', '-timeout', bound]
  const { error } = await run(tool, args, { milliseconds: TEST_TIMEOUT_MS })
  const lines = await readFile(report, 'utf8').catch(() => '')
  const events = lines.split('\n').filter((line) => line.startsWith('{'))
  return { events: events.map((line) => JSON.parse(line)).filter(({ Test }) => Test !== undefined), error }
}

/**
 * The first specification of each test that was skipped.
 *
 * @param {TestEvent[]} events
 * @returns {Map<string, string>}
 */
function specsOf(events) {
  const specs = new Map()
  for (const { Test, Output } of events) {
    const missing = /missing specs: \[\{([a-z-]+)/.exec(Output ?? '')?.[1]
    if (missing !== undefined) specs.set(Test, missing)
  }
  return specs
}

/**
 * Each request is a case; what is checked of its answer lies below it.
 *
 * @param {TestEvent[]} events
 * @param {Map<string, string>} specs of tests
 * @returns {Case[]}
 */
function casesOf(events, specs) {
  /** @type {Map<string, { output: string, action: string }>} */
  const cases = new Map()
  /** @type {string[]} */
  const failedTests = []
  for (const { Test = '', Action, Output = '' } of events) {
    const [test = '', ...names] = Test.split('/')
    if (names.length === 0 && Action === 'fail') failedTests.push(test)
    if (names.length === 0) continue
    const id = `${test}/${names[0]}`
    const known = cases.get(id) ?? { output: '', action: '' }
    known.output += Output
    if (names.length === 1 && Action !== 'output') known.action = Action
    cases.set(id, known)
  }
  const asked = Array.from(cases).filter(([, { action }]) => action !== 'skip')
  const result = asked.map(([id, { output, action }]) => {
    const [test = '', name = ''] = id.split('/')
    return {
      spec: specs.get(test) ?? test,
      name: decodeURIComponent(name).replaceAll('_', ' '),
      passed: action === 'pass',
      reason: action === 'fail' ? reasonIn(output) : action === 'run' ? 'it did not end' : '',
    }
  })
  for (const test of failedTests) {
    if (Array.from(cases).some(([id, { action }]) => id.startsWith(`${test}/`) && action !== 'pass')) continue
    result.push({ spec: specs.get(test) ?? test, name: test, passed: false, reason: 'it failed outside its cases' })
  }
  return result
}

/** @param {string} output */
function reasonIn(output) {
  const errors = Array.from(output.matchAll(/^\s*Error: ([^]*?)\n\s*\n\s*Expected Request/gm), ([, error = '']) => error)
  const reason = [...new Set(errors)].join('; ').replaceAll(/\s+/g, ' ')
  return reason === '' ? 'it says none' : reason.slice(0, REASON_CHARACTERS)
}

/**
 * Runs a command with all that it starts, within a bound. Answers what is wrong.
 *
 * @param {string} command
 * @param {string[]} args
 * @param {{ milliseconds: number, cwd?: string, env?: NodeJS.ProcessEnv }} options
 * @returns {Promise<{ error: string | undefined }>}
 */
async function run(command, args, { milliseconds, ...options }) {
  // Of a group of its own, which ends as one: the tool starts Go, which starts the tests.
  const hasGroups = process.platform !== 'win32'
  const child = spawn(command, args, { ...options, detached: hasGroups, stdio: ['ignore', 'ignore', 'pipe'] })
  let said = ''
  child.stderr.setEncoding('utf8').on('data', (/** @type {string} */ text) => (said = (said + text).slice(-SAID_CHARACTERS)))
  const kill = () => {
    if (hasGroups && child.pid !== undefined) process.kill(-child.pid, 'SIGKILL')
    else child.kill()
  }
  const interrupted = () => process.exit(1)
  process.once('exit', kill)
  for (const signal of SIGNALS) process.once(signal, interrupted)
  let isLate = false
  const timer = setTimeout(() => {
    isLate = true
    kill()
  }, milliseconds)
  try {
    const code = await new Promise((resolve, reject) => child.once('error', reject).once('exit', resolve))
    if (code === 0) return { error: undefined }
    return {
      error: isLate ? `it took longer than ${milliseconds / 1000} s` : said.trim().replaceAll(/\s+/g, ' ') || `it ended with ${code}`,
    }
  } catch (error) {
    return { error: String(error) }
  } finally {
    clearTimeout(timer)
    process.off('exit', kill)
    for (const signal of SIGNALS) process.off(signal, interrupted)
  }
}
