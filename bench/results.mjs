// Everything measured in one run, by contender, size and measure.
import { summarize } from './statistics.mjs'

/**
 * `bytes` where the milliseconds are of so many bytes, and a speed makes sense.
 *
 * @typedef {{ contender: string, kind: string, size: string, measure: string, unit: 'ms' | 'MiB', bytes?: number, values: number[] }} Series
 * A failure without a measure is one of the whole session.
 *
 * @typedef {{ contender: string, kind: string, size: string, measure?: string, reason: string, rounds: number[] }} Failure
 * @typedef {import('./plan.mjs').Session} Session
 * @typedef {import('./sessions.mjs').Sample} Sample
 */

/** A session that failed this often is not tried again. */
const TRIES = 2

export class Results {
  /** @type {Map<string, Series>} */
  #series = new Map()
  /** @type {Map<string, Failure>} */
  #failures = new Map()
  /** @type {Map<string, number>} rounds that came to their end, by session */
  #done = new Map()

  /**
   * @param {{ series: readonly Series[], failures: readonly Failure[] }} [earlier] as a run wrote them
   */
  constructor({ series, failures } = { series: [], failures: [] }) {
    for (const one of series) this.#series.set(nameOf(one), one)
    for (const one of failures) this.#failures.set(nameOf(one), one)
  }

  /**
   * @param {Session} session
   * @param {readonly Sample[]} samples
   */
  add({ contender, kind, size }, samples) {
    for (const { measure, value, unit, bytes } of samples) {
      const name = nameOf({ contender, kind, size, measure })
      const series = this.#series.get(name) ?? {
        contender,
        kind,
        size,
        measure,
        unit,
        ...(bytes === undefined ? {} : { bytes }),
        values: [],
      }
      series.values.push(value)
      this.#series.set(name, series)
    }
  }

  /**
   * @param {Session} session
   * @param {import('./sessions.mjs').Failure} failure
   * @param {number} round
   */
  fail({ contender, kind, size }, { measure, reason }, round) {
    const name = nameOf({ contender, kind, size, measure })
    const failure = this.#failures.get(name) ?? { contender, kind, size, ...(measure === undefined ? {} : { measure }), reason, rounds: [] }
    failure.rounds.push(round + 1)
    this.#failures.set(name, failure)
  }

  /**
   * Notes that the session came to its end.
   *
   * @param {Session} session
   */
  finish(session) {
    this.#done.set(nameOf(session), (this.#done.get(nameOf(session)) ?? 0) + 1)
  }

  /**
   * Whether the session needs no other round: it had its own, or failed so often that another try is a waste.
   *
   * @param {Session} session
   */
  isDone(session) {
    const failed = this.#failures.get(nameOf(session))?.rounds.length ?? 0
    return failed >= TRIES || (this.#done.get(nameOf(session)) ?? 0) >= session.rounds
  }

  /** @returns {Series[]} */
  get series() {
    return [...this.#series.values()]
  }

  /** @returns {Failure[]} */
  get failures() {
    return [...this.#failures.values()]
  }

  /**
   * @param {{ contender: string, kind: string, size: string, measure: string }} wanted
   * @returns {Series | undefined}
   */
  find(wanted) {
    return this.#series.get(nameOf(wanted))
  }
}

/**
 * @param {{ contender: string, kind: string, size: string, measure?: string | undefined }} what without a measure: the session
 * @returns {string}
 */
function nameOf({ contender, kind, size, measure = '' }) {
  return [contender, kind, size, measure].join('|')
}

/**
 * One series as a person reads it: median, and least and most where they tell.
 *
 * @param {Series} series
 * @returns {string}
 */
export function described(series) {
  const { unit, bytes } = series
  const shown = shownValues(series)
  const { median, min, max } = summarize(shown)
  const spread = shown.length > 1 ? ` (${rounded(min)}–${rounded(max)})` : ''
  return `${rounded(median)} ${bytes === undefined ? unit : 'MB/s'}${spread}`
}

/**
 * The values in the unit that they are shown in: MB/s where a speed makes sense.
 *
 * @param {Series} series
 * @returns {number[]}
 */
export function shownValues({ bytes, values }) {
  return bytes === undefined ? values : values.map((ms) => bytes / ms / 1000)
}

/**
 * @param {Failure} failure
 * @returns {string}
 */
export function describedFailure({ contender, kind, size, measure, reason, rounds }) {
  const what = [contender, kind, size, ...(measure === undefined ? [] : [measure])].join(', ')
  return `${what}: failed in round ${rounds.join(', ')}: ${reason}`
}

/**
 * Three digits that count.
 *
 * @param {number} value
 * @returns {string}
 */
export function rounded(value) {
  const size = Math.abs(value)
  if (size >= 100) return String(Math.round(value))
  return value.toFixed(size >= 10 ? 1 : size >= 1 ? 2 : 3)
}
