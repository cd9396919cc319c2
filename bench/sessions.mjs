// What one session does: the steps of its page in order, and what each of them measured.
import { setTimeout as pause } from 'node:timers/promises'
import { inOneLine, withProfile, withTab } from './browser.mjs'
import { storedBytes } from './disk.mjs'
import { MIB, SMALL_BYTES, SMALL_COUNT } from './plan.mjs'
import { peaksOf } from './memory.mjs'

/**
 * `bytes` where a speed makes sense of the milliseconds. A failure without a measure is one of the whole session.
 *
 * @typedef {{ measure: string, value: number, unit: 'ms' | 'MiB', bytes?: number }} Sample
 * @typedef {{ measure?: string, reason: string }} Failure
 * @typedef {{ samples: Sample[], failures: Failure[] }} Outcome
 * @typedef {[measure: string, step: string, isSpeed: boolean]} Step
 * @typedef {import('./plan.mjs').Session} Session
 * @typedef {import('./browser.mjs').Tab} Tab
 * @typedef {{ executablePath: string, url: string, seed: number, wants: (measure: string) => boolean, emptyProfileBytes: number }} Setting `executablePath` of the session's browser
 */

/** Ranges of a file of 256 MiB; of the others, whose figures hardly differ, fewer. They stop where a contender needs longer than the limit. */
const RANGES = { count: 1000, limitMs: 6_000 }
const FEWER_RANGES = { count: 100, limitMs: 2_000 }
const SMALL_READS = 1000
/** Of one session: what a page fetches right after storing varies. */
const FETCHES = 3
/** Of one session, each of another file. */
const DOWNLOADS = 2
const LIMIT_CHUNKS = 200

/** A step that takes longer hangs. Those of the stock blockstore need more; blockstore-opfs now and then hangs when it reads many blocks. */
const STEP_TIMEOUT_MS = 60_000
/** @type {Record<string, number>} */
const OTHER_STEP_TIMEOUTS_MS = { 'helia idb': 180_000, 'helia opfs': 15_000 }

/** Chromium learns some time after its start how much of the disk Blobs may take; before that, 64 puts of 64 MiB fail with 'InvalidBlob'. */
const STOCK_PAUSE_MS = 3_000

/** Beyond this much the stock blockstore needs three minutes for all of it: only these are measured then. */
const STOCK_WHOLE_BYTES = 16 * MIB
const STOCK_MEASURES = new Set(['store', 'retrieve', 'first byte'])

/**
 * Does one session. What it measured before something went wrong is answered with the reason.
 *
 * @param {Session} session
 * @param {Setting} setting
 * @returns {Promise<Outcome>}
 */
export async function runSession(session, setting) {
  /** @type {Outcome} */
  const outcome = { samples: [], failures: [] }
  try {
    await withProfile((profile) => inProfile(session, setting, profile, outcome))
  } catch (error) {
    outcome.failures.push({ reason: inOneLine(error) })
  }
  return outcome
}

/**
 * @param {Session} session
 * @param {Setting} setting
 * @param {string} profile
 * @param {Outcome} outcome
 * @returns {Promise<void>}
 */
async function inProfile(session, setting, profile, outcome) {
  const { kind, browser } = session
  if (kind === 'kept') return keepAndReopen(session, setting, profile, outcome)
  return withTab({ ...setting, browser, profile, stepTimeoutMs: stepTimeoutMs(session) }, (tab) =>
    IN_ONE_TAB[kind](tab, session, setting, outcome),
  )
}

/** @param {Session} session */
function stepTimeoutMs({ contender }) {
  return OTHER_STEP_TIMEOUTS_MS[contender] ?? STEP_TIMEOUT_MS
}

/** @typedef {(tab: Tab, session: Session, setting: Setting, outcome: Outcome) => Promise<void>} InOneTab */

/** @type {Record<Exclude<import('./plan.mjs').Kind, 'kept'>, InOneTab>} */
const IN_ONE_TAB = {
  async buffer(tab, { opens, bytes, contender }, { seed, wants }, outcome) {
    await tab.run(`open('${opens}')`)
    await tab.run(`make(${bytes}, ${seed})`)
    if (contender === 'helia idb') await pause(STOCK_PAUSE_MS)
    /** @type {Step[]} */
    const steps = [
      ['store', `store('model')`, true],
      ['store again', `store('model')`, true],
      ['retrieve', 'retrieve()', true],
      ['retrieve unverified', 'retrieveUnverified()', true],
      ['stream', 'readStream()', true],
      ...readsOf(bytes),
      ['pin', 'pin()', false],
      ['unpin', 'unpin()', false],
      ...ENDS,
    ]
    const isSlow = contender === 'helia idb' && bytes > STOCK_WHOLE_BYTES
    await runSteps(tab, isSlow ? steps.filter(([measure]) => STOCK_MEASURES.has(measure)) : steps, bytes, wants, outcome)
  },

  async stream(tab, { opens, bytes }, { seed, wants }, outcome) {
    await tab.run(`open('${opens}')`)
    await tab.run(`makeStream(${bytes}, ${seed})`)
    // A Blob of records is in memory: not at this size.
    const reads = readsOf(bytes).filter(([measure]) => measure !== 'blob' || !opens.startsWith('ours records'))
    /** @type {Step[]} */
    const steps = [['store', `storeStream('model')`, true], ['retrieve', 'readStream()', true], ...reads, ...ENDS]
    await runSteps(tab, steps, bytes, wants, outcome)
  },

  async served(tab, { opens, bytes, source }, { seed, wants }, outcome) {
    await tab.run(`open('${opens}')`)
    await tab.run(source === 'stream' ? `makeStream(${bytes}, ${seed})` : `make(${bytes}, ${seed})`)
    await tab.run('serve()')
    const store = source === 'stream' ? `storeStream('model')` : `store('model')`
    await runSteps(tab, [['store', store, true]], bytes, wants, outcome)
    if (opens.startsWith('ours') && source === 'buffer') await tab.run('cacheBeside()')
    await runSteps(tab, fetchesOf(opens, source), bytes, wants, outcome)
  },

  async download(tab, { opens, bytes }, { wants, seed }, outcome) {
    await tab.run(`open('${opens}')`)
    const url = (/** @type {string} */ name) => `/files/${bytes}/${seed}-${name}`
    /** @type {(turn: number) => Step[]} */
    const compared = (turn) => [
      ['download', `download('${url(`download-${turn}`)}')`, true],
      ['Cache API', `downloadBeside('${url(`beside-${turn}`)}')`, true],
      ['stored stream', `downloadStream('${url(`stream-${turn}`)}')`, true],
    ]
    await runSteps(
      tab,
      times(DOWNLOADS, (turn) => [...compared(turn).slice(turn), ...compared(turn).slice(0, turn)]),
      bytes,
      wants,
      outcome,
    )
  },

  async small(tab, { opens, bytes }, { seed, wants }, outcome) {
    await tab.run(`open('${opens}')`)
    await tab.run(`makeSmall(${SMALL_COUNT}, ${SMALL_BYTES}, ${seed})`)
    /** @type {Step[]} */
    const steps = [
      ['store', 'storeSmall()', false],
      ['retrieve', `retrieveSmall(${SMALL_READS})`, false],
    ]
    await runSteps(tab, steps, bytes, wants, outcome)
  },

  async limits(tab, { bytes }, { seed }, { samples }) {
    const { hash, write, flush, read, chunk, put, get } = await tab.run(
      `limits({ sizeBytes: ${bytes}, seed: ${seed}, chunks: ${LIMIT_CHUNKS} })`,
    )
    samples.push(
      { measure: 'SHA-256', value: hash, unit: 'ms', bytes },
      { measure: 'OPFS write', value: write, unit: 'ms', bytes },
      { measure: 'of it flush', value: flush, unit: 'ms' },
      { measure: 'OPFS read', value: read, unit: 'ms', bytes },
      { measure: 'OPFS chunk', value: chunk, unit: 'ms' },
      { measure: 'records put', value: put, unit: 'ms', bytes },
      { measure: 'records get', value: get, unit: 'ms', bytes },
    )
  },

  async memory(tab, { opens, bytes, source }, { seed }, { samples }) {
    const isDownloaded = opens.startsWith('ours') && source === 'stream'
    const url = isDownloaded ? `/files/${bytes}/${seed}-memory` : undefined
    const peaks = await peaksOf(tab, { opens, bytes, source, seed, url })
    for (const { measure, value } of peaks) samples.push({ measure, value: value / MIB, unit: 'MiB' })
  },
}

/**
 * @param {number} bytes
 * @returns {Step[]}
 */
function readsOf(bytes) {
  const { count, limitMs } = bytes === 256 * MIB ? RANGES : FEWER_RANGES
  return [
    ['first byte', 'firstByte()', false],
    ['range', `ranges(${count}, ${limitMs})`, false],
    ['blob', 'blob()', false],
  ]
}

/**
 * Through the service worker, those that are compared in turns. 'Cache API' is what it answers from there in the same page: browsers that were started one
 * after the other differ by more than the two do.
 *
 * @param {string} opens
 * @param {'buffer' | 'stream'} source a stream is large, and only begun
 * @returns {Step[]}
 */
function fetchesOf(opens, source) {
  if (!opens.startsWith('ours')) {
    const begun = firstBytesOf('')
    return source === 'stream' ? begun : [...begun, ...times(FETCHES, () => [UNHASHED]), ['unverified stream', `fetchStream('')`, true]]
  }
  const begun = firstBytesOf('/once/')
  if (source === 'stream') return begun
  /** @type {Step[]} */
  const compared = [
    ['Cache API', 'fetchBeside()', true],
    ['unverified', `fetch('/never/')`, true],
    ['later', `fetch('/once/')`, true],
  ]
  return [
    ...begun,
    // 'once' remembers what it verified, so that there is one first time.
    ['first', `fetch('/once/')`, true],
    ...times(FETCHES, (turn) => [...compared.slice(turn % compared.length), ...compared.slice(0, turn % compared.length)]),
    ['unverified stream', `fetchStream('/never/')`, true],
    ['first stream', `fetchStream('/always/')`, true],
  ]
}

/** @type {Step} */
const UNHASHED = ['unverified', `fetch('')`, true]

/**
 * The first of which wakes the worker and opens what it answers from.
 *
 * @param {string} under
 * @returns {Step[]}
 */
function firstBytesOf(under) {
  return [
    ['first byte', `fetchFirstByte('${under}')`, false],
    ['first byte again', `fetchFirstByte('${under}')`, false],
  ]
}

/**
 * @param {number} count
 * @param {(turn: number) => Step[]} steps
 * @returns {Step[]}
 */
function times(count, steps) {
  return Array.from({ length: count }, (_, turn) => steps(turn)).flat()
}

/** @type {Step[]} */
const ENDS = [
  ['delete', 'delete()', false],
  ['gc', 'gc()', false],
]

/** Steps that others need. */
const NEEDED = new Set(['store'])

/**
 * @param {Tab} tab
 * @param {readonly Step[]} steps
 * @param {number} bytes
 * @param {(measure: string) => boolean} wants
 * @param {Outcome} outcome
 */
async function runSteps(tab, steps, bytes, wants, { samples, failures }) {
  for (const [measure, step, isSpeed] of steps) {
    if (!wants(measure) && !NEEDED.has(measure)) continue
    await tab.collect()
    try {
      const value = await tab.run(step)
      if (value !== null) samples.push({ measure, value, unit: 'ms', ...(isSpeed ? { bytes } : {}) })
    } catch (error) {
      if (tab.hasEnded() || NEEDED.has(measure)) throw error
      failures.push({ measure, reason: inOneLine(error) })
    }
  }
}

/**
 * Stores two versions of a model, ends the browser, counts what lies on disk, and starts another on the same profile.
 *
 * @param {Session} session
 * @param {Setting} setting
 * @param {string} profile
 * @param {Outcome} outcome
 */
async function keepAndReopen(session, setting, profile, { samples }) {
  const { opens, browser, bytes } = session
  const options = { ...setting, browser, profile, stepTimeoutMs: stepTimeoutMs(session) }
  const key = await withTab(options, async (tab) => {
    await tab.run(`open('${opens}')`)
    await tab.run(`make(${bytes}, ${setting.seed})`)
    await tab.run(`store('first')`)
    await tab.run(`makeNext(${setting.seed + 1})`)
    await tab.run(`store('second')`)
    return tab.run('key()')
  })
  samples.push({ measure: 'disk', value: ((await storedBytes(profile)) - setting.emptyProfileBytes) / MIB, unit: 'MiB' })
  const cold = await withTab(options, (tab) => tab.run(`coldRange('${opens}', '${key}', ${bytes})`))
  samples.push({ measure: 'cold open', value: cold, unit: 'ms' })
}
