// `npm run test:browsers`: a project for each engine and circumstance, named as `firefox-records`.
import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vitest/config'
import type { TestProjectInlineConfiguration, ViteUserConfig } from 'vitest/config'
import { ENGINE_NAMES, INSECURE_HOST } from './scripts/engines.mjs'
import type { EngineName, Mode } from './scripts/engines.mjs'
import { driven } from './test/setup/driven.ts'
import { EngineReporter } from './test/setup/engine-reporter.ts'
import { inBrowser, ONCE, PACKS_ALONE } from './test/setup/in-browser.ts'

const EVERYWHERE = ['test/engines/**/*.test.ts']

interface Run {
  mode: Mode
  tier: 'records' | 'packs'
  include?: string[]
  exclude?: string[]
  /** Of every answer. */
  headers?: Record<string, string>
}

/** What SharedArrayBuffer wants of a page. */
const ISOLATING = { 'cross-origin-opener-policy': 'same-origin', 'cross-origin-embedder-policy': 'require-corp' }

/** @see scripts/test-browsers.mjs, which says what each is for. */
const RUNS: Record<string, Run> = {
  plain: { mode: {}, tier: 'records', include: EVERYWHERE },
  isolated: { mode: {}, tier: 'records', include: EVERYWHERE, headers: ISOLATING },
  private: { mode: { private: true }, tier: 'records', include: EVERYWHERE },
  insecure: { mode: { insecure: true }, tier: 'records', include: EVERYWHERE },
  records: { mode: {}, tier: 'records', exclude: PACKS_ALONE },
  packs: { mode: {}, tier: 'packs', exclude: ONCE },
}

function project(engine: EngineName, run: string, { mode, headers = {}, ...rest }: Run): TestProjectInlineConfiguration {
  const made = inBrowser({ ...rest, name: `${engine}-${run}`, browser: engine, provider: driven(engine, mode) })
  return { ...made, server: { allowedHosts: [INSECURE_HOST], headers } }
}

export default defineConfig((): ViteUserConfig => ({
  resolve: {
    alias: { 'aegir/chai': fileURLToPath(new URL('test/setup/chai-shim.ts', import.meta.url)) },
  },
  test: {
    globals: true,
    reporters: ['default', new EngineReporter()],
    globalSetup: 'test/setup/servers.ts',
    projects: ENGINE_NAMES.flatMap((engine) => Object.entries(RUNS).map(([name, run]) => project(engine, name, run))),
  },
}))
