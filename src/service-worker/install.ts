// A service worker that answers by CID: the handler behind the events of its life.
import { InvalidOptionsError } from '../errors.ts'
import { ContentHandler } from './handler.ts'
import { UrlCache, type CachedUrl } from '../url-cache/caching-fetch.ts'
import { resolveRules, type FetchRule } from '../url-cache/rules.ts'
import { resolveHandlerOptions, type HandlerOptions, type Served } from './options.ts'

export interface InstallOptions extends HandlerOptions {
  /**
   * Takes the place of an older worker, and the pages that are open, at once: content is served from the first visit on. false leaves that to the
   * application.
   *
   * @default true
   */
  takeOver?: boolean
  /**
   * URLs of which the answers are kept, as createFetch() has it: what pages fetch is then there offline, with no change of their code.
   * Pages, frames and workers themselves are not kept, since they run by the headers of their own answer.
   *
   * @default none
   */
  rules?: readonly FetchRule[]
  /**
   * Tells the page that asked of each answer, by a message `{ type: 'ipfs-kit-web:served', served }`.
   *
   * @default false
   */
  report?: boolean
}

/** What the worker keeps of URLs by its `rules`, to tell its pages of and to let go of. */
export interface Installed {
  /** What is kept, by URL. @throws as the storage where that does not open */
  urls(): Promise<CachedUrl[]>
  /** Lets go of what is kept of a URL. false where nothing was. */
  forget(url: string | URL): Promise<boolean>
}

/** What a page hears, with `report`, in an event `message` of `navigator.serviceWorker`. */
export interface ServedMessage {
  type: 'ipfs-kit-web:served'
  served: Served
}

/**
 * Answers `/ipfs/<cid>/path` in a service worker. Other requests are not touched, so that the worker may have further listeners, Workbox among them. Call it
 * while the worker's script runs for the first time, since browsers take no listeners later.
 *
 * @example
 * // sw.ts
 * import { install } from 'ipfs-kit-web/service-worker'
 * install(self)
 *
 * @throws InvalidOptionsError
 */
export function install(scope: unknown, options: InstallOptions = {}): Installed {
  const { takeOver = true, report = false } = options
  for (const [key, value] of Object.entries({ takeOver, report })) {
    if (typeof value !== 'boolean') throw new InvalidOptionsError(`option '${key}' must be true or false`, key)
  }
  if (!isServiceWorker(scope)) throw new InvalidOptionsError("install() takes the service worker's own `self`", 'scope')
  const resolved = resolveHandlerOptions(options, ['takeOver', 'report', 'rules'])
  const handler = new ContentHandler(resolved)
  const rules = resolveRules(options.rules ?? [])
  const cache = new UrlCache({ open: () => handler.storage(), rules, verify: resolved.verify })
  if (takeOver) {
    scope.addEventListener('install', (event) => event.waitUntil(scope.skipWaiting()))
    scope.addEventListener('activate', (event) => event.waitUntil(scope.clients.claim()))
  }
  scope.addEventListener('fetch', (event) => {
    const tell = report ? (served: Served) => void tellClient(scope, event, served) : undefined
    if (!handler.answers(event.request)) {
      if (cache.ruleOf(event.request) !== undefined) event.respondWith(cache.fetch(event.request, tell))
      return
    }
    event.respondWith(handler.answer(event.request, tell).then((answer) => answer ?? Response.error()))
  })
  return { urls: () => cache.urls(), forget: (url) => cache.forget(String(url)) }
}

/** The page that asked; for a page itself, the one that it becomes. */
async function tellClient(scope: ServiceWorkerScope, { clientId, resultingClientId }: FetchEventLike, served: Served): Promise<void> {
  const client = await scope.clients.get(clientId === '' ? resultingClientId : clientId)
  client?.postMessage({ type: 'ipfs-kit-web:served', served } satisfies ServedMessage)
}

/** What is used of ServiceWorkerGlobalScope, whose types can't stand beside those of pages. */
interface ServiceWorkerScope {
  skipWaiting(): Promise<void>
  clients: { claim(): Promise<void>; get(id: string): Promise<{ postMessage(message: unknown): void } | undefined> }
  addEventListener(type: 'install' | 'activate', listener: (event: { waitUntil(work: Promise<unknown>): void }) => void): void
  addEventListener(type: 'fetch', listener: (event: FetchEventLike) => void): void
}

interface FetchEventLike {
  request: Request
  clientId: string
  resultingClientId: string
  respondWith(response: Promise<Response>): void
}

function isServiceWorker(scope: unknown): scope is ServiceWorkerScope {
  return typeof scope === 'object' && scope !== null && 'skipWaiting' in scope && 'clients' in scope
}
