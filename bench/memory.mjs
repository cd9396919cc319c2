// Peak memory of storing, of reading back and of downloading: of the whole browser by the system, and of its scripts by the browser.
import { setTimeout as pause } from 'node:timers/promises'
import { BrowserProcesses, SAMPLE_INTERVAL_MS } from './processes.mjs'

/** @typedef {{ measure: string, value: number }} Peak in bytes */

const IDLE_SAMPLES = 10

/**
 * Stores and reads back while memory is looked at. The source, whose size is known, is taken off the peak; a result that is a
 * buffer is in it.
 *
 * @param {import('./browser.mjs').Tab} tab
 * @param {{ opens: string, bytes: number, source: 'buffer' | 'stream', seed: number, url?: string | undefined }} work `url` of what is downloaded, if anything
 * @returns {Promise<Peak[]>}
 */
export async function peaksOf(tab, { opens, bytes, source, seed, url }) {
  const processes = new BrowserProcesses(tab.profile)
  const { heapBytes } = tab
  await tab.run(`open('${opens}')`)
  await tab.collect()
  const idle = { processes: await least(() => processes.bytes()), heap: await heapBytes() }

  /**
   * @param {string} step
   * @param {number} sourceBytes
   */
  const during = async (step, sourceBytes) => {
    const watches = [watch(() => processes.bytes()), watch(heapBytes)]
    try {
      await tab.run(step)
    } finally {
      for (const { end } of watches) end()
    }
    const [ofProcesses = 0, ofHeap = 0] = await Promise.all(watches.map(({ peak }) => peak))
    return { processes: ofProcesses - idle.processes - sourceBytes, heap: ofHeap - idle.heap - sourceBytes }
  }

  const isStream = source === 'stream'
  const sourceBytes = await tab.run(isStream ? `makeStream(${bytes}, ${seed})` : `make(${bytes}, ${seed})`)
  await tab.collect()
  const stored = await during(isStream ? `storeStream('model')` : `store('model')`, sourceBytes)
  await tab.run('forget()')
  await tab.collect()
  const retrieved = await during(isStream ? 'readStream()' : 'retrieve()', 0)
  const peaks = [
    { measure: 'peak of store', value: stored.processes },
    { measure: 'peak of retrieve', value: retrieved.processes },
    { measure: 'heap of store', value: stored.heap },
    { measure: 'heap of retrieve', value: retrieved.heap },
  ]
  if (url === undefined) return peaks
  await tab.run('forget()')
  await tab.collect()
  const downloaded = await during(`download('${url}')`, 0)
  return [...peaks, { measure: 'peak of download', value: downloaded.processes }, { measure: 'heap of download', value: downloaded.heap }]
}

/**
 * Bytes when nothing goes on: the least of several looks.
 *
 * @param {() => Promise<number>} look
 * @returns {Promise<number>}
 */
async function least(look) {
  let bytes = Number.POSITIVE_INFINITY
  for (let sample = 0; sample < IDLE_SAMPLES; sample++) {
    bytes = Math.min(bytes, await look())
    await pause(SAMPLE_INTERVAL_MS)
  }
  return bytes
}

/**
 * The most bytes seen until `end` is called.
 *
 * @param {() => Promise<number>} look
 * @returns {{ peak: Promise<number>, end: () => void }}
 */
function watch(look) {
  let isOver = false
  const looking = async () => {
    let peak = 0
    while (!isOver) {
      peak = Math.max(peak, await look())
      await pause(SAMPLE_INTERVAL_MS)
    }
    return peak
  }
  const peak = looking()
  // Where the page ends meanwhile, the step that was watched says so.
  peak.catch(() => undefined)
  return {
    peak,
    end: () => {
      isOver = true
    },
  }
}
