// Compares what was measured with the targets.
import { described, rounded } from './results.mjs'
import { summarize } from './statistics.mjs'
import { placesOf } from './targets.mjs'

/** Targets below are read as 1/n. */
const MOST_OF_A_FRACTION = 0.1

/** @typedef {import('./targets.mjs').Target} Target */
/** @typedef {import('./results.mjs').Results} Results */
/** @typedef {Awaited<ReturnType<typeof import('./scale.mjs').measureScale>>} Scale */
/** @typedef {{ name: string, passed: boolean, got: string, wanted: string, behind: string }} Verdict */

/**
 * @param {readonly Target[]} targets
 * @param {Results} results
 * @param {Scale | undefined} scale
 * @returns {Verdict[]}
 */
export function judged(targets, results, scale) {
  return targets.map((target) => (target.sense === 'scale' ? judgedScale(target, scale) : judgedSeries(target, results)))
}

/**
 * @param {readonly Verdict[]} verdicts
 * @returns {string}
 */
export function printedVerdicts(verdicts) {
  const width = Math.max(...verdicts.map(({ got }) => got.length))
  const wanted = Math.max(...verdicts.map(({ wanted }) => wanted.length))
  return verdicts
    .map(
      (one) =>
        `${one.passed ? 'ok   ' : 'SHORT'}  ${one.got.padStart(width)}  ${one.wanted.padEnd(wanted)}  ${one.name}\n       ${one.behind}`,
    )
    .join('\n')
}

/**
 * @param {Exclude<Target, { sense: 'scale' }>} target
 * @param {Results} results
 * @returns {Verdict}
 */
function judgedSeries(target, results) {
  const { name, sense } = target
  const series = placesOf(target).map((place) => results.find(place))
  const [ours, other = ours] = series
  const wanted = wantedOf(target)
  if (ours === undefined || other === undefined || series.includes(undefined)) {
    const missing = placesOf(target).filter((place) => results.find(place) === undefined)
    return {
      name,
      passed: false,
      got: '–',
      wanted,
      behind: missing.map((place) => `not measured: ${Object.values(place).join(', ')}`).join('; '),
    }
  }
  const [own, their] = [summarize(ours.values).median, summarize(other.values).median]
  if (sense === 'peak')
    return { name, passed: own <= target.target, got: `${rounded(own)} MiB`, wanted, behind: `1 GiB: ${described(ours)}` }
  const ratio = sense === 'faster' ? their / own : own / their
  const passed = sense === 'faster' ? ratio >= target.target : ratio <= target.target
  return { name, passed, got: asRatio(ratio, target.target), wanted, behind: `${ours.size}: ${described(ours)} / ${described(other)}` }
}

/**
 * @param {Extract<Target, { sense: 'scale' }>} target
 * @param {Scale | undefined} scale
 * @returns {Verdict}
 */
function judgedScale(target, scale) {
  const { name, row } = target
  const ratio = scale?.ratios.find((one) => one.name === row)?.ratio
  const wanted = wantedOf(target)
  if (scale === undefined || ratio === undefined) return { name, passed: false, got: '–', wanted, behind: `not measured: ${row}` }
  const behind = scale.rows
    .filter((one) => one.name === row)
    .toReversed()
    .map(({ medianMs, minMs, maxMs }) => `${rounded(medianMs)} ms (${rounded(minMs)}–${rounded(maxMs)})`)
  return { name, passed: ratio <= target.target, got: `${rounded(ratio)} ×`, wanted, behind: behind.join(' / ') }
}

/**
 * @param {Target} target
 * @returns {string}
 */
function wantedOf({ sense, target }) {
  if (sense === 'faster') return `≥ ${target} ×`
  if (sense === 'peak') return `≤ ${target} MiB`
  return `≤ ${asRatio(target, target)}`
}

/**
 * As a fraction where the target is one.
 *
 * @param {number} ratio
 * @param {number} target
 * @returns {string}
 */
function asRatio(ratio, target) {
  if (ratio === target && target >= 1) return `${target} ×`
  return target < MOST_OF_A_FRACTION ? `1/${Math.round(1 / ratio)}` : `${rounded(ratio)} ×`
}
