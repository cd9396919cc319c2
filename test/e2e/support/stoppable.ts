// A server on loopback that can go away and come back where it was.
import { createServer, type RequestListener, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'

export interface Stoppable {
  url: string
  /** Nobody answers any more, until it is started again. */
  stop: () => Promise<void>
  start: () => Promise<void>
}

export async function startStoppable(answer: RequestListener): Promise<Stoppable> {
  const listen = (port: number): Promise<Server> => {
    const server = createServer(answer)
    return new Promise((resolve) => server.listen(port, '127.0.0.1', () => resolve(server)))
  }
  let server: Server | undefined = await listen(0)
  const { port } = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}/`,
    async stop() {
      const stopping = server
      server = undefined
      if (stopping === undefined) return
      const closed = new Promise((resolve) => stopping.close(resolve))
      stopping.closeAllConnections()
      await closed
    },
    async start() {
      server ??= await listen(port)
    },
  }
}
