// Which contender does what at which size: every session of one round.

import { CAN_SEE_PROCESSES } from './processes.mjs'

/**
 * One page of one contender. `size` is what the tables call it, `opens` what the page calls the contender. It is done once in each of at most
 * `rounds` rounds.
 *
 * @typedef {'buffer' | 'stream' | 'served' | 'download' | 'small' | 'limits' | 'memory' | 'kept'} Kind
 * @typedef {'chromium' | 'firefox'} BrowserName
 * @typedef {{
 *   kind: Kind,
 *   contender: string,
 *   opens: string,
 *   browser: BrowserName,
 *   size: string,
 *   bytes: number,
 *   source: 'buffer' | 'stream',
 *   rounds: number,
 * }} Session
 */

export const MIB = 1024 * 1024

/** Items of the kind 'small'. */
export const SMALL_COUNT = 10_000
export const SMALL_BYTES = 1024

/** A model of the kind 'kept': whole tens of chunks, since one of ten differs in its next version. */
const KEPT_MIB = 60

const OURS = ['ours packs', 'ours packs worker', 'ours records', 'ours records worker']

/** As published, every put writes the whole buffer: beyond this many MiB it kills the browser. */
const STOCK_LIMIT_MIB = 64

/** Contenders that Firefox runs too. */
const IN_FIREFOX = ['ours packs', 'cache']
const FIREFOX_SIZES_MIB = [16, 64]

const IN_CHROMIUM = [...OURS, 'cache', 'cache sha256', 'idb-keyval', 'helia idb', 'helia idb copied', 'helia opfs', 'wllama']

export const CONTENDERS = [...IN_CHROMIUM, ...IN_FIREFOX.map(nameInFirefox)]

export const SIZES = ['small', '16', '64', '256', '1024']

const EVERY_ROUND = Number.POSITIVE_INFINITY

/** Contenders of which most targets are. */
const CLOSEST = ['ours packs', 'ours records', 'cache']

/**
 * Sessions in how many rounds at most: what takes long, or is in no target, or is far from it, is done in fewer, so that a run ends in half an hour.
 *
 * @type {Record<Kind, (contender: string, mib: number) => number>}
 */
const ROUNDS = {
  limits: () => EVERY_ROUND,
  buffer(contender, mib) {
    if (contender === 'helia idb') return mib === STOCK_LIMIT_MIB ? 1 : 2
    if (CLOSEST.includes(contender)) return EVERY_ROUND
    if (mib < 256) return 2
    return { 'helia idb copied': 3, 'helia opfs': 1 }[contender] ?? 2
  },
  stream(contender) {
    if (['ours packs', 'cache'].includes(contender)) return EVERY_ROUND
    return contender === 'ours records' ? 2 : 1
  },
  served: (contender, mib) => (mib === 1024 ? 2 : CLOSEST.includes(contender) ? EVERY_ROUND : 1),
  download: () => EVERY_ROUND,
  small: (contender) => (['ours packs', 'idb-keyval'].includes(contender) ? EVERY_ROUND : 1),
  memory: (contender, mib) => (mib === 1024 && ['ours packs', 'ours records'].includes(contender) ? 2 : 1),
  kept: () => 2,
}
const FIREFOX_ROUNDS = 2

/** @returns {Session[]} */
function everySession() {
  const buffers = [16, 64, 256].flatMap((mib) =>
    IN_CHROMIUM.filter((contender) => contender !== 'helia idb' || mib <= STOCK_LIMIT_MIB).map((contender) =>
      session('buffer', contender, mib),
    ),
  )
  // Helia reads up to 1,024 blocks ahead of whoever consumes, which is all of 1 GiB, so it is left out of the streams.
  const streams = [...OURS, 'cache', 'wllama'].map((contender) => session('stream', contender, 1024))
  const served = [
    ...[16, 256].flatMap((mib) => CLOSEST.map((contender) => session('served', contender, mib))),
    ...['ours packs', 'cache'].map((contender) => session('served', contender, 1024)),
  ]
  const downloads = ['ours packs', 'ours packs worker', 'ours records'].map((contender) => session('download', contender, 256))
  const small = [...OURS, 'cache', 'idb-keyval'].map((contender) => session('small', contender, (SMALL_COUNT * SMALL_BYTES) / MIB))
  const memory = [
    ...[...OURS, 'cache', 'wllama'].map((contender) => session('memory', contender, 1024)),
    ...['ours packs', 'ours records', 'cache', 'idb-keyval', 'helia idb copied', 'helia opfs'].map((contender) =>
      session('memory', contender, 256),
    ),
    session('memory', 'helia idb', STOCK_LIMIT_MIB / 4),
  ]
  const kept = ['ours packs', 'ours records', 'cache', 'idb-keyval', 'helia idb copied', 'helia opfs', 'wllama'].map((contender) =>
    session('kept', contender, KEPT_MIB),
  )
  const inFirefox = FIREFOX_SIZES_MIB.flatMap((mib) => IN_FIREFOX.map((contender) => firefoxSession(contender, mib)))
  return [session('limits', 'limits', 256), ...buffers, ...inFirefox, ...streams, ...served, ...downloads, ...small, ...memory, ...kept]
}

/**
 * @param {Kind} kind
 * @param {string} contender
 * @param {number} mib
 * @returns {Session}
 */
function session(kind, contender, mib) {
  const source = kind === 'stream' || (['memory', 'served'].includes(kind) && mib === 1024) ? 'stream' : 'buffer'
  const rounds = ROUNDS[kind](contender, mib)
  return { kind, contender, opens: contender, browser: 'chromium', size: sizeName(kind, mib), bytes: mib * MIB, source, rounds }
}

/**
 * @param {string} contender
 * @param {number} mib
 * @returns {Session}
 */
function firefoxSession(contender, mib) {
  return { ...session('buffer', contender, mib), contender: nameInFirefox(contender), browser: 'firefox', rounds: FIREFOX_ROUNDS }
}

/** @param {string} contender */
function nameInFirefox(contender) {
  return `${contender}, Firefox`
}

/**
 * @param {Kind} kind
 * @param {number} mib
 * @returns {string}
 */
function sizeName(kind, mib) {
  if (kind === 'small') return `${SMALL_COUNT.toLocaleString('en')} × 1 KiB`
  if (kind === 'kept') return `2 × ${mib} MiB`
  return mib === 1024 ? '1 GiB' : `${mib} MiB`
}

/**
 * The sessions of a run, in order.
 *
 * @param {{ words: string[], sizes: string[], kinds: string[] }} narrowed empty lists narrow nothing
 * @returns {Session[]}
 */
export function planned({ words, sizes, kinds }) {
  return everySession().filter(({ kind, contender, bytes, browser }) => {
    if (kind === 'memory' && !CAN_SEE_PROCESSES) return false
    if (kind === 'limits') return kinds.length === 0 || kinds.includes(kind)
    const isNamed = words.length === 0 || words.some((word) => contender.includes(word))
    const size = kind === 'small' ? 'small' : String(bytes / MIB)
    const isKind =
      kinds.length > 0
        ? kinds.includes(browser === 'firefox' ? browser : kind)
        : sizes.length === 0 || !(kind === 'memory' || kind === 'kept')
    return isNamed && isKind && (sizes.length === 0 || kind === 'kept' || sizes.includes(size))
  })
}

/**
 * The sessions in which one round does them: size by size, and each round another contender is first.
 *
 * @param {readonly Session[]} sessions
 * @param {number} round from 0
 * @returns {Session[]}
 */
export function ordered(sessions, round) {
  /** @type {Map<string, Session[]>} */
  const groups = new Map()
  for (const session of sessions) {
    const name = `${session.kind} ${session.size}`
    groups.set(name, [...(groups.get(name) ?? []), session])
  }
  return [...groups.values()].flatMap((group) => {
    const first = round % group.length
    return [...group.slice(first), ...group.slice(0, first)]
  })
}
