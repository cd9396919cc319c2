// Fetches blocks for operations such as retrieve and pin: bounded in time and number, each answer with its meaning.
import type { CID } from 'multiformats/cid'
import { ClosedError } from '../errors.ts'
import { FETCHES_IN_FLIGHT } from '../limits.ts'
import type { Bytes } from '../types.ts'
import { follow, untilAborted } from './abort.ts'
import { Answers, unavailable } from './answers.ts'
import { fetchBlock } from './fetch.ts'
import { NodeReplacedError, type HeliaBackend, type NodeSession } from './helia.ts'

export interface FetchOperation {
  /**
   * One block, not stored. null: nobody who was asked has it, or nobody is asked (Helia is not installed). The bytes own their buffer.
   *
   * @throws UnavailableError where nobody who might have it could be asked in time; its `causes` say why
   * @throws UnsupportedContentError for a hash that can't be checked
   * @throws ClosedError once the storage is closed
   * @throws the reason of the operation's signal
   */
  fetch(cid: CID): Promise<Bytes | null>
}

export interface BlockFetcher {
  /** Blocks fetched for one purpose share its signal. Without one, `timeoutMs` bounds the time to the first block, then each further one. */
  operation(options?: { signal?: AbortSignal | undefined }): FetchOperation
}

type Backend = Pick<HeliaBackend, 'status' | 'settled' | 'session' | 'contact' | 'isClosed'>

/** Fetches through the node that the backend runs, at most FETCHES_IN_FLIGHT blocks at once for all operations together. */
export function createBlockFetcher(backend: Backend, options: { timeoutMs: number }): BlockFetcher {
  const turns = new Turns(FETCHES_IN_FLIGHT, options.timeoutMs)
  return { operation: ({ signal } = {}) => new Operation(backend, turns, options.timeoutMs, signal) }
}

class Operation implements FetchOperation {
  readonly #backend: Backend
  readonly #turns: Turns
  readonly #timeoutMs: number
  readonly #signal: AbortSignal | undefined
  /** Ends of the fetches under way that wait for the first block of all. */
  readonly #deadlines = new Set<Deadline>()
  /** When those began to wait. */
  #startedAt = 0
  #hasBlock = false

  constructor(backend: Backend, turns: Turns, timeoutMs: number, signal: AbortSignal | undefined) {
    this.#backend = backend
    this.#turns = turns
    this.#timeoutMs = timeoutMs
    this.#signal = signal
  }

  async fetch(cid: CID): Promise<Bytes | null> {
    this.#signal?.throwIfAborted()
    const answers = new Answers(cid)
    const deadline = this.#deadline()
    try {
      for (;;) {
        try {
          const bytes = await this.#ask(cid, answers, deadline)
          if (bytes !== null) this.#onBlock()
          return bytes
        } catch (cause) {
          if (!(cause instanceof NodeReplacedError)) throw cause
        }
      }
    } finally {
      this.#deadlines.delete(deadline)
      deadline.clear()
    }
  }

  async #ask(cid: CID, answers: Answers, deadline: Deadline): Promise<Bytes | null> {
    const end = new AbortController()
    const releases = [follow(end, [this.#signal, deadline.signal])]
    let session: NodeSession | undefined
    try {
      releases.push(await this.#turns.take(end.signal))
      // Counted from here, so that waiting for a turn is no stall.
      if (this.#hasBlock) deadline.set(this.#timeoutMs)
      session = await this.#session(cid, answers, end.signal)
      if (session === undefined) return null
      releases.push(follow(end, [session.signal]))
      await fetchBlock(session.node, cid, answers, end.signal)
      return this.#judge(answers, session)
    } catch (cause) {
      if (cause === deadline.error) return this.#judge(answers, session, deadline.error)
      if (cause === session?.signal.reason && !(cause instanceof ClosedError || cause instanceof NodeReplacedError))
        throw unavailable(cid, [cause as Error])
      throw cause
    } finally {
      for (const release of releases) release()
    }
  }

  /** The node to ask, undefined where none can ever be asked. */
  async #session(cid: CID, answers: Answers, signal: AbortSignal): Promise<NodeSession | undefined> {
    if (this.#backend.status().fallbackReason === 'starting') {
      answers.asking('Helia, which is starting')
      await untilAborted(this.#backend.settled(), signal)
      answers.answered('Helia, which is starting')
    }
    if (this.#backend.isClosed()) throw new ClosedError('the storage was closed')
    const session = this.#backend.session()
    const { fallbackReason, fallbackDetail } = this.#backend.status()
    if (session !== undefined || fallbackReason === 'helia-unavailable') return session
    throw unavailable(cid, [
      new Error(fallbackDetail ?? (fallbackReason === 'offline' ? 'this device is offline' : 'Helia is not running')),
    ])
  }

  /** The block or null; the backend learns whether anybody could be reached. */
  #judge(answers: Answers, session: NodeSession | undefined, ended?: Error): Bytes | null {
    try {
      const bytes = answers.result(ended)
      if (answers.isContact) this.#backend.contact(true)
      return bytes
    } catch (cause) {
      if (session !== undefined) this.#backend.contact(false)
      throw cause
    }
  }

  /** A caller's signal overrides the timeout. */
  #deadline(): Deadline {
    const deadline = new Deadline(this.#timeoutMs)
    if (this.#signal !== undefined || this.#hasBlock) return deadline
    // Nobody waits: what was answered before, if only that nobody has it, was an answer in time.
    if (this.#deadlines.size === 0) this.#startedAt = performance.now()
    deadline.set(Math.max(0, this.#timeoutMs - (performance.now() - this.#startedAt)))
    this.#deadlines.add(deadline)
    return deadline
  }

  #onBlock(): void {
    this.#hasBlock = true
    for (const deadline of this.#deadlines) deadline.set(this.#timeoutMs)
    this.#deadlines.clear()
  }
}

/** A time limit that can be set anew. */
class Deadline {
  readonly #end = new AbortController()
  readonly error: Error
  #timer: ReturnType<typeof setTimeout> | undefined

  constructor(timeoutMs: number) {
    this.error = new DOMException(`no answer within ${timeoutMs} ms`, 'TimeoutError')
  }

  get signal(): AbortSignal {
    return this.#end.signal
  }

  set(milliseconds: number): void {
    this.clear()
    this.#timer = setTimeout(() => this.#end.abort(this.error), milliseconds)
  }

  clear(): void {
    clearTimeout(this.#timer)
  }
}

/** Lets a number through at once, the others in the order in which they came. */
class Turns {
  readonly #holdMs: number
  readonly #waiting = new Set<() => void>()
  #free: number

  constructor(free: number, holdMs: number) {
    this.#free = free
    this.#holdMs = holdMs
  }

  /** Resolves with what gives the turn back. Held longer than it may be, it goes to the next: who waits without bound starves nobody. */
  async take(signal: AbortSignal): Promise<() => void> {
    signal.throwIfAborted()
    if (this.#free > 0) this.#free--
    else await this.#next(signal)
    let isHeld = true
    const giveBack = (): void => {
      clearTimeout(timer)
      if (isHeld) this.#pass()
      isHeld = false
    }
    const timer = setTimeout(giveBack, this.#holdMs)
    return giveBack
  }

  async #next(signal: AbortSignal): Promise<void> {
    let go = (): void => {}
    const turn = new Promise<void>((resolve) => {
      go = resolve
    })
    this.#waiting.add(go)
    try {
      await untilAborted(turn, signal)
    } catch (cause) {
      // Must not lose a turn that was given in the very moment of the abort.
      if (!this.#waiting.delete(go)) this.#pass()
      throw cause
    }
  }

  #pass(): void {
    const [next] = this.#waiting
    if (next === undefined) {
      this.#free++
      return
    }
    this.#waiting.delete(next)
    next()
  }
}
