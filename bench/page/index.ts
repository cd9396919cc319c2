// The page of the benchmark: one contender, driven step by step from Node. Each timed step answers milliseconds, or null where the contender
// lacks it; making data and checking what came back are outside of what is timed.
import { openCache, openHashedCache } from './cache.ts'
import type { Bytes, Contender } from './contender.ts'
import { drained, isSame, nextVersion, RING_BYTES, seeded, smallItems, streamOfRing } from './data.ts'
import { openHelia } from './helia.ts'
import { openKeyval } from './keyval.ts'
import type { LimitsAnswer, LimitsRequest } from './limits-worker.ts'
import { openOurs } from './ours.ts'
import { controlled, fetched, fetchedStream } from './served.ts'
import { openWllama } from './wllama.ts'

type Milliseconds = number | null

const CHUNK_BYTES = 1024 * 1024
const RANGE_BYTES = 64 * 1024

const CONTENDERS: Record<string, () => Promise<Contender> | Contender> = {
  'ours packs': () => openOurs('packs', 'page'),
  'ours packs worker': () => openOurs('packs', 'worker'),
  'ours records': () => openOurs('records', 'page'),
  'ours records worker': () => openOurs('records', 'worker'),
  cache: openCache,
  'cache sha256': openHashedCache,
  'idb-keyval': openKeyval,
  'helia idb': () => openHelia('idb'),
  'helia idb copied': () => openHelia('idb-copied'),
  'helia opfs': () => openHelia('opfs'),
  wllama: openWllama,
}

class Bench {
  #contender: Contender | undefined
  #source: Bytes | undefined
  #stream: ReadableStream<Bytes> | undefined
  #items: Bytes[] = []
  #size = 0
  #key = ''
  #smallKeys: string[] = []

  async open(name: string): Promise<Milliseconds> {
    const open = CONTENDERS[name]
    if (open === undefined) throw new Error(`no contender is called '${name}'`)
    return timed(async () => (this.#contender = await open()))
  }

  /** Answers how many bytes the source keeps in memory, as the next but one does. */
  async make(size: number, seed: number): Promise<number> {
    this.#size = size
    this.#source = await seeded(size, seed)
    return size
  }

  /** The next version of what was made before. */
  async makeNext(seed: number): Promise<void> {
    this.#source = nextVersion(this.#made(), await seeded(CHUNK_BYTES, seed), CHUNK_BYTES)
  }

  async makeStream(size: number, seed: number): Promise<number> {
    this.#size = size
    this.#stream = await streamOfRing(size, seed)
    return RING_BYTES
  }

  async makeSmall(count: number, size: number, seed: number): Promise<void> {
    this.#items = await smallItems(count, size, seed)
  }

  /** Lets go of the source, so that only the contender's own memory is seen. */
  forget(): void {
    this.#source = undefined
    this.#stream = undefined
    this.#items = []
  }

  /** The key of what was stored last, for a page that comes after this one. */
  key(): string {
    return this.#key
  }

  async store(name: string): Promise<Milliseconds> {
    const source = this.#made()
    return timed(async () => (this.#key = await this.#get().store(name, source)))
  }

  async storeStream(name: string): Promise<Milliseconds> {
    const { storeStream } = this.#get()
    const stream = this.#stream
    if (storeStream === undefined || stream === undefined) return null
    return timed(async () => (this.#key = await storeStream(name, stream, this.#size)))
  }

  async download(url: string): Promise<Milliseconds> {
    const { download } = this.#get()
    return download === undefined ? null : timed(async () => (this.#key = await download(url)))
  }

  /** The same file as a stream, which can't be gone on with. */
  async downloadStream(url: string): Promise<Milliseconds> {
    const { storeStream } = this.#get()
    if (storeStream === undefined) return null
    return timed(async () => {
      const { body } = await fetch(url)
      if (body === null) throw new Error(`${url} was answered without a body`)
      await storeStream(url, body, this.#size)
    })
  }

  /** What fetch() and the Cache API make of it in this page. */
  async downloadBeside(url: string): Promise<Milliseconds> {
    const beside = await openCache()
    return timed(() => beside.download?.(url))
  }

  async retrieve(): Promise<Milliseconds> {
    return this.#read(this.#get().retrieve)
  }

  async retrieveUnverified(): Promise<Milliseconds> {
    return this.#read(this.#get().retrieveUnverified)
  }

  async readStream(): Promise<Milliseconds> {
    const { stream } = this.#get()
    return stream === undefined ? null : this.#drain(() => stream(this.#key))
  }

  async firstByte(): Promise<Milliseconds> {
    const { stream } = this.#get()
    return stream === undefined ? null : firstOf(() => stream(this.#key))
  }

  /** Milliseconds of one range of 64 KiB, the mean of many at random offsets, one after another; of fewer where the time is over. */
  async ranges(count: number, limitMs: number): Promise<Milliseconds> {
    const { ranges } = this.#get()
    if (ranges === undefined) return null
    const offsets = Array.from({ length: count }, () => Math.floor(Math.random() * (this.#size - RANGE_BYTES)))
    let done = 0
    const taken = await timed(async () => {
      const began = performance.now()
      const read = await ranges(this.#key)
      for (const offset of offsets) {
        const bytes = await read(offset, RANGE_BYTES)
        if (bytes.byteLength !== RANGE_BYTES) throw new Error(`${bytes.byteLength} bytes came for a range`)
        done++
        if (performance.now() - began > limitMs) break
      }
    })
    return taken / done
  }

  async blob(): Promise<Milliseconds> {
    const { blob } = this.#get()
    if (blob === undefined) return null
    let size = 0
    const taken = await timed(async () => ({ size } = await blob(this.#key)))
    if (size !== this.#size) throw new Error(`the Blob has ${size} of ${this.#size} bytes`)
    return taken
  }

  /** From here on a service worker controls this page. `under` of what follows is the path before the key that it answers. */
  async serve(): Promise<void> {
    await controlled()
  }

  /** Puts the source into the Cache API as well, which fetchBeside() then fetches through the same worker. */
  async cacheBeside(): Promise<void> {
    await (await openCache()).store('beside', this.#made())
  }

  async fetchBeside(): Promise<Milliseconds> {
    return this.#read(() => fetched('/cached/beside'))
  }

  async fetch(under: string): Promise<Milliseconds> {
    return this.#read((key) => fetched(under + key))
  }

  async fetchStream(under: string): Promise<Milliseconds> {
    return this.#drain(() => fetchedStream(under + this.#key))
  }

  async fetchFirstByte(under: string): Promise<Milliseconds> {
    return firstOf(() => fetchedStream(under + this.#key))
  }

  async pin(): Promise<Milliseconds> {
    const { pin } = this.#get()
    return pin === undefined ? null : timed(() => pin(this.#key))
  }

  async unpin(): Promise<Milliseconds> {
    const { unpin } = this.#get()
    return unpin === undefined ? null : timed(() => unpin(this.#key))
  }

  async delete(): Promise<Milliseconds> {
    const { delete: remove } = this.#get()
    return remove === undefined ? null : timed(() => remove(this.#key))
  }

  async gc(): Promise<Milliseconds> {
    const { gc } = this.#get()
    return gc === undefined ? null : timed(gc)
  }

  async storeSmall(): Promise<Milliseconds> {
    const { storeSmall } = this.#get()
    return storeSmall === undefined ? null : timed(async () => (this.#smallKeys = await storeSmall(this.#items)))
  }

  /** Milliseconds of one item, the mean of the first `count`, one after another. */
  async retrieveSmall(count: number): Promise<Milliseconds> {
    const { retrieveSmall } = this.#get()
    if (retrieveSmall === undefined || this.#smallKeys.length === 0) return null
    const keys = this.#smallKeys.slice(0, count)
    const taken = await timed(async () => {
      for (const key of keys) await retrieveSmall(key)
    })
    return taken / keys.length
  }

  /** From nothing to the first range of a file that is there already. */
  async coldRange(name: string, key: string, size: number): Promise<Milliseconds> {
    this.#key = key
    return timed(async () => {
      await this.open(name)
      const read = present(await this.#get().ranges?.(key))
      await read(Math.floor(size / 2), RANGE_BYTES)
    })
  }

  async limits(request: LimitsRequest): Promise<LimitsAnswer> {
    const worker = new Worker('limits-worker.js', { type: 'module' })
    try {
      return await new Promise((resolve, reject) => {
        worker.onmessage = ({ data }: MessageEvent<LimitsAnswer | { error: string }>) => {
          if ('error' in data) reject(new Error(data.error))
          else resolve(data)
        }
        worker.onerror = (event) => reject(new Error(event.message))
        worker.postMessage(request)
      })
    } finally {
      worker.terminate()
    }
  }

  /** Checks what came back, once nothing is timed. */
  async #read(read: Contender['retrieve'] | undefined): Promise<Milliseconds> {
    if (read === undefined) return null
    let bytes: Bytes | undefined
    const taken = await timed(async () => (bytes = await read(this.#key, this.#size)))
    if (bytes === undefined || bytes.byteLength !== this.#size) throw new Error(`${bytes?.byteLength} of ${this.#size} bytes came`)
    if (this.#source !== undefined && !isSame(bytes, this.#source)) throw new Error('other bytes came back')
    return taken
  }

  async #drain(open: () => Promise<ReadableStream<Bytes>>): Promise<Milliseconds> {
    let bytes = 0
    const taken = await timed(async () => (bytes = await drained(await open())))
    if (bytes !== this.#size) throw new Error(`${bytes} of ${this.#size} bytes came`)
    return taken
  }

  #get(): Contender {
    return present(this.#contender)
  }

  #made(): Bytes {
    return present(this.#source)
  }
}

function present<T>(found: T | undefined): T {
  if (found === undefined) throw new Error('a step before this one is missing')
  return found
}

async function firstOf(open: () => Promise<ReadableStream<Bytes>>): Promise<Milliseconds> {
  let reader: ReadableStreamDefaultReader<Bytes> | undefined
  const taken = await timed(async () => {
    reader = (await open()).getReader()
    await reader.read()
  })
  await reader?.cancel()
  return taken
}

async function timed(work: () => unknown): Promise<number> {
  const began = performance.now()
  await work()
  return performance.now() - began
}

Object.assign(globalThis, { bench: new Bench() })
