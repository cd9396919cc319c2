// The page whose requests the service worker answers.
import { IDBBlockstore } from 'blockstore-idb'
import { CID } from 'multiformats/cid'
import type { PlainBlock, PlainRequest, PlainResponse } from './harness.mjs'

const page = {
  /** Puts blocks as an application does that has a stock blockstore: some of them may lack what they link to. */
  async adopt(blocks: PlainBlock[]): Promise<void> {
    const store = new IDBBlockstore('conformance/blocks')
    await store.open()
    for (const { cid, base64 } of blocks) await store.put(CID.parse(cid), bytesOf(base64))
    await store.close()
  },

  async register(): Promise<void> {
    await navigator.serviceWorker.register('/service-worker.js')
    await navigator.serviceWorker.ready
    if (navigator.serviceWorker.controller !== null) return
    await new Promise((resolve) => navigator.serviceWorker.addEventListener('controllerchange', resolve, { once: true }))
  },

  /** Of the headers those that scripts may not set are dropped by the browser. */
  async ask(request: PlainRequest): Promise<PlainResponse> {
    const { method, path, headers } = request
    const response = await fetch(new URL(location.origin + path), { method, headers, redirect: 'manual' })
    if (response.type === 'opaqueredirect') return { ...(await askByMessage(request)), base64: '' }
    return { status: response.status, headers: [...response.headers], base64: base64Of(new Uint8Array(await response.arrayBuffer())) }
  },
}

export type ConformancePage = typeof page

Object.assign(globalThis, { page })

async function askByMessage(request: PlainRequest): Promise<Omit<PlainResponse, 'base64'>> {
  const { port1, port2 } = new MessageChannel()
  const answered = new Promise<Omit<PlainResponse, 'base64'>>((resolve) => {
    port1.onmessage = ({ data }) => resolve(data)
  })
  navigator.serviceWorker.controller?.postMessage(request, [port2])
  return answered
}

function bytesOf(base64: string): Uint8Array {
  return Uint8Array.from(atob(base64), (character) => character.charCodeAt(0))
}

function base64Of(bytes: Uint8Array): string {
  return btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(''))
}
