// Promise: while something else holds a browser's files, as processes of one that was killed may for a moment, a storage waits or says so, and never seems
// to be empty.
import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import type { IPFSKitStorage } from '../../src/index.ts'
import { serveApp, type Kit, type Served } from '../e2e/support/app.ts'
import { startKillable, type Killable } from './support/killable.ts'

const NAME = 'held'
/** Takes the lock of a LevelDB as a process does that has it open: Node has no such locks. */
const HOLDER = `
import fcntl, sys
lock = open(sys.argv[1], 'r+')
fcntl.lockf(lock, fcntl.LOCK_EX)
print('held', flush=True)
sys.stdin.read()
`

let app: Served

beforeAll(async () => {
  app = await serveApp()
})

afterAll(async () => {
  await app?.close()
})

/** What opening a storage comes to in a browser: its tier and what it lists, or the error's name. */
function opened({ page }: Killable): Promise<unknown> {
  return page.evaluate(async (cacheDir) => {
    const { kit } = globalThis as unknown as { kit: Kit }
    const storage: IPFSKitStorage = new kit.IPFSKitStorage({ cacheDir, forceFallback: true })
    try {
      await storage.ready()
      return [(await storage.getBackendStatus()).tier, (await storage.listFiles()).map(({ filename }) => filename)]
    } catch (error) {
      return (error as Error).name
    } finally {
      await storage.close()
    }
  }, NAME)
}

async function held(profile: string): Promise<ChildProcess> {
  const folder = join(profile, 'Default', 'IndexedDB')
  const database = (await readdir(folder)).find((name) => name.endsWith('.leveldb')) ?? ''
  const holder = spawn('python3', ['-c', HOLDER, join(folder, database, 'LOCK')], { stdio: ['pipe', 'pipe', 'inherit'] })
  await new Promise<void>((resolve, reject) => {
    holder.once('error', reject)
    holder.stdout?.once('data', () => resolve())
  })
  return holder
}

const hasPython = spawnSync('python3', ['--version']).status === 0

it.skipIf(!hasPython)('is found again, or named', async () => {
  const profile = await mkdtemp(join(tmpdir(), 'ipfs-kit-web-held-'))
  let browser: Killable | undefined
  let holder: ChildProcess | undefined
  try {
    browser = await startKillable(profile, app.url)
    await browser.page.evaluate(async (cacheDir) => {
      const { kit } = globalThis as unknown as { kit: Kit }
      const storage = new kit.IPFSKitStorage({ cacheDir, forceFallback: true })
      await storage.store('kept', { filename: 'kept' })
      await storage.close()
    }, NAME)
    await browser.kill()
    holder = await held(profile)
    browser = await startKillable(profile, app.url)
    expect(await opened(browser)).toBe('DatabaseError')
    holder.kill()
    expect(await opened(browser)).toEqual(['packs', ['kept']])
  } finally {
    holder?.kill()
    await browser?.kill()
    await rm(profile, { recursive: true, force: true })
  }
})
