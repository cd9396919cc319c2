// The worker under test: as an application has it, but that it serves everything it has to everybody, as a gateway does.
import { createHandler, getStorage, install, type HandlerOptions } from '../../src/service-worker/index.ts'

export interface Asked {
  path: string
  init: RequestInit
}

export interface Answered {
  status: number
  headers: [string, string][]
}

const options: HandlerOptions = {
  storage: getStorage({ cacheDir: 'conformance', forceFallback: true }),
  allow: () => true,
  allowOrigins: '*',
}
install(self, options)

/** A page sees neither status nor Location of a redirect, so what the handler answers is told by message. */
const handle = createHandler(options)
self.addEventListener('message', (event: MessageEvent<Asked>) => {
  const [port] = event.ports
  const { path, init } = event.data
  void handle(new Request(new URL(path, location.href), init)).then((response) => {
    port?.postMessage({ status: response?.status ?? 404, headers: [...(response?.headers ?? [])] } satisfies Answered)
  })
})
