// Skips a test where the engine lacks what it is about, with what was found missing as the reason. Found out by trying, not by the engine's name.
import type { TestContext } from 'vitest'
import { probeInWorker } from '../../engines/worker-probes.ts'
import { IN_PAGE, probeAll } from '../../engines/probes.ts'

/** Handles of one file that several workers read by at once. */
export const READ_ONLY_HANDLES = "OPFS, sync handles of mode 'read-only'"
/** Files of the private file system that this thread writes. */
export const WRITABLE_FILES = 'OPFS, createWritable'
export const PRIVATE_FILES = 'OPFS'
/** Files of it that workers write: packs. */
export const SYNC_HANDLES = 'OPFS, createSyncAccessHandle'
/** How much room there is. */
const ESTIMATE = 'storage.estimate'

let probed: Promise<Record<string, string>> | undefined

/** What probing this engine found. */
async function found(capability: string): Promise<string> {
  probed ??= (async () => {
    const { both, worker } = await probeInWorker()
    return { ...both, ...worker, ...(await probeAll(IN_PAGE)) }
  })()
  const answer = (await probed)[capability]
  if (answer === undefined) throw new Error(`nothing probes '${capability}'`)
  return answer
}

export async function has(capability: string): Promise<boolean> {
  return !(await found(capability)).startsWith('no: ')
}

/** Goes on where the engine has it. */
export async function needs(skip: TestContext['skip'], capability: string): Promise<void> {
  if (!(await has(capability))) skip(`${capability}: ${await found(capability)}`)
}

/** Goes on where an origin may keep so much. Not found out by writing: WebKitGTK, once it refused an origin something, refuses it everything until it ends. */
export async function needsRoom(skip: TestContext['skip'], bytes: number): Promise<void> {
  await needs(skip, ESTIMATE)
  const { quota = 0, usage = 0 } = await navigator.storage.estimate()
  if (quota - usage < bytes) skip(`this engine has ${quota - usage} bytes of room for an origin`)
}
