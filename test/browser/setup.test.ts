// The test set-up itself: module workers, IndexedDB and the loopback gateways, from a real page.
import { CID } from 'multiformats/cid'
import { describe, expect, inject, it } from 'vitest'
import type { GatewayStats } from '../setup/servers.ts'
import { needs, PRIVATE_FILES } from './support/needs.ts'

const HELLO = 'bafkreifjjcie6lypi6ny7amxnfftagclbuxndqonfipmb64f2km2devei4'
const HELLO_BYTES = new TextEncoder().encode('hello world\n')

describe('the page', () => {
  it('starts a module worker', async () => {
    const worker = new Worker(new URL('./setup-echo-worker.ts', import.meta.url), { type: 'module' })
    const answered = new Promise((resolve, reject) => {
      worker.addEventListener('message', (event) => resolve(event.data))
      worker.addEventListener('error', (event) => reject(new Error(event.message)))
    })
    worker.postMessage(HELLO)
    expect(await answered).toBe(`${HELLO} 1`)
    worker.terminate()
  })

  it('is a secure context with IndexedDB and Web Locks', () => {
    expect(isSecureContext).toBe(true)
    expect(indexedDB).toBeDefined()
    expect(navigator.locks).toBeDefined()
  })

  it('has a private file system', async ({ skip }) => {
    await needs(skip, PRIVATE_FILES)
    expect(await navigator.storage.getDirectory()).toBeDefined()
  })
})

describe('the gateways', () => {
  it('answer what they are for, or never', async () => {
    const waiting = new AbortController()
    const hanging = fetch(`${inject('gatewayHang')}/`, { signal: waiting.signal })
    expect((await fetch(`${inject('gateway404')}/ipfs/${HELLO}?format=raw`)).status).toBe(404)
    expect((await fetch(`${inject('gateway500')}/ipfs/${HELLO}?format=raw`)).status).toBe(500)
    waiting.abort()
    await expect(hanging).rejects.toHaveProperty('name', 'AbortError')
  })

  it('answer a block by its multihash, count it, corrupt it and forget it', async () => {
    const blocks = inject('gatewayBlocks')
    expect((await fetch(`${blocks}/block/${HELLO}`, { method: 'PUT', body: HELLO_BYTES })).status).toBe(204)
    const otherCodec = CID.createV1(0x70, CID.parse(HELLO).multihash).toString()
    const answered = await fetch(`${blocks}/ipfs/${otherCodec}?format=raw`)
    expect(new Uint8Array(await answered.arrayBuffer())).toEqual(HELLO_BYTES)
    const stats = (await (await fetch(`${blocks}/stats`)).json()) as GatewayStats
    // Requests of a test before, which nobody waited for, may stand there as well.
    expect(stats.hits).toBeGreaterThan(0)
    expect(stats.cids).toContain(otherCodec)
    const corrupt = await fetch(`${inject('gatewayCorrupt')}/ipfs/${HELLO}?format=raw`)
    expect(new TextDecoder().decode(await corrupt.arrayBuffer())).toBe('iello world\n')
    await fetch(`${blocks}/blocks`, { method: 'DELETE' })
    expect((await fetch(`${blocks}/ipfs/${HELLO}?format=raw`)).status).toBe(404)
  })
})
