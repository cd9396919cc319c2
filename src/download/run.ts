// One download of this context, from the claim of its record to the commit of what came, for all who asked for it.
import { newOwnerId } from '../catalog/owners.ts'
import type { Resume, Wanted } from '../catalog/schema.ts'
import type { DownloadMessage } from '../channel.ts'
import type { Core } from '../core.ts'
import { DownloadError, IntegrityError, QuotaError } from '../errors.ts'
import { attempt, type Caller, type Job, type Outcome } from './attempt.ts'
import { Patience, Restart } from './patience.ts'
import { claim, end, forget, isRemoval, replace, type Claimed } from './record.ts'
import type { Target } from './target.ts'

export class Run {
  readonly core: Core
  readonly #target: Target
  readonly #callers = new Set<Caller>()
  readonly #over = new AbortController()
  readonly #job: Job
  readonly outcome: Promise<Outcome>
  /** Of the record that it works on or waits for. */
  id: string | undefined
  bytes = 0
  total: number | undefined
  /** Nobody waits for it any more. */
  isLeft = false
  #isCancelled = false
  /** Something of it is on record. */
  #hasCheckpoint = false

  constructor(core: Core, target: Target, first: Caller, wanted: Wanted) {
    this.core = core
    this.#target = target
    this.#callers.add(first)
    this.#job = {
      core,
      target,
      signal: this.#over.signal,
      callers: this.#callers,
      gain: { bytes: 0 },
      onBytes: (bytes, total) => {
        this.bytes = bytes
        this.total = total
        for (const caller of this.#callers) this.#tell(caller)
      },
      onCheckpoint: (total) => {
        this.#hasCheckpoint = true
        if (this.id !== undefined) core.tellOfDownload({ type: 'download', id: this.id, bytes: this.bytes, total })
      },
      isKept: (error) => !this.#isCancelled && (this.#over.signal.aborted || error instanceof DownloadError),
    }
    this.outcome = this.#work(wanted)
    this.outcome.catch(() => undefined)
  }

  join(caller: Caller): void {
    this.#callers.add(caller)
    this.#tell(caller)
  }

  /** Interrupts it where that was the last one, and resolves when nothing is under way any more. */
  async leave(caller: Caller, reason: unknown): Promise<void> {
    this.#callers.delete(caller)
    if (this.#callers.size > 0) return
    this.isLeft = true
    this.#over.abort(reason)
    await this.outcome.catch(() => undefined)
  }

  async #work(wanted: Wanted): Promise<Outcome> {
    const { core } = this
    const { signal } = this.#over
    const listener = (message: DownloadMessage): void => this.#hear(message)
    core.downloadListeners.add(listener)
    try {
      const { url, credentials } = this.#target
      const draft: Resume = {
        url,
        run: newOwnerId(),
        started: Date.now(),
        bytes: 0,
        wanted,
        ...(credentials === undefined ? {} : { credentials }),
      }
      const claimed = await claim(core, draft, { signal, onWaiting: (id) => (this.id = id) })
      this.id = claimed.id
      if (claimed.resume.done === undefined) return await this.#complete(claimed)
      await claimed.lock.release()
      await forget(core, claimed.id)
      return { facts: claimed.resume.done, kept: new Set(), refused: new Map() }
    } finally {
      core.downloadListeners.delete(listener)
    }
  }

  /** Releases the lock. */
  async #complete(before: Claimed): Promise<Outcome> {
    const { core } = this
    const { signal } = this.#over
    const removals: string[] = []
    let claimed = before
    this.#hasCheckpoint = claimed.resume.bytes > 0
    try {
      // What came does not count where all of it is asked for anew.
      const patience = new Patience(this.#target.url, { bytes: 0 })
      for (let [whole, restarts] = [false, 0]; ; restarts++) {
        try {
          return await attempt(this.#job, claimed, whole)
        } catch (error) {
          if (!(error instanceof Restart)) throw error
          whole ||= error.whole
          // The first one is likely to be the last.
          if (restarts > 0) await patience.wait(error, signal)
          if (this.#hasCheckpoint) claimed = await this.#replace(claimed, removals)
        }
      }
    } catch (error) {
      if (!this.#isWorthKeeping(error)) await end(core, claimed.id, claimed.resume.run)
      throw error
    } finally {
      await claimed.lock.release()
      await forget(core, claimed.id).catch(() => undefined)
      if (await isRemoval(core, claimed.id).catch(() => false)) removals.push(claimed.id)
      await core.free(removals)
    }
  }

  async #replace(claimed: Claimed, removals: string[]): Promise<Claimed> {
    const fresh = await replace(this.core, claimed)
    this.id = fresh.id
    this.#hasCheckpoint = false
    removals.push(claimed.id)
    await claimed.lock.release()
    return fresh
  }

  #isWorthKeeping(error: unknown): boolean {
    if (this.#isCancelled || error instanceof IntegrityError || error instanceof QuotaError) return false
    return this.#hasCheckpoint || this.#over.signal.aborted
  }

  #tell({ onProgress }: Caller): void {
    onProgress?.({ bytes: this.bytes, ...(this.total === undefined ? {} : { total: this.total }), phase: 'download' })
  }

  #hear(message: DownloadMessage): void {
    if (message.id !== this.id) return
    if (message.type === 'download-cancelled') this.#endCancelled()
    else this.#job.onBytes(message.bytes, message.total)
  }

  /** For a record that is ended already: resolves when nothing is under way any more. */
  async cancel(): Promise<void> {
    this.#endCancelled()
    await this.outcome.catch(() => undefined)
  }

  #endCancelled(): void {
    this.#isCancelled = true
    this.isLeft = true
    this.#over.abort(new DOMException(`the download of ${this.#target.url} was cancelled`, 'AbortError'))
  }
}
