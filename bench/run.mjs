// `npm run bench`: measures this library beside what else keeps files in a browser. See --help, and docs/bench/README.md for what is what.
import { findChromium } from '../scripts/chromium.mjs'
import { judged, printedVerdicts } from './check.mjs'
import { busyWarning, describeMachine } from './machine.mjs'
import { measure } from './measure.mjs'
import { HELP, readOptions } from './options.mjs'
import { planned } from './plan.mjs'
import { describedFailure } from './results.mjs'
import { measureScale } from './scale.mjs'
import { printed, tables } from './table.mjs'
import { placesOf, TARGETS } from './targets.mjs'
import { write } from './write.mjs'

/** @typedef {import('./plan.mjs').Session} Session */
/** @typedef {import('./options.mjs').Options} Options */
/**
 * @typedef {{
 *   date: string,
 *   machine: import('./machine.mjs').Machine,
 *   rounds: number,
 *   series: import('./results.mjs').Series[],
 *   failures: import('./results.mjs').Failure[],
 *   verdicts: import('./check.mjs').Verdict[],
 *   scale: import('./check.mjs').Scale | undefined,
 * }} Report
 */

/** @param {string} line */
const log = (line) => console.error(line)

async function main() {
  const options = readOptions(process.argv.slice(2))
  if (options.help) return console.log(HELP)

  const executablePath = await findChromium()
  const machine = await describeMachine(executablePath)
  const warning = busyWarning()
  if (warning !== undefined) log(warning)
  const date = new Date().toISOString()

  const targets = options.check ? TARGETS.filter((target) => isNamed(target.name, options.words)) : []
  const places = targets.flatMap(placesOf)
  const sessions = options.check
    ? planned({ words: [], sizes: [], kinds: [] }).filter((session) => places.some(isOf(session)))
    : planned(options)
  const results = await measure({
    executablePath,
    sessions,
    rounds: options.rounds,
    wants: (session, measure) => !options.check || places.some((place) => isOf(session)(place) && place.measure === measure),
    log,
  })
  const scale = wantsScale(options, targets) ? await measureScale({ executablePath, rounds: options.rounds, log }) : undefined
  const verdicts = judged(targets, results, scale)

  console.log(`\n${printed(tables(results.series))}`)
  if (results.failures.length > 0) console.log(`\n${results.failures.map(describedFailure).join('\n')}`)
  if (verdicts.length > 0) console.log(`\n${printedVerdicts(verdicts)}`)
  const failed = verdicts.filter(({ passed }) => !passed).length
  if (options.check) console.log(`\n${verdicts.length - failed} of ${verdicts.length} targets met`)
  const { series, failures } = results
  const written = await write({ date, machine, rounds: options.rounds, series, failures, verdicts, scale }, { ...options, executablePath })
  console.log(`\nwritten: ${written.join(', ')}`)
  if (failed > 0) process.exitCode = 1
}

/**
 * @param {Session} session
 * @returns {(place: import('./targets.mjs').Place) => boolean}
 */
function isOf({ contender, kind, size }) {
  return (place) => place.contender === contender && place.kind === kind && place.size === size
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
 * @param {readonly import('./targets.mjs').Target[]} targets
 */
function wantsScale({ check, kinds, words, sizes, quick }, targets) {
  if (check) return targets.some(({ sense }) => sense === 'scale')
  return kinds.length > 0 ? kinds.includes('scale') : words.length === 0 && sizes.length === 0 && !quick
}

await main()
