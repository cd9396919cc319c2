// `npm run bench`: measures this library beside what else keeps files in a browser. See --help, and docs/bench/README.md for what is what.
import { findChromium } from '../scripts/chromium.mjs'
import { judged, printedVerdicts } from './check.mjs'
import { findFirefox } from './firefox.mjs'
import { busyWarning, describeMachine } from './machine.mjs'
import { measure } from './measure.mjs'
import { HELP, readOptions } from './options.mjs'
import { planned } from './plan.mjs'
import { describedFailure, Results } from './results.mjs'
import { measureScale } from './scale.mjs'
import { printed, tables } from './table.mjs'
import { placesOf, TARGETS } from './targets.mjs'
import { readReport, write } from './write.mjs'

/** @typedef {import('./plan.mjs').Session} Session */
/** @typedef {import('./targets.mjs').Target} Target */
/** @typedef {import('./options.mjs').Options} Options */
/**
 * @typedef {{
 *   date: string,
 *   machine: import('./machine.mjs').Machine,
 *   rounds: number,
 *   minutes: number,
 *   series: import('./results.mjs').Series[],
 *   failures: import('./results.mjs').Failure[],
 *   verdicts: import('./check.mjs').Verdict[],
 *   scale?: import('./check.mjs').Scale | undefined,
 * }} Report
 */

/** Each of them does each measure several times. */
const SCALE_ROUNDS = 3

/** @param {string} line */
const log = (line) => console.error(line)

async function main() {
  const options = readOptions(process.argv.slice(2))
  if (options.help) return console.log(HELP)

  const executablePath = await findChromium()
  const named = options.check ? TARGETS.filter((target) => isNamed(target.name, options.words)) : TARGETS
  const measured = options.from === undefined ? await measureAll(options, named, executablePath) : await readReport(options.from)
  const { rounds, scale } = measured
  const results = new Results(measured)
  // A run of some contenders only is judged by what it has; one that was asked for the targets tells what it lacks.
  const targets = options.check ? named : named.filter((target) => isMeasured(target, results, scale))
  const verdicts = judged(targets, results, scale)

  console.log(`\n${printed(tables(results.series, { rounds }))}`)
  if (results.failures.length > 0) console.log(`\n${results.failures.map(describedFailure).join('\n')}`)
  if (verdicts.length > 0) console.log(`\n${printedVerdicts(verdicts)}`)
  const short = verdicts.filter(({ passed }) => !passed).length
  if (verdicts.length > 0) console.log(`\n${verdicts.length - short} of ${verdicts.length} targets met`)
  const written = await write({ ...measured, verdicts }, { ...options, executablePath })
  console.log(`\nwritten: ${written.join(', ')}`)
  if (options.check && short > 0) process.exitCode = 1
}

/**
 * @param {Options} options
 * @param {readonly Target[]} targets
 * @param {string} executablePath of Chromium
 * @returns {Promise<Omit<Report, 'verdicts'>>}
 */
async function measureAll(options, targets, executablePath) {
  const began = performance.now()
  const warning = busyWarning()
  if (warning !== undefined) log(warning)
  const firefox = await findFirefox()
  const machine = await describeMachine(executablePath, firefox?.version)
  const date = new Date().toISOString()
  const { check, rounds } = options
  const places = targets.flatMap(placesOf)
  const sessions = check
    ? planned({ words: [], sizes: [], kinds: [] }).filter((session) => places.some(isOf(session)))
    : planned(options).filter(({ browser }) => browser === 'chromium' || firefox !== undefined)
  if (!check && firefox === undefined) log('Firefox is left out: none was found in the PATH; FIREFOX_PATH names one elsewhere')
  const { series, failures } = await measure({
    executables: { chromium: executablePath, firefox: firefox?.path ?? '' },
    sessions,
    rounds,
    wants: (session, measure) => !check || places.some((place) => isOf(session)(place) && place.measure === measure),
    log,
  })
  const scale = wantsScale(options, targets)
    ? await measureScale({ executablePath, rounds: Math.min(rounds, SCALE_ROUNDS), log })
    : undefined
  return { date, machine, rounds, minutes: (performance.now() - began) / 60_000, series, failures, scale }
}

/**
 * @param {Session} session
 * @returns {(place: import('./targets.mjs').Place) => boolean}
 */
function isOf({ contender, kind, size }) {
  return (place) => place.contender === contender && place.kind === kind && place.size === size
}

/**
 * @param {Target} target
 * @param {Results} results
 * @param {import('./check.mjs').Scale | undefined} scale
 */
function isMeasured(target, results, scale) {
  return target.sense === 'scale' ? scale !== undefined : placesOf(target).every((place) => results.find(place) !== undefined)
}

/**
 * @param {string} name
 * @param {readonly string[]} words
 */
function isNamed(name, words) {
  return words.length === 0 || words.some((word) => name.toLowerCase().includes(word.toLowerCase()))
}

/**
 * @param {Options} options
 * @param {readonly Target[]} targets
 */
function wantsScale({ check, kinds, words, sizes, quick }, targets) {
  if (check) return targets.some(({ sense }) => sense === 'scale')
  return kinds.length > 0 ? kinds.includes('scale') : words.length === 0 && sizes.length === 0 && !quick
}

await main()
