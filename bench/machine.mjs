// Where a run took place: without it, figures of two runs must not be compared.
import { execFile } from 'node:child_process'
import { cpus, loadavg, release, totalmem, type } from 'node:os'
import { promisify } from 'node:util'
import { ROOT } from '../scripts/tool.mjs'

/** @typedef {{ cpu: string, cores: number, memoryGib: number, system: string, node: string, chromium: string, firefox?: string, commit: string, load: number }} Machine */

/**
 * @param {string} executablePath of Chromium
 * @param {string | undefined} firefox its version
 * @returns {Promise<Machine>}
 */
export async function describeMachine(executablePath, firefox) {
  const [{ model } = { model: 'unknown' }] = cpus()
  return {
    cpu: model.trim(),
    cores: cpus().length,
    memoryGib: Math.round(totalmem() / 2 ** 30),
    system: `${type()} ${release()}`,
    node: process.version,
    chromium: await answerOf(executablePath, ['--version']),
    ...(firefox === undefined ? {} : { firefox }),
    commit: await answerOf('git', ['describe', '--always', '--dirty']),
    load: loadavg()[0] ?? 0,
  }
}

/** A line that says so, where others work on this machine at the same time. */
export function busyWarning() {
  const [load = 0] = loadavg()
  return load > cpus().length / 2
    ? `others work on this machine (load ${load.toFixed(1)} on ${cpus().length} cores): figures will vary`
    : undefined
}

/**
 * @param {string} command
 * @param {string[]} args
 * @returns {Promise<string>}
 */
async function answerOf(command, args) {
  try {
    return (await promisify(execFile)(command, args, { cwd: ROOT, timeout: 20_000 })).stdout.trim()
  } catch {
    return 'unknown' // Outside of a repository, say. It is only a label.
  }
}
