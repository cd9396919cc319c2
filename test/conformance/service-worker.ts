// The service worker that is asked for conformance: it serves whatever lies in its storage, to everyone.
import { createHandler, install, type HandlerOptions } from '../../src/service-worker/index.ts'
import type { PlainRequest } from './harness.mjs'

const OPTIONS: HandlerOptions = { storage: { cacheDir: 'conformance', forceFallback: true }, allow: () => true, allowOrigins: '*' }

install(self, OPTIONS)

const handle = createHandler(OPTIONS)

// A page sees nothing of a redirect that it does not follow: it asks by message then.
self.addEventListener('message', ({ data, ports }: MessageEvent<PlainRequest>) => {
  const { method, path, headers } = data
  void handle(new Request(new URL(path, location.href), { method, headers })).then((response) => {
    ports[0]?.postMessage({ status: response?.status, headers: [...(response?.headers ?? [])] })
  })
})
