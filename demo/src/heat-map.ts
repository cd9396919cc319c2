// The similarity of every pair of sentences: a table with the numbers, coloured by them.
import { el } from './dom.ts'

/** Cosine of the angle between two vectors: 1 means alike, 0 unrelated. */
export function cosine(a: Float32Array, b: Float32Array): number {
  let dot = 0
  let lengthA = 0
  let lengthB = 0
  for (const [index, x] of a.entries()) {
    const y = b[index] ?? 0
    dot += x * y
    lengthA += x * x
    lengthB += y * y
  }
  return dot / Math.sqrt(lengthA * lengthB)
}

type Colour = readonly [number, number, number]

/** From unrelated over half to alike; one scale for light pages, one for dark. */
const LIGHT: readonly Colour[] = [
  [243, 246, 250],
  [129, 176, 234],
  [24, 68, 158],
]
const DARK: readonly Colour[] = [
  [30, 37, 48],
  [47, 92, 166],
  [164, 205, 255],
]

function mix(scale: readonly Colour[], value: number): Colour {
  const at = Math.min(1, Math.max(0, value)) * (scale.length - 1)
  const low = scale[Math.min(Math.floor(at), scale.length - 2)]!
  const high = scale[Math.min(Math.floor(at), scale.length - 2) + 1]!
  const share = at - Math.min(Math.floor(at), scale.length - 2)
  return [0, 1, 2].map((i) => Math.round(low[i]! + (high[i]! - low[i]!) * share)) as unknown as Colour
}

/** Relative luminance as WCAG defines it. */
function luminance(colour: Colour): number {
  const [r, g, b] = colour.map((part) => (part / 255 <= 0.04045 ? part / 255 / 12.92 : ((part / 255 + 0.055) / 1.055) ** 2.4))
  return 0.2126 * r! + 0.7152 * g! + 0.0722 * b!
}

/** Above 0.179 black has the greater contrast; whichever is greater is at least 4.5. */
function cellStyle(value: number): string {
  return [
    ['l', LIGHT],
    ['d', DARK],
  ]
    .map(([name, scale]) => {
      const colour = mix(scale as readonly Colour[], value)
      return `--heat-${name as string}: rgb(${colour.join(' ')}); --ink-${name as string}: ${luminance(colour) > 0.179 ? '#000' : '#fff'}`
    })
    .join('; ')
}

function mostAlike(scores: number[][]): { a: number; b: number; score: number } | undefined {
  let best: { a: number; b: number; score: number } | undefined
  for (const [a, row] of scores.entries()) {
    for (const [b, score] of row.entries()) if (b > a && score > (best?.score ?? -Infinity)) best = { a, b, score }
  }
  return best
}

export function heatMapElement(sentences: string[], vectors: Float32Array[]): HTMLElement {
  const scores = vectors.map((a) => vectors.map((b) => cosine(a, b)))
  const head = el(
    'tr',
    {},
    el('td', { class: 'corner' }),
    ...sentences.map((sentence, index) => el('th', { scope: 'col', title: sentence, 'aria-label': sentence }, String(index + 1))),
  )
  const rows = sentences.map((sentence, a) =>
    el(
      'tr',
      {},
      el(
        'th',
        { scope: 'row', title: sentence },
        el(
          'span',
          { class: 'sentence' },
          el('span', { class: 'number', 'aria-hidden': 'true' }, String(a + 1)),
          el('span', { class: 'clamp' }, sentence),
        ),
      ),
      ...scores[a]!.map((score, b) =>
        el(
          'td',
          {
            class: a === b ? 'heat same' : 'heat',
            style: cellStyle(score),
            title: `${sentence} – ${sentences[b] ?? ''}`,
          },
          score.toFixed(2),
        ),
      ),
    ),
  )
  const best = mostAlike(scores)
  return el(
    'div',
    {},
    best
      ? el(
          'p',
          { class: 'verdict' },
          'Most alike: ',
          el('q', {}, sentences[best.a]),
          ' and ',
          el('q', {}, sentences[best.b]),
          ` (${best.score.toFixed(2)})`,
        )
      : null,
    // Can be scrolled when there are many sentences, so it must be reachable by keyboard.
    el(
      'div',
      { class: 'heat-scroll', tabindex: 0, role: 'region', 'aria-label': 'Similarity of the sentences' },
      el(
        'table',
        { class: 'heat-map' },
        el('caption', {}, '1 means the same meaning, 0 unrelated. Columns are the sentences by number.'),
        el('thead', {}, head),
        el('tbody', {}, ...rows),
      ),
    ),
  )
}
