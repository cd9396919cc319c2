// The far end of a download: its first answer, and any part of it as pieces that come on in spite of breaks.
import type { Validator } from '../catalog/schema.ts'
import { DownloadError, StorageError } from '../errors.ts'
import { follow } from '../network/abort.ts'
import { CHUNK_SIZE_BYTES, DOWNLOAD_CHECKPOINT_BYTES } from '../limits.ts'
import { packError } from '../blocks/pack-errors.ts'
import type { Connection, HeldLeaf } from '../packs/connection.ts'
import { bodyOf, inTime } from './body.ts'
import { heldOf } from './held.ts'
import { isEncoded, lengthOf, rangeOf, retryAfterMs, validatorOf, wrongOf, type Head } from './answers.ts'
import { Break, Patience, Restart, type Gain } from './patience.ts'
import type { Target } from './target.ts'

/** An answer whose body is still to come, and the end of its request. */
export interface Answer<R extends Head = Response> {
  response: R
  stop: () => void
}

/** Asks for something, and reads what is answered: pieces of so many bytes, of which some complete a `piece`. */
interface Way<R extends Head, P> {
  ask: (headers: Record<string, string>, signal: AbortSignal, range: { from: number; to: number }) => Promise<R>
  read: (response: R, range: { from: number; to: number }, signal: AbortSignal) => AsyncIterable<{ bytes: number; piece?: P }>
}

interface Going {
  signal: AbortSignal
  /** Whether somebody else goes on where the server wants less asked of it. */
  mayLeave?: () => boolean
}

/** A worker can't ask what this context may: nothing came of it yet. */
export class Unsuited extends Error {
  override readonly name = 'Unsuited'
}

/** What the first answer tells. */
export interface Opened {
  /** Its body begins at the first byte; `to` bytes of it, all that there are where that is not known. */
  answer: Answer
  to: number | undefined
  /** Parts can be asked for, of something that stays the same. */
  ranges: boolean
  /** Every answer says which part it is; else one request at a time is asked for the rest. */
  says: boolean
  total?: number
  validator?: Validator
  mediaType?: string
}

/** Status codes that may be another one soon. */
const PASSING = new Set([408, 425, 429, 500, 502, 503, 504])

export class Remote {
  readonly #target: Target
  readonly #gain: Gain
  /** Asks only where the content is the same. Elsewhere it needs a preflight, and its answer is looked at instead. */
  usesIfRange: boolean
  validator: Validator | undefined
  /** A worker has got what was wanted. */
  #isSuited = false
  readonly #asked: (headers: Record<string, string>, signal: AbortSignal) => Promise<Response>

  constructor(target: Target, gain: Gain, validator: Validator | undefined) {
    this.#target = target
    this.#gain = gain
    this.usesIfRange = target.isSameOrigin
    this.validator = validator
    this.#asked = (headers, signal) => target.request(headers, signal)
  }

  /**
   * Asks for the first part, by which the server tells what it can. `whole`: for everything at once, from a server whose parts make no sense.
   *
   * @throws DownloadError
   */
  async open({ whole, signal }: { whole: boolean; signal: AbortSignal }): Promise<Opened> {
    const patience = new Patience(this.#target.url, this.#gain)
    for (let unreached = 0; ;) {
      // Some can't be asked for parts at all: they refuse the preflight that a browser may make of it, or encode what must not be.
      const plain = whole || unreached % 3 === 2
      try {
        return (plain ? undefined : await this.#openPart(signal)) ?? (await this.#openWhole(signal))
      } catch (error) {
        if (!(error instanceof Break)) throw error
        if (error.status === undefined) unreached++
        if (error.status === undefined && plain) await this.#explain(error, signal)
        await patience.wait(error, signal)
      }
    }
  }

  /** undefined where it must be asked as a whole. */
  async #openPart(signal: AbortSignal): Promise<Opened | undefined> {
    const asked = DOWNLOAD_CHECKPOINT_BYTES
    const answer = await this.#ask({ range: `bytes=0-${asked - 1}` }, signal, [200, 206, 416], this.#asked)
    const { response, stop } = answer
    const { headers } = response
    if (response.status === 200) return this.#wholeOf(answer)
    const range = response.status === 206 && !isEncoded(headers) ? rangeOf(headers) : undefined
    const length = lengthOf(headers)
    // 416: nothing is there, or it knows of no such thing.
    if (range === undefined || (range !== null && (range.from !== 0 || range.total === undefined))) {
      stop()
      return undefined
    }
    // Hidden from this origin: what is shorter than what was asked for is all there is.
    const total = range?.total ?? (length !== undefined && length < asked ? length : undefined)
    if (total !== undefined) {
      const to = Math.min(total, range?.to ?? total)
      const isRight = to === Math.min(asked, total) && (length === undefined || length === to)
      if (isRight) return { ...this.#facts(response), answer, to, total, ranges: true, says: range !== null }
    }
    stop()
    return range === null && length === asked ? this.#openRest(signal) : undefined
  }

  /** Everything, but as a part, whose length then is that of the content: a plain answer may be encoded on its way. */
  async #openRest(signal: AbortSignal): Promise<Opened | undefined> {
    const answer = await this.#ask({ range: 'bytes=0-' }, signal, [200, 206], this.#asked)
    const total = lengthOf(answer.response.headers)
    if (answer.response.status === 206 && total !== undefined) {
      return { ...this.#facts(answer.response), answer, to: total, total, ranges: true, says: false }
    }
    answer.stop()
    return undefined
  }

  async #openWhole(signal: AbortSignal): Promise<Opened> {
    return this.#wholeOf(await this.#ask({}, signal, [200], this.#asked))
  }

  #wholeOf(answer: Answer): Opened {
    const { headers, type } = answer.response
    const length = type === 'basic' && !isEncoded(headers) ? lengthOf(headers) : undefined
    return {
      ...this.#facts(answer.response),
      answer,
      to: length,
      ranges: false,
      says: true,
      ...(length === undefined ? {} : { total: length }),
    }
  }

  #facts({ headers }: Response): Pick<Opened, 'validator' | 'mediaType'> {
    const [validator, mediaType] = [validatorOf(headers), headers.get('content-type')]
    return { ...(validator === undefined ? {} : { validator }), ...(mediaType === null ? {} : { mediaType }) }
  }

  /**
   * The bytes from `from` to `to`, in pieces, asked for again from where they were when they break off. `first` is an answer that begins there and
   * may be for less.
   *
   * @throws Restart where the content changed, or parts make no sense
   * @throws Break where the server wants less asked of it, and somebody else goes on
   */
  pieces(from: number, to: number, options: Going & { first?: Answer | undefined }): AsyncGenerator<Uint8Array, void, undefined> {
    const read: Way<Response, Uint8Array>['read'] = async function* (response, _, signal) {
      for await (const piece of bodyOf(response, signal)) yield { bytes: piece.byteLength, piece }
    }
    const { first, ...going } = options
    return this.#going(from, to, going, { ask: this.#asked, read }, first)
  }

  /**
   * The same bytes as leaves, which the worker of that connection asks for and holds. `from` is where one begins.
   *
   * @throws as pieces(); Unsuited where a worker gets no right answer at all, which this context may
   */
  async *leaves(from: number, to: number, options: Going & { connection: Connection }): AsyncGenerator<HeldLeaf, void, undefined> {
    const { connection, ...going } = options
    const ask: Way<Head, HeldLeaf>['ask'] = async (headers, signal, range) => {
      signal.addEventListener('abort', () => connection.hang(), { once: true })
      const { status, headers: said } = await connection
        .ask(this.#target.words(headers), { ...range, limit: to })
        .catch((error: unknown) => {
          signal.throwIfAborted()
          // The worker has ended.
          if (error instanceof StorageError) throw packError(error, 'read')
          throw this.#isSuited ? error : new Unsuited('a worker could not ask', { cause: error })
        })
      return { status, headers: new Headers(said) }
    }
    const read: Way<Head, HeldLeaf>['read'] = (_, range, signal) => heldOf(connection, { ...range, begin: from, limit: to }, signal)
    try {
      for await (const leaf of this.#going(from, to, going, { ask, read })) {
        this.#isSuited = true
        yield leaf
      }
    } catch (error) {
      // What a service worker answers this context it may not answer that one.
      if (this.#isSuited || !(error instanceof DownloadError || error instanceof Restart)) throw error
      throw new Unsuited('a worker got another answer', { cause: error })
    }
  }

  async *#going<R extends Head, P>(
    from: number,
    to: number,
    { signal, mayLeave }: Going,
    { ask, read }: Way<R, P>,
    first?: Answer<R>,
  ): AsyncGenerator<P, void, undefined> {
    const patience = new Patience(this.#target.url, this.#gain)
    let answer = first
    // WebKit drops what came before a connection broke and was not read yet, so that asking for as much again may bring nothing for ever.
    let most = Number.POSITIVE_INFINITY
    for (let at = from; at < to;) {
      const began = at
      const end = answer === undefined ? Math.min(to, at + most) : to
      try {
        answer ??= await this.#part(at, end, signal, ask)
        for await (const { bytes, piece } of read(answer.response, { from: at, to: end }, signal)) {
          if (bytes > end - at) throw new Restart('a part was longer than was asked for', { whole: true })
          at += bytes
          this.#gain.bytes += bytes
          if (piece !== undefined) yield piece
        }
        // Read to its end even so: a connection whose answer was left unread is of no more use.
        if (at < end) throw new Break(`the answer ended after byte ${at} of ${end}`)
        most *= 2
      } catch (error) {
        if (!(error instanceof Break)) throw error
        if (at === end) continue
        if (answer !== undefined) most = Math.max(CHUNK_SIZE_BYTES, at > began ? at - began : Math.ceil((end - began) / 8))
        if (error.isBusy && mayLeave?.() === true) throw error
        await patience.wait(error, signal)
      } finally {
        answer?.stop()
        answer = undefined
      }
    }
  }

  /** All of an answer that is no part: where it breaks off, everything is to be asked for anew. */
  async *whole({ answer, to }: Opened, signal: AbortSignal): AsyncGenerator<Uint8Array, void, undefined> {
    let at = 0
    try {
      for await (const piece of bodyOf(answer.response, signal)) {
        at += piece.byteLength
        this.#gain.bytes += piece.byteLength
        yield piece
      }
      if (to !== undefined && at !== to) throw new Break(`the answer had ${at} bytes where it said ${to}`)
    } catch (error) {
      throw error instanceof Break ? new Restart(error.message, { whole: false }, { cause: error }) : error
    } finally {
      answer.stop()
    }
  }

  async #part<R extends Head>(from: number, to: number, signal: AbortSignal, ask: Way<R, unknown>['ask']): Promise<Answer<R>> {
    const { validator } = this
    const condition = validator === undefined || !this.usesIfRange ? undefined : (validator.etag ?? validator.lastModified)
    const ranged = { range: `bytes=${from}-${to - 1}`, ...(condition === undefined ? {} : { 'if-range': condition }) }
    const answer = await this.#ask(ranged, signal, [200, 206, 412, 416], (headers, within) => ask(headers, within, { from, to })).catch(
      (error: unknown) => {
        // Redirected to another origin it may need a preflight that the server refuses.
        if (error instanceof Break && error.status === undefined) this.usesIfRange = false
        throw error
      },
    )
    const { response, stop } = answer
    const wrong = wrongOf(response, from, to, validator, condition !== undefined)
    if (wrong === undefined) return answer
    stop()
    throw wrong
  }

  /** @throws DownloadError for an answer that will stay so, Break for any other that is not wanted or does not come */
  async #ask<R extends Head>(
    headers: Record<string, string>,
    signal: AbortSignal,
    wanted: readonly number[],
    ask: (headers: Record<string, string>, signal: AbortSignal) => Promise<R>,
  ): Promise<Answer<R>> {
    const { url } = this.#target
    const request = new AbortController()
    const release = follow(request, [signal])
    const stop = (): void => {
      release()
      request.abort()
    }
    try {
      const response = await inTime(ask(headers, request.signal), signal)
      const { status } = response
      if (wanted.includes(status)) return { response, stop }
      const after = retryAfterMs(response.headers, Date.now())
      if (PASSING.has(status)) throw new Break(`it answered ${status}`, { status, retryAfterMs: after })
      throw new DownloadError(`${url} answered ${status}${advice(status)}`, url, { status })
    } catch (error) {
      stop()
      signal.throwIfAborted()
      if (error instanceof Break || error instanceof StorageError || error instanceof Unsuited) throw error
      throw new Break('it could not be reached', {}, { cause: error })
    }
  }

  /** A browser does not say why it got no answer; where the server gives one that may not be seen, that is it. */
  async #explain(cause: Break, signal: AbortSignal): Promise<void> {
    const { url, isSameOrigin } = this.#target
    if (isSameOrigin || (globalThis as { location?: object }).location === undefined || !(await this.#target.answers(signal))) return
    throw new DownloadError(
      `${url} is of another origin and does not let this one see it: let its server send Access-Control-Allow-Origin, or serve it from here`,
      url,
      {},
      { cause },
    )
  }
}

function advice(status: number): string {
  if (status === 401 || status === 403) return ': pass a Request with the headers or credentials that it wants'
  if (status === 404 || status === 410) return ': it is not there, so look whether the URL is right'
  return ': a download needs 200 or 206'
}
