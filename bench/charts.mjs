// Which of the results become charts.
import { shownName } from './names.mjs'
import { CONTENDERS } from './plan.mjs'
import { described, shownValues } from './results.mjs'
import { summarize } from './statistics.mjs'

/** @typedef {import('./results.mjs').Series} Series */
/** @typedef {import('./chart.mjs').Chart} Chart */

const SPEED = 'MB/s, longer is better'
const TIME = 'ms, shorter is better'
const MEMORY = 'MiB over idle, shorter is better'

/** @type {{ title: string, note: string, kind: string, size: string, measure: string }[]} */
const CHARTS = [
  { title: 'Store a buffer of 256 MiB', note: SPEED, kind: 'buffer', size: '256 MiB', measure: 'store' },
  { title: 'Retrieve a buffer of 256 MiB', note: SPEED, kind: 'buffer', size: '256 MiB', measure: 'retrieve' },
  { title: 'Store a stream of 1 GiB', note: SPEED, kind: 'stream', size: '1 GiB', measure: 'store' },
  { title: 'Read a stream of 1 GiB', note: SPEED, kind: 'stream', size: '1 GiB', measure: 'retrieve' },
  { title: 'Peak memory of storing 1 GiB as a stream', note: MEMORY, kind: 'memory', size: '1 GiB', measure: 'peak of store' },
  { title: 'Peak memory of reading 1 GiB as a stream', note: MEMORY, kind: 'memory', size: '1 GiB', measure: 'peak of retrieve' },
  { title: 'Store 64 MiB', note: SPEED, kind: 'buffer', size: '64 MiB', measure: 'store' },
  { title: 'Retrieve 64 MiB', note: SPEED, kind: 'buffer', size: '64 MiB', measure: 'retrieve' },
  { title: 'Read 64 KiB anywhere in 256 MiB', note: TIME, kind: 'buffer', size: '256 MiB', measure: 'range' },
  { title: 'Get a Blob of 256 MiB', note: TIME, kind: 'buffer', size: '256 MiB', measure: 'blob' },
  { title: 'Fetch 256 MiB through a service worker, unverified', note: SPEED, kind: 'served', size: '256 MiB', measure: 'unverified' },
  { title: 'Download 256 MiB', note: SPEED, kind: 'download', size: '256 MiB', measure: 'download' },
  { title: 'Store 10,000 items of 1 KiB', note: TIME, kind: 'small', size: '10,000 × 1 KiB', measure: 'store' },
  {
    title: 'On disk: two versions of 60 MiB that share 90 %',
    note: 'MiB, shorter is better',
    kind: 'kept',
    size: '2 × 60 MiB',
    measure: 'disk',
  },
]

/** How many of them the picture shows. */
export const PICTURED_CHARTS = 6

/**
 * The charts for which there is something to show.
 *
 * @param {readonly Series[]} all
 * @param {{ rounds: number }} run how many rounds it had: bars of fewer say so
 * @returns {Chart[]}
 */
export function chartsOf(all, { rounds }) {
  return CHARTS.flatMap(({ title, note, kind, size, measure }) => {
    const found = all.filter((series) => series.kind === kind && series.size === size && series.measure === measure)
    if (found.length === 0) return []
    const bars = found
      .toSorted((a, b) => CONTENDERS.indexOf(a.contender) - CONTENDERS.indexOf(b.contender))
      .map((series) => {
        const { median, min, max } = summarize(shownValues(series))
        // Memory may well be less than it was when nothing went on.
        const [least, middle, most] = [min, median, max].map((value) => Math.max(0, value))
        return {
          name: shownName(series.contender),
          median: middle ?? 0,
          min: least ?? 0,
          max: most ?? 0,
          label: `${described(series)}${series.values.length < rounds ? ` n=${series.values.length}` : ''}`,
          isOurs: series.contender.startsWith('ours'),
        }
      })
    return [{ title, note, bars }]
  })
}
