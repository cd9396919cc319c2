// Downloads from the page's own origin, where If-Range asks whether the content is still the same; and under a policy that forbids what hashes fast.
import { createHash } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { bytesOf } from '../setup/download-bytes.ts'
import { downloadServer, type DownloadStats } from '../setup/download-server.ts'
import { openTabs, startApp, type App, type Kit } from './support/app.ts'

const MIB = 1024 * 1024
const SIZE = 40 * MIB

let app: App

beforeAll(async () => {
  app = await startApp({}, {}, downloadServer())
})

afterAll(async () => {
  await app?.close()
})

interface Downloaded {
  sha256: string | undefined
  damaged: number
  /** SHA-256 of what is read of it. */
  read: string
}

/** Downloads a file into a storage of its own, in a tab of its own. */
async function download(url: string, wanted: object = {}, path = ''): Promise<Downloaded> {
  const { tabs, errors, close } = await openTabs(app, 1, path)
  try {
    const downloaded = await tabs[0]!.evaluate(
      async ([url, wanted]) => {
        const { kit } = globalThis as unknown as { kit: Kit }
        const storage = new kit.IPFSKitStorage({ cacheDir: 'downloads', forceFallback: true })
        const cid = await storage.storeUrl(url, wanted)
        const [file] = await storage.listFiles()
        const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', (await storage.retrieve(cid)) ?? new Uint8Array()))
        return {
          sha256: file?.sha256,
          damaged: (await storage.verify()).damaged.length,
          read: Array.from(digest, (byte) => byte.toString(16).padStart(2, '0')).join(''),
        }
      },
      [url, wanted] as const,
    )
    expect(errors).toEqual([])
    return downloaded
  } finally {
    await close()
  }
}

function sha256Of(seed: number): string {
  return createHash('sha256')
    .update(bytesOf(seed, 0, SIZE))
    .digest('hex')
}

describe('a server of the same origin', () => {
  it.each([
    ['that breaks off', 'cut=6&after=2000000'],
    ['that breaks off, with dates', 'cut=3&after=2000000&validator=date'],
    ['with weak validators', 'validator=weak'],
    ['that knows no ranges', 'ranges=none'],
    ['that breaks off and knows no ranges', 'ranges=none&cut=1&after=2000000'],
    ['that answers other ranges than it says', 'ranges=wrong'],
    ['that answers fewer bytes', 'ranges=short'],
    ['that answers more bytes', 'ranges=long'],
    ['that encodes', 'gzip=1'],
  ])('%s: the right bytes', async (name, how) => {
    const seed = 500 + name.length * 31 + how.length
    const url = `${app.url}file-${seed}?size=${SIZE}&seed=${seed}&${how}`
    expect(await download(url)).toMatchObject({ read: sha256Of(seed), damaged: 0 })
  })

  it('whose content changes in between: the new bytes', async () => {
    const url = `${app.url}changing?size=${SIZE}&seed=1&change=3`
    expect(await download(url)).toMatchObject({ read: sha256Of(1001), damaged: 0 })
    const { asked } = (await (await fetch(`${app.url}changing/stats`)).json()) as DownloadStats
    expect(asked.some((range) => range.endsWith(` if "1-${SIZE}"`))).toBe(true)
  })
})

it.each(['', 'strict'])('hashes what is to have a SHA-256, at /%s', async (path) => {
  const sha256 = sha256Of(7)
  const url = `${app.url}hashed?size=${SIZE}&seed=7`
  expect(await download(url, { sha256 }, path)).toEqual({ sha256, read: sha256, damaged: 0 })
})
