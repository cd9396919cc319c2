// Anonymous and shared memory of all processes of one browser: Pss of smaps_rollup, so that shared pages count once. Linux only.
import { readdir, readFile } from 'node:fs/promises'

/** How often memory is looked at: a look at a process of several GiB takes about as long. */
export const SAMPLE_INTERVAL_MS = 50

/** Whether this system tells. */
export const CAN_SEE_PROCESSES = process.platform === 'linux'

export class BrowserProcesses {
  #profile

  /** @param {string} profile folder by which the browser is known among the processes */
  constructor(profile) {
    this.#profile = profile
  }

  /** @returns {Promise<number>} */
  async bytes() {
    const sizes = await Promise.all((await this.#ids()).map(bytesOf))
    return sizes.reduce((sum, bytes) => sum + bytes, 0)
  }

  /** The browser's main process and everything below it. */
  async #ids() {
    const all = await Promise.all((await readdir('/proc')).filter((name) => /^\d+$/.test(name)).map(describe))
    const found = new Set(
      all.filter(({ command }) => command.includes(`--user-data-dir=${this.#profile}`) && !command.includes('--type=')).map(({ id }) => id),
    )
    for (let before = -1; before < found.size;) {
      before = found.size
      for (const { id, parent } of all) if (found.has(parent)) found.add(id)
    }
    return [...found]
  }
}

/**
 * @param {string} id
 * @returns {Promise<{ id: string, parent: string, command: string }>}
 */
async function describe(id) {
  const [status, command] = await Promise.all([readGone(`/proc/${id}/status`), readGone(`/proc/${id}/cmdline`)])
  return { id, parent: /^PPid:\s*(\d+)/m.exec(status)?.[1] ?? '', command: command.replaceAll('\0', ' ') }
}

/**
 * @param {string} id
 * @returns {Promise<number>}
 */
async function bytesOf(id) {
  const rollup = await readGone(`/proc/${id}/smaps_rollup`)
  const kilobytes = ['Pss_Anon', 'Pss_Shmem'].map((name) => Number(new RegExp(`^${name}:\\s*(\\d+) kB`, 'm').exec(rollup)?.[1] ?? 0))
  return kilobytes.reduce((sum, value) => sum + value, 0) * 1024
}

/**
 * A process may end between being listed and being read.
 *
 * @param {string} path
 * @returns {Promise<string>}
 */
async function readGone(path) {
  try {
    return await readFile(path, 'utf8')
  } catch {
    return ''
  }
}
