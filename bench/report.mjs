// The results as one HTML file that needs no other: charts, targets, tables, and where they were measured. Follows light and dark.
import { CHART_STYLE, drawn, escaped, withSmall } from './chart.mjs'
import { chartsOf, PICTURED_CHARTS } from './charts.mjs'
import { shownName } from './names.mjs'
import { describedFailure } from './results.mjs'
import { tables } from './table.mjs'

/** @typedef {import('./run.mjs').Report} Report */

const STYLE = `
:root { color-scheme: light dark; --ink: #1a1d21; --soft: #5d6672; --paper: #fff; --line: #d9dde3; --ours: #0b66c3; --other: #b4bcc8; --bad: #b3261e; --good: #1b7a3d }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e9ee; --soft: #9aa4b1; --paper: #14171b; --line: #2f353d; --ours: #58a6ff; --other: #58616d; --bad: #ff8a80; --good: #6fd08c }
}
body { margin: 0 auto; padding: 1.5rem 1rem; max-width: 76rem; background: var(--paper); color: var(--ink); font: 15px/1.5 system-ui, sans-serif }
h1 { font-size: 1.4rem; line-height: 1.25; margin: 0 0 .4rem } h2 { font-size: 1.1rem; margin: 2.5rem 0 .5rem } p { margin: .4rem 0 1.4rem } p, .soft, td small { color: var(--soft) }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(30rem, 100%), 1fr)); gap: 1.6rem 2.5rem; margin-bottom: 1.6rem }
#picture { padding: 1rem 1rem 0; margin: -1rem -1rem 0; background: var(--paper) }
.scroll { overflow-x: auto } table { border-collapse: collapse; font-size: .85rem; font-variant-numeric: tabular-nums; white-space: nowrap }
th, td { padding: .25rem 1rem .25rem 0; text-align: right; vertical-align: top; border-bottom: 1px solid var(--line) } td small { display: block; line-height: 1.1 }
th:first-child, td:first-child, .left { text-align: left } th { font-weight: 600 } .ok { color: var(--good) } .short { color: var(--bad); font-weight: 600 }
@media (min-width: 40rem) { th:first-child, td:first-child { position: sticky; left: 0; background: var(--paper) } }
${CHART_STYLE}`

/**
 * @param {Report} report
 * @returns {string}
 */
export function reportOf(report) {
  const { machine, date, rounds, series, verdicts, failures, scale } = report
  const charts = chartsOf(series, { rounds }).map(drawn)
  const fewer = series.some(({ values }) => values.length < rounds) ? ', n: rounds where they were fewer' : ''
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>ipfs-kit-web: benchmark</title>
<style>${STYLE}</style>
<div id="picture">
<h1>ipfs-kit-web beside what else keeps files in a browser</h1>
<p>Median of ${rounds} rounds (least–most${fewer}) in ${escaped(shortVersion(machine.chromium))} on ${machine.cores} cores, ${escaped(date.slice(0, 10))}.
ipfs-kit-web and Helia hash what they store; ipfs-kit-web also checks what it reads. The Cache API, idb-keyval and wllama do neither by themselves.</p>
<div class="charts">${charts.slice(0, PICTURED_CHARTS).join('\n')}</div>
</div>
<div class="charts">${charts.slice(PICTURED_CHARTS).join('\n')}</div>
${verdicts.length === 0 ? '' : `<h2>Targets</h2>${verdictTable(verdicts)}`}
${tables(series, { rounds }).map(htmlTable).join('\n')}
${scale === undefined ? '' : scaleTable(scale)}
${failures.length === 0 ? '' : `<h2>Failed</h2><ul>${failures.map((failure) => `<li>${escaped(describedFailure(failure))}</li>`).join('')}</ul>`}
<h2>Where</h2>
<p>${escaped(described(report))} What each figure means is in docs/bench/README.md. Compare figures of one run only.</p>
</html>
`
}

/**
 * Where and how long.
 *
 * @param {Report} report
 * @returns {string}
 */
function described({ machine, minutes }) {
  const { chromium, firefox, cpu, cores, memoryGib, system, node, commit, load } = machine
  const browsers = [chromium, ...(firefox === undefined ? [] : [firefox])].join(' and ')
  return `${browsers}; ${cpu}, ${cores} cores, ${memoryGib} GiB; ${system}; Node ${node}; commit ${commit}; load at the start ${load.toFixed(1)}; ${Math.round(minutes)} minutes.`
}

/** @param {string} version as in 'Chromium 156.0.1.2 built on …' */
function shortVersion(version) {
  return /^[A-Za-z ]+\d+/.exec(version)?.[0] ?? version
}

/** @param {readonly import('./check.mjs').Verdict[]} verdicts */
function verdictTable(verdicts) {
  const rows = verdicts.map(
    ({ name, passed, got, wanted, behind }) =>
      `<tr><td>${escaped(name)}<td class="${passed ? 'ok">ok' : 'short">short'}<td>${escaped(got)}<td>${escaped(wanted)}<td class="left soft">${escaped(behind)}`,
  )
  return `<div class="scroll"><table><tr><th>target<th><th>got<th>wanted<th class="left">behind it${rows.join('\n')}</table></div>`
}

/** @param {import('./table.mjs').Table} table */
function htmlTable({ title, columns, rows }) {
  const head = columns.map((column) => `<th>${escaped(column)}`).join('')
  const body = rows.map(({ name, cells }) => `<tr>${[shownName(name), ...cells].map((cell) => `<td>${withSmall(cell)}`).join('')}`)
  return `<h2>${escaped(title)}</h2><div class="scroll"><table><tr><th>${head}${body.join('\n')}</table></div>`
}

/** @param {import('./check.mjs').Scale} scale */
function scaleTable({ rounds, rows, ratios }) {
  const counts = [...new Set(rows.map(({ entries }) => entries))]
  return htmlTable({
    title: `Storages of many entries and of few (${rounds} rounds of several each)`,
    columns: [...counts.map((entries) => `${entries.toLocaleString('en')} entries`), 'ratio'],
    rows: ratios.map(({ name, ratio }) => ({
      name,
      cells: [
        ...counts.map((entries) => {
          const row = rows.find((one) => one.name === name && one.entries === entries)
          return row === undefined ? '–' : `${row.medianMs.toFixed(2)} ms (${row.minMs.toFixed(2)}–${row.maxMs.toFixed(2)})`
        }),
        `${ratio.toFixed(2)} ×`,
      ],
    })),
  })
}
