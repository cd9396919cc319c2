// Bytes on disk that a profile's storage takes.
import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { withProfile, withTab } from './browser.mjs'

/** Folders of a profile in which Chromium keeps what pages store: IndexedDB, OPFS, the Cache API, and storage buckets. */
const STORAGE_FOLDERS = ['IndexedDB', 'File System', 'Service Worker', 'WebStorage', 'blob_storage']

const BLOCK_BYTES = 512
const START_TIMEOUT_MS = 60_000

/**
 * What `du` would say of the folders. Call it once the browser has ended.
 *
 * @param {string} profile
 * @returns {Promise<number>}
 */
export async function storedBytes(profile) {
  let bytes = 0
  for (const folder of STORAGE_FOLDERS) bytes += await bytesBelow(join(profile, 'Default', folder))
  return bytes
}

/**
 * The same of a profile whose browser only opened the page.
 *
 * @param {{ executablePath: string, url: string }} options
 * @returns {Promise<number>}
 */
export async function emptyProfileBytes(options) {
  return withProfile(async (profile) => {
    await withTab({ ...options, browser: 'chromium', profile, stepTimeoutMs: START_TIMEOUT_MS }, async () => undefined)
    return storedBytes(profile)
  })
}

/**
 * @param {string} folder
 * @returns {Promise<number>}
 */
async function bytesBelow(folder) {
  const names = await readdir(folder, { recursive: true }).catch((/** @type {NodeJS.ErrnoException} */ error) => {
    if (error.code === 'ENOENT') return []
    throw error
  })
  const sizes = await Promise.all(names.map(async (name) => (await stat(join(folder, name))).blocks * BLOCK_BYTES))
  return sizes.reduce((sum, size) => sum + size, 0)
}
