// A buffer that another thread writes without pause while it is stored: what vitest's page can't have, since only an isolated page may share one.
import { createServer } from 'node:http'
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import { chromium } from 'playwright'
import type { Browser } from 'playwright'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type * as Kit from '../../src/index.ts'
import { CHROMIUM_ARGS, findChromium } from '../../scripts/chromium.mjs'

const LAUNCH_TIMEOUT_MS = 60_000

/** 32 whole chunks and a bit. */
const SIZE_BYTES = 32 * 1024 * 1024 + 4096

const ISOLATED = { 'cross-origin-opener-policy': 'same-origin', 'cross-origin-embedder-policy': 'require-corp' }

let browser: Browser | undefined
let server: Server | undefined
let origin = ''

beforeAll(async () => {
  const bundle = await build({
    entryPoints: [fileURLToPath(new URL('../../src/index.ts', import.meta.url))],
    bundle: true,
    write: false,
    format: 'iife',
    globalName: 'kit',
    // No Helia: these tests force the fallback.
    external: ['helia', '@helia/http'],
    logLevel: 'error',
  })
  const script = bundle.outputFiles[0]?.text ?? ''
  server = createServer((request, response) => {
    const isScript = request.url === '/kit.js'
    response.writeHead(200, { ...ISOLATED, 'content-type': isScript ? 'text/javascript' : 'text/html' })
    response.end(isScript ? script : '<!doctype html><script src="/kit.js"></script>')
  })
  await new Promise<void>((resolve) => server?.listen(0, '127.0.0.1', resolve))
  origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  browser = await chromium.launch({ executablePath: await findChromium(), args: CHROMIUM_ARGS, timeout: LAUNCH_TIMEOUT_MS })
})

afterAll(async () => {
  await browser?.close()
  server?.closeAllConnections()
  server?.close()
})

describe('a SharedArrayBuffer that another thread writes', () => {
  it.each(['records', 'packs'] as const)('is stored on %s as what was copied, every block whole', async (tier) => {
    const page = await (await browser!.newContext()).newPage()
    await page.goto(origin)
    const seen = await page.evaluate(
      async ([size, tier]) => {
        const { kit } = globalThis as unknown as { kit: typeof Kit }
        // The first word ends the writer, the second counts its rounds; the rest is what it writes.
        const shared = new SharedArrayBuffer(8 + size)
        const control = new Int32Array(shared, 0, 2)
        const writing = `onmessage = ({ data: { shared, size } }) => {
        const [control, bytes] = [new Int32Array(shared, 0, 2), new Uint32Array(shared, 8, size / 4)]
        for (let state = 1; Atomics.load(control, 0) === 0; Atomics.add(control, 1, 1)) {
          for (let index = 0; index < bytes.length; index += 61) bytes[index] = state = (state * 1664525 + 1013904223) >>> 0
        }
        postMessage('ended')
      }`
        const writer = new Worker(URL.createObjectURL(new Blob([writing], { type: 'text/javascript' })))
        const ended = new Promise((resolve) => writer.addEventListener('message', resolve))
        writer.postMessage({ shared, size })
        while (Atomics.load(control, 1) === 0) await new Promise((resolve) => requestAnimationFrame(resolve))

        const storage = new kit.IPFSKitStorage({ cacheDir: 'shared', forceFallback: true, config: { tier } })
        const before = Atomics.load(control, 1)
        const cid = await storage.store(new Uint8Array(shared, 8, size))
        const rounds = Atomics.load(control, 1) - before
        Atomics.store(control, 0, 1)
        await ended

        const kept = await storage.retrieve(cid)
        const again = new kit.IPFSKitStorage({ cacheDir: 'again', forceFallback: true, config: { tier } })
        const answer = {
          isolated: crossOriginIsolated,
          rounds,
          cid,
          length: kept?.byteLength,
          again: await again.store(kept ?? ''),
          verdict: await storage.verify(),
          files: (await storage.listFiles()).map(({ state }) => state),
          garbage: await storage.gc(),
          stillShared: shared.byteLength === 8 + size,
        }
        await Promise.all([storage.close(), again.close()])
        return answer
      },
      [SIZE_BYTES, tier] as const,
    )
    expect(seen.isolated).toBe(true)
    expect(seen.rounds).toBeGreaterThan(0)
    expect(seen.length).toBe(SIZE_BYTES)
    expect(seen.again).toBe(seen.cid)
    expect(seen.verdict).toEqual({ blocks: 34, bytes: expect.any(Number), damaged: [] })
    expect(seen.files).toEqual(['whole'])
    expect(seen.garbage).toEqual({ blocks: 0, bytes: 0 })
    expect(seen.stillShared).toBe(true)
  })
})
