// What the report calls the contenders.

/** @type {Record<string, string>} */
const NAMES = {
  'ours packs': 'ipfs-kit-web, packs',
  'ours packs worker': 'ipfs-kit-web, packs, worker',
  'ours records': 'ipfs-kit-web, records',
  'ours records worker': 'ipfs-kit-web, records, worker',
  cache: 'Cache API',
  'cache sha256': 'Cache API + SHA-256',
  'idb-keyval': 'idb-keyval',
  'helia idb': 'Helia + blockstore-idb',
  'helia idb copied': 'Helia + copied views',
  'helia opfs': 'Helia + blockstore-opfs',
  wllama: 'wllama CacheManager',
}

/**
 * @param {string} contender also with what follows its name, as in 'cache, Firefox (2 rounds)'
 * @returns {string}
 */
export function shownName(contender) {
  const [, name = '', rest = ''] = /^(.*?)((?:, Firefox)?(?: \(.*\))?)$/.exec(contender) ?? []
  return `${NAMES[name] ?? name}${rest}`
}
