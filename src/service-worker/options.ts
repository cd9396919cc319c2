// What may be asked of a handler: every option is checked here once, or refused by name.
import { parseContentPath } from '../cid.ts'
import { InvalidOptionsError } from '../errors.ts'
import { STORAGE_OPEN_TIMEOUT_MS } from '../limits.ts'
import type { BaseStorage } from '../storage.ts'
import type { StorageOptions } from '../types.ts'
import { provideAll, type HeliaCode } from './worker-storage.ts'

/** Says of a root, as CIDv1 in base32, whether it is one of those meant. */
export type Roots = Iterable<string> | ((root: string) => boolean | Promise<boolean>)

export interface HandlerOptions {
  /**
   * What is served from: a storage, or the options of one that is made when the first request comes.
   *
   * @default {} the storage of the page that gives no options either
   */
  storage?: BaseStorage | StorageOptions
  /**
   * Path below which content is served, with a slash at both ends. Requests elsewhere are not answered.
   *
   * @default '/ipfs/'
   */
  path?: string
  /**
   * When bytes are hashed before they are answered. 'once': at their first serving since this worker woke, after which the browser reads packs by itself.
   * 'always': each time. 'never': the browser reads packs by itself from the first.
   *
   * @default 'once'
   */
  verify?: 'once' | 'always' | 'never'
  /**
   * Roots that may act as the application: their documents run scripts in its origin, and its pages may load scripts, styles, workers, objects and embeds
   * from them. All others get `Content-Security-Policy: sandbox`, and 403 for those.
   *
   * @default none
   */
  trust?: Roots
  /**
   * Roots that are served though this storage has no entry of them, fetched from the network where it can.
   *
   * @default none
   */
  allow?: Roots
  /**
   * Origins whose pages may read what is served, by CORS; '*' for all of them.
   *
   * @default none
   */
  allowOrigins?: '*' | Iterable<string>
  /**
   * The `Cross-Origin-Embedder-Policy` of what is served, which documents need to be shown inside a page that has one (as pages that use SharedArrayBuffer
   * do). false: none.
   *
   * @default 'require-corp'
   */
  embedderPolicy?: 'require-corp' | 'credentialless' | false
  /**
   * Milliseconds that the storage may take to open, after which the answer is 503.
   *
   * @default 10,000
   */
  openTimeoutMs?: number
  /**
   * Helia, for a service worker that shall fetch what is missing: `import { helia } from 'ipfs-kit-web/service-worker/helia'`. Service workers can load no
   * code later, so that without it nothing is asked of the network there.
   *
   * @default none
   */
  helia?: HeliaCode
  /** Called with each answer. */
  onServed?: (served: Served) => void
}

/** An answer, told to whoever wants to show what came from where. */
export interface Served {
  url: string
  status: number
  /** Of what the path names, as CIDv1. Absent where that is nowhere. */
  cid?: string
  /** Where its bytes are read: slices of packs by the browser itself, or through this worker. Absent where there are none. */
  by?: 'browser' | 'worker'
  /** They are hashed on their way, or were since this worker woke. */
  verified?: boolean
  /** Of a URL that a rule is about: whether it was answered from here. */
  from?: 'store' | 'network'
  /** Fields of the answer. */
  mediaType?: string
  bytes?: number
}

export interface ResolvedHandlerOptions {
  storage: BaseStorage | StorageOptions
  path: string
  verify: 'once' | 'always' | 'never'
  trusts: (root: string) => Promise<boolean>
  allows: (root: string) => Promise<boolean>
  /** '*', or those that may. */
  origins: '*' | ReadonlySet<string>
  embedderPolicy: string | undefined
  openTimeoutMs: number
  onServed: ((served: Served) => void) | undefined
}

const KEYS = ['storage', 'helia', 'path', 'verify', 'trust', 'allow', 'allowOrigins', 'embedderPolicy', 'openTimeoutMs', 'onServed']
const MAX_TIMEOUT_MS = 2 ** 31 - 1

/** @throws InvalidOptionsError whose `option` is its name */
export function resolveHandlerOptions(options: HandlerOptions = {}, further: readonly string[] = []): ResolvedHandlerOptions {
  if (typeof options !== 'object' || options === null) throw new InvalidOptionsError('options must be an object', 'options')
  for (const key of Object.keys(options)) {
    if (KEYS.includes(key) || further.includes(key)) continue
    throw new InvalidOptionsError(`there is no option '${key}': there are ${[...KEYS, ...further].join(', ')}`, key)
  }
  const {
    storage = {},
    path = '/ipfs/',
    verify = 'once',
    embedderPolicy = 'require-corp',
    openTimeoutMs = STORAGE_OPEN_TIMEOUT_MS,
  } = options
  if (typeof path !== 'string' || !/^\/(?:[^/?#]+\/)+$/.test(path)) {
    throw new InvalidOptionsError("option 'path' must begin and end with a slash and have a name between, such as '/ipfs/'", 'path')
  }
  oneOf('verify', verify, ['once', 'always', 'never'])
  oneOf('embedderPolicy', embedderPolicy, ['require-corp', 'credentialless', false])
  if (!Number.isInteger(openTimeoutMs) || openTimeoutMs < 1 || openTimeoutMs > MAX_TIMEOUT_MS) {
    throw new InvalidOptionsError(`option 'openTimeoutMs' must be a number of milliseconds from 1 to ${MAX_TIMEOUT_MS}`, 'openTimeoutMs')
  }
  if (options.onServed !== undefined && typeof options.onServed !== 'function') {
    throw new InvalidOptionsError("option 'onServed' must be a function", 'onServed')
  }
  if (typeof storage !== 'object' || storage === null) {
    throw new InvalidOptionsError("option 'storage' must be an IPFSKitStorage, or the options of one", 'storage')
  }
  provideAll(options.helia)
  return {
    storage,
    path,
    verify,
    trusts: rootsOf('trust', options.trust),
    allows: rootsOf('allow', options.allow),
    origins: originsOf(options.allowOrigins),
    embedderPolicy: embedderPolicy === false ? undefined : embedderPolicy,
    openTimeoutMs,
    onServed: options.onServed,
  }
}

function oneOf(option: string, value: unknown, allowed: readonly unknown[]): void {
  if (allowed.includes(value)) return
  throw new InvalidOptionsError(`option '${option}' must be one of ${allowed.map((each) => JSON.stringify(each)).join(', ')}`, option)
}

function rootsOf(option: string, roots: Roots | undefined): (root: string) => Promise<boolean> {
  if (typeof roots === 'function') return async (root) => roots(root)
  const named = new Set<string>()
  for (const root of iterable(option, roots ?? [])) {
    try {
      const { cid, segments } = parseContentPath(root)
      if (segments.length > 0) throw new TypeError('it has a path')
      named.add(cid.toString())
    } catch (cause) {
      throw new InvalidOptionsError(`option '${option}' holds ${JSON.stringify(root)}, which is no CID`, option, { cause })
    }
  }
  return (root) => Promise.resolve(named.has(root))
}

function originsOf(origins: '*' | Iterable<string> | undefined): '*' | ReadonlySet<string> {
  if (origins === '*') return '*'
  const named = new Set<string>()
  for (const origin of iterable('allowOrigins', origins ?? [])) {
    // What a browser sends is the origin alone.
    if (!URL.canParse(origin) || new URL(origin).origin !== origin) {
      throw new InvalidOptionsError(
        `option 'allowOrigins' holds ${JSON.stringify(origin)}, which is no origin such as 'https://example.com'`,
        'allowOrigins',
      )
    }
    named.add(origin)
  }
  return named
}

function iterable(option: string, value: unknown): Iterable<string> {
  const isIterable = typeof value === 'object' && value !== null && Symbol.iterator in value
  if (!isIterable) throw new InvalidOptionsError(`option '${option}' must be a list of strings`, option)
  const values = [...(value as Iterable<unknown>)]
  if (values.every((each) => typeof each === 'string')) return values
  throw new InvalidOptionsError(`option '${option}' must hold strings alone`, option)
}
