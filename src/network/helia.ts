// The life of the Helia node: started in the background, stopped while offline, started again, and why there is none.
import { ClosedError } from '../errors.ts'
import { STOP_TIMEOUT_MS } from '../limits.ts'
import type { IpfsSettings } from '../options.ts'
import type { HeliaNode } from '../types.ts'
import { settlesWithin } from './abort.ts'
import { HeliaMissingError, loadNode, messageOf } from './node.ts'
import type { LoadNode, MakeNode, NodeStores, StartableNode } from './node.ts'
import { PeerTurn } from './peer-turn.ts'

export interface HeliaStatus {
  running: boolean
  fallbackReason?: 'starting' | 'helia-unavailable' | 'helia-failed' | 'offline'
  /** The error behind 'helia-unavailable' and 'helia-failed', as a person would read it. */
  fallbackDetail?: string
  /** Whether the node talks to peers itself. Absent where that was not asked for. */
  libp2p?: boolean
  /** Whether the last fetch reached anybody. Absent before the first. */
  lastContactOk?: boolean
}

export interface HeliaBackendInit {
  settings: IpfsSettings
  openStores: () => Promise<NodeStores>
  /** Called after the status changed. */
  onChange: () => void
  loadNode?: LoadNode
}

/** A node that may be asked, and the signal that aborts when it must be let go of. */
export interface NodeSession {
  node: HeliaNode
  signal: AbortSignal
}

/** What a session ends with when another node takes its place: whoever asked asks that one. */
export class NodeReplacedError extends Error {
  override readonly name = 'NodeReplacedError'
}

interface Made {
  node: StartableNode
  restartable: boolean
  /** It talks to peers. */
  libp2p: boolean
}

interface Failure {
  fallbackReason: 'helia-unavailable' | 'helia-failed'
  fallbackDetail: string
}

/**
 * Runs a Helia node whenever it can. Nothing waits for it: `status()` says at once how things stand, and local work goes on.
 *
 * A node that is ready only after `startTimeoutMs` is taken all the same: the status then leaves 'helia-failed'. Where the network goes
 * and comes back, the same node stops and starts again, so that whoever holds it goes on with it; with libp2p, whose services can't be
 * used twice, a new one is made over the same stores. After a failure the next attempt comes with the next `online` or `start()`.
 *
 * Where libp2p is asked for, one node an origin has it. The others do without until that one has ended.
 */
export class HeliaBackend {
  readonly #init: HeliaBackendInit
  #isWanted = false
  #isClosed = false
  #isOnline = true
  /** What the page said before the start: a worker may not know it by itself. */
  #told: boolean | undefined
  /** Counts how often the network went away: an attempt that met this says nothing about Helia. */
  #outages = 0
  #failure: Failure | undefined
  #stores: NodeStores | undefined
  #made: Made | undefined
  readonly #turn = new PeerTurn()
  /** This context may talk to peers, and its node does not. */
  #hasTurnUnused = false
  /** Set while the node may be asked; aborted when it must be let go of. */
  #running: AbortController | undefined
  #lastContactOk: boolean | undefined
  #isBusy = false
  #isAttempting = false
  #work: Promise<void> = Promise.resolve()
  #startTimer: ReturnType<typeof setTimeout> | undefined
  readonly #waiting = new Set<() => void>()
  #reported = JSON.stringify({ running: false, fallbackReason: 'starting' } satisfies HeliaStatus)

  constructor(init: HeliaBackendInit) {
    this.#init = init
  }

  /** Begins in the background, or tries again after a failure. */
  start(): void {
    if (this.#isClosed) return
    if (!this.#isWanted) {
      this.#isWanted = true
      this.#isOnline = this.#told ?? isDeviceOnline()
      globalThis.addEventListener?.('online', this.#onOnline)
      globalThis.addEventListener?.('offline', this.#onOffline)
    }
    this.#tryAgain()
  }

  /** The network came or went. Browsers tell windows, and not every worker: the page tells those. */
  setOnline(isOnline: boolean): void {
    if (this.#isClosed) return
    if (!this.#isWanted) {
      this.#told = isOnline
      return
    }
    if (this.#isOnline && !isOnline) this.#outages++
    this.#isOnline = isOnline
    if (isOnline) return this.#tryAgain()
    this.#letGo(new Error('this device is offline'))
    this.#wake()
  }

  status(): HeliaStatus {
    const contact = {
      ...(this.#init.settings.libp2p === false ? {} : { libp2p: this.#running !== undefined && this.#made?.libp2p === true }),
      ...(this.#lastContactOk === undefined ? {} : { lastContactOk: this.#lastContactOk }),
    }
    if (!this.#isOnline) return { running: false, fallbackReason: 'offline', ...contact }
    if (this.#running !== undefined) {
      if (this.#made?.node.status === 'started') return { running: true, ...contact }
      return { running: false, fallbackReason: 'helia-failed', fallbackDetail: 'the node was stopped by whoever held it', ...contact }
    }
    return { running: false, ...(this.#failure ?? { fallbackReason: 'starting' }), ...contact }
  }

  /** Resolves when the node runs or the fallback is settled on; at once where nothing is starting. */
  settled(): Promise<void> {
    if (!this.#isStarting()) return Promise.resolve()
    return new Promise((resolve) => this.#waiting.add(resolve))
  }

  /** The running node. */
  node(): HeliaNode | null {
    return this.session()?.node ?? null
  }

  session(): NodeSession | undefined {
    if (this.#running === undefined || this.#made === undefined || !this.status().running) return undefined
    return { node: this.#made.node, signal: this.#running.signal }
  }

  isClosed(): boolean {
    return this.#isClosed
  }

  /** Notes whether anybody could be reached. */
  contact(isOk: boolean): void {
    this.#lastContactOk = isOk
    this.#changed()
  }

  /**
   * Lets go of the node and closes the stores, within a bound; fetches under way end with ClosedError. May be called twice.
   *
   * @throws what closing the stores throws
   */
  async stop(): Promise<void> {
    this.#isClosed = true
    globalThis.removeEventListener?.('online', this.#onOnline)
    globalThis.removeEventListener?.('offline', this.#onOffline)
    this.#letGo(new ClosedError('the storage was closed'))
    this.#wake()
    // A start that hangs is undone whenever it comes back.
    if (await settlesWithin(this.#work, STOP_TIMEOUT_MS)) await this.#work
    this.#turn.release()
  }

  readonly #onOnline = (): void => this.setOnline(true)
  readonly #onOffline = (): void => this.setOnline(false)

  #tryAgain(): void {
    // What is under way goes on, and says itself how it ends.
    if (!this.#isAttempting) this.#failure = undefined
    if (this.#running !== undefined && !this.status().running) this.#letGo(new Error('the node was stopped'))
    this.#wake()
  }

  #wake(): void {
    if (!this.#isBusy) {
      this.#isBusy = true
      this.#work = this.#run()
      this.#work.catch(() => {})
    }
    this.#changed()
  }

  /** One step at a time, until things are as they were last asked for, however often that changed meanwhile. */
  async #run(): Promise<void> {
    try {
      for (;;) {
        if (this.#isClosed) {
          await this.#stopNode()
          this.#turn.release()
          return await this.#closeStores()
        }
        if (this.#running !== undefined) {
          if (!this.#hasTurnUnused) return
          await this.#replaceNode()
          continue
        }
        // Let go of: must stop before it starts again.
        if (this.#made !== undefined && this.#made.node.status !== 'stopped') await this.#stopNode()
        else if (!this.#isOnline || this.#failure !== undefined) return
        else await this.#startNode()
      }
    } finally {
      // Must follow the last look at the state without an await between, or a wake in that gap would be lost.
      this.#isBusy = false
    }
  }

  async #startNode(): Promise<void> {
    const outages = this.#outages
    const isStale = (): boolean => this.#isClosed || this.#outages !== outages
    this.#isAttempting = true
    try {
      if (this.#made === undefined || this.#hasTurnUnused) {
        const make = await (this.#init.loadNode ?? loadNode)()
        if (isStale()) return
        this.#stores ??= await this.#init.openStores()
        if (isStale()) return
        this.#made = await this.#make(make, this.#stores)
        if (isStale()) return
      }
      await this.#made.node.start()
    } catch (cause) {
      await this.#stopNode()
      this.#made = undefined
      this.#turn.release()
      // What closing throws as well would only hide the reason.
      await this.#closeStores().catch(() => {})
      this.#failure = isStale() ? undefined : failureOf(cause)
      this.#isAttempting = false
      return this.#changed()
    } finally {
      this.#isAttempting = false
    }
    this.#failure = undefined
    // Went offline or was closed meanwhile: the loop stops it again.
    if (!this.#isOnline || this.#isClosed) return
    this.#running = new AbortController()
    this.#changed()
  }

  async #make(make: MakeNode, stores: NodeStores): Promise<Made> {
    const { settings } = this.#init
    const libp2p = settings.libp2p !== false && (await this.#turn.take(this.#onTurn))
    this.#hasTurnUnused = false
    const made = { ...make(stores, libp2p ? settings : { ...settings, libp2p: false }), libp2p }
    stores.prepare?.(made.node)
    return made
  }

  readonly #onTurn = (): void => {
    this.#hasTurnUnused = true
    this.#wake()
  }

  /** The running node goes on until one with libp2p has started, and where that fails. */
  async #replaceNode(): Promise<void> {
    const { before, stores } = { before: this.#made, stores: this.#stores }
    let after: Made | undefined
    try {
      const make = await (this.#init.loadNode ?? loadNode)()
      if (stores !== undefined) after = await this.#make(make, stores)
      await after?.node.start()
    } catch {
      if (after !== undefined) await settlesWithin(after.node.stop(), STOP_TIMEOUT_MS)
      this.#turn.release()
      after = undefined
    }
    this.#hasTurnUnused = false
    if (after === undefined) return
    this.#made = after
    if (this.#running !== undefined) {
      this.#letGo(new NodeReplacedError('another node took the place of the one that was asked'))
      this.#running = new AbortController()
    }
    this.#changed()
    if (before !== undefined) await settlesWithin(before.node.stop(), STOP_TIMEOUT_MS)
  }

  /** A node that does not stop, or not in time, is left behind: nothing asks it any more. */
  async #stopNode(): Promise<void> {
    const made = this.#made
    if (made === undefined || made.node.status === 'stopped') return
    await settlesWithin(made.node.stop(), STOP_TIMEOUT_MS)
    if (made.restartable && made.node.status === 'stopped') return
    this.#made = undefined
    this.#turn.release()
  }

  async #closeStores(): Promise<void> {
    const stores = this.#stores
    this.#stores = undefined
    await stores?.close()
  }

  #letGo(reason: Error): void {
    this.#running?.abort(reason)
    this.#running = undefined
  }

  #isStarting(): boolean {
    return !this.#isClosed && this.status().fallbackReason === 'starting'
  }

  /** Keeps the timer, those who wait and the listener in step with the status. */
  #changed(): void {
    if (this.#isStarting()) this.#startTimer ??= setTimeout(() => this.#onStartTimeout(), this.#init.settings.startTimeoutMs)
    else {
      clearTimeout(this.#startTimer)
      this.#startTimer = undefined
      for (const resolve of this.#waiting) resolve()
      this.#waiting.clear()
    }
    const status = JSON.stringify(this.status())
    if (this.#isClosed || status === this.#reported) return
    this.#reported = status
    this.#init.onChange()
  }

  #onStartTimeout(): void {
    const fallbackDetail = `Helia was not ready within ${this.#init.settings.startTimeoutMs} ms; it is used as soon as it is`
    this.#failure = { fallbackReason: 'helia-failed', fallbackDetail }
    this.#changed()
  }
}

/** Node knows a navigator without this answer, or none. */
function isDeviceOnline(): boolean {
  return (globalThis as { navigator?: { onLine?: boolean } }).navigator?.onLine ?? true
}

function failureOf(cause: unknown): Failure {
  if (cause instanceof HeliaMissingError) return { fallbackReason: 'helia-unavailable', fallbackDetail: cause.message }
  return { fallbackReason: 'helia-failed', fallbackDetail: `Helia did not start: ${messageOf(cause)}` }
}
