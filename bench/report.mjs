// The results as one HTML file that needs no other: charts, targets, tables, and where they were measured. Follows light and dark.
import { drawn, escaped } from './chart.mjs'
import { chartsOf, PICTURED_CHARTS } from './charts.mjs'
import { describedFailure } from './results.mjs'
import { tables } from './table.mjs'

/** @typedef {import('./run.mjs').Report} Report */

const STYLE = `
:root { color-scheme: light dark; --ink: #1a1d21; --soft: #5d6672; --paper: #fff; --line: #d9dde3; --ours: #0b66c3; --other: #b4bcc8; --bad: #b3261e; --good: #1b7a3d }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e9ee; --soft: #9aa4b1; --paper: #14171b; --line: #2f353d; --ours: #58a6ff; --other: #58616d; --bad: #ff8a80; --good: #6fd08c }
}
body { margin: 0 auto; padding: 2rem 1rem; max-width: 75rem; background: var(--paper); color: var(--ink); font: 15px/1.5 system-ui, sans-serif }
h1 { font-size: 1.5rem; margin: 0 } h2 { font-size: 1.1rem; margin: 2.5rem 0 .5rem } p, figcaption span, .soft { color: var(--soft) }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(26rem, 100%), 1fr)); gap: 1.25rem 2.5rem }
#picture { padding: 1rem; margin: 0 -1rem; background: var(--paper) }
figure { margin: 0 } figcaption { margin-bottom: .25rem } svg { width: 100%; height: auto; overflow: visible }
text { font: 12px system-ui, sans-serif; dominant-baseline: central; fill: var(--ink) } .name { text-anchor: end; fill: var(--soft) }
.name.ours { fill: var(--ink); font-weight: 600 } .label { fill: var(--soft) }
rect.ours { fill: var(--ours) } rect.other { fill: var(--other) } .spread { stroke: var(--ink); stroke-width: 1.5; opacity: .65 }
.scroll { overflow-x: auto } table { border-collapse: collapse; font-variant-numeric: tabular-nums; white-space: nowrap }
th, td { padding: .25rem .75rem .25rem 0; text-align: right; border-bottom: 1px solid var(--line) } th:first-child, td:first-child, .left { text-align: left }
th { font-weight: 600 } .ok { color: var(--good) } .short { color: var(--bad); font-weight: 600 }
`

/**
 * @param {Report} report
 * @returns {string}
 */
export function reportOf(report) {
  const { machine, date, rounds, series, verdicts, failures, scale } = report
  const charts = chartsOf(series).map(drawn)
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>ipfs-kit-web: benchmark</title>
<style>${STYLE}</style>
<div id="picture">
<h1>ipfs-kit-web beside what else keeps files in a browser</h1>
<p>Medians of ${rounds} rounds, with least and most. ${escaped(machine.chromium)}, ${machine.cores} cores, ${escaped(date.slice(0, 10))}.
Ours hashes on the way in and checks on the way out; the Cache API, idb-keyval and wllama do not.</p>
<div class="charts">${charts.slice(0, PICTURED_CHARTS).join('\n')}</div>
</div>
<div class="charts">${charts.slice(PICTURED_CHARTS).join('\n')}</div>
${verdicts.length === 0 ? '' : `<h2>Targets</h2>${verdictTable(verdicts)}`}
${tables(series, { rounds }).map(htmlTable).join('\n')}
${scale === undefined ? '' : scaleTable(scale)}
${failures.length === 0 ? '' : `<h2>Failed</h2><ul>${failures.map((failure) => `<li>${escaped(describedFailure(failure))}</li>`).join('')}</ul>`}
<h2>Where</h2>
<p>${escaped(`${machine.chromium}; ${machine.cpu}, ${machine.cores} cores, ${machine.memoryGib} GiB; ${machine.system}; Node ${machine.node}; commit ${machine.commit}; load at the start ${machine.load.toFixed(1)}.`)}
What each figure means is in docs/bench/README.md. Compare figures of one run only.</p>
</html>
`
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
  const body = rows.map(({ name, cells }) => `<tr><td>${escaped(name)}${cells.map((cell) => `<td>${escaped(cell)}`).join('')}`)
  return `<h2>${escaped(title)}</h2><div class="scroll"><table><tr><th>${head}${body.join('\n')}</table></div>`
}

/** @param {import('./check.mjs').Scale} scale */
function scaleTable({ rows, ratios }) {
  const counts = [...new Set(rows.map(({ entries }) => entries))]
  return htmlTable({
    title: 'Storages of many entries and of few',
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
