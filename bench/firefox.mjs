// Finds the Firefox of this system. FIREFOX_PATH wins; where there is none, nothing is installed.
import { execFile } from 'node:child_process'
import { delimiter, join } from 'node:path'
import { promisify } from 'node:util'

/** @typedef {{ path: string, version: string }} Firefox */

const PROBE_TIMEOUT_MS = 20_000

/**
 * Answers a Firefox that starts, or undefined.
 *
 * @returns {Promise<Firefox | undefined>}
 */
export async function findFirefox() {
  const asked = process.env['FIREFOX_PATH']
  for (const path of asked ? [asked] : usualPlaces()) {
    try {
      const { stdout } = await promisify(execFile)(path, ['--version'], { timeout: PROBE_TIMEOUT_MS })
      return { path, version: stdout.trim() }
    } catch {
      // Not there, or a stub that only names a snap: the next place may do.
    }
  }
  return undefined
}

/** @returns {string[]} */
function usualPlaces() {
  const folders = (process.env['PATH'] ?? '').split(delimiter).filter((folder) => folder !== '')
  return [
    ...['firefox', 'firefox-esr'].flatMap((name) => folders.map((folder) => join(folder, name))),
    '/Applications/Firefox.app/Contents/MacOS/firefox',
  ]
}
