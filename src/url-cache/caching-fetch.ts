// fetch() that keeps what it fetches by rules: the first answer goes to the caller and into the store at once, later ones come from the store.
import { CID } from 'multiformats/cid'
import { isEncoded, lengthOf, validatorOf } from '../download/answers.ts'
import { createSha256, hashed } from '../download/sha256.ts'
import { IntegrityError, InvalidOptionsError, StorageError } from '../errors.ts'
import { inBackground } from '../files/abort.ts'
import { openFile } from '../files/read.ts'
import { MissingBlockError } from '../blocks/blocks.ts'
import { exists } from '../inspect.ts'
import { HITS_FLUSH_MS } from '../limits.ts'
import type { Operation } from '../operation.ts'
import type { Reading } from '../service-worker/body.ts'
import { respondWithSpan } from '../service-worker/file.ts'
import { isMatched } from '../service-worker/headers.ts'
import { inform } from '../service-worker/inform.ts'
import { Memory } from '../service-worker/memory.ts'
import { UNKNOWN_TYPE } from '../service-worker/media-type.ts'
import { BaseStorage } from '../storage.ts'
import { storeFile, type StoredFacts } from '../store.ts'
import type { Bytes } from '../types.ts'
import { sha256OfHeaders, sha256OfHub } from './huggingface.ts'
import { headersToKeep, isForKeeping, isKeepable } from './keepable.ts'
import { endPinOf, endUrl, findUrl, listUrls, noteUrls, type UrlEntry } from './records.ts'
import { askServer, isUnable } from './revalidation.ts'
import { resolveRules, withoutFragment, type FetchRule, type ResolvedRule } from './rules.ts'
import { split } from './split.ts'

/** What is kept of a URL. */
export interface CachedUrl {
  url: string
  cid: string
  /** Bytes of content. */
  size: number
  mediaType?: string
  sha256?: string
  /** When it was last known to be what the server has. */
  checked: Date
  /** How often it was answered from the store. */
  hits: number
  etag?: string
  lastModified?: string
}

/** As fetch(), for what the rules are about out of the store. */
export interface CachingFetch {
  (input: RequestInfo | URL, init?: RequestInit): Promise<Response>
  /** What is kept, by URL. */
  urls(): Promise<CachedUrl[]>
  /** Lets go of what is kept of a URL, and of what is on its way into the store here. false where nothing was. */
  forget(url: string | URL): Promise<boolean>
}

export interface CreateFetchOptions {
  /** What asks the network. @default globalThis.fetch */
  fetch?: typeof fetch
  /** Called with each answer: where it comes from. */
  onServed?: (served: ServedUrl) => void
}

export interface ServedUrl {
  url: string
  from: 'store' | 'network'
  status: number
  /** Of what comes from the store. */
  cid?: string
  bytes?: number
}

type Tell = ((served: ServedUrl) => void) | undefined

/**
 * Makes a fetch() that keeps answers under their CIDs by rules, so that they are there offline, checked each time, and once whatever their URLs. What no
 * rule is about, answers without CORS (opaque ones) and methods other than GET and HEAD go to the network as they are. Nothing is kept of an answer that is
 * not 200, ends early, is a page of HTML where the URL names another kind of file, or is not what the rule demands.
 *
 * @example
 * const caching = createFetch(storage, [{ match: /\.onnx$/, pin: true, revalidate: 'never' }])
 * env.fetch = caching // as transformers.js has it
 *
 * @throws InvalidOptionsError
 */
export function createFetch(storage: BaseStorage, rules: readonly FetchRule[], options: CreateFetchOptions = {}): CachingFetch {
  if (!(storage instanceof BaseStorage)) {
    throw new InvalidOptionsError(
      'createFetch() takes an IPFSKitStorage: in a page whose storage runs in a worker, call it in that worker',
      'storage',
    )
  }
  const cache = new UrlCache({
    open: () => Promise.resolve(storage),
    rules: resolveRules(rules),
    verify: 'always',
    fetched: options.fetch ?? globalThis.fetch.bind(globalThis),
  })
  // As it is now: whoever puts this one in its place must not be asked by it.
  const caching = (input: RequestInfo | URL, init?: RequestInit): Promise<Response> =>
    cache.fetch(new Request(input, init), options.onServed)
  return Object.assign(caching, { urls: () => cache.urls(), forget: (url: string | URL) => cache.forget(String(url)) })
}

export interface UrlCacheInit {
  open: () => Promise<BaseStorage>
  rules: readonly ResolvedRule[]
  /** As HandlerOptions have it. */
  verify: Reading['verify']
  /** What asks the network, where it is not globalThis.fetch. */
  fetched?: typeof fetch | undefined
}

export class UrlCache {
  readonly #init: UrlCacheInit
  readonly #memory = new Memory()
  /** What is on its way into the store, by URL, unless it was forgotten. */
  readonly #coming = new Map<string, Set<Coming>>()
  readonly #notes = new Map<string, { url: string; cid: string; hits: number; checked?: number | undefined }>()
  #timer: ReturnType<typeof setTimeout> | undefined

  constructor(init: UrlCacheInit) {
    this.#init = init
  }

  /** Whether a rule is about it. Known at once, as a fetch event needs it. */
  ruleOf(request: Request): ResolvedRule | undefined {
    return isForKeeping(request) ? this.#init.rules.find((rule) => rule.matches(request)) : undefined
  }

  async fetch(request: Request, tell?: Tell): Promise<Response> {
    const rule = this.ruleOf(request)
    // What is answered to somebody in particular is nobody else's, and the browser checks what it is to check.
    if (rule === undefined || request.headers.has('authorization') || request.integrity !== '') return this.#network(request, tell)
    const url = withoutFragment(request.url)
    const found = request.cache === 'reload' ? undefined : await this.#find(request, url)
    // It may have been kept by another rule.
    const kept = found !== undefined && isAsDemanded(found, rule) ? found : undefined
    if (kept !== undefined && (await this.#isCurrent(request, rule, kept))) {
      const answer = await this.#answer(request, kept, tell)
      if (answer !== undefined) return answer
    }
    if (request.cache === 'only-if-cached') return new Response(null, { status: 504, statusText: 'Not kept' })
    const isWhole = request.method === 'GET' && !request.headers.has('range')
    let response: Response | undefined
    let failure: unknown
    try {
      response = await this.#ask(isWhole && request.cache === 'default' && request.mode !== 'no-cors' ? pastCache(request) : request)
    } catch (error) {
      request.signal.throwIfAborted()
      failure = error
    }
    if (kept !== undefined && (response === undefined || isUnable(response))) {
      const answer = await this.#answer(request, kept, tell)
      if (answer !== undefined) {
        inBackground(() => response?.body?.cancel())
        return answer
      }
    }
    if (response === undefined) throw failure
    inform(tell, { url: request.url, from: 'network', status: response.status })
    if (!isWhole) return response
    const isToKeep = request.cache !== 'no-store' && isKeepable(response, url)
    // What is demanded of it is demanded of every answer.
    if (demands(rule) ? response.ok : isToKeep && !this.#coming.has(url)) return this.#keep(request, rule, url, response, isToKeep)
    return response
  }

  async urls(): Promise<CachedUrl[]> {
    await this.#flush()
    return this.#operate(undefined, async ({ core }) => {
      const entries = await listUrls(core)
      return entries.map(({ filename, cid, size, mediaType, sha256, source }) => ({
        url: filename,
        cid,
        size,
        checked: new Date(source.checked),
        hits: source.hits,
        ...source.validator,
        ...(mediaType === undefined ? {} : { mediaType }),
        ...(sha256 === undefined ? {} : { sha256 }),
      }))
    })
  }

  async forget(given: string): Promise<boolean> {
    const url = withoutFragment(new URL(given, globalThis.location?.href).href)
    const coming = this.#coming.get(url)
    this.#coming.delete(url)
    for (const one of coming ?? []) one.isForgotten = true
    const isEnded = await this.#operate(undefined, (operation) => endUrl(operation, url), 'write')
    return isEnded || coming !== undefined
  }

  /** What is kept of it whole, unless the storage can't be read: then there is the network. */
  async #find(request: Request, url: string): Promise<UrlEntry | undefined> {
    try {
      return await this.#operate(request.signal, async (operation) => {
        const entry = await findUrl(operation.core, url)
        return entry !== undefined && (await exists(operation, entry.cid)) ? entry : undefined
      })
    } catch {
      request.signal.throwIfAborted()
      return undefined
    }
  }

  /** Whether it may be answered as it is: new enough, or the server has nothing newer, or can't be asked in time. */
  async #isCurrent(request: Request, { maxAgeMs }: ResolvedRule, { filename: url, cid, source }: UrlEntry): Promise<boolean> {
    if (request.cache === 'force-cache' || request.cache === 'only-if-cached') return true
    // transformers.js asks so how long its files are, which it must learn offline too.
    const isWary = request.cache === 'no-store' && maxAgeMs !== Number.POSITIVE_INFINITY
    const isDue = isWary || request.cache === 'no-cache' || Date.now() - source.checked >= maxAgeMs
    if (!isDue || !isOnline()) return true
    const told = await askServer(request, url, source, (asked) => this.#ask(asked))
    if (told === 'same') this.#note(url, cid, 0, Date.now())
    return told !== 'other'
  }

  /** undefined where it is not to be read. */
  async #answer(request: Request, entry: UrlEntry, tell: Tell): Promise<Response | undefined> {
    const { filename: url, cid, mediaType, source } = entry
    const root = CID.parse(cid)
    try {
      return await (
        await this.#init.open()
      ).operate(request.signal, async (operation, end) => {
        const content = operation.content(root, { localOnly: true })
        const file = await openFile(content, root, { signal: operation.signal, cache: operation.core.layouts })
        operation.touch(root)
        const headers = new Headers({
          ...source.headers,
          'Accept-Ranges': 'bytes',
          'Content-Type': mediaType ?? UNKNOWN_TYPE,
          ETag: source.validator?.etag ?? `"${cid}"`,
          'X-Ipfs-Path': `/ipfs/${cid}`,
          'X-Ipfs-Roots': cid,
        })
        if (source.validator?.lastModified !== undefined) headers.set('Last-Modified', source.validator.lastModified)
        const keep = (): Promise<void> => content.keep(root, [], false)
        const reading = {
          operation,
          content,
          file,
          memory: this.#memory.of(root, operation.core.catalog.id),
          verify: this.#init.verify,
          keep,
        } as const
        const isKnown = isMatched(request.headers.get('if-none-match'), headers.get('etag') ?? '')
        const made = isKnown
          ? { response: new Response(null, { status: 304, headers }) }
          : await respondWithSpan(request, reading, headers, end)
        if (made.body?.isOpen !== true) end()
        this.#note(url, cid, 1)
        const { status } = made.response
        inform(tell, { url, from: 'store', status, cid, bytes: Number(headers.get('content-length') ?? 0) })
        return named(made.response, url)
      })
    } catch (error) {
      request.signal.throwIfAborted()
      // It is fetched anew, which heals it.
      if (error instanceof MissingBlockError || error instanceof IntegrityError) return undefined
      throw error
    }
  }

  /** Passes it on, whole only where it is what the rule demands, and keeps it where it is to be kept. */
  async #keep({ signal }: Request, rule: ResolvedRule, url: string, response: Response, isToKeep: boolean): Promise<Response> {
    const { headers } = response
    const { body } = response
    // Of another origin it may be hidden that a body travels in another form, of which its length is that.
    const length = response.type !== 'basic' || isEncoded(headers) ? undefined : lengthOf(headers)
    if (rule.size !== undefined && length !== undefined && length !== rule.size) {
      await body?.cancel()
      throw wrong(url, 'size', String(length), String(rule.size))
    }
    if (body === null) return response
    if (!isToKeep && rule.cid !== undefined) {
      await body.cancel()
      throw new IntegrityError(`${url} answered what is not kept, so that it can't be told whether its CID is the one that is demanded`, '')
    }
    let kept: Promise<void> = Promise.resolve()
    const { own, copy, leave } = split(body, () => kept)
    const answer: Coming = { url, rule, response, length, copy, isForgotten: false }
    const coming = this.#coming.get(url) ?? new Set()
    if (isToKeep) this.#coming.set(url, coming.add(answer))
    kept = (isToKeep ? this.#operate(signal, (operation) => this.#store(operation, answer), 'write') : this.#check(signal, answer))
      .catch((error: unknown) => {
        // What was demanded is not what came: whoever reads it must know. That it could not be kept, must not.
        if (error instanceof IntegrityError) throw error
      })
      .finally(() => {
        leave()
        coming.delete(answer)
        if (coming.size === 0 && this.#coming.get(url) === coming) this.#coming.delete(url)
      })
    kept.catch(() => undefined)
    const passed = new Headers(headers)
    if (isEncoded(headers)) for (const name of ['content-encoding', 'content-length']) passed.delete(name)
    return named(new Response(own, { status: response.status, statusText: response.statusText, headers: passed }), response.url || url)
  }

  /** Without keeping it. */
  async #check(signal: AbortSignal, { url, rule, response, length, copy }: Coming): Promise<void> {
    const known = this.#sha256(url, rule, response.headers, signal)
    const hasher = rule.sha256 === undefined ? undefined : await createSha256(length)
    try {
      let size = 0
      for await (const piece of copy) {
        size += piece.byteLength
        await hasher?.update(piece)
      }
      refuseWrong(url, rule, { size, length, sha256: await hasher?.hex(), expected: await known })
    } finally {
      hasher?.end()
    }
  }

  /** The one that is demanded. Whoever awaits it hears of it where it can't be learnt. */
  #sha256(url: string, { sha256 }: ResolvedRule, headers: Headers, signal: AbortSignal | undefined): Promise<string | undefined> {
    const known = Promise.resolve(
      sha256 === 'huggingface'
        ? (sha256OfHeaders(headers) ?? sha256OfHub(url, (input, init) => this.#ask(new Request(input, init)), signal))
        : sha256,
    )
    known.catch(() => undefined)
    return known
  }

  async #store(operation: Operation, answer: Coming): Promise<void> {
    const { url, rule, response, length, copy } = answer
    const { headers } = response
    const known = this.#sha256(url, rule, headers, operation.signal)
    const hasher = rule.sha256 === undefined ? undefined : await createSha256(length)
    const source = hasher === undefined ? copy : hashed(copy, hasher)
    const mediaType = rule.mediaType ?? headers.get('content-type') ?? undefined
    const validator = validatorOf(headers)
    const said = headersToKeep(headers)
    const holder = rule.pin === true ? (rule.holder ?? url) : undefined
    const before = await findUrl(operation.core, url)
    try {
      const cid = await storeFile(
        operation,
        source,
        {
          filename: url,
          ...(holder === undefined ? {} : { pin: true, holder }),
          ...(mediaType === undefined ? {} : { mediaType }),
        },
        async (stored): Promise<StoredFacts> => {
          const sha256 = await hasher?.hex()
          const expected = await known
          refuseWrong(url, rule, { size: stored.size, length, sha256, expected })
          if (rule.cid !== undefined && stored.cid !== rule.cid) throw wrong(url, 'CID', stored.cid, rule.cid)
          if (answer.isForgotten) throw new StorageError(`${url} was let go of while it came`)
          return {
            ...(sha256 === undefined ? {} : { sha256 }),
            source: {
              checked: Date.now(),
              hits: (before?.source.hits ?? 0) + (this.#notes.get(url)?.hits ?? 0),
              ...(validator === undefined ? {} : { validator }),
              ...(said === undefined ? {} : { headers: said }),
              ...(holder === undefined ? {} : { holder }),
            },
          }
        },
      )
      this.#notes.delete(url)
      // Let go of since it was looked at.
      await endUrl(operation, url, answer.isForgotten ? undefined : cid)
      // The rule may name another holder by now, or none.
      if (before?.cid === cid) await endPinOf(operation, cid, before.source.holder)
    } finally {
      hasher?.end()
    }
  }

  async #network(request: Request, tell: Tell): Promise<Response> {
    const response = await this.#ask(request)
    inform(tell, { url: request.url, from: 'network', status: response.status })
    return response
  }

  #ask(request: Request): Promise<Response> {
    return (this.#init.fetched ?? globalThis.fetch)(request)
  }

  async #operate<T>(
    signal: AbortSignal | undefined,
    work: (operation: Operation) => Promise<T>,
    kind: 'read' | 'write' = 'read',
  ): Promise<T> {
    const storage = await this.#init.open()
    return storage.operate(
      signal,
      async (operation, end) => {
        const answer = await work(operation)
        end()
        return answer
      },
      kind,
    )
  }

  /** Gathered, so that reading does not mean writing. */
  #note(url: string, cid: string, hits: number, checked?: number): void {
    const before = this.#notes.get(url)
    const same = before?.cid === cid ? before : undefined
    this.#notes.set(url, { url, cid, hits: (same?.hits ?? 0) + hits, checked: checked ?? same?.checked })
    this.#timer ??= setTimeout(() => {
      void this.#flush().catch(() => undefined)
    }, HITS_FLUSH_MS)
  }

  async #flush(): Promise<void> {
    clearTimeout(this.#timer)
    this.#timer = undefined
    const notes = [...this.#notes.values()]
    this.#notes.clear()
    if (notes.length > 0) await this.#operate(undefined, ({ core }) => noteUrls(core, notes), 'write')
  }
}

/** An answer on its way. `length`: bytes of content that it says to have. */
interface Coming {
  url: string
  rule: ResolvedRule
  response: Response
  length: number | undefined
  copy: AsyncIterable<Bytes>
  isForgotten: boolean
}

function demands({ sha256, cid, size }: ResolvedRule): boolean {
  return sha256 !== undefined || cid !== undefined || size !== undefined
}

function isAsDemanded(kept: UrlEntry, { sha256, cid, size }: ResolvedRule): boolean {
  if (cid !== undefined && cid !== kept.cid) return false
  if (size !== undefined && size !== kept.size) return false
  return sha256 === undefined || (sha256 === 'huggingface' ? kept.sha256 !== undefined : sha256 === kept.sha256)
}

/** @throws IntegrityError */
function refuseWrong(
  url: string,
  rule: ResolvedRule,
  {
    size,
    length,
    sha256,
    expected,
  }: { size: number; length: number | undefined; sha256: string | undefined; expected: string | undefined },
): void {
  // A body that ends early is an error of the network in most browsers.
  if (length !== undefined && size !== length) throw wrong(url, 'size', String(size), String(length))
  if (rule.size !== undefined && size !== rule.size) throw wrong(url, 'size', String(size), String(rule.size))
  if (expected !== undefined && sha256 !== expected) throw wrong(url, 'SHA-256', sha256 ?? 'unknown', expected)
}

/** Where nobody can tell, it is tried. */
function isOnline(): boolean {
  return (globalThis.navigator as Navigator | undefined)?.onLine ?? true
}

/** The browser's own cache may have what was kept before, or was refused, and no longer what the server has: it is to ask. */
function pastCache(request: Request): Request {
  return new Request(request, { cache: 'no-cache' })
}

function wrong(url: string, what: string, is: string, expected: string): IntegrityError {
  return new IntegrityError(`${url} answered content of ${what} ${is}, where ${expected} is demanded: it was not kept`, '')
}

/** A Response that was made bears no URL, which some loaders ask for. */
function named(response: Response, url: string): Response {
  Object.defineProperty(response, 'url', { value: url })
  return response
}
