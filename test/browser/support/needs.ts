// Skips a test where the engine lacks what it is about, with what was found missing as the reason. Found out by trying, not by the engine's name.
import type { TestContext } from 'vitest'
import { probeInWorker } from '../../engines/worker-probes.ts'
import { IN_PAGE, probeAll } from '../../engines/probes.ts'

/** Handles of one file that several workers read by at once. */
export const READ_ONLY_HANDLES = "OPFS, sync handles of mode 'read-only'"
/** Files of the private file system that this thread writes. */
export const WRITABLE_FILES = 'OPFS, createWritable'
export const SYNC_HANDLES = 'OPFS, createSyncAccessHandle'
export const FILES = 'OPFS'

let probed: Promise<Record<string, string>> | undefined

/** Goes on where the engine has it. */
export async function needs(skip: TestContext['skip'], capability: string): Promise<void> {
  probed ??= (async () => {
    const { both, worker } = await probeInWorker()
    return { ...both, ...worker, ...(await probeAll(IN_PAGE)) }
  })()
  const found = (await probed)[capability]
  if (found === undefined) throw new Error(`nothing probes '${capability}'`)
  if (found.startsWith('no: ')) skip(`${capability}: ${found}`)
}
