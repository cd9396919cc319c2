// The workers that travel as text: they must be what their sources make now, and need nothing from outside.
import { readFile } from 'node:fs/promises'
import { Script } from 'node:vm'
import { expect, it } from 'vitest'
import { hashCode, workerCode } from '../../../scripts/pack-worker.mjs'
import { HASH_CODE } from '../../../src/download/hash-code.ts'
import { WORKER_CODE } from '../../../src/packs/worker-code.ts'

it.each([
  ['packs/worker-code.ts', workerCode],
  ['download/hash-code.ts', hashCode],
])('%s is what its source makes: run scripts/pack-worker.mjs after a change of it', async (path, code) => {
  expect(await readFile(new URL(`../../../src/${path}`, import.meta.url), 'utf8')).toBe(await code())
})

it.each([
  ['packs', WORKER_CODE],
  ['hash', HASH_CODE],
])('that of %s is a script that loads nothing', (_, code) => {
  expect(() => new Script(code)).not.toThrow()
  // The licence of what is in it says where that comes from.
  const [text = ''] = code.split('/*! Bundled license information')
  expect(/\bimport\b|\brequire\(|importScripts|https?:/.exec(text)?.[0]).toBeUndefined()
})
