// The demo's service worker. It keeps the page's own built files, so that the page reopens with the server gone; and it answers ipfs/<cid>/… below the page
// out of the library's storage, where what users store is, and keeps there what is fetched below voice/. The build puts the version and the files in front of it.
import { install, type FetchRule } from 'ipfs-kit-web/service-worker'
import type { Answer, Question } from './controller.ts'

declare const VERSION: string
declare const FILES: readonly string[]

/** What is used of ServiceWorkerGlobalScope, whose types can't stand beside those of pages. */
interface ServiceWorkerScope {
  registration: ServiceWorkerRegistration
  clients: { claim(): Promise<void> }
  skipWaiting(): Promise<void>
  addEventListener(type: 'install' | 'activate' | 'message', listener: (event: ExtendableEventLike) => void): void
  addEventListener(type: 'fetch', listener: (event: FetchEventLike) => void): void
}
interface ExtendableEventLike extends MessageEvent {
  waitUntil(work: Promise<unknown>): void
}
interface FetchEventLike {
  request: Request
  respondWith(response: Promise<Response>): void
}

const scope = self as unknown as ServiceWorkerScope
const PREFIX = 'ipfs-kit-web-demo:'
const CACHE = PREFIX + VERSION
const page = new URL('./', scope.registration.scope).href
const known = new Set(FILES.map((file) => new URL(file, page).href))

/** All or nothing: a version that could not be fetched whole is not installed, and the one before goes on serving. */
async function keepFiles(): Promise<void> {
  const cache = await caches.open(CACHE)
  await cache.addAll(FILES.map((file) => new Request(new URL(file, page), { cache: 'reload' })))
}

async function takeOver(): Promise<void> {
  for (const name of await caches.keys()) if (name.startsWith(PREFIX) && name !== CACHE) await caches.delete(name)
  await scope.clients.claim()
}

/** ignoreVary: scripts are asked for with an Origin header, which a server may name in Vary. */
async function answer(url: string, request: Request): Promise<Response> {
  const cache = await caches.open(CACHE)
  return (await cache.match(url, { ignoreVary: true })) ?? fetch(request)
}

scope.addEventListener('install', (event) => event.waitUntil(keepFiles()))
scope.addEventListener('activate', (event) => event.waitUntil(takeOver()))
scope.addEventListener('message', (event) => {
  const { data, ports } = event
  // The page asks for this when the user presses Reload; until then the version in use stays in use.
  if (data === 'skip-waiting') event.waitUntil(scope.skipWaiting())
  else if (ports[0] !== undefined) event.waitUntil(tell(ports[0], data as Question))
})
scope.addEventListener('fetch', (event) => {
  const { request } = event
  if (request.method !== 'GET') return
  const { origin, pathname } = new URL(request.url)
  const isPage = request.mode === 'navigate' && [page, `${page}index.html`].includes(origin + pathname)
  const url = isPage ? page : origin + pathname
  if (known.has(url)) event.respondWith(answer(url, request))
})

// Everything else of a content-addressed page is this. IPFS is asked by the page alone, which runs Helia.
const storage = { forceFallback: true }
const rules: FetchRule[] = [{ match: new URL('voice/', page).href }]
const kept = install(self, { path: new URL('ipfs/', page).pathname, storage, rules, takeOver: false, report: true })

async function tell(port: MessagePort, question: Question): Promise<void> {
  const asked = question.type === 'urls' ? kept.urls() : kept.forget(question.url)
  const answer: Answer<unknown> = await asked.then(
    (value) => ({ value }),
    (error: unknown) => ({ error: error instanceof Error ? error.message : String(error) }),
  )
  port.postMessage(answer)
}
