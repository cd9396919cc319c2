// "What came from where": each answer of the service worker, as it tells this page.
import type { ServedMessage } from 'ipfs-kit-web/service-worker'
import { byId, el, icon } from './dom.ts'
import { formatBytes, shortCid } from './format.ts'

type Served = ServedMessage['served']

/** The oldest leave first. */
const MAX_ROWS = 40

interface Origin {
  where: string
  how: string
  tone: 'whole' | 'damaged' | ''
}

interface Row {
  element: HTMLLIElement
  answers: number
}

const IN_MEMORY: Origin = { where: 'Browser memory', how: 'had it already', tone: '' }

const ICONS: readonly [beginning: string, name: string][] = [
  ['image/', 'picture'],
  ['video/', 'play'],
]

/** What people read: where the bytes lie, and who checked them when. */
function explainOrigin({ status, by, verified }: Served): Origin {
  if (status >= 400) return { where: `Refused, ${status}`, how: 'not answered from the store', tone: 'damaged' }
  if (by === undefined) return { where: 'No bytes', how: 'the browser had them, or asked for none', tone: '' }
  if (by === 'browser')
    return { where: 'Pack file', how: verified === true ? 'checked, read by the browser' : 'read by the browser', tone: 'whole' }
  return { where: 'Block store', how: verified === true ? 'checked on its way' : 'read by the service worker', tone: 'whole' }
}

function nameOf(url: string): string {
  const name = decodeURIComponent(new URL(url).pathname.split('/').findLast((part) => part !== '') ?? '')
  return shortCid(name) === name || name.includes('.') || name.includes('-') ? name : shortCid(name)
}

function fill(
  row: Row,
  { where, how, tone }: Origin,
  { url, mediaType = '', bytes, cid }: Pick<Served, 'url' | 'mediaType' | 'bytes' | 'cid'>,
): void {
  const [, shape = 'file'] = ICONS.find(([beginning]) => mediaType.startsWith(beginning)) ?? []
  row.element.replaceChildren(
    el('span', { class: 'origin-name' }, icon(shape), nameOf(url)),
    el('span', { class: 'origin-size' }, bytes === undefined ? '' : formatBytes(bytes)),
    el(
      'span',
      { class: 'origin-where' },
      el('span', { class: `chip ${tone}` }, where),
      el('span', { class: 'muted' }, row.answers > 1 ? `${how} · ${row.answers} answers` : how),
    ),
    el('code', { class: 'cid', title: cid ?? '' }, cid === undefined ? '' : shortCid(cid)),
  )
}

export function startOrigins(): void {
  if (!('serviceWorker' in navigator)) return
  const rows = new Map<string, Row>()
  const rowOf = (url: string): Row => {
    const known = rows.get(url)
    if (known !== undefined) return known
    const row = { element: el('li', { class: 'origin' }), answers: 0 }
    rows.set(url, row)
    byId('origins').append(row.element)
    byId('origins-empty').hidden = true
    for (const [oldest, { element }] of rows) {
      if (rows.size <= MAX_ROWS) break
      element.remove()
      rows.delete(oldest)
    }
    return row
  }
  navigator.serviceWorker.addEventListener('message', ({ data }: MessageEvent<Partial<ServedMessage> | undefined>) => {
    if (data?.type !== 'ipfs-kit-web:served' || data.served === undefined) return
    const { served } = data
    // By URL, which the panel below tells of.
    if (served.from !== undefined) return
    const row = rowOf(served.url)
    row.answers++
    fill(row, explainOrigin(served), served)
  })
  // What the browser has in memory since before a reload it asks nobody for.
  const below = new URL('ipfs/', document.baseURI).href
  new PerformanceObserver((seen) => {
    for (const entry of seen.getEntries() as PerformanceResourceTiming[]) {
      if (!entry.name.startsWith(below) || entry.workerStart > 0 || rows.has(entry.name)) continue
      fill(rowOf(entry.name), IN_MEMORY, {
        url: entry.name,
        bytes: entry.decodedBodySize,
        mediaType: entry.initiatorType === 'img' ? 'image/' : '',
      })
    }
  }).observe({ type: 'resource', buffered: true })
}
