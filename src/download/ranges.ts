// A download in parts: several connections, each at a run of leaves that nobody else is at, each with a checkpoint every few leaves.
import { BufferPool } from '../blocks/buffer-pool.ts'
import type { Core } from '../core.ts'
import { StorageError } from '../errors.ts'
import { follow, untilAborted } from '../network/abort.ts'
import { CHUNK_SIZE_BYTES, DOWNLOAD_CHECKPOINT_BYTES, DOWNLOAD_PACE_MS, DOWNLOAD_REQUEST_BYTES, POOLED_CHUNKS } from '../limits.ts'
import type { Connection } from '../packs/connection.ts'
import { Pace } from './pace.ts'
import { Break } from './patience.ts'
import type { Claimed } from './record.ts'
import { Unsuited, type Answer, type Remote } from './remote.ts'
import { Segment, type Leaf } from './segment.ts'
import { fetchIsNative } from './target.ts'

const LEAVES_A_CHECKPOINT = DOWNLOAD_CHECKPOINT_BYTES / CHUNK_SIZE_BYTES
const LEAVES_A_REQUEST = DOWNLOAD_REQUEST_BYTES / CHUNK_SIZE_BYTES
/** Connections from the beginning: while one puts on record what has come, the other goes on. */
const AT_FIRST = 2

export interface RangesInit {
  core: Core
  claimed: Claimed
  remote: Remote
  total: number
  /** Those that are here; it completes them. */
  leaves: (Leaf | undefined)[]
  /** At most: more than the first ones only where they bring more. */
  connections: number
  /** One request at a time, for all that is missing behind it. */
  isSimple: boolean
  /** What the record is to say with the first checkpoint. */
  facts: Partial<Claimed['resume']>
  /** An answer that begins at the first byte, and where it ends. */
  first?: { answer: Answer; to: number } | undefined
  signal: AbortSignal
  onLeaf: (bytes: number) => void
  onCheckpoint: () => void
  /** Whether what has come is of use after this error. */
  isKept: (error: unknown) => boolean
}

/** Leaves from `from` to `to`. */
interface Run {
  from: number
  to: number
}

export class Ranges {
  readonly #init: RangesInit
  /** That are here, or that somebody is at. */
  readonly #taken: boolean[]
  readonly #over = new AbortController()
  /** Of all segments one after the other. */
  readonly #pool = new BufferPool(CHUNK_SIZE_BYTES, POOLED_CHUNKS)
  readonly #pace = new Pace()
  /** All that were ever made: none of them rejects. */
  readonly #made: Promise<void>[] = []
  #first: RangesInit['first']
  #connections = 0
  /** There may be so many: fewer where the server refused one. */
  #most: number
  #hasFailed = false
  /** Workers are let do what they can. */
  #isSuited = true

  constructor(init: RangesInit) {
    this.#init = init
    this.#taken = init.leaves.map((leaf) => leaf !== undefined)
    this.#first = init.first
    this.#most = init.isSimple ? 1 : init.connections
  }

  /**
   * Resolves when every leaf is on record. Rejects when nothing is under way any more: what has come by then is on record, unless it is of no use.
   *
   * @throws Restart, DownloadError, QuotaError, DatabaseError, the signal's reason
   */
  async complete(): Promise<void> {
    const { signal } = this.#over
    const release = follow(this.#over, [this.#init.signal])
    const timer = setInterval(() => this.#open(this.#pace.wanted), DOWNLOAD_PACE_MS)
    try {
      // More may be made meanwhile, and what one that left was at may be free again only after the others have ended.
      for (let index = 0; ; index++) {
        if (index === this.#made.length) this.#open(AT_FIRST)
        const one = this.#made[index]
        if (one === undefined) break
        await one
      }
      // The first that failed ended the others.
      if (this.#hasFailed) throw signal.reason
      signal.throwIfAborted()
    } finally {
      clearInterval(timer)
      release()
      this.#first?.answer.stop()
    }
  }

  /** Makes connections until there are so many, or as many as may be. */
  #open(wanted = 0): void {
    while (this.#connections < Math.min(wanted, this.#most) && this.#taken.includes(false) && !this.#over.signal.aborted) {
      this.#made.push(this.#connect())
    }
  }

  async #connect(): Promise<void> {
    this.#connections++
    try {
      for (let run = this.#next(); run !== undefined; run = this.#next()) {
        if (!(await this.#fetch(run))) return
      }
    } catch (error) {
      this.#hasFailed = true
      this.#over.abort(error)
    }
    this.#connections--
  }

  /** Whether others go on where this one gives up. It does then, and counts no more: else the last two could leave together. */
  #leave(): boolean {
    const isLast = this.#connections <= 1
    if (!isLast) this.#connections--
    // The server wants less asked of it: no more are made.
    this.#most = this.#connections
    return !isLast
  }

  /** The next leaves that nobody is at: fewer at a time towards the end, so that all connections end together. */
  #next(): Run | undefined {
    const from = this.#taken.indexOf(false)
    if (from < 0) return undefined
    const { isSimple } = this.#init
    const missing = this.#taken.reduce((sum, taken) => sum + (taken ? 0 : 1), 0)
    const share = Math.ceil(missing / this.#most / 2 / LEAVES_A_CHECKPOINT) * LEAVES_A_CHECKPOINT
    const atMost =
      this.#first?.answer !== undefined && from === 0 ? Math.ceil(this.#first.to / CHUNK_SIZE_BYTES) : Math.min(share, LEAVES_A_REQUEST)
    let to = from
    while (to < this.#taken.length && this.#taken[to] === false && (isSimple || to - from < atMost)) this.#taken[to++] = true
    return { from, to }
  }

  /** Answers false where the server wants fewer connections: others go on with what is missing. */
  async #fetch(run: Run): Promise<boolean> {
    const first = run.from === 0 ? this.#first?.answer : undefined
    if (first !== undefined) this.#first = undefined
    const connection = first === undefined ? await this.#connection() : undefined
    try {
      return await (connection === undefined ? this.#read(run, first) : this.#keep(run, connection))
    } catch (error) {
      if (!(error instanceof Unsuited)) throw error
      const { remote } = this.#init
      const before = remote.usesIfRange
      const isDone = await this.#read(run, undefined)
      // Where it could ask as the worker did.
      if (remote.usesIfRange === before) this.#isSuited = false
      return isDone
    } finally {
      connection?.end()
    }
  }

  /** By a worker that writes what comes by itself; undefined where there is none. */
  async #connection(): Promise<Connection | undefined> {
    const { core } = this.#init
    const lanes = this.#isSuited && fetchIsNative() ? await core.store.packLanes() : undefined
    if (lanes === undefined) return undefined
    await untilAborted(lanes.prepare(this.#connections), this.#over.signal)
    return lanes.connect()
  }

  /** Through this context. */
  #read(run: Run, first: Answer | undefined): Promise<boolean> {
    const { remote } = this.#init
    const { signal } = this.#over
    return this.#fill(run, undefined, async (at, end, segment) => {
      for await (const piece of remote.pieces(at, end, { signal, first, mayLeave: () => this.#leave() })) {
        for (let offset = 0; offset < piece.byteLength;) offset += await segment((one) => one.write(piece, offset))
      }
    })
  }

  /** Past this context. */
  #keep(run: Run, connection: Connection): Promise<boolean> {
    const { remote } = this.#init
    const { signal } = this.#over
    return this.#fill(run, connection, async (at, end, segment) => {
      for await (const leaf of remote.leaves(at, end, { signal, connection, mayLeave: () => this.#leave() })) {
        await segment((one) => one.keep(leaf))
      }
    })
  }

  /** `read` puts what comes into one segment after the other, and hears how many bytes each took. */
  async #fill(
    { from, to }: Run,
    connection: Connection | undefined,
    read: (from: number, to: number, segment: (put: (segment: Segment) => Promise<number>) => Promise<number>) => Promise<void>,
  ): Promise<boolean> {
    const { core, total, onLeaf } = this.#init
    const end = Math.min(to * CHUNK_SIZE_BYTES, total)
    const means = { pool: this.#pool, connection, onLeaf }
    let at = from * CHUNK_SIZE_BYTES
    let segment: Segment | undefined
    // It is one of those that wait for what comes.
    const self = {}
    const store = async (put: (segment: Segment) => Promise<number>): Promise<number> => {
      segment ??= await Segment.open(
        core,
        { first: at / CHUNK_SIZE_BYTES, bytes: Math.min(end - at, DOWNLOAD_CHECKPOINT_BYTES), total },
        means,
      )
      const taken = await put(segment)
      at += taken
      if (!segment.isFull) return taken
      // Nothing is asked for meanwhile: what is not on record must be no more than this.
      const full = segment
      segment = undefined
      await this.#commit(full)
      return taken
    }
    this.#pace.waits(self)
    try {
      await read(at, end, async (put) => {
        this.#pace.stops(self)
        const taken = await store(put)
        this.#pace.came(taken)
        this.#pace.waits(self)
        return taken
      })
      if (segment !== undefined || at !== end) throw new StorageError(`a run of a download ended at byte ${at} of ${end}: this cannot be`)
      return true
    } catch (error) {
      const isBusy = error instanceof Break
      if (segment === undefined || !(isBusy || this.#init.isKept(error))) await segment?.drop()
      // Where it can't be put on record, it is asked for again.
      else await this.#commit(segment).catch(() => undefined)
      if (!isBusy) throw error
      for (let index = from; index < to; index++) this.#taken[index] = this.#init.leaves[index] !== undefined
      return false
    } finally {
      this.#pace.stops(self)
    }
  }

  async #commit(segment: Segment): Promise<void> {
    const { claimed, leaves, facts, onCheckpoint } = this.#init
    const come = await segment.commit(claimed, facts)
    come.forEach((leaf, index) => {
      leaves[segment.first + index] = leaf
    })
    onCheckpoint()
  }
}
