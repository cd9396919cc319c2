// The storage as pages and workers have it: what most of them never need is loaded when it is.
import { LATER } from './later.ts'
import { provideLater } from './lazy.ts'
import { BaseStorage, sharedStorage } from './storage.ts'
import type { StorageOptions } from './types.ts'

/**
 * Content-addressed storage in this browser.
 *
 * @example
 * const storage = new IPFSKitStorage()
 * const cid = await storage.store('hello world') //=> 'bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e'
 * await storage.retrieve(cid) //=> Uint8Array of 11 bytes, verified
 */
export class IPFSKitStorage extends BaseStorage {
  /**
   * Begins to open the storage. Nothing is thrown later for what can be seen now.
   *
   * @throws InvalidOptionsError
   */
  constructor(options?: StorageOptions) {
    provideLater(LATER)
    super(options)
  }

  /** Deletes a storage; an adopted blocksDatabase stays. @throws DatabaseError where another tab holds it open past 5 s */
  static override async destroy(cacheDir?: string): Promise<void> {
    provideLater(LATER)
    await super.destroy(cacheDir)
  }
}

/** One storage a realm. @throws InvalidOptionsError where a second call asks for another one */
export function getStorage(options?: StorageOptions): IPFSKitStorage {
  return sharedStorage(options, () => new IPFSKitStorage(options))
}
