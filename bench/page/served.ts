// Content that this page fetches through a service worker, as an application does that knows of URLs alone.
import type { Bytes } from './contender.ts'

/** Makes this page one that the worker controls. */
export async function controlled(): Promise<void> {
  const isControlled = new Promise((resolve) => navigator.serviceWorker.addEventListener('controllerchange', resolve, { once: true }))
  await navigator.serviceWorker.register('/serving-worker.js', { type: 'module', scope: '/' })
  if (navigator.serviceWorker.controller === null) await isControlled
}

export async function fetched(url: string): Promise<Bytes> {
  return new Uint8Array(await (await answered(url)).arrayBuffer())
}

export async function fetchedStream(url: string): Promise<ReadableStream<Bytes>> {
  const { body } = await answered(url)
  if (body === null) throw new Error(`${url} was answered without a body`)
  return body
}

async function answered(url: string): Promise<Response> {
  const response = await fetch(url)
  if (response.ok) return response
  throw new Error(`${url} was answered with ${response.status}: ${(await response.text()).trim()}`)
}
