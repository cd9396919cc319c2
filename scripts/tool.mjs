// Runs an installed development tool by its package's name, without a shell, so that it can be ended and works on any system.
import { spawn } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** The project's folder. */
export const ROOT = fileURLToPath(new URL('..', import.meta.url))

/** Milliseconds after which a tool is told to stop. */
const TOOL_TIMEOUT_MS = 1_800_000

/**
 * Runs a tool with our output. Answers whether it ended well and in time.
 *
 * @param {string} name of the package, or of one of its commands as 'package:command'
 * @param {string[]} args
 * @param {number} [timeoutMs]
 * @returns {Promise<boolean>}
 */
export async function runTool(name, args, timeoutMs) {
  const [packageName = name, command = packageName.split('/').pop() ?? name] = name.split(':')
  const folder = join(ROOT, 'node_modules', packageName)
  const { bin } = JSON.parse(await readFile(join(folder, 'package.json'), 'utf8'))
  const script = typeof bin === 'string' ? bin : bin[command]
  return runNode([join(folder, script), ...args], timeoutMs)
}

/**
 * Runs Node with our output. Answers whether it ended well and in time.
 *
 * @param {string[]} args
 * @param {number} [timeoutMs]
 * @returns {Promise<boolean>}
 */
export async function runNode(args, timeoutMs = TOOL_TIMEOUT_MS) {
  const child = spawn(process.execPath, args, { cwd: ROOT, stdio: 'inherit' })
  const timer = setTimeout(() => {
    console.error(`told to stop after ${timeoutMs / 60_000} min`)
    // As Ctrl-C does it: vitest then ends its workers and their browsers, which a harder signal would leave behind.
    child.kill('SIGINT')
  }, timeoutMs)
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('exit', (code, signal) => {
      clearTimeout(timer)
      if (signal !== null) console.error(`ended by ${signal}`)
      resolve(code === 0)
    })
  })
}
