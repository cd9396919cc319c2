// @ts-nocheck – a template for a service worker, whose globals are not the page’s.
// The demo's app shell: keeps the page's own built files, so that it reopens with the server gone. What users store is not here but
// in the library's storage. The build fills in the version and the files.
const VERSION = '__VERSION__'
const FILES = ['__FILES__']
const PREFIX = 'ipfs-kit-web-demo:'
const CACHE = PREFIX + VERSION
const known = new Set(FILES.map((file) => new URL(file, self.registration.scope).href))
const page = new URL('./', self.registration.scope).href

// All or nothing: a version that could not be fetched whole is not installed, and the one before goes on serving.
async function install() {
  const cache = await caches.open(CACHE)
  await cache.addAll(FILES.map((file) => new Request(file, { cache: 'reload' })))
}

async function activate() {
  for (const name of await caches.keys()) if (name.startsWith(PREFIX) && name !== CACHE) await caches.delete(name)
  await self.clients.claim()
}

// ignoreVary: scripts are asked for with an Origin header, which a server may name in Vary.
async function answer(url, request) {
  const cache = await caches.open(CACHE)
  return (await cache.match(url, { ignoreVary: true })) ?? fetch(request)
}

self.addEventListener('install', (event) => event.waitUntil(install()))
self.addEventListener('activate', (event) => event.waitUntil(activate()))
// The page asks for this when the user presses Reload; until then the version in use stays in use.
self.addEventListener('message', (event) => {
  if (event.data === 'skip-waiting') event.waitUntil(self.skipWaiting())
})
self.addEventListener('fetch', (event) => {
  const { request } = event
  if (request.method !== 'GET') return
  const { origin, pathname } = new URL(request.url)
  const isPage = request.mode === 'navigate' && [page, `${page}index.html`].includes(origin + pathname)
  const url = isPage ? page : origin + pathname
  if (known.has(url)) event.respondWith(answer(url, request))
})
