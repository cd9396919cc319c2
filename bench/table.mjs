// The results as tables on a terminal: one a kind and size, a row a contender, a column a measure.
import { CONTENDERS } from './plan.mjs'
import { described } from './results.mjs'

/** @typedef {import('./results.mjs').Series} Series */

/**
 * @typedef {{ title: string, columns: string[], rows: { name: string, cells: string[] }[] }} Table
 */

/** Measures in the order in which a session does them; a contender that came first may lack some. */
const ORDER = [
  'store',
  'store again',
  'retrieve',
  'retrieve unverified',
  'stream',
  'download',
  'stored stream',
  'Cache API',
  'unverified',
  'later',
  'first',
  'unverified stream',
  'first stream',
  'first byte',
  'first byte again',
  'range',
  'blob',
  'pin',
  'unpin',
  'delete',
  'gc',
]

/** @type {Record<string, string>} */
const TITLES = {
  limits: 'Limits, each alone',
  buffer: 'One buffer',
  stream: 'One stream',
  served: 'Through a service worker, by fetch()',
  download: 'From a server on this machine, by storeUrl(), and as a stream by store()',
  small: 'Many small items (retrieve: one of them)',
  memory: 'Peak memory over idle (of all processes; heap: JS heap and ArrayBuffers of the page)',
  kept: 'Two versions of a model that share nine of ten chunks: on disk, and from a new browser to the first 64 KiB',
}

/**
 * @param {readonly Series[]} series
 * @param {{ rounds: number }} run how many rounds it had: rows of fewer say so
 * @returns {Table[]}
 */
export function tables(series, { rounds }) {
  return unique(series.map(groupOf)).map((name) => {
    const group = series.filter((one) => groupOf(one) === name)
    const columns = unique(group.map(({ measure }) => measure)).sort((a, b) => ORDER.indexOf(a) - ORDER.indexOf(b))
    const [{ kind, size } = { kind: '', size: '' }] = group
    return {
      title: `${TITLES[kind] ?? kind}: ${size}`,
      columns,
      rows: unique(group.map(({ contender }) => contender))
        .sort((a, b) => CONTENDERS.indexOf(a) - CONTENDERS.indexOf(b))
        .map((name) => ({
          name: labelled(
            name,
            group.filter(({ contender }) => contender === name),
            rounds,
          ),
          cells: columns.map((column) => {
            const found = group.find(({ contender, measure }) => contender === name && measure === column)
            return found === undefined ? '–' : described(found)
          }),
        })),
    }
  })
}

/**
 * A contender's name, with its rounds where they were fewer.
 *
 * @param {string} name
 * @param {readonly Series[]} series of it
 * @param {number} rounds
 * @returns {string}
 */
export function labelled(name, series, rounds) {
  const done = Math.max(...series.map(({ values }) => values.length))
  return done < rounds ? `${name} (${done === 1 ? '1 round' : `${done} rounds`})` : name
}

/**
 * @param {readonly Table[]} all
 * @returns {string}
 */
export function printed(all) {
  return all
    .map(({ title, columns, rows }) => {
      const lines = [['', ...columns], ...rows.map(({ name, cells }) => [name, ...cells])]
      const widths = columns.map((_, index) => Math.max(...lines.map((line) => line[index + 1]?.length ?? 0)))
      const first = Math.max(...lines.map(([name = '']) => name.length))
      const text = lines.map(([name = '', ...cells]) =>
        [name.padEnd(first), ...cells.map((cell, index) => cell.padStart(widths[index] ?? 0))].join('  '),
      )
      return [title, ...text].join('\n')
    })
    .join('\n\n')
}

/**
 * @param {Series} series
 * @returns {string}
 */
function groupOf({ kind, size }) {
  return `${kind}|${size}`
}

/**
 * @param {readonly string[]} names
 * @returns {string[]}
 */
function unique(names) {
  return [...new Set(names)]
}
