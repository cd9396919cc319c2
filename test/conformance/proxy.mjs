// Requests to a port of this machine, made again in the page of a gateway.
import { createServer } from 'node:http'
import { listen, stop } from './harness.mjs'

/**
 * @param {import('./harness.mjs').Gateway} gateway
 * @returns {Promise<{ url: string, close: () => Promise<void> }>}
 */
export async function startProxy(gateway) {
  const server = createServer((request, response) => {
    const { method, url = '/', headers } = request
    const asked = Object.entries(headers).map(([name, value]) => [name, [value].flat().join(', ')])
    gateway.ask(url, Object.fromEntries(asked), method).then(
      ({ status, headers: answered, body }) => {
        response.writeHead(status, Object.fromEntries(answered))
        response.end(body)
      },
      (/** @type {unknown} */ error) => {
        response.writeHead(502, { 'content-type': 'text/plain' })
        response.end(String(error))
      },
    )
  })
  return { url: await listen(server), close: () => stop(server) }
}
