// The targets that `--check` holds the library to, as ratios of medians within one run.

/**
 * Where a series is among the results.
 *
 * @typedef {{ contender: string, kind: import('./plan.mjs').Kind, size: string, measure: string }} Place
 */
/**
 * 'faster': the speed of `ours` is at least `target` times that of `other`. 'share': `ours` takes at most `target` times what `other` takes.
 * 'peak': `ours` is at most `target` MiB. 'scale': the ratio of that name among those of scale.mjs is at most `target`.
 *
 * @typedef {{ name: string, sense: 'faster' | 'share', target: number, ours: Place, other: Place }
 *   | { name: string, sense: 'peak', target: number, ours: Place }
 *   | { name: string, sense: 'scale', target: number, row: string }} Target
 */

/**
 * @param {string} contender
 * @param {import('./plan.mjs').Kind} kind
 * @param {string} size
 * @param {string} measure
 * @returns {Place}
 */
const place = (contender, kind, size, measure) => ({ contender, kind, size, measure })

/** @param {string} contender @param {string} measure @param {string} [size] */
const buffer = (contender, measure, size = '256 MiB') => place(contender, 'buffer', size, measure)

/** @param {string} contender @param {string} measure */
const stream = (contender, measure) => place(contender, 'stream', '1 GiB', measure)

/** @param {string} contender @param {string} measure */
const served = (contender, measure) => place(contender, 'served', '256 MiB', measure)

/** @param {string} measure */
const limit = (measure) => place('limits', 'limits', '256 MiB', measure)

/** @param {string} contender @param {string} measure */
const peak = (contender, measure) => place(contender, 'memory', '1 GiB', measure)

/** @param {string} contender @param {string} measure */
const small = (contender, measure) => place(contender, 'small', '10,000 × 1 KiB', measure)

const [PACKS, RECORDS, CACHE] = ['ours packs', 'ours records', 'cache']

/** @type {Target[]} */
export const TARGETS = [
  { name: 'packs: store / Cache API put', sense: 'faster', target: 1.5, ours: buffer(PACKS, 'store'), other: buffer(CACHE, 'store') },
  {
    name: 'packs: verified retrieve / Cache API match + arrayBuffer',
    sense: 'faster',
    target: 1,
    ours: buffer(PACKS, 'retrieve'),
    other: buffer(CACHE, 'retrieve'),
  },
  {
    name: 'packs: verified retrieve / SHA-256 alone',
    sense: 'faster',
    target: 0.5,
    ours: buffer(PACKS, 'retrieve'),
    other: limit('SHA-256'),
  },
  {
    name: 'packs: store of a stream / Cache API',
    sense: 'faster',
    target: 1.2,
    ours: stream(PACKS, 'store'),
    other: stream(CACHE, 'store'),
  },
  {
    name: 'packs: verified read as a stream / Cache API',
    sense: 'faster',
    target: 0.8,
    ours: stream(PACKS, 'retrieve'),
    other: stream(CACHE, 'retrieve'),
  },
  { name: 'records: store / Cache API put', sense: 'faster', target: 1, ours: buffer(RECORDS, 'store'), other: buffer(CACHE, 'store') },
  {
    name: 'records: verified retrieve / Cache API match + arrayBuffer',
    sense: 'faster',
    target: 0.5,
    ours: buffer(RECORDS, 'retrieve'),
    other: buffer(CACHE, 'retrieve'),
  },
  ...['store', 'retrieve'].flatMap((measure) => [
    against('packs', PACKS, 'Helia + blockstore-idb as published', 'helia idb', measure, measure === 'store' ? 50 : 60, '64 MiB'),
    against(
      'packs',
      PACKS,
      'Helia + blockstore-idb, views copied',
      'helia idb copied',
      measure,
      measure === 'store' ? 1.8 : 2.2,
      '256 MiB',
    ),
  ]),
  { name: 'packs: blob() / reading it', sense: 'share', target: 1 / 50, ours: buffer(PACKS, 'blob'), other: buffer(PACKS, 'retrieve') },
  {
    name: 'packs: a random verified range of 64 KiB / OPFS read + hash of its chunk',
    sense: 'share',
    target: 2,
    ours: buffer(PACKS, 'range'),
    other: limit('OPFS chunk'),
  },
  {
    name: "packs: pin / Helia's own pin",
    sense: 'share',
    target: 1 / 20,
    ours: buffer(PACKS, 'pin'),
    other: buffer('helia idb copied', 'pin'),
  },
  {
    name: 'packs: store of what is here / SHA-256 alone',
    sense: 'faster',
    target: 0.5,
    ours: buffer(PACKS, 'store again'),
    other: limit('SHA-256'),
  },
  ...[
    { how: 'unverified', measure: 'unverified', target: 1 },
    { how: 'verified the first time', measure: 'first', target: 0.3 },
    { how: 'later', measure: 'later', target: 1 },
  ].map(({ how, measure, target }) => ({
    name: `service worker: packs, ${how} / Cache API`,
    sense: /** @type {const} */ ('faster'),
    target,
    ours: served(PACKS, measure),
    other: served(PACKS, 'Cache API'),
  })),
  ...[PACKS, RECORDS].map((contender) => ({
    name: `${contender.replace('ours ', '')}: storeUrl / fetch + Cache API put`,
    sense: /** @type {const} */ ('faster'),
    target: 0.8,
    ours: place(contender, 'download', '256 MiB', 'download'),
    other: place(contender, 'download', '256 MiB', 'Cache API'),
  })),
  { name: 'packs: peak memory of storing a stream', sense: 'peak', target: 120, ours: peak(PACKS, 'peak of store') },
  { name: 'packs: peak memory of reading a stream', sense: 'peak', target: 120, ours: peak(PACKS, 'peak of retrieve') },
  { name: 'packs: peak memory of a download', sense: 'peak', target: 120, ours: peak(PACKS, 'peak of download') },
  { name: 'records: peak memory of storing a stream', sense: 'peak', target: 250, ours: peak(RECORDS, 'peak of store') },
  { name: 'records: peak memory of reading a stream', sense: 'peak', target: 250, ours: peak(RECORDS, 'peak of retrieve') },
  { name: 'records: peak memory of a download', sense: 'peak', target: 250, ours: peak(RECORDS, 'peak of download') },
  {
    name: 'small: storeMany / IndexedDB puts awaited one by one',
    sense: 'faster',
    target: 5,
    ours: small(PACKS, 'store'),
    other: small('idb-keyval', 'store'),
  },
  { name: 'scale: listFiles(…, { limit: 100 }) of 100,000 entries / of 100', sense: 'scale', target: 2, row: 'listFiles: first 100' },
  { name: 'scale: exists among 100,000 entries / among 100', sense: 'scale', target: 2, row: 'exists' },
]

/**
 * @param {string} name
 * @param {string} ours
 * @param {string} theirName
 * @param {string} theirs
 * @param {string} measure
 * @param {number} target
 * @param {string} size
 * @returns {Target}
 */
function against(name, ours, theirName, theirs, measure, target, size) {
  return {
    name: `${name}: ${measure === 'store' ? 'store' : 'verified retrieve'} / ${theirName}`,
    sense: 'faster',
    target,
    ours: buffer(ours, measure, size),
    other: buffer(theirs, measure, size),
  }
}

/**
 * The places that a target compares.
 *
 * @param {Target} target
 * @returns {Place[]}
 */
export function placesOf(target) {
  if (target.sense === 'scale') return []
  return target.sense === 'peak' ? [target.ours] : [target.ours, target.other]
}
