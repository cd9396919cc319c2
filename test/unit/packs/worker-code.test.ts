// The pack worker travels as text: it must be what its source makes now, and need nothing from outside.
import { readFile } from 'node:fs/promises'
import { Script } from 'node:vm'
import { expect, it } from 'vitest'
import { workerCode } from '../../../scripts/pack-worker.mjs'
import { WORKER_CODE } from '../../../src/packs/worker-code.ts'

it('is what worker.ts makes: run scripts/pack-worker.mjs after a change of it', async () => {
  expect(await readFile(new URL('../../../src/packs/worker-code.ts', import.meta.url), 'utf8')).toBe(await workerCode())
})

it('is a script that loads nothing', () => {
  expect(() => new Script(WORKER_CODE)).not.toThrow()
  expect(WORKER_CODE).not.toMatch(/\bimport\b|\brequire\(|importScripts|https?:/)
})
