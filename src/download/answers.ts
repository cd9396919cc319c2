// What a server's answer says of a download: which part of what it is, how large the whole is, and whether it is still the same.
import type { Validator } from '../catalog/schema.ts'
import { Restart } from './patience.ts'

/** What an answer says before its body. */
export type Head = Pick<Response, 'status' | 'headers'>

/** Milliseconds that an answer must be younger than its content, so that Last-Modified tells versions apart (RFC 9110, 8.8.2.2). */
const STRONG_DATE_MS = 1_000

/** What If-Range may hold: a strong ETag, else a date that is strong (RFC 9110, 13.1.5). */
export function validatorOf(headers: Headers): Validator | undefined {
  const etag = headers.get('etag')
  // One that begins with W/ says that the content means the same, not that it has the same bytes.
  if (etag !== null && /^"[^"]*"$/.test(etag)) return { etag }
  const [lastModified, date] = [headers.get('last-modified'), headers.get('date')]
  const changed = lastModified === null ? Number.NaN : Date.parse(lastModified)
  if (lastModified === null || Number.isNaN(changed)) return undefined
  return date === null || Date.parse(date) - changed >= STRONG_DATE_MS ? { lastModified } : undefined
}

/** Whether an answer is of the version that is wanted; undefined where it does not say. */
export function isOf(headers: Headers, { etag, lastModified }: Validator): boolean | undefined {
  const said = headers.get(etag === undefined ? 'last-modified' : 'etag')
  return said === null ? undefined : said === (etag ?? lastModified)
}

export interface ContentRange {
  from: number
  /** Behind the last byte. */
  to: number
  total?: number
}

/** The part that a 206 says it is. null: it does not say, or hides it from this origin; undefined: it makes no sense. */
export function rangeOf(headers: Headers): ContentRange | null | undefined {
  const text = headers.get('content-range')
  if (text === null) return null
  const [, first, last, size] = /^bytes (\d{1,15})-(\d{1,15})\/(\d{1,15}|\*)$/.exec(text.trim()) ?? []
  const [from, to] = [Number(first), Number(last) + 1]
  if (first === undefined || last === undefined || to <= from) return undefined
  if (size === '*') return { from, to }
  return Number(size) < to ? undefined : { from, to, total: Number(size) }
}

/** Bytes of a body as it travels. */
export function lengthOf(headers: Headers): number | undefined {
  const text = headers.get('content-length')
  return text !== null && /^\d{1,15}$/.test(text) ? Number(text) : undefined
}

/** Its body travels in another form, of which it may not say to every origin. */
export function isEncoded(headers: Headers): boolean {
  const encoding = headers.get('content-encoding')
  return encoding !== null && encoding.trim().toLowerCase() !== 'identity'
}

/** Milliseconds that a server asks to be left alone for. */
export function retryAfterMs(headers: Headers, now: number): number | undefined {
  const text = headers.get('retry-after')?.trim()
  if (text === undefined) return undefined
  if (/^\d{1,9}$/.test(text)) return Number(text) * 1000
  const date = Date.parse(text)
  return Number.isNaN(date) ? undefined : Math.max(0, date - now)
}

/** Why an answer is not the part that was asked for; undefined where it is. */
export function wrongOf(
  { status, headers }: Head,
  from: number,
  to: number,
  validator: Validator | undefined,
  wasConditional: boolean,
): Restart | undefined {
  const isSame = validator === undefined ? undefined : isOf(headers, validator)
  const changed = new Restart('it changed while it was downloaded', { whole: false })
  if (isSame === false || status === 412 || status === 416) return changed
  if (status === 200) return isSame === true ? new Restart('it answers no parts any more', { whole: true }) : changed
  const [range, length] = [rangeOf(headers), lengthOf(headers)]
  // A part may be shorter than was asked for, and says so.
  const isRight =
    range === null ? length === to - from : range?.from === from && range.to <= to && (length ?? range.to - from) === range.to - from
  if (!isRight || isEncoded(headers)) return new Restart('it answers parts that were not asked for', { whole: true })
  if (validator !== undefined && !wasConditional && isSame !== true)
    return new Restart('it does not say whether it is the same', { whole: true })
  return undefined
}
