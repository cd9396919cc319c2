// Prints the peak memory of storing and retrieving one large file, beside that of Helia on stock blockstore-idb. Linux only: it reads /proc.
//
//   node bench/memory.mjs              256 MiB with this library, 64 MiB with the stock one
//   node bench/memory.mjs --mib 1024 stream     another size for this library; only the ways whose names hold one of the words
//
// What is summed is the anonymous and shared memory (Pss of smaps_rollup, so that shared pages count once) of every process of a Chromium with a
// fresh profile on disk, over what it was when the page was open and idle. The caller's own source or result is part of it.
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { build } from 'esbuild'
import { chromium } from 'playwright'
import { CHROMIUM_ARGS, findChromium } from '../scripts/chromium.mjs'

/** @typedef {{ name: string, library: 'ours' | 'stock', form: 'Uint8Array' | 'Blob' | 'stream', mib: number }} Way */
/** @typedef {{ peakMib: number, seconds: number }} Step */

const MIB = 1024 * 1024

/** How often memory is looked at: a look at a process of several GiB takes about as long. */
const SAMPLE_INTERVAL_MS = 50
const IDLE_SAMPLES = 10
/** For one way: the stock one needs about a minute for 64 MiB. */
const WAY_TIMEOUT_MS = 240_000

const { values, positionals } = parseArgs({ options: { mib: { type: 'string', default: '256' } }, allowPositionals: true })
const mib = Number(values.mib)
if (!Number.isSafeInteger(mib) || mib < 1) throw new Error(`--mib takes a whole number of MiB, not '${values.mib}'`)

/** @type {Way[]} */
const WAYS = [
  { name: 'ipfs-kit-web, one Uint8Array', library: 'ours', form: 'Uint8Array', mib },
  { name: 'ipfs-kit-web, a Blob', library: 'ours', form: 'Blob', mib },
  { name: 'ipfs-kit-web, a stream', library: 'ours', form: 'stream', mib },
  { name: 'Helia on blockstore-idb, one Uint8Array', library: 'stock', form: 'Uint8Array', mib: 64 },
]

async function main() {
  const script = await bundle()
  const server = createServer((request, response) => {
    const isScript = request.url === '/page.js'
    response.writeHead(200, { 'content-type': isScript ? 'text/javascript' : 'text/html' })
    response.end(isScript ? script : '<!doctype html><script type="module" src="/page.js"></script>')
  })
  await new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(undefined)))
  const { port } = /** @type {import('node:net').AddressInfo} */ (server.address())
  const executablePath = await findChromium()
  try {
    console.log('peak over idle of anonymous and shared memory, all processes of the browser\n')
    console.log(row('', 'size', 'store', 'retrieve'))
    for (const way of WAYS.filter(isWanted)) {
      const seen = await measure(way, executablePath, `http://127.0.0.1:${port}/`)
      console.log(
        typeof seen === 'string'
          ? row(way.name, `${way.mib} MiB`, seen, '')
          : row(way.name, `${way.mib} MiB`, ...seen.map((step) => cell(way, step))),
      )
    }
    console.log(
      '\nA Uint8Array and a Blob are themselves in memory while they are stored and when they come back: of each such peak, their size is theirs.',
    )
  } finally {
    server.closeAllConnections()
    server.close()
  }
}

/** @param {Way} way */
function isWanted({ name }) {
  return positionals.length === 0 || positionals.some((word) => name.includes(word))
}

/** @returns {Promise<string>} */
async function bundle() {
  const { outputFiles } = await build({
    entryPoints: [new URL('memory-page.ts', import.meta.url).pathname],
    bundle: true,
    write: false,
    format: 'esm',
    platform: 'browser',
    target: 'es2022',
    logLevel: 'error',
  })
  return outputFiles[0]?.text ?? ''
}

/**
 * One way in a browser and profile of its own. What goes wrong is answered in words: that a way can't be gone is a result too.
 *
 * @param {Way} way
 * @param {string} executablePath
 * @param {string} url
 * @returns {Promise<Step[] | string>}
 */
async function measure({ library, form, mib }, executablePath, url) {
  const profile = await mkdtemp(join(tmpdir(), 'ipfs-kit-web-memory-'))
  // A persistent context, since the others keep IndexedDB in memory.
  const context = await chromium.launchPersistentContext(profile, { executablePath, args: CHROMIUM_ARGS })
  const timer = setTimeout(() => void context.close(), WAY_TIMEOUT_MS)
  try {
    const page = await context.newPage()
    await page.goto(url)
    await page.waitForFunction(() => 'steps' in globalThis)
    const devtools = await context.newCDPSession(page)
    const memory = new Memory(profile)
    /** @param {string} step */
    const run = (step) => page.evaluate(`steps.${step}`)

    await run(`open('${library}')`)
    await devtools.send('HeapProfiler.collectGarbage')
    const idle = await memory.idle()
    /** @param {string} step */
    const peakOf = async (step) => {
      const began = performance.now()
      const { peak, answer } = await memory.during(() => run(step))
      return { answer, step: { peakMib: (peak - idle) / MIB, seconds: (performance.now() - began) / 1000 } }
    }
    await run(`make('${form}', ${mib * MIB})`)
    const stored = await peakOf('store()')
    await run('forget()')
    await devtools.send('HeapProfiler.collectGarbage')
    const retrieved = await peakOf(`retrieve('${form}')`)
    if (retrieved.answer !== mib * MIB) return `${String(retrieved.answer)} bytes came back`
    return [stored.step, retrieved.step]
  } catch (error) {
    const [line] = String(error instanceof Error ? error.message : error).split('\n')
    return `failed: ${line}`
  } finally {
    clearTimeout(timer)
    await context.close()
    await rm(profile, { recursive: true, force: true })
  }
}

class Memory {
  #profile

  /** @param {string} profile folder by which the browser is known among the processes */
  constructor(profile) {
    this.#profile = profile
  }

  /** Bytes when nothing goes on: the least of several looks. */
  async idle() {
    let least = Number.POSITIVE_INFINITY
    for (let sample = 0; sample < IDLE_SAMPLES; sample++) {
      least = Math.min(least, await this.#bytes())
      await pause(SAMPLE_INTERVAL_MS)
    }
    return least
  }

  /**
   * The most bytes seen while `work` goes on.
   *
   * @param {() => Promise<unknown>} work
   * @returns {Promise<{ peak: number, answer: unknown }>}
   */
  async during(work) {
    let peak = 0
    let ended = false
    const watch = async () => {
      while (!ended) {
        peak = Math.max(peak, await this.#bytes())
        await pause(SAMPLE_INTERVAL_MS)
      }
    }
    const watching = watch()
    try {
      return { answer: await work(), peak }
    } finally {
      ended = true
      await watching
    }
  }

  async #bytes() {
    const sizes = await Promise.all((await this.#processes()).map(bytesOf))
    return sizes.reduce((sum, bytes) => sum + bytes, 0)
  }

  /** The browser's main process and everything below it. */
  async #processes() {
    const all = await Promise.all((await readdir('/proc')).filter((name) => /^\d+$/.test(name)).map(describeProcess))
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
async function describeProcess(id) {
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

/**
 * @param {Way} way
 * @param {Step} step
 * @returns {string}
 */
function cell(way, { peakMib, seconds }) {
  return `+${Math.round(peakMib)} MiB, ${Math.round(way.mib / seconds)} MB/s`
}

/** @param {string[]} cells */
function row(...cells) {
  return cells.map((text, index) => (index === 0 ? text.padEnd(42) : text.padStart(index === 1 ? 8 : 24))).join('')
}

if (process.platform === 'linux') await main()
else console.log(`bench/memory.mjs reads /proc/*/smaps_rollup, which ${process.platform} does not have: run it on Linux`)
