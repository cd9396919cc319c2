// The status of a storage, each part of it asked when it is asked for.
import { pinnedBytes } from './catalog/pins.ts'
import type { Core } from './core.ts'
import type { HeliaStatus } from './network/helia.ts'
import type { ResolvedOptions } from './options.ts'
import type { BackendStatus } from './types.ts'

export interface StatusFacts {
  core: Core
  options: ResolvedOptions
  /** undefined where Helia is never started. */
  helia: HeliaStatus | undefined
  /** The last write and the last read worked. */
  localWorks: boolean
  usage: BackendStatus['usage']
}

export async function backendStatus({ core, options, helia, localWorks, usage }: StatusFacts): Promise<BackendStatus> {
  const running = helia?.running === true
  const reason = options.fallback ?? helia?.fallbackReason
  const [tier, estimate, persisted] = await Promise.all([
    core.tier(),
    askManager((manager) => manager.estimate?.()),
    askManager((manager) => manager.persisted?.()),
  ])
  return {
    ipfsKitAvailable: running,
    usingFallback: !running,
    ...(running || reason === undefined ? {} : { fallbackReason: reason }),
    ...(running || helia?.fallbackDetail === undefined ? {} : { fallbackDetail: helia.fallbackDetail }),
    ...(helia?.libp2p === undefined ? {} : { libp2p: helia.libp2p }),
    cacheDir: options.cacheDir,
    persisted: persisted ?? false,
    ...(core.isEvicted ? { storageEvicted: true } : {}),
    tier,
    ...(tier === 'packs' || core.packsRefused === undefined ? {} : { tierDetail: core.packsRefused.message }),
    usage: { ...usage, ...(estimate?.quota === undefined ? {} : { quota: estimate.quota }) },
    backends: { local: localWorks, ipfs: running && helia.lastContactOk !== false, s3: false, filecoin: false },
  }
}

/** @throws DatabaseError where the catalog can't be read, as after another tab destroyed the storage */
export async function usageOf(core: Core): Promise<StatusFacts['usage']> {
  const [usage, pinned] = await Promise.all([core.catalog.usage(), pinnedBytes(core.catalog)])
  return { ...usage, pinnedBytes: pinned }
}

/** Absent in insecure contexts and outside browsers. */
export function storageManager(): Partial<Pick<StorageManager, 'estimate' | 'persist' | 'persisted'>> | undefined {
  return (globalThis as { navigator?: { storage?: StorageManager } }).navigator?.storage
}

/** What the browser says of its storage; undefined where this context may not ask. */
async function askManager<T>(
  ask: (manager: NonNullable<ReturnType<typeof storageManager>>) => Promise<T> | undefined,
): Promise<T | undefined> {
  try {
    const manager = storageManager()
    return manager === undefined ? undefined : await ask(manager)
  } catch {
    // An opaque origin or a context without the method: the status leaves the figure out.
    return undefined
  }
}
