// Bar charts as HTML: one bar a contender, its median as the bar, its least and most as a line over it. Text keeps its size on any screen.

/**
 * @typedef {{ name: string, median: number, min: number, max: number, label: string, isOurs: boolean }} Bar
 * @typedef {{ title: string, note: string, bars: Bar[] }} Chart
 */

/** A bar that is longer than so many times the longest of ours is cut off, so that the others can be told apart. */
const MOST_TIMES_OURS = 6

/** What the charts need of the page, beside its variables: colours come from those, and so follow light and dark. */
export const CHART_STYLE = `
figure { margin: 0 } figcaption { font-weight: 600 } figcaption span { display: block; font-weight: 400; font-size: .8rem; color: var(--soft) }
.bars { display: grid; grid-template-columns: max-content 1fr max-content; gap: .2rem .6rem; align-items: center; margin-top: .4rem; font-size: .8rem }
.bars > * { min-width: 0 } .name { color: var(--soft); text-align: right } .name.ours { color: var(--ink); font-weight: 600 }
.bar { position: relative; height: .9rem } .bar i { position: absolute; inset: 0 auto 0 0; min-width: 1px; border-radius: 2px; background: var(--other) }
.bar.ours i { background: var(--ours) } .bar.cut i { border-radius: 2px 0 0 2px; -webkit-mask: linear-gradient(90deg, #000 80%, #0000); mask: linear-gradient(90deg, #000 80%, #0000) }
.bar b { position: absolute; top: 50%; height: 2px; margin-top: -1px; background: var(--ink); opacity: .6 }
.label { font-variant-numeric: tabular-nums; white-space: nowrap } .label small { color: var(--soft); font-size: inherit }
@media (max-width: 40rem) {
  .bars { grid-template-columns: 1fr max-content; gap: 0 .6rem }
  .name { text-align: left; order: 0 } .bar { grid-column: 1 / -1; grid-row: auto; height: .7rem; margin-bottom: .45rem }
  .bars .name, .bars .label { grid-row: auto } .row { display: grid; grid-template-columns: subgrid; grid-column: 1 / -1 }
  .row .name { grid-area: 1 / 1 } .row .label { grid-area: 1 / 2; text-align: right } .row .bar { grid-area: 2 / 1 / 3 / -1 }
}
@media (min-width: 40.01rem) { .row { display: contents } }
`

/**
 * @param {Chart} chart
 * @returns {string}
 */
export function drawn({ title, note, bars }) {
  const longest = Math.max(...bars.map(({ max }) => max))
  const ours = Math.max(0, ...bars.filter(({ isOurs }) => isOurs).map(({ max }) => max))
  const full = ours > 0 ? Math.min(longest, ours * MOST_TIMES_OURS) : longest
  return [
    `<figure><figcaption>${escaped(title)} <span>${escaped(note)}</span></figcaption>`,
    '<div class="bars">',
    ...bars.map((bar) => drawnBar(bar, full)),
    '</div></figure>',
  ].join('\n')
}

/**
 * @param {Bar} bar
 * @param {number} full what the whole width stands for
 * @returns {string}
 */
function drawnBar({ name, median, min, max, label, isOurs }, full) {
  const [length = 0, from = 0, to = 0] = [median, min, max].map((value) => Math.min(100, (value / full) * 100))
  const kinds = `${isOurs ? ' ours' : ''}${median > full ? ' cut' : ''}`
  const spread = to > from && median <= full ? `<b style="left:${percent(from)};width:${percent(to - from)}"></b>` : ''
  return [
    `<div class="row"><span class="name${isOurs ? ' ours' : ''}">${escaped(name)}</span>`,
    `<span class="bar${kinds}" aria-hidden="true"><i style="width:${percent(length)}"></i>${spread}</span>`,
    `<span class="label">${withSmall(label)}</span></div>`,
  ].join('')
}

/** @param {number} value */
function percent(value) {
  return `${value.toFixed(2)}%`
}

/**
 * What is in brackets at the end, smaller.
 *
 * @param {string} text
 * @returns {string}
 */
export function withSmall(text) {
  return escaped(text).replace(/ ((?:\([^()]*\)|n=).*)$/, ' <small>$1</small>')
}

/**
 * @param {string} text
 * @returns {string}
 */
export function escaped(text) {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;')
}
