// The tests: `unit` in Node; `browser` in a real Chromium, with the blocks in records; `packs`, the tests of the storage over again with the leaves of
// large files in OPFS packs; `e2e` in Node driving a Chromium and this package's own tools; `faults`
// as `e2e`, with what may happen to a browser and its disk.
import { fileURLToPath } from 'node:url'
import { playwright } from '@vitest/browser-playwright'
import { defineConfig } from 'vitest/config'
import type { TestProjectInlineConfiguration, ViteUserConfig } from 'vitest/config'
import { CHROMIUM_ARGS, findChromium } from './scripts/chromium.mjs'

/** Where the tier makes no difference: nothing there writes the leaves of a large file. They run once, with `browser`. */
const ONCE = ['setup', 'network', 'blockstore', 'helia-view', 'record-workers'].map((name) => `test/browser/${name}.test.ts`)

/** Black-box tests of the storage that run in Node, over memory, and in the browser, once. */
const FUZZ_TESTS = 'test/unit/fuzz/*.test.ts'

/** FUZZ_RUNS is how many runs each property gets; FUZZ_SEED repeats what a failure printed. */
const FUZZ = { runs: numberIn('FUZZ_RUNS'), seed: numberIn('FUZZ_SEED') }

function numberIn(name: string): number | undefined {
  const value = process.env[name]
  return value === undefined || value === '' ? undefined : Number(value)
}

export default defineConfig(async (): Promise<ViteUserConfig> => {
  // Only looked for here: `npm test` has installed one before where there was none. Without any, Playwright says what to do.
  const executablePath = await findChromium({ install: false }).catch(() => undefined)
  const inBrowser = (name: string, tier: 'records' | 'packs', exclude: string[]): TestProjectInlineConfiguration => ({
    extends: true,
    // Excluded, since the optimiser's cache would keep the aliased shim after it changed. Workers are entries, because the
    // optimiser does not look behind `new Worker(new URL(…))`, and a package found late would reload the page under a test.
    optimizeDeps: {
      entries: ['src/**/*.ts', 'test/browser/**/*.ts', FUZZ_TESTS, 'test/setup/chai-shim.ts'],
      exclude: ['interface-blockstore-tests'],
    },
    test: {
      name,
      include: ['test/browser/**/*.test.ts', ...(tier === 'records' ? [FUZZ_TESTS] : [])],
      exclude,
      // Read by test/browser/support/stores.ts and test/unit/fuzz/support.ts.
      provide: { tier, fuzz: FUZZ },
      testTimeout: 60_000,
      hookTimeout: 60_000,
      // One origin, one set of databases, two cores: one file after the other.
      fileParallelism: false,
      browser: {
        enabled: true,
        headless: true,
        screenshotFailures: false,
        provider: playwright({ launchOptions: { args: CHROMIUM_ARGS, ...(executablePath === undefined ? {} : { executablePath }) } }),
        instances: [{ browser: 'chromium' }],
      },
    },
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
            testTimeout: 30_000,
            hookTimeout: 30_000,
            // Must go through Vite: the alias above works only there.
            server: { deps: { inline: ['interface-blockstore-tests'] } },
          },
        },
        inBrowser('browser', 'records', ['test/browser/pack*.test.ts']),
        inBrowser('packs', 'packs', ONCE),
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
