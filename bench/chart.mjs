// Bar charts as inline SVG: one bar a contender, its median as the bar, its least and most as a line over it.

/**
 * @typedef {{ name: string, median: number, min: number, max: number, label: string, isOurs: boolean }} Bar
 * @typedef {{ title: string, note: string, bars: Bar[] }} Chart
 */

const WIDTH = 560
const NAME_WIDTH = 150
const LABEL_WIDTH = 150
const ROW_HEIGHT = 22
const BAR_HEIGHT = 14

/**
 * Colours come from the variables of the page, so that the chart follows light and dark.
 *
 * @param {Chart} chart
 * @returns {string}
 */
export function drawn({ title, note, bars }) {
  const most = Math.max(...bars.map(({ max }) => max))
  const scale = (WIDTH - NAME_WIDTH - LABEL_WIDTH) / most
  const rows = bars.map((bar, index) => drawnBar(bar, index * ROW_HEIGHT, scale))
  const height = bars.length * ROW_HEIGHT
  const text = bars.map(({ name, label }) => `${name} ${label}`).join(', ')
  return [
    `<figure><figcaption><b>${escaped(title)}</b> <span>${escaped(note)}</span></figcaption>`,
    `<svg viewBox="0 0 ${WIDTH} ${height}" role="img" aria-label="${escaped(`${title}: ${text}`)}">`,
    ...rows,
    '</svg></figure>',
  ].join('\n')
}

/**
 * @param {Bar} bar
 * @param {number} top
 * @param {number} scale
 * @returns {string}
 */
function drawnBar({ name, median, min, max, label, isOurs }, top, scale) {
  const middle = top + ROW_HEIGHT / 2
  const right = NAME_WIDTH + median * scale
  const [from, to] = [min, max].map((value) => (NAME_WIDTH + value * scale).toFixed(1))
  const labelled = Math.max(right, NAME_WIDTH + max * scale) + 8
  return [
    `<text x="${NAME_WIDTH - 8}" y="${middle}" class="name${isOurs ? ' ours' : ''}">${escaped(name)}</text>`,
    `<rect x="${NAME_WIDTH}" y="${middle - BAR_HEIGHT / 2}" width="${Math.max(1, median * scale).toFixed(1)}" height="${BAR_HEIGHT}" rx="2" class="${isOurs ? 'ours' : 'other'}"/>`,
    `<path d="M${from} ${middle}H${to}" class="spread"/>`,
    `<text x="${labelled.toFixed(1)}" y="${middle}" class="label">${escaped(label)}</text>`,
  ].join('')
}

/**
 * @param {string} text
 * @returns {string}
 */
export function escaped(text) {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;')
}
