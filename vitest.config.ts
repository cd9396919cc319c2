// The tests: `unit` in Node; `browser` in a real Chromium, with the blocks in records; `packs`, the tests of the storage over again with the leaves of
// large files in OPFS packs; `e2e` in Node driving a Chromium and this package's own tools; `faults`
// as `e2e`, with what may happen to a browser and its disk.
import { fileURLToPath } from 'node:url'
import { playwright } from '@vitest/browser-playwright'
import { defineConfig } from 'vitest/config'
import type { TestProjectInlineConfiguration, ViteUserConfig } from 'vitest/config'
import { CHROMIUM_ARGS, findChromium } from './scripts/chromium.mjs'
import { FUZZ, FUZZ_TESTS } from './test/setup/fuzz.ts'
import { inBrowser, ONCE, PACKS_ALONE } from './test/setup/in-browser.ts'

export default defineConfig(async (): Promise<ViteUserConfig> => {
  // Only looked for here: `npm test` has installed one before where there was none. Without any, Playwright says what to do.
  const executablePath = await findChromium({ install: false }).catch(() => undefined)
  const inChromium = (name: string, tier: 'records' | 'packs', exclude: string[]): TestProjectInlineConfiguration =>
    inBrowser({
      name,
      tier,
      include: ['test/browser/**/*.test.ts', ...(tier === 'records' ? [FUZZ_TESTS] : [])],
      exclude,
      browser: 'chromium',
      provider: playwright({ launchOptions: { args: CHROMIUM_ARGS, ...(executablePath === undefined ? {} : { executablePath }) } }),
    })
  return {
    resolve: {
      alias: { 'aegir/chai': fileURLToPath(new URL('test/setup/chai-shim.ts', import.meta.url)) },
    },
    test: {
      // interface-blockstore-tests uses describe, it and beforeEach as globals.
      globals: true,
      globalSetup: 'test/setup/servers.ts',
      projects: [
        {
          extends: true,
          test: {
            name: 'unit',
            include: ['test/unit/**/*.test.ts'],
            environment: 'node',
            provide: { fuzz: FUZZ },
            setupFiles: ['test/setup/later.ts'],
            testTimeout: 30_000,
            hookTimeout: 30_000,
            // Must go through Vite: the alias above works only there.
            server: { deps: { inline: ['interface-blockstore-tests'] } },
          },
        },
        inChromium('browser', 'records', PACKS_ALONE),
        inChromium('packs', 'packs', ONCE),
        {
          extends: true,
          test: {
            name: 'e2e',
            include: ['test/e2e/**/*.test.ts'],
            environment: 'node',
            testTimeout: 180_000,
            hookTimeout: 300_000,
            fileParallelism: false,
          },
        },
        {
          extends: true,
          test: {
            name: 'faults',
            include: ['test/faults/**/*.test.ts'],
            environment: 'node',
            testTimeout: 180_000,
            hookTimeout: 300_000,
            fileParallelism: false,
          },
        },
      ],
    },
  }
})
