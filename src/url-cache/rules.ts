// Which URLs are kept, and how: the rules of an application, checked once.
import { InvalidOptionsError } from '../errors.ts'
import { fileCid } from '../download/known.ts'

/**
 * A URL's content as the rule that holds for it has it. One URL has one content: what is answered with a `Vary` that the page may read and that names more
 * than Origin, Accept-Encoding, Range and Access-Control-Request-… (such as Accept, Accept-Language, Cookie, Authorization, or *) is not kept.
 */
export interface FetchRule {
  /**
   * The URLs it is about: a pattern of the whole URL (without its fragment), the beginning of one, or a function of the request.
   *
   * @example /huggingface\.co\/.*\.onnx$/
   */
  match: RegExp | string | ((request: Request) => boolean)
  /**
   * Pins what is kept, so that it is never evicted.
   *
   * @default false
   */
  pin?: boolean
  /**
   * Who pins it, with `pin`. Its pins of what is kept are the cache's to end: give it a name that the application pins nothing else under.
   *
   * @default the URL
   */
  holder?: string
  /**
   * When the server is asked whether it has something newer, where it can be reached: never, each time by the validator of what is kept, or when that was
   * last done so many hours ago. Without a validator (a strong ETag or Last-Modified that the page may read), or where HEAD is refused by 4xx, it is fetched anew then.
   * What is kept is answered where the server says nothing within ten seconds, or that fetch fails, or is answered by 429 or 5xx.
   *
   * @default 'etag'
   */
  revalidate?: 'never' | 'etag' | { maxAgeHours: number }
  /**
   * SHA-256 of the content in hex, or 'huggingface' to learn it from the Hub (of files in Git LFS, which large ones are). What has another one errors, and is
   * not kept; nor is what the Hub does not tell of within ten seconds. It is asked without `Authorization`: requests that have one, as for private
   * repositories, go to the network and are not kept. What the store can't take (for want of room, or since nobody reads on) is passed on unchecked.
   */
  sha256?: string
  /** The CID that `store()` gives the content: as `sha256`. */
  cid?: string
  /** Bytes of the content: as `sha256`. */
  size?: number
  /** Media type under which it is kept. @default what the server says */
  mediaType?: string
}

export interface ResolvedRule extends Omit<FetchRule, 'match' | 'revalidate'> {
  matches: (request: Request) => boolean
  /** Milliseconds for which it is taken as it is. */
  maxAgeMs: number
}

const KEYS = ['match', 'pin', 'holder', 'revalidate', 'sha256', 'cid', 'size', 'mediaType']
const HOUR_MS = 3_600_000

/** @throws InvalidOptionsError, InvalidCidError */
export function resolveRules(rules: unknown): ResolvedRule[] {
  if (!Array.isArray(rules)) throw new InvalidOptionsError('rules must be an array of { match, … }', 'rules')
  return rules.map((rule: unknown, index) => resolveRule(rule, `rules[${index}]`))
}

function resolveRule(given: unknown, at: string): ResolvedRule {
  if (typeof given !== 'object' || given === null) throw new InvalidOptionsError(`${at} must be an object with 'match'`, at)
  for (const key of Object.keys(given)) {
    if (!KEYS.includes(key)) throw new InvalidOptionsError(`${at} knows no '${key}': it takes ${KEYS.join(', ')}`, `${at}.${key}`)
  }
  const { match, revalidate = 'etag', ...rest } = given as FetchRule
  const wrong = (key: keyof FetchRule, what: string): InvalidOptionsError =>
    new InvalidOptionsError(`${at}.${key} must be ${what}`, `${at}.${key}`)
  const types = { pin: 'boolean', holder: 'string', mediaType: 'string', size: 'number' } as const
  for (const [key, type] of Object.entries(types) as [keyof typeof types, string][]) {
    if (rest[key] !== undefined && typeof rest[key] !== type) throw wrong(key, `a ${type}`)
  }
  if (rest.size !== undefined && (!Number.isSafeInteger(rest.size) || rest.size < 0)) throw wrong('size', 'a whole number of bytes')
  if (rest.sha256 !== undefined && rest.sha256 !== 'huggingface' && !/^[0-9a-f]{64}$/i.test(rest.sha256)) {
    throw wrong('sha256', "64 hexadecimal digits, or 'huggingface'")
  }
  const sha256 = rest.sha256?.toLowerCase()
  return {
    ...rest,
    ...(sha256 === undefined ? {} : { sha256 }),
    ...(rest.cid === undefined ? {} : { cid: fileCid(rest.cid) }),
    matches: matcher(match, () => wrong('match', 'a RegExp, the beginning of a URL, or a function of the request')),
    maxAgeMs: maxAgeMs(revalidate, () => wrong('revalidate', "'never', 'etag' or { maxAgeHours } of at least 0")),
  }
}

function matcher(match: unknown, wrong: () => Error): ResolvedRule['matches'] {
  if (typeof match === 'function') return (request) => (match as (request: Request) => boolean)(request)
  if (match instanceof RegExp) {
    // One with state would match every other time.
    const pattern = new RegExp(match.source, match.flags.replaceAll(/[gy]/g, ''))
    return (request) => pattern.test(withoutFragment(request.url))
  }
  if (typeof match !== 'string' || match === '') throw wrong()
  return (request) => request.url.startsWith(match)
}

function maxAgeMs(revalidate: unknown, wrong: () => Error): number {
  if (revalidate === 'never') return Number.POSITIVE_INFINITY
  if (revalidate === 'etag') return 0
  const hours = typeof revalidate === 'object' && revalidate !== null ? (revalidate as { maxAgeHours?: unknown }).maxAgeHours : undefined
  if (typeof hours !== 'number' || !(hours >= 0)) throw wrong()
  return hours * HOUR_MS
}

export function withoutFragment(url: string): string {
  const at = url.indexOf('#')
  return at < 0 ? url : url.slice(0, at)
}
