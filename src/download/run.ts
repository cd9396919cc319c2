// One download of this context, from the claim of its record to the commit of what came, for all who asked for it.
import type { CID } from 'multiformats/cid'
import { Writer } from '../blocks/writer.ts'
import { newOwnerId } from '../catalog/owners.ts'
import type { Resume, Validator, Wanted } from '../catalog/schema.ts'
import type { DownloadMessage } from '../channel.ts'
import type { Core } from '../core.ts'
import { DownloadError, IntegrityError, QuotaError, StorageError } from '../errors.ts'
import { importFile, importLeaves } from '../files/import.ts'
import { CHUNK_SIZE_BYTES, DOWNLOAD_CHECKPOINT_BYTES, DOWNLOAD_CONNECTIONS } from '../limits.ts'
import type { Progress } from '../types.ts'
import { Digest } from './digest.ts'
import { checkFacts, contentOf, type Facts } from './known.ts'
import { Patience, Restart, type Gain } from './patience.ts'
import { Ranges, type RangesInit } from './ranges.ts'
import { claim, end, forget, goingOn, isRemoval, leavesOf, replace, type Claimed } from './record.ts'
import { Remote, type Opened } from './remote.ts'
import type { Leaf } from './segment.ts'
import { createSha256 } from './sha256.ts'
import type { Target } from './target.ts'

/** Somebody who asked for it. */
export interface Caller {
  wanted: Wanted
  fallback: boolean
  onProgress?: ((progress: Progress) => void) | undefined
}

/** What came of it: `kept` are those who have their entries, `refused` those who expected something else. */
export interface Outcome {
  facts: Facts
  kept: ReadonlySet<Caller>
  refused: ReadonlyMap<Caller, Error>
}

export class Run {
  readonly core: Core
  readonly #target: Target
  readonly #callers = new Set<Caller>()
  readonly #over = new AbortController()
  readonly #gain: Gain = { bytes: 0 }
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
      const patience = new Patience(this.#target.url, this.#gain)
      for (let [whole, restarts] = [false, 0]; ; restarts++) {
        try {
          return await this.#attempt(claimed, whole)
        } catch (error) {
          if (!(error instanceof Restart)) throw error
          whole ||= error.whole
          // The first one is likely to be the last.
          if (restarts > 0) await patience.wait(error, signal)
          if (this.#hasCheckpoint) claimed = await this.#replace(claimed, removals)
        }
      }
    } catch (error) {
      if (!this.#isWorthKeeping(error)) await end(core, claimed.id)
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

  async #attempt(claimed: Claimed, whole: boolean): Promise<Outcome> {
    const { signal } = this.#over
    const { validator, total, mediaType, bytes } = claimed.resume
    const remote = new Remote(this.#target, this.#gain, validator)
    this.bytes = 0
    if (!whole && total !== undefined && this.#isSafe(validator)) {
      return this.#inParts(claimed, { remote, total, facts: mediaType === undefined ? {} : { mediaType } })
    }
    if (bytes > 0) throw new Restart('nothing tells whether it is the same', { whole })
    const opened = await remote.open({ whole, signal })
    this.total = opened.total
    try {
      this.#checkSize(opened)
    } catch (error) {
      opened.answer.stop()
      throw error
    }
    const isSafe = this.#isSafe(opened.validator)
    if (!opened.ranges || (!isSafe && opened.to === opened.total)) return this.#atOnce(claimed, opened, remote.whole(opened, signal))
    if (!isSafe || opened.total === undefined) {
      // Parts of what may change between them are of no use.
      opened.answer.stop()
      throw new Restart('nothing tells whether it stays the same', { whole: true })
    }
    remote.validator = opened.validator
    const { answer, to = opened.total, says } = opened
    if (opened.total <= DOWNLOAD_CHECKPOINT_BYTES) {
      return this.#atOnce(claimed, opened, remote.pieces(0, opened.total, { signal, first: answer }))
    }
    const facts = {
      total: opened.total,
      ...(opened.validator === undefined ? {} : { validator: opened.validator }),
      ...(opened.mediaType === undefined ? {} : { mediaType: opened.mediaType }),
    }
    return this.#inParts(claimed, { remote, total: opened.total, facts, first: { answer, to }, isSimple: !says })
  }

  /** Whether parts that were asked for one by one can be told to be of one content. */
  #isSafe(validator: Validator | undefined): boolean {
    return validator !== undefined || [...this.#callers].some(({ wanted }) => wanted.sha256 !== undefined || wanted.cid !== undefined)
  }

  /** @throws IntegrityError where everybody expects another size than the server tells */
  #checkSize({ total }: Opened): void {
    const [first, ...others] = [...this.#callers].map(({ wanted }) => wanted)
    if (total === undefined || first?.size === undefined || [first, ...others].some(({ size = total }) => size === total)) return
    const { url } = this.#target
    throw new IntegrityError(
      `${url} has the size ${total} where ${first.size} was expected: nothing of it was downloaded; look whether the URL or the expectation is wrong`,
      first.cid ?? '',
    )
  }

  /** With checkpoints, by which it can be gone on with. */
  async #inParts(
    claimed: Claimed,
    parts: Pick<RangesInit, 'remote' | 'total' | 'facts' | 'first'> & { isSimple?: boolean },
  ): Promise<Outcome> {
    const { core } = this
    const { signal } = this.#over
    const leaves = this.#hasCheckpoint ? await leavesOf(core, claimed.id, parts.total) : noLeaves(parts.total)
    this.total = parts.total
    this.bytes = leaves.reduce((sum, leaf) => sum + (leaf?.size ?? 0), 0)
    this.#report()
    let digest: Digest | undefined
    const hash = (): Digest | undefined => {
      const isWanted = [...this.#callers].some(({ wanted }) => wanted.sha256 !== undefined)
      if (isWanted) digest ??= new Digest(core, leaves, signal)
      digest?.advance()
      return digest
    }
    try {
      hash()
      const wish = [...this.#callers].map(({ wanted }) => wanted.maxConnections ?? DOWNLOAD_CONNECTIONS)
      await new Ranges({
        ...parts,
        isSimple: parts.isSimple ?? false,
        core,
        claimed,
        leaves,
        signal,
        connections: Math.min(...wish),
        onLeaf: (bytes) => {
          this.bytes += bytes
          this.#report()
        },
        onCheckpoint: () => {
          this.#hasCheckpoint = true
          hash()
          core.tellOfDownload({ type: 'download', id: claimed.id, bytes: this.bytes, total: parts.total })
        },
        isKept: (error) => !this.#isCancelled && (signal.aborted || error instanceof DownloadError),
      }).complete()
      const sha256 = await hash()?.hex()
      return await this.#commit(claimed, async (writer) => {
        const { cid, size } = await importLeaves(
          leaves.flatMap((leaf) => leaf ?? []),
          writer,
        )
        const mediaType = parts.facts.mediaType ?? claimed.resume.mediaType
        return { cid, size, mediaType, sha256 }
      })
    } finally {
      await digest?.end()
    }
  }

  /** As store() would, without a checkpoint: where it is short, or can't be gone on with anyhow. */
  async #atOnce(claimed: Claimed, { mediaType, total }: Opened, pieces: AsyncGenerator<Uint8Array>): Promise<Outcome> {
    const { signal } = this.#over
    return this.#commit(claimed, async (writer) => {
      const hasher = await createSha256(total)
      const hashed = async function* (): AsyncGenerator<Uint8Array> {
        for await (const piece of pieces) {
          await hasher.update(piece)
          yield piece
        }
      }
      writer.expect(total ?? 0)
      const onProgress = (bytes: number): void => {
        this.bytes = bytes
        this.#report()
      }
      try {
        const { cid, size } = await importFile(hashed(), writer, { signal, onProgress })
        return { cid, size, mediaType, sha256: await hasher.hex() }
      } finally {
        hasher.end()
      }
    })
  }

  /** Makes what `write` answers the entry of everybody who expects nothing else, and the download one that is over. */
  async #commit(
    claimed: Claimed,
    write: (writer: Writer) => Promise<{ cid: CID; size: number; mediaType: string | undefined; sha256: string | undefined }>,
  ): Promise<Outcome> {
    const { core } = this
    const writer = await Writer.open(core.store, this.#over.signal)
    try {
      const { cid, size, mediaType, sha256 } = await write(writer)
      const facts: Facts = {
        cid: cid.toString(),
        size,
        ...(mediaType === undefined ? {} : { mediaType }),
        ...(sha256 === undefined ? {} : { sha256 }),
      }
      const [kept, refused] = [new Set<Caller>(), new Map<Caller, Error>()]
      for (const caller of this.#callers) {
        // One that came late: it is told by what is here.
        if (caller.wanted.sha256 !== undefined && sha256 === undefined) continue
        try {
          checkFacts(this.#target.url, caller.wanted, facts)
          kept.add(caller)
        } catch (error) {
          refused.set(caller, error as Error)
        }
      }
      if (kept.size === 0) throw [...refused.values()][0] ?? new StorageError('nobody waits for the download any more')
      const references = writer.references(cid)
      const { changes, leftover } = await writer.commit(
        [...kept].map(({ wanted, fallback }) => contentOf(wanted, facts, references, fallback)),
        goingOn(claimed, (before) => ({ ...before, bytes: size, total: size, done: facts })),
      )
      core.announce(changes)
      await core.free([leftover])
      return { facts, kept, refused }
    } catch (error) {
      await core.free([await writer.abort()])
      throw error
    }
  }

  #isWorthKeeping(error: unknown): boolean {
    if (this.#isCancelled || error instanceof IntegrityError || error instanceof QuotaError) return false
    return this.#hasCheckpoint || this.#over.signal.aborted
  }

  #report(): void {
    for (const caller of this.#callers) this.#tell(caller)
  }

  #tell({ onProgress }: Caller): void {
    onProgress?.({ bytes: this.bytes, ...(this.total === undefined ? {} : { total: this.total }), phase: 'download' })
  }

  #hear(message: DownloadMessage): void {
    if (message.id !== this.id) return
    if (message.type === 'download-cancelled') this.#endCancelled()
    else {
      this.bytes = message.bytes
      this.total = message.total
      this.#report()
    }
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

function noLeaves(total: number): (Leaf | undefined)[] {
  return Array.from({ length: Math.ceil(total / CHUNK_SIZE_BYTES) })
}
