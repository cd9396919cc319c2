// The service worker of the contenders that are served: this library by CID in each way of verifying, and the Cache API as it is commonly done.
import { install } from '../../src/service-worker/index.ts'

/** What is used of ServiceWorkerGlobalScope, which lib.dom does not have. */
interface FetchEventLike extends Event {
  request: Request
  respondWith(response: Promise<Response>): void
}

const storage = { cacheDir: 'ours', forceFallback: true }

for (const verify of ['never', 'once', 'always'] as const) install(self, { storage, path: `/${verify}/`, verify })

self.addEventListener('fetch', (event) => {
  const asked = event as FetchEventLike
  if (new URL(asked.request.url).pathname.startsWith('/cached/')) asked.respondWith(match(asked.request))
})

async function match(request: Request): Promise<Response> {
  return (await caches.match(request)) ?? new Response(null, { status: 404 })
}
