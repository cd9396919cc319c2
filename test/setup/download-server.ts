// A server of files that behaves as its URLs say, well or badly, and counts what it is asked and what it sends.
//
// GET /<id>?size=…&seed=…&…     a file; each <id> has counts of its own, and behaviours that come a number of times count by it
// GET /<id>/stats               DownloadStats, as JSON
// GET /<id>/change              from now on it is another content, under another validator
// GET /<id>/go                  lets those go that were to wait
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http'
import { gzipSync } from 'node:zlib'
import { bytesOf } from './download-bytes.ts'

export interface DownloadStats {
  /** The Range of each request, in order, '' for none; with If-Range behind it, if there was one. */
  asked: string[]
  /** Values of the header x-from of the requests that had it. */
  from: string[]
  /** Bytes of bodies that were sent. */
  sent: number
  /** Requests that were under way at once, at most. */
  most: number
  open: number
}

interface State extends DownloadStats {
  /** Of those behaviours that come a number of times. */
  left: Map<string, number>
  isChanged: boolean
  /** Ends of the answers under way, until there are too many at once. */
  under: Set<() => void> | undefined
  /** Requests to be refused, once so many are there. */
  refused: (() => void)[]
}

const PIECE_BYTES = 64 * 1024
const LAST_MODIFIED = 'Wed, 01 Jan 2025 00:00:00 GMT'

/**
 * What a URL may ask for, by its query:
 * `size`, `seed`: of the content. `type`: its media type.
 * `ranges=none`: answers everything, and says nothing of ranges. `ranges=wrong`: other ones than it says. `ranges=short`, `long`: fewer or more bytes.
 * `validator=weak|date|none`: else a strong ETag. `change=n`: from the n-th request on another content, under another validator.
 * `cut=n&after=bytes`: n answers break off after so many bytes. `stall=n`: n answers stop coming after a piece.
 * `busy=n&status=429&retry=1`: n answers of that status, with that Retry-After. `status=…` alone: every answer.
 * `only=n`: 429 beyond so many at once. `gzip`: encoded. `chunked`: says no length. `cors=none|bare`: none of it, or no header exposed. `to=url`: a redirect to there. `hold`: waits to
 * answer until /<id>/go is asked for. `pace=ms`: so long between pieces, so that it is read as fast as it is sent. `say={…}`: further headers, as JSON.
 * `full=n`: the first n answers that come at once break off, and the n requests after them are answered 503, all at once. `head=405`: the status of an answer to HEAD. `repeat=bytes`: the content repeats after so many, a multiple of 64 KiB.
 */
export function downloadServer(): RequestListener {
  const states = new Map<string, State>()
  const stateOf = (id: string): State => {
    const state = states.get(id) ?? {
      asked: [],
      from: [],
      sent: 0,
      most: 0,
      open: 0,
      left: new Map(),
      isChanged: false,
      under: new Set(),
      refused: [],
    }
    states.set(id, state)
    return state
  }
  const holds = new Map<string, { passed: Promise<void>; go: () => void }>()
  const holdOf = (id: string): { passed: Promise<void>; go: () => void } => {
    let go = (): void => undefined
    const hold = holds.get(id) ?? { passed: new Promise<void>((resolve) => (go = resolve)), go }
    if (!holds.has(id)) holds.set(id, { ...hold, go })
    return holds.get(id) ?? hold
  }
  return (request, response) => {
    const { pathname, searchParams } = new URL(request.url ?? '/', 'http://localhost')
    const [, id = '', what] = pathname.split('/')
    if (what === 'stats') {
      const { left: _left, isChanged: _isChanged, under: _under, refused: _refused, ...stats } = stateOf(id)
      response.writeHead(200, { 'access-control-allow-origin': '*', 'content-type': 'application/json' }).end(JSON.stringify(stats))
      return
    }
    if (what === 'go' || what === 'change') {
      if (what === 'go') holdOf(id).go()
      else stateOf(id).isChanged = true
      response.writeHead(204, { 'access-control-allow-origin': '*' }).end()
      return
    }
    const serve = async (): Promise<void> => {
      if (searchParams.has('hold')) await holdOf(id).passed
      await answer(request, response, stateOf(id), searchParams)
    }
    serve().catch(() => response.destroy())
  }
}

async function answer(request: IncomingMessage, response: ServerResponse, state: State, query: URLSearchParams): Promise<void> {
  const headers = { ...corsOf(query.get('cors')), ...(JSON.parse(query.get('say') ?? '{}') as Record<string, string>) }
  if (request.method === 'OPTIONS') {
    response.writeHead(query.get('cors') === 'preflighted' || query.get('cors') === null ? 204 : 403, headers).end()
    return
  }
  if (request.method === 'HEAD') {
    const seed = Number(query.get('seed') ?? 0) + (state.isChanged ? 1000 : 0)
    response.writeHead(Number(query.get('head') ?? 200), { ...headers, etag: `"${seed}-${query.get('size') ?? 0}"` }).end()
    return
  }
  const number = (name: string, otherwise = 0): number => Number(query.get(name) ?? otherwise)
  const comes = (name: string): boolean => {
    const left = state.left.get(name) ?? number(name)
    state.left.set(name, Math.max(0, left - 1))
    return left > 0
  }
  const { range = '' } = request.headers
  const condition = request.headers['if-range']
  const sender = request.headers['x-from']
  if (sender !== undefined) state.from.push(String(sender))
  state.asked.push(condition === undefined ? range : `${range} if ${String(condition)}`)
  if (query.has('to')) {
    response.writeHead(302, { ...headers, location: query.get('to') ?? '' }).end()
    return
  }
  if (query.has('only') && state.open >= number('only')) {
    response.writeHead(429, headers).end('busy')
    return
  }
  if (query.has('status') && (!query.has('busy') || comes('busy'))) {
    const retry = query.get('retry')
    response.writeHead(number('status'), { ...headers, ...(retry === null ? {} : { 'retry-after': retry }) }).end('no')
    return
  }
  if (query.has('full') && state.under === undefined && state.refused.length < number('full')) {
    state.refused.push(() => response.writeHead(503, { ...headers, 'retry-after': '0' }).end('full'))
    if (state.refused.length === number('full')) for (const refuse of state.refused) refuse()
    return
  }
  const isChanged = state.isChanged || (query.has('change') && state.asked.length >= number('change'))
  const [size, seed] = [number('size'), number('seed') + (isChanged ? 1000 : 0)]
  const kind = query.get('validator')
  const etag = `${kind === 'weak' ? 'W/' : ''}"${seed}-${size}"`
  const date = isChanged ? 'Thu, 02 Jan 2025 00:00:00 GMT' : LAST_MODIFIED
  if (kind === 'date') headers['last-modified'] = date
  else if (kind !== 'none') headers['etag'] = etag
  headers['content-type'] = query.get('type') ?? 'application/octet-stream'
  const ranges = query.get('ranges')
  const [, first, last] = /^bytes=(\d+)-(\d*)$/.exec(range) ?? []
  const isSame = condition === undefined || condition === (kind === 'date' ? date : etag)
  let [from, to] = [0, size]
  let status = 200
  if (query.has('gzip')) headers['content-encoding'] = 'gzip'
  else if (first !== undefined && ranges !== 'none' && isSame) {
    ;[from, to] = [Number(first), last === undefined || last === '' ? size : Math.min(size, Number(last) + 1)]
    status = from >= size ? 416 : 206
    const moved = ranges === 'wrong' ? 1 : 0
    headers['content-range'] = status === 416 ? `bytes */${size}` : `bytes ${from + moved}-${to - 1 + moved}/${size + moved}`
  }
  if (status === 416) {
    response.writeHead(416, headers).end()
    return
  }
  const isPart = status === 206
  if (isPart && ranges === 'short') to = Math.max(from + 1, to - 10)
  if (isPart && ranges === 'long') to += 10
  const whole = query.has('gzip') ? gzipSync(bytesOf(seed, 0, size), { level: 1 }) : undefined
  if (!query.has('chunked')) headers['content-length'] = String(whole?.byteLength ?? to - from)
  response.writeHead(status, headers)
  state.open++
  state.most = Math.max(state.most, state.open)
  const over = new Promise<void>((resolve) => response.once('close', resolve))
  // Whose answer was cut may ask again before this side hears that the connection is closed.
  let isOpen = true
  const leave = (): void => {
    if (isOpen) state.open--
    isOpen = false
  }
  void over.then(leave)
  let isFull = false
  state.under?.add(() => {
    isFull = true
  })
  if (query.has('full') && state.under?.size === number('full')) {
    for (const end of state.under) end()
    state.under = undefined
  }
  const cut = comes('cut') ? number('after') : undefined
  const stalls = comes('stall')
  const end = whole?.byteLength ?? to - from
  for (let at = 0; at < end && !response.destroyed;) {
    const length = Math.min(PIECE_BYTES, end - at, cut === undefined ? end : Math.max(1, cut - at))
    const place = query.has('repeat') ? (from + at) % number('repeat') : from + at
    const piece = whole?.subarray(at, at + length) ?? bytesOf(seed, place, length)
    if (!response.write(piece)) await Promise.race([new Promise((resolve) => response.once('drain', resolve)), over])
    at += length
    state.sent += length
    if (stalls) return
    if (query.has('pace')) await new Promise((resolve) => setTimeout(resolve, number('pace')))
    if (isFull || (cut !== undefined && at >= cut)) {
      // What was written is to arrive: only then it is known what came.
      leave()
      response.socket?.end()
      return
    }
  }
  response.end()
}

function corsOf(cors: string | null): Record<string, string> {
  if (cors === 'none') return {}
  if (cors === 'bare') return { 'access-control-allow-origin': '*' }
  return {
    'access-control-allow-origin': '*',
    'access-control-allow-headers': '*',
    'access-control-expose-headers': '*',
  }
}
