// What an operation of the front needs beside the core, and the checks of its options.
import type { CID } from 'multiformats/cid'
import type { Content } from './content.ts'
import type { Core } from './core.ts'
import { InvalidOptionsError } from './errors.ts'

/** One operation under way: its core, and a signal that ends with the caller's or with the storage. */
export interface Operation {
  core: Core
  signal: AbortSignal
  /** Content below `root`, from here or from the network. */
  content(root: CID, options?: { localOnly?: boolean | undefined }): Content
  /** Whether no Helia node is running. */
  fallback: boolean
  /** Notes that content was used now. */
  touch(cid: CID): void
}

type Kind = 'string' | 'boolean' | 'function' | 'signal' | 'number' | 'object'

const KINDS: Record<string, Kind> = {
  filename: 'string',
  pin: 'boolean',
  holder: 'string',
  mediaType: 'string',
  signal: 'signal',
  onProgress: 'function',
  verify: 'boolean',
  localOnly: 'boolean',
  sha256: 'string',
  cid: 'string',
  force: 'boolean',
  foreign: 'boolean',
  after: 'object',
  // Ranges have an error of their own.
  offset: 'number',
  length: 'number',
  limit: 'number',
  size: 'number',
  maxConnections: 'number',
}

/** @throws InvalidOptionsError for an unknown key or a value of the wrong type */
export function checkOptions(method: string, options: unknown, allowed: readonly string[]): void {
  if (options === undefined) return
  if (typeof options !== 'object' || options === null) {
    throw new InvalidOptionsError(`options of ${method}() must be an object, not ${options === null ? 'null' : typeof options}`, 'options')
  }
  for (const [key, value] of Object.entries(options)) {
    if (!allowed.includes(key)) {
      throw new InvalidOptionsError(`${method}() knows no option '${key}': it takes ${allowed.join(', ')}`, key)
    }
    const kind = KINDS[key]
    if (value === undefined || kind === undefined || kind === 'number' || isOf(kind, value)) continue
    throw new InvalidOptionsError(`option '${key}' of ${method}() must be ${kind === 'signal' ? 'an AbortSignal' : `a ${kind}`}`, key)
  }
  if ('filename' in options && options.filename === '') {
    throw new InvalidOptionsError(`option 'filename' of ${method}() is empty: leave it out to name the entry by its CID`, 'filename')
  }
}

function isOf(kind: Kind, value: unknown): boolean {
  if (kind === 'signal') return typeof value === 'object' && value !== null && 'aborted' in value && 'addEventListener' in value
  if (kind === 'object') return typeof value === 'object' && value !== null
  return typeof value === kind
}
