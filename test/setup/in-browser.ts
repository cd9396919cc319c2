// What every project of tests in a browser has, whichever browser it is.
import type { TestProjectInlineConfiguration } from 'vitest/config'
import type { BrowserProviderOption } from 'vitest/node'
import { FUZZ, FUZZ_TESTS } from './fuzz.ts'

export interface InBrowser {
  name: string
  /** Where the storages of this run keep the leaves of large files. */
  tier: 'records' | 'packs'
  include?: string[]
  exclude?: string[]
  browser: 'chromium' | 'firefox' | 'webkit'
  provider: BrowserProviderOption
}

/** Where the tier makes no difference: nothing there writes the leaves of a large file. They run once, on records. */
export const ONCE: string[] = ['setup', 'network', 'blockstore', 'helia-view', 'record-workers', 'service-worker'].map(
  (name) => `test/browser/${name}.test.ts`,
)

/** Where packs are what is tested. */
export const PACKS_ALONE: string[] = ['test/browser/pack*.test.ts']

export function inBrowser({ name, tier, include, exclude, browser, provider }: InBrowser): TestProjectInlineConfiguration {
  return {
    extends: true,
    // Excluded, since the optimiser's cache would keep the aliased shim after it changed. Workers are entries, because the
    // optimiser does not look behind `new Worker(new URL(…))`, and a package found late would reload the page under a test.
    optimizeDeps: {
      entries: ['src/**/*.ts', 'test/browser/**/*.ts', 'test/engines/**/*.ts', FUZZ_TESTS, 'test/setup/chai-shim.ts'],
      exclude: ['interface-blockstore-tests'],
    },
    test: {
      name,
      include: include ?? ['test/browser/**/*.test.ts'],
      exclude: exclude ?? [],
      // Read by test/browser/support/stores.ts and test/unit/fuzz/support.ts.
      provide: { tier, fuzz: FUZZ },
      setupFiles: ['test/setup/later.ts'],
      testTimeout: 60_000,
      hookTimeout: 60_000,
      // One origin, one set of databases, two cores: one file after the other.
      fileParallelism: false,
      browser: { enabled: true, headless: true, screenshotFailures: false, provider, instances: [{ browser }] },
    },
  }
}
