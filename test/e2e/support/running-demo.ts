// The demo, built and served for the tests of one file, with a browser that each of them opens by itself.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { BrowserContext, Page } from 'playwright'
import { afterAll, afterEach, beforeAll } from 'vitest'
import { startDemo } from '../../../scripts/start.mjs'
import { launch, openDemo } from './demo-page.ts'

interface RunningDemo {
  /** Where builds and profiles lie; the demo in `dist`. */
  folder: string
  url: string
  /** Ends the browser that is open. Profiles stay. */
  leave: () => Promise<void>
  open: (profile: string, url?: string, options?: Parameters<typeof launch>[1]) => Promise<{ page: Page; errors: string[] }>
}

/** Of use within tests, and in hooks after this. */
export function useDemo(): RunningDemo {
  let context: BrowserContext | undefined
  let server: { url: string; close: () => Promise<void> } | undefined
  const demo: RunningDemo = {
    folder: '',
    url: '',
    async leave() {
      await context?.close()
      context = undefined
    },
    async open(profile, url = demo.url, options = {}) {
      context = await launch(join(demo.folder, profile), options)
      return openDemo(context, url)
    },
  }
  beforeAll(async () => {
    demo.folder = await mkdtemp(join(tmpdir(), 'ipfs-kit-web-demo-'))
    server = await startDemo({ outDir: join(demo.folder, 'dist') })
    demo.url = server.url
  })
  afterEach(() => demo.leave())
  afterAll(async () => {
    await server?.close()
    await rm(demo.folder, { recursive: true, force: true })
  })
  return demo
}
