// Loading an entry does nothing: neither network nor storage is touched before something is made.
import { build } from 'esbuild'
import { fileURLToPath } from 'node:url'
import { afterEach, expect, it, vi } from 'vitest'

const FORBIDDEN = [
  'fetch',
  'XMLHttpRequest',
  'WebSocket',
  'indexedDB',
  'caches',
  'localStorage',
  'BroadcastChannel',
  'Worker',
  'SharedWorker',
  'navigator',
]

afterEach(() => {
  vi.unstubAllGlobals()
})

async function bundleOf(entry: string): Promise<string> {
  const result = await build({
    entryPoints: [fileURLToPath(new URL(`../../src/${entry}`, import.meta.url))],
    bundle: true,
    format: 'esm',
    platform: 'browser',
    target: 'es2022',
    write: false,
    external: ['helia', '@helia/http'],
    logLevel: 'error',
  })
  return result.outputFiles[0]?.text ?? ''
}

it.each(['index.ts', 'worker/index.ts', 'helia.ts'])('loading %s asks for nothing', async (entry) => {
  const code = await bundleOf(entry)
  const touched: string[] = []
  for (const name of FORBIDDEN) {
    const trap = new Proxy(() => undefined, {
      get: (_, key) => void touched.push(`${name}.${String(key)}`),
      apply: () => void touched.push(`${name}()`),
      construct: () => {
        touched.push(`new ${name}`)
        return {}
      },
    })
    vi.stubGlobal(name, trap)
  }
  const module = (await import(/* @vite-ignore */ `data:text/javascript;base64,${Buffer.from(code).toString('base64')}`)) as object
  expect(Object.keys(module).length).toBeGreaterThan(0)
  expect(touched).toEqual([])
})
