// What one context does to a storage that others use at the same time: a seeded mix of all there is to do, each answer held against a model of what this
// one did.
import type { ContentStorage, FileInfo } from '../../../src/index.ts'
import { filesOf, isDirectory, isPartOf, numbersIn, piecesOf, seededBytes } from './contents.ts'
import { randomOf, type Random } from './random.ts'

/** Contents that everybody stores, of parts that they share. */
const SHARED = ['b0-1', 'b700-2', 'b200000-3', 'f0', 'f0.1', 'f1.2.3', 'f4.5.0', 'f3.3', 'd1', 'd2']
const SHARED_PARTS = 6
/** Numbers from here on are in nobody else's contents. */
const OWN = 100
const OWN_PARTS = 3

/** Files stored together: few, or rarely as many as make a pack. */
const FEW = 12
const MANY = 520
const DELETED_AT_ONCE = 5
/** Entries that one hand keeps at most before it deletes some, those stored together counted as one. */
const ENTRIES = 9
const NAMES = 3
/** Milliseconds in which everybody who stores something shared stores the same. */
const MOMENT_MS = 400
const PROBLEMS = 20

export interface Outcome {
  /** Entries that were made and not taken away, as 'filename cid'. */
  entries: string[]
  /** Pins, as 'cid holder'. */
  pins: string[]
  /** Those of the hands that made an entry: where the first step of one takes all of the time, it makes none. */
  makers: string[]
  /** How often each thing was done. */
  steps: Record<string, number>
  problems: string[]
}

type Entry = [filename: string, cid: string]
type Range = { offset?: number; length?: number }

/** One context, whose hands work beside each other. */
export class Hammer {
  readonly #storage: ContentStorage
  readonly #outcome: Outcome = { entries: [], pins: [], makers: [], steps: {}, problems: [] }
  /** What the events of all contexts say is there, and where contents were told to be. */
  readonly #told = new Set<string>()
  readonly #cids = new Map<string, string>()
  readonly #heard = new Set<string>()

  constructor(storage: ContentStorage) {
    this.#storage = storage
    storage.addEventListener('change', ({ detail }) => this.#hear(detail))
    storage.addEventListener('damaged', ({ detail }) => this.#problem(`event damaged: ${JSON.stringify(detail)}`))
    storage.addEventListener('evicted', ({ detail }) => this.#problem(`event evicted: ${JSON.stringify(detail)}`))
    globalThis.addEventListener('unhandledrejection', ({ reason }) => this.#problem(`unhandled: ${wordsOf(reason)}`))
  }

  /** Works with the hands of these numbers. */
  async work(hands: readonly number[], seed: number, milliseconds: number): Promise<Outcome> {
    const end = performance.now() + milliseconds
    await Promise.all(hands.map((number) => this.#handOf(number, seed).work(end)))
    return this.#outcome
  }

  /** The entries that events told of, as 'filename cid', and whose they were. */
  get told(): { entries: string[]; heard: string[] } {
    return { entries: [...this.#told].toSorted(), heard: [...this.#heard].toSorted() }
  }

  #handOf(number: number, seed: number): Hand {
    return new Hand(number, randomOf(seed * 7919 + number), {
      storage: this.#storage,
      outcome: this.#outcome,
      told: this.#told,
      cids: this.#cids,
      problem: (text) => this.#problem(text),
    })
  }

  #hear({ cid, filename, kind }: { cid: string; filename: string; kind: string }): void {
    // What a pin made, which any context may take away.
    if (filename === cid) return
    const entry = `${filename} ${cid}`
    this.#heard.add(handIn(filename))
    if (kind === 'deleted') this.#told.delete(entry)
    else if (kind === 'stored') {
      this.#told.add(entry)
      const key = keyIn(filename)
      const before = this.#cids.get(key)
      if (before !== undefined && before !== cid) this.#problem(`${key} is ${before} and ${cid}`)
      this.#cids.set(key, cid)
    }
  }

  #problem(text: string): void {
    if (this.#outcome.problems.length < PROBLEMS) this.#outcome.problems.push(text)
  }
}

interface Tools {
  storage: ContentStorage
  outcome: Outcome
  told: ReadonlySet<string>
  cids: Map<string, string>
  problem: (text: string) => void
}

/** Works one step after the other, on names of its own. */
class Hand {
  readonly #name: string
  readonly #number: number
  readonly #random: Random
  readonly #tools: Tools
  /** By filename and CID: two contents may have one name. */
  readonly #entries = new Map<string, Entry>()
  readonly #pins = new Set<string>()
  #step = ''

  constructor(number: number, random: Random, tools: Tools) {
    this.#name = `h${number}`
    this.#number = number
    this.#random = random
    this.#tools = tools
  }

  async work(end: number): Promise<void> {
    const { outcome } = this.#tools
    while (performance.now() < end && outcome.problems.length < PROBLEMS) {
      const [name, step] = this.#next()
      this.#step = name
      try {
        await step()
      } catch (error) {
        this.#problem(wordsOf(error))
      }
      outcome.steps[name] = (outcome.steps[name] ?? 0) + 1
    }
    outcome.entries.push(...[...this.#entries.values()].map(([filename, cid]) => `${filename} ${cid}`))
    outcome.pins.push(...[...this.#pins].map((cid) => `${cid} ${this.#name}`))
  }

  #next(): [string, () => Promise<void>] {
    const steps: [weight: number, name: string, step: () => Promise<void>][] = [
      [this.#groups() < ENTRIES ? 26 : 4, 'store', () => this.#store()],
      [this.#groups() < ENTRIES ? 6 : 1, 'storeMany', () => this.#storeMany()],
      [3, 'store, aborted', () => this.#storeAborted()],
      [12, 'retrieve', () => this.#retrieve()],
      [8, 'stream', () => this.#stream()],
      [4, 'blob', () => this.#blob()],
      [4, 'look', () => this.#look()],
      [6, 'pin', () => this.#pin()],
      [5, 'unpin', () => this.#unpin()],
      [this.#groups() < ENTRIES ? 14 : 30, 'delete', () => this.#delete()],
      [4, 'gc', async () => void (await this.#tools.storage.gc())],
      [5, 'list', () => this.#list()],
      [4, 'car', () => this.#car()],
      [3, 'verify', () => this.#verify()],
    ]
    let dice = this.#random.below(steps.reduce((sum, [weight]) => sum + weight, 0))
    const [, name, step] = steps.find(([weight]) => (dice -= weight) < 0) ?? steps[0]!
    return [name, step]
  }

  async #store(): Promise<void> {
    const { storage, cids } = this.#tools
    const key = this.#anyKey()
    const filename = this.#filename(key)
    const isPin = this.#random.below(5) === 0
    const options = { filename, ...(isPin ? { pin: true, holder: this.#name } : {}) }
    const cid = isDirectory(key)
      ? await storage.storeDirectory(
          filesOf(key).map(([path, file]) => ({ path, data: new Blob(piecesOf(file)) })),
          options,
        )
      : await storage.store(this.#source(key), options)
    const known = cids.get(key)
    if (known !== undefined && known !== cid) this.#problem(`${key} is ${known} and ${cid}`)
    cids.set(key, cid)
    this.#keep([filename, cid], isPin)
  }

  async #storeMany(): Promise<void> {
    const count = this.#random.below(16) === 0 ? MANY : FEW
    const group = this.#random.below(NAMES)
    const keys = Array.from({ length: count }, (_, index) => `b${300 + index}-${this.#own(1000 * (group + 1) + index)}`)
    const filenames = keys.map((key, index) => `${this.#name}/g${group}-${index}/${key}`)
    const items = keys.map((key, index) => ({ data: piecesOf(key)[0] ?? '', filename: filenames[index] ?? '' }))
    const cids = await this.#tools.storage.storeMany(items)
    cids.forEach((cid, index) => this.#keep([filenames[index] ?? '', cid], false))
  }

  async #storeAborted(): Promise<void> {
    const abort = new AbortController()
    const reason = new Error('the hammer aborted it')
    const [pieces, own] = [piecesOf(this.#fileKey()), seededBytes(3_000_000, this.#own(this.#random.below(1000)))]
    const source = async function* (): AsyncGenerator<Uint8Array> {
      yield* pieces
      yield own
      abort.abort(reason)
      yield own
    }
    const filename = this.#filename('aborted')
    await this.#tools.storage.store(source(), { filename, signal: abort.signal }).then(
      (cid) => this.#problem(`${filename} was aborted, and stored as ${cid}`),
      (error: unknown) => {
        if (error !== reason) throw error
      },
    )
  }

  async #retrieve(): Promise<void> {
    const entry = this.#target()
    if (entry === undefined) return
    const [path, key] = this.#fileIn(entry)
    const range = this.#random.below(2) === 0 ? {} : this.#range(key)
    const bytes = await this.#tools.storage.retrieve(path, range)
    this.#judge(entry, bytes, key, range)
  }

  /** To its end, or left half way: by cancel(), or as it is. */
  async #stream(): Promise<void> {
    const entry = this.#target()
    if (entry === undefined) return
    const [path, key] = this.#fileIn(entry)
    const range = this.#random.below(2) === 0 ? {} : this.#range(key)
    const ending = this.#random.below(6)
    const stream = await this.#tools.storage.stream(path, range)
    if (stream === null) return this.#judge(entry, null, key, range)
    const reader = stream.getReader()
    if (ending < 2) {
      await this.#found(entry, () => reader.read())
      if (ending === 0) await reader.cancel()
      return
    }
    const read = await this.#found(entry, () => readAll(reader))
    if (read !== undefined) this.#judge(entry, read, key, range)
  }

  async #blob(): Promise<void> {
    const entry = this.#target()
    if (entry === undefined) return
    const [path, key] = this.#fileIn(entry)
    const blob = await this.#tools.storage.blob(path)
    const range: Range = this.#random.below(2) === 0 ? {} : this.#range(key)
    const { offset = 0, length = Number.POSITIVE_INFINITY } = range
    const part = blob?.slice(offset, Math.min(blob.size, offset + length))
    this.#judge(entry, part === undefined ? null : new Uint8Array(await part.arrayBuffer()), key, range)
  }

  async #look(): Promise<void> {
    const { storage } = this.#tools
    const entry = this.#target()
    if (entry === undefined) return
    const [filename, cid] = entry
    const [exists, stat] = await Promise.all([storage.exists(cid), storage.stat(cid)])
    const names = isDirectory(keyIn(filename)) ? await storage.listDirectory(cid) : undefined
    if (!this.#isHeld(cid)) return
    if (!exists) this.#problem(`${filename} does not exist`)
    if (stat === null || stat.blocks !== stat.localBlocks) this.#problem(`${filename}: ${JSON.stringify(stat)}`)
    if (names !== undefined && names?.map(({ name }) => name).join() !== 'deep,many,one')
      this.#problem(`${filename}: ${JSON.stringify(names)}`)
  }

  /** Of what this hand keeps, or of something shared that may be nowhere. */
  async #pin(): Promise<void> {
    const entry = this.#target(true)
    if (entry === undefined) return
    const [filename, cid] = entry
    const isHeld = this.#isHeld(cid)
    const answer = await this.#tools.storage.pin(cid, { holder: this.#name })
    if (answer) this.#pins.add(cid)
    else if (isHeld) this.#problem(`${filename} can't be pinned`)
  }

  async #unpin(): Promise<void> {
    const { storage, cids } = this.#tools
    const pins = [...this.#pins]
    const cid = pins[this.#random.below(pins.length + 1)] ?? cids.get(this.#sharedKey())
    if (cid === undefined) return
    const was = this.#pins.has(cid)
    this.#pins.delete(cid)
    if ((await storage.unpin(cid, { holder: this.#name })) !== was) this.#problem(`unpin() of ${cid} is not ${was}`)
  }

  async #delete(): Promise<void> {
    const { storage } = this.#tools
    const entry = [...this.#entries.values()][this.#random.below(this.#entries.size)]
    if (entry === undefined) return
    const [filename, cid] = entry
    const group = /^\w+\/g\d+-/.exec(filename)?.[0]
    if (group !== undefined) {
      const together = [...this.#entries.values()].filter(([name]) => name.startsWith(group))
      const from = this.#random.below(together.length)
      const some = together.slice(from, from + DELETED_AT_ONCE)
      await Promise.all(some.map((one) => this.#deleteOne(one)))
      return
    }
    if (!isOwn(keyIn(filename)) || this.#random.below(3) > 0) return this.#deleteOne(entry)
    // Nobody else knows the content: all of its entries go, and with `force` its pins.
    const isPinned = this.#pins.has(cid)
    const force = this.#random.below(2) === 0
    const answer = await refused(storage.delete(cid, { force }))
    if (answer === 'refused' ? force || !isPinned : !answer || (isPinned && !force)) this.#problem(`delete() of ${filename} is ${answer}`)
    if (answer !== true) return
    for (const [id, [, other]] of this.#entries) if (other === cid) this.#entries.delete(id)
    this.#pins.delete(cid)
  }

  async #deleteOne([filename, cid]: Entry): Promise<void> {
    const isLast = [...this.#entries.values()].filter(([, other]) => other === cid).length === 1
    const answer = await refused(this.#tools.storage.delete(cid, { filename }))
    if (isOwn(keyIn(filename)) && (answer === 'refused') !== (isLast && this.#pins.has(cid))) {
      this.#problem(`delete() of ${filename} is ${answer}`)
    }
    if (answer === false) this.#problem(`${filename} is not there to delete`)
    if (answer === true) this.#entries.delete(`${filename} ${cid}`)
  }

  /** Page by page, under a name or all of it. */
  async #list(): Promise<void> {
    const { storage } = this.#tools
    const path = [this.#name, this.#name, '/', `h${this.#random.below(10)}`][this.#random.below(4)] ?? '/'
    const limit = 30 + this.#random.below(400)
    const all: FileInfo[] = []
    for (;;) {
      const after = all.at(-1)
      const page = await storage.listFiles(path, { limit, ...(after === undefined ? {} : { after }) })
      all.push(...page)
      if (page.length < limit) break
    }
    const ids = all.map(({ filename, cid }) => `${filename} ${cid}`)
    if (all.some((file, index) => index > 0 && !isBefore(all[index - 1]!, file))) this.#problem(`the list of ${path} is not in order`)
    const mine = all.filter(({ filename }) => handIn(filename) === this.#name)
    for (const { filename, cid, state, pinned } of mine) {
      if (!this.#entries.has(`${filename} ${cid}`)) this.#problem(`${filename} is listed`)
      if (state !== 'whole') this.#problem(`${filename} is ${state}`)
      if (this.#pins.has(cid) ? !pinned : pinned && isOwn(keyIn(filename))) this.#problem(`${filename} is pinned: ${pinned}`)
    }
    const listed = new Set(ids)
    if (listed.size !== ids.length) this.#problem(`the list of ${path} repeats names`)
    if (path !== '/' && path !== this.#name) return
    for (const id of this.#entries.keys()) if (!listed.has(id)) this.#problem(`${id} is not listed`)
  }

  async #car(): Promise<void> {
    const { storage } = this.#tools
    const entry = this.#target()
    if (entry === undefined) return
    const [original, cid] = entry
    const stream = await storage.exportCar(cid)
    if (stream === null) {
      if (this.#isHeld(cid)) this.#problem(`${original} can't be exported`)
      return
    }
    const read = await this.#found(entry, () => readAll(stream.getReader()))
    // What is another hand's own stays so.
    if (read === undefined || (isOwn(keyIn(original)) && !this.#isHeld(cid))) return
    const filename = this.#filename(keyIn(original))
    if (this.#random.below(4) === 0) {
      const half = read.subarray(0, read.byteLength - 20)
      const answer = await storage.importCar(half, { filename }).then(
        () => 'imported',
        (error: Error) => error.name,
      )
      if (answer !== 'CarError') this.#problem(`a CAR that was cut off is ${answer}`)
      return
    }
    const roots = await storage.importCar(read, { filename })
    if (roots.join() !== cid) this.#problem(`the CAR of ${cid} is ${roots.join()}`)
    this.#keep([filename, cid], false)
  }

  async #verify(): Promise<void> {
    const entry = this.#random.below(3) === 0 ? undefined : this.#target()
    const { damaged } = await this.#tools.storage.verify(entry?.[1])
    if (damaged.length > 0) this.#problem(`${entry?.[0] ?? 'something'} is damaged: ${JSON.stringify(damaged.slice(0, 3))}`)
  }

  #keep(entry: Entry, isPin: boolean): void {
    const { makers } = this.#tools.outcome
    if (!makers.includes(this.#name)) makers.push(this.#name)
    this.#entries.set(entry.join(' '), entry)
    if (isPin) this.#pins.add(entry[1])
  }

  #isHeld(cid: string): boolean {
    return this.#pins.has(cid) || [...this.#entries.values()].some(([, other]) => other === cid)
  }

  /** What is held must be read, and whatever is read must be right. */
  #judge([filename, cid]: Entry, bytes: Uint8Array | null, key: string, { offset = 0, length }: Range): void {
    if (bytes === null) {
      if (this.#isHeld(cid)) this.#problem(`${filename} is null`)
    } else if (!isPartOf(bytes, piecesOf(key), offset, length))
      this.#problem(`${filename} has wrong bytes: ${bytes.byteLength} from ${offset}`)
  }

  /** undefined where content that others deleted meanwhile ends a stream. */
  async #found<T>([, cid]: Entry, read: () => Promise<T>): Promise<T | undefined> {
    try {
      return await read()
    } catch (error) {
      if ((error as Error).name === 'UnavailableError' && !this.#isHeld(cid)) return undefined
      throw error
    }
  }

  /** An entry of this hand, or of anybody; `shared`: one of this hand, or something shared. */
  #target(shared = false): Entry | undefined {
    const { told, cids } = this.#tools
    if (this.#entries.size > 0 && this.#random.below(2) === 0) return [...this.#entries.values()][this.#random.below(this.#entries.size)]
    if (shared || this.#random.below(3) === 0) {
      const key = this.#sharedKey()
      const cid = cids.get(key)
      return cid === undefined ? undefined : [key, cid]
    }
    const [filename, cid] = [...told][this.#random.below(told.size)]?.split(' ') ?? []
    return filename === undefined || cid === undefined ? undefined : [filename, cid]
  }

  /** The path and key of a file: the entry's own, or one in the directory that it is. */
  #fileIn([filename, cid]: Entry): [path: string, key: string] {
    const key = keyIn(filename)
    if (!isDirectory(key)) return [cid, key]
    const files = filesOf(key)
    const [path, file] = files[this.#random.below(files.length)]!
    return [`${cid}/${path}`, file]
  }

  #range(key: string): { offset: number; length: number } {
    const size = piecesOf(key).reduce((sum, piece) => sum + piece.byteLength, 0)
    return { offset: this.#random.below(size + 10), length: this.#random.below(size + 10) }
  }

  #anyKey(): string {
    const dice = this.#random.below(10)
    if (dice < 5) return this.#sharedKey()
    if (dice < 6) return `d${this.#own(this.#random.below(2))}`
    if (dice < 7) return `b${this.#random.below(300_000)}-${this.#own(this.#random.below(50))}`
    return this.#fileKey()
  }

  /** A file with a part of this hand's and some that everybody has. */
  #fileKey(): string {
    const others = Array.from({ length: this.#random.below(3) }, () => this.#random.below(SHARED_PARTS))
    return `f${[...others, this.#own(this.#random.below(OWN_PARTS))].join('.')}`
  }

  #sharedKey(): string {
    const index = this.#random.below(2) === 0 ? this.#random.below(SHARED.length) : Math.floor(Date.now() / MOMENT_MS) % SHARED.length
    return SHARED[index] ?? 'f0'
  }

  #own(number: number): number {
    return OWN + this.#number * 10_000 + number
  }

  #filename(key: string): string {
    return `${this.#name}/${this.#random.below(NAMES)}/${key}`
  }

  /** In one of the forms that a source may have. */
  #source(key: string): Blob | ReadableStream<Uint8Array> | Uint8Array<ArrayBuffer>[] {
    const pieces = piecesOf(key)
    const form = this.#random.below(3)
    return form === 0 ? new Blob(pieces) : form === 1 ? pieces : new Blob(pieces).stream()
  }

  #groups(): number {
    return new Set([...this.#entries.values()].map(([filename]) => filename.replace(/(\/g\d+)-.*/, '$1'))).size
  }

  #problem(text: string): void {
    this.#tools.problem(`${this.#name}, ${this.#step}: ${text}`)
  }
}

/** What is wrong with the bytes of contents at the end, by filename and CID. */
export async function judgeAll(storage: ContentStorage, entries: readonly Entry[]): Promise<string[]> {
  const wrong: string[] = []
  for (const [filename, cid] of new Map(entries.map((entry) => [entry[1], entry])).values()) {
    const key = keyIn(filename)
    const files: [string, string][] = isDirectory(key) ? filesOf(key).map(([path, file]) => [`${cid}/${path}`, file]) : [[cid, key]]
    for (const [path, file] of files) {
      const [bytes, blob] = [await storage.retrieve(path), await storage.blob(path)]
      const pieces = piecesOf(file)
      if (bytes === null || !isPartOf(bytes, pieces)) wrong.push(`${filename}: ${path}`)
      if (blob === null || !isPartOf(new Uint8Array(await blob.arrayBuffer()), pieces)) wrong.push(`${filename}: Blob of ${path}`)
    }
  }
  return wrong
}

function isOwn(key: string): boolean {
  const numbers = numbersIn(key)
  return (key.startsWith('b') ? numbers.slice(1) : numbers).some((number) => number >= OWN)
}

function keyIn(filename: string): string {
  return filename.split('/').at(-1) ?? ''
}

function handIn(filename: string): string {
  return filename.split('/')[0] ?? ''
}

function isBefore(one: FileInfo, other: FileInfo): boolean {
  return one.filename < other.filename || (one.filename === other.filename && one.cid < other.cid)
}

async function readAll(reader: ReadableStreamDefaultReader<Uint8Array<ArrayBuffer>>): Promise<Uint8Array<ArrayBuffer>> {
  const pieces: Uint8Array<ArrayBuffer>[] = []
  for (;;) {
    const { done, value } = await reader.read()
    if (done) break
    pieces.push(value)
  }
  return new Uint8Array(await new Blob(pieces).arrayBuffer())
}

async function refused(deleting: Promise<boolean>): Promise<boolean | 'refused'> {
  try {
    return await deleting
  } catch (error) {
    if ((error as Error).name === 'PinnedError') return 'refused'
    throw error
  }
}

function wordsOf(error: unknown): string {
  const { name, message, stack, cause } = error as Error
  const because = cause === undefined ? '' : `, because of ${wordsOf(cause)}`
  return `${name}: ${message}${because}\n${stack ?? ''}`
}
