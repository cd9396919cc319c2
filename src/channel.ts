// What the contexts that use one storage tell each other.
import type { Evicted } from './blocks/eviction.ts'
import type { CatalogChange } from './catalog/commit.ts'

export function channelName(cacheDir: string): string {
  return `ipfs-kit:${cacheDir}`
}

export type ChannelMessage =
  | { type: 'changes'; changes: readonly CatalogChange[] }
  | { type: 'freed' }
  | { type: 'evicted'; evicted: readonly Evicted[] }
  | { type: 'anyone' }
  | { type: 'busy' }
  | { type: 'here' }
  | DownloadMessage
  /** Whoever has a pack open must let go of it, and forget what it remembers. */
  | { type: 'destroyed' }

/** How far a download is, for those who wait for it; that it was cancelled, for whoever works on it. */
export type DownloadMessage = { type: 'download'; id: string; bytes: number; total?: number } | { type: 'download-cancelled'; id: string }
