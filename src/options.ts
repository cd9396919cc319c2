// What may be asked of a storage: every option is checked here once and resolved to what it means, or refused by name.
import { environmentSwitch, isDisabled } from './environment.ts'
import { InvalidOptionsError } from './errors.ts'
import { RETRIEVE_TIMEOUT_MS, START_TIMEOUT_MS } from './limits.ts'
import type { StorageOptions } from './types.ts'

const DEFAULT_CACHE_DIR = 'ipfs_accelerate'

/** Timers wrap round beyond this and fire at once. */
const MAX_TIMEOUT_MS = 2 ** 31 - 1

const OPTION_KEYS = ['enableIpfsKit', 'forceFallback', 'cacheDir', 'config']
const IPFS_KEYS = ['gateways', 'delegatedRouters', 'libp2p', 'startTimeoutMs', 'retrieveTimeoutMs']

/** Keys of a later release, and the values of them that ask for nothing and are therefore let through. */
const LATER: Record<string, (value: unknown) => boolean> = {
  enableS3: (value) => value === false,
  s3: () => false,
  enableFilecoin: (value) => value === false,
  filecoin: () => false,
  backends: (value) => Array.isArray(value) && value.length === 0,
}
const CONFIG_KEYS = ['enableIpfs', 'ipfs', 'tier', 'createWorker', 'blocksDatabase', 'maxBytes', ...Object.keys(LATER)]

/** How the IPFS network is reached. Absent lists mean Helia's own defaults. */
export interface IpfsSettings {
  /** Origins, such as 'https://ipfs.io'. */
  gateways?: readonly string[]
  /** Base URLs that end in '/'. */
  delegatedRouters?: readonly string[]
  /** false: HTTP alone. Otherwise options of libp2p, none of them for Helia's defaults. */
  libp2p: false | Readonly<Record<string, unknown>>
  startTimeoutMs: number
  retrieveTimeoutMs: number
}

export interface ResolvedOptions {
  cacheDir: string
  blocksDatabase: string
  /** `blocksDatabase` was named by the caller: it is never deleted. */
  adopted: boolean
  /** Set where Helia is never started, with the reason for the status. */
  fallback: 'forced' | 'disabled' | undefined
  ipfs: IpfsSettings
  tier: 'auto' | 'records' | 'packs'
  createWorker?: () => Worker
  maxBytes?: number
}

type Fields = Record<string, unknown>

/**
 * Checks the options of a storage and fills in the defaults. Reads the environment, so call it where a storage is made. `undefined`
 * counts as absent everywhere.
 *
 * @throws InvalidOptionsError whose `option` is the path of the option, such as 'config.ipfs.gateways'
 */
export function resolveOptions(options: StorageOptions = {}): ResolvedOptions {
  const top = fields(options, 'options', '', OPTION_KEYS)
  const config = fields(top.config === undefined ? {} : top.config, 'config', 'config.', CONFIG_KEYS)
  const given = fields(config.ipfs === undefined ? {} : config.ipfs, 'config.ipfs', 'config.ipfs.', IPFS_KEYS)
  for (const [key, isHarmless] of Object.entries(LATER)) {
    if (config[key] !== undefined && !isHarmless(config[key])) throw later(`config.${key}`)
  }
  const forced = flag(top, 'forceFallback', '') ?? false
  const enableIpfsKit = flag(top, 'enableIpfsKit', '') ?? true
  const enableIpfs = flag(config, 'enableIpfs', 'config.') ?? true
  const cacheDir = name(top, 'cacheDir', '') ?? environmentSwitch('IPFS_ACCELERATE_CACHE_DIR') ?? DEFAULT_CACHE_DIR
  const blocksDatabase = name(config, 'blocksDatabase', 'config.')
  if (blocksDatabase === `${cacheDir}/data` || blocksDatabase === `${cacheDir}/catalog`) {
    throw new InvalidOptionsError(
      `option 'config.blocksDatabase' is '${blocksDatabase}', which this storage uses for something else: name a database of blocks`,
      'config.blocksDatabase',
    )
  }
  const ipfs = ipfsSettings(given)
  refuseUnusedSettings(
    given,
    forced ? 'forceFallback: true' : !enableIpfsKit ? 'enableIpfsKit: false' : !enableIpfs ? 'config.enableIpfs: false' : undefined,
  )
  return {
    cacheDir,
    blocksDatabase: blocksDatabase ?? `${cacheDir}/blocks`,
    adopted: blocksDatabase !== undefined,
    fallback: forced ? 'forced' : !enableIpfsKit || !enableIpfs || isDisabled() ? 'disabled' : undefined,
    ipfs,
    tier: tier(config.tier),
    ...workerMaker(config),
    ...maxBytes(config),
  }
}

/** Whether two resolved options ask for the same storage. Functions and class instances inside `libp2p` are compared by identity. */
export function sameOptions(a: ResolvedOptions, b: ResolvedOptions): boolean {
  return same(a, b)
}

function ipfsSettings(given: Fields): IpfsSettings {
  const gateways = urls(given, 'gateways', (url) => {
    // Helia puts /ipfs/<cid> in place of whatever path there is.
    if (url.pathname !== '/') return `must have no path: Helia asks for ${url.origin}/ipfs/<cid>, so write '${url.origin}'`
    return undefined
  })?.map((url) => url.origin)
  const delegatedRouters = urls(given, 'delegatedRouters', () => undefined)?.map(
    (url) => `${url.origin}${url.pathname.replace(/\/?$/, '/')}`,
  )
  return {
    ...(gateways === undefined ? {} : { gateways: [...new Set(gateways)] }),
    ...(delegatedRouters === undefined ? {} : { delegatedRouters: [...new Set(delegatedRouters)] }),
    libp2p: libp2p(given.libp2p),
    startTimeoutMs: milliseconds(given, 'startTimeoutMs') ?? START_TIMEOUT_MS,
    retrieveTimeoutMs: milliseconds(given, 'retrieveTimeoutMs') ?? RETRIEVE_TIMEOUT_MS,
  }
}

/** Settings of a network that is never used would be silent; the environment alone may make them so. */
function refuseUnusedSettings(given: Fields, because: string | undefined): void {
  const [first] = Object.keys(given).filter((key) => given[key] !== undefined)
  if (because === undefined || first === undefined) return
  throw new InvalidOptionsError(
    `option 'config.ipfs.${first}' has no effect with ${because}: leave one of the two out`,
    `config.ipfs.${first}`,
  )
}

function fields(value: unknown, option: string, prefix: string, known: readonly string[]): Fields {
  if (!isRecord(value)) throw wrongType(option, 'an object', value)
  for (const key of Object.keys(value)) {
    if (known.includes(key)) continue
    throw new InvalidOptionsError(
      `option '${prefix}${key}' is unknown: ${option === 'options' ? 'there' : `in ${option} there`} are ${known.join(', ')}`,
      `${prefix}${key}`,
    )
  }
  return value
}

function flag(from: Fields, key: string, prefix: string): boolean | undefined {
  const value = from[key]
  if (value === undefined || typeof value === 'boolean') return value
  throw wrongType(prefix + key, 'true or false', value)
}

function name(from: Fields, key: string, prefix: string): string | undefined {
  const value = from[key]
  if (value === undefined || (typeof value === 'string' && value !== '')) return value
  throw wrongType(prefix + key, 'a string that is not empty', value)
}

function milliseconds(from: Fields, key: string): number | undefined {
  const value = from[key]
  if (value === undefined) return undefined
  if (typeof value === 'number' && Number.isInteger(value) && value > 0 && value <= MAX_TIMEOUT_MS) return value
  throw wrongType(`config.ipfs.${key}`, `a whole number of milliseconds from 1 to ${MAX_TIMEOUT_MS}`, value)
}

function urls(from: Fields, key: string, complaint: (url: URL) => string | undefined): URL[] | undefined {
  const value = from[key]
  const option = `config.ipfs.${key}`
  if (value === undefined) return undefined
  if (!Array.isArray(value)) throw wrongType(option, 'an array of URLs', value)
  return Array.from(value, (item: unknown) => {
    const url = typeof item === 'string' && URL.canParse(item) ? new URL(item) : undefined
    if (url === undefined || !['http:', 'https:'].includes(url.protocol)) throw wrongType(option, 'an array of http or https URLs', item)
    // fetch() refuses a URL with a password, and what is asked for is put behind the base.
    const wrong = url.username + url.password + url.search + url.hash === '' ? complaint(url) : 'must have no user, query or fragment'
    if (wrong === undefined) return url
    throw new InvalidOptionsError(`option '${option}' holds ${describe(item)}, which ${wrong}`, option)
  })
}

function libp2p(value: unknown): false | Fields {
  if (value === undefined || value === false) return false
  if (value === true) return {}
  // A running libp2p is no record of options, and Helia takes none.
  if (isPlain(value)) return value
  throw wrongType('config.ipfs.libp2p', 'true, false or a plain object of libp2p options', value)
}

function tier(value: unknown): 'auto' | 'records' | 'packs' {
  if (value === undefined || value === 'auto' || value === 'records' || value === 'packs') return value ?? 'auto'
  throw wrongType('config.tier', `'auto', 'records' or 'packs'`, value)
}

function workerMaker(config: Fields): { createWorker?: () => Worker } {
  const { createWorker } = config
  if (createWorker === undefined) return {}
  if (typeof createWorker !== 'function') throw wrongType('config.createWorker', 'a function that makes a Worker', createWorker)
  return { createWorker: createWorker as () => Worker }
}

function maxBytes(config: Fields): { maxBytes?: number } {
  const { maxBytes: value } = config
  if (value === undefined) return {}
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value <= 0) {
    throw wrongType('config.maxBytes', 'a whole number of bytes, at least 1', value)
  }
  return { maxBytes: value }
}

function later(option: string): InvalidOptionsError {
  return new InvalidOptionsError(`this release does not have option '${option}' yet: leave it out`, option)
}

function wrongType(option: string, wanted: string, value: unknown): InvalidOptionsError {
  return new InvalidOptionsError(`option '${option}' must be ${wanted}, not ${describe(value)}`, option)
}

function describe(value: unknown): string {
  if (typeof value === 'string') return `'${value.length > 80 ? `${value.slice(0, 80)}…` : value}'`
  if (value === null || typeof value === 'number' || typeof value === 'boolean') return String(value)
  return Array.isArray(value) ? 'an array' : `a value of type ${typeof value}`
}

function isRecord(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function same(a: unknown, b: unknown): boolean {
  if (Object.is(a, b)) return true
  if (Array.isArray(a) && Array.isArray(b)) return a.length === b.length && a.every((item, index) => same(item, b[index]))
  if (!isPlain(a) || !isPlain(b)) return false
  const keys = Object.keys({ ...a, ...b })
  return keys.every((key) => same(a[key], b[key]))
}

function isPlain(value: unknown): value is Fields {
  return isRecord(value) && [Object.prototype, null].includes(Object.getPrototypeOf(value) as object | null)
}
