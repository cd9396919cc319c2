// Subpath ipfs-kit-web/helia: the running node typed as the Helia it is, for applications that have helia installed.
import type { Helia } from 'helia'
import type { ContentStorage } from './types.ts'

/**
 * The running Helia node of a storage, over the same blocks; null in the fallback.
 *
 * @throws NotSupportedError for a worker's client: the node lives in the worker
 * @example
 * const node = await helia(storage)
 * if (node !== null) for await (const chunk of unixfs(node).cat(cid)) …
 */
export async function helia(storage: ContentStorage): Promise<Helia | null> {
  return (await storage.helia()) as Helia | null
}
