// The handler: requests below a path answered out of a storage, wherever they come from.
import { MissingBlockError } from '../blocks/blocks.ts'
import { entriesOf } from '../catalog/entries.ts'
import {
  ClosedError,
  DatabaseError,
  InvalidCidError,
  LimitError,
  QuotaError,
  StorageError,
  UnavailableError,
  UnsupportedContentError,
} from '../errors.ts'
import { exists } from '../inspect.ts'
import type { BaseStorage } from '../storage.ts'
import { checkAccess, type Access } from './access.ts'
import { guard } from './headers.ts'
import { inform } from './inform.ts'
import { Memory } from './memory.ts'
import { resolveHandlerOptions, type HandlerOptions, type ResolvedHandlerOptions, type Served } from './options.ts'
import { isServed, parseRequest, RequestError, type ContentRequest } from './request.ts'
import { respond, type Answer } from './respond.ts'
import { OpenStorage } from './open-storage.ts'

/** Answers a request below the path that is served; undefined for any other, which is left to whoever else answers. */
export type Handler = (request: Request) => Promise<Response | undefined>

const SERVED_METHODS = ['GET', 'HEAD', 'OPTIONS']

/**
 * Makes a handler that answers `/ipfs/<cid>/path` out of a storage, as a path gateway does. It works in a service worker, in a page, or anywhere else that
 * has Request and Response.
 *
 * @example
 * const handle = createHandler({ storage: { cacheDir: 'models' } })
 * self.addEventListener('fetch', (event) => {
 *   event.respondWith(handle(event.request).then((answer) => answer ?? fetch(event.request)))
 * })
 *
 * @throws InvalidOptionsError
 */
export function createHandler(options?: HandlerOptions): Handler {
  const handler = new ContentHandler(resolveHandlerOptions(options))
  const handle: Handler = (request) => handler.answer(request)
  behind.set(handle, handler)
  return handle
}

const behind = new WeakMap<Handler, ContentHandler>()

/** What a function of createHandler() is made of; undefined for any other. */
export function contentHandlerOf(handle: Handler): ContentHandler | undefined {
  return behind.get(handle)
}

export class ContentHandler {
  readonly #options: ResolvedHandlerOptions
  readonly #storage: OpenStorage
  readonly #memory = new Memory()

  constructor(options: ResolvedHandlerOptions) {
    this.#options = options
    this.#storage = new OpenStorage(options)
  }

  /** Opened in bounded time. @throws DatabaseError */
  storage(): Promise<BaseStorage> {
    return this.#storage.get()
  }

  /** Whether a request is answered at all. Known at once, as a fetch event needs it. */
  answers(request: Request): boolean {
    return isServed(new URL(request.url), this.#options.path)
  }

  /** `tell` hears of this answer, beside `onServed`. */
  async answer(request: Request, tell?: (served: Served) => void): Promise<Response | undefined> {
    const finish = (response: Response, access: Partial<Access>, answer?: Answer): Response => {
      guard(response.headers, access, this.#options.embedderPolicy)
      const served = describe(url, response, answer)
      for (const listener of [this.#options.onServed, tell]) inform(listener, served)
      return response
    }
    const url = new URL(request.url)
    if (!isServed(url, this.#options.path)) return undefined
    let access: Partial<Access> = {}
    try {
      if (!SERVED_METHODS.includes(request.method))
        throw new RequestError(405, `${request.method} is not answered: content by CID is read alone`)
      const wanted = parseRequest(request, url, this.#options.path)
      access = await checkAccess(request, wanted.root.toString(), this.#options)
      if (request.method === 'OPTIONS') return finish(new Response(null, { status: 204 }), access)
      const answer = await this.#respond(request, wanted)
      return finish(answer.response, access, answer)
    } catch (error) {
      if (request.signal.aborted) throw error
      return finish(errorResponse(error, request.method), access)
    }
  }

  /** Whether all that a request names is on this machine and is served, so that nobody else need keep it. */
  async holds(request: Request): Promise<boolean> {
    const url = new URL(request.url)
    if (!isServed(url, this.#options.path)) return false
    try {
      const wanted = parseRequest(request, url, this.#options.path)
      const root = wanted.root.toString()
      const storage = await this.#storage.get()
      return await storage.operate(undefined, async (operation, end) => {
        try {
          const entries = await entriesOf(operation.core.catalog, root)
          if (entries.length === 0 && !(await this.#options.allows(root))) return false
          return await exists(operation, [root, ...wanted.segments].join('/'))
        } finally {
          end()
        }
      })
    } catch (error) {
      if (error instanceof RequestError || error instanceof StorageError) return false
      throw error
    }
  }

  async #respond(request: Request, wanted: ContentRequest): Promise<Answer> {
    for (let tries = 1; ; tries++) {
      const storage = await this.#storage.get()
      try {
        return await storage.operate(request.signal, (operation, end) =>
          respond({ request, wanted, operation, end, options: this.#options, memory: this.#memory }),
        )
      } catch (error) {
        // Destroyed or taken away under this very request: what is there now is another one.
        const isLost = error instanceof DatabaseError || error instanceof ClosedError
        if (tries === MAX_TRIES || request.signal.aborted || !isLost) throw error
      }
    }
  }
}

/** Times that one request asks a storage which fails under it. */
const MAX_TRIES = 2

function describe(url: URL, { headers, status }: Response, answer: Answer | undefined): Served {
  const [mediaType, bytes] = [headers.get('content-type'), headers.get('content-length')]
  const { body, cid } = answer ?? {}
  return {
    url: url.href,
    status,
    ...(cid === undefined ? {} : { cid: cid.toV1().toString() }),
    ...(body === undefined ? {} : { by: body.by, verified: body.verified }),
    ...(mediaType === null ? {} : { mediaType }),
    ...(bytes === null ? {} : { bytes: Number(bytes) }),
  }
}

/** Seconds after which a client may try again where the storage could not be opened. */
const RETRY_AFTER_S = 1

function errorResponse(error: unknown, method: string): Response {
  const status = statusOf(error)
  const message = error instanceof Error ? error.message : String(error)
  const headers = new Headers({ 'Content-Type': 'text/plain; charset=utf-8', 'Cache-Control': 'no-store' })
  if (status === 405) headers.set('Allow', SERVED_METHODS.join(', '))
  if (status === 503) headers.set('Retry-After', String(RETRY_AFTER_S))
  return new Response(method === 'HEAD' ? null : `${message}\n`, { status, headers })
}

function statusOf(error: unknown): number {
  if (error instanceof RequestError) return error.status
  if (error instanceof InvalidCidError) return 400
  if (error instanceof MissingBlockError) return 404
  if (error instanceof LimitError) return error.limit === 'MAX_PATH_SEGMENTS' ? 414 : 413
  if (error instanceof UnsupportedContentError) return 501
  if (error instanceof UnavailableError) return 504
  if (error instanceof ClosedError || error instanceof DatabaseError || error instanceof QuotaError) return 503
  if (error instanceof StorageError && error.code === 'not-a-file') return 404
  return 500
}
