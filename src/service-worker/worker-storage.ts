// Storages in a service worker, which can load no code later.
import { createSHA256 } from 'hash-wasm'
import * as eviction from '../blocks/eviction.ts'
import * as ipld from '../blocks/ipld.ts'
import * as packMove from '../blocks/pack-move.ts'
import * as packRewrite from '../blocks/pack-rewrite.ts'
import * as packSweep from '../blocks/pack-sweep.ts'
import * as settle from '../blocks/settle.ts'
import * as download from '../download/index.ts'
import { InvalidOptionsError } from '../errors.ts'
import * as car from '../files/car.ts'
import { provide, type LazyCode } from '../lazy.ts'
import { BaseStorage, sharedStorage } from '../storage.ts'
import type { StorageOptions } from '../types.ts'
import * as verification from '../verify.ts'

/** What `ipfs-kit-web/service-worker/helia` exports: Helia and what runs it. */
export interface HeliaCode {
  guestStores: () => Promise<object>
  heliaModules: () => Promise<readonly object[]>
  heliaNode: () => Promise<object>
}

/**
 * As getStorage() of the main entry, for service workers, where import() is not allowed: what the library loads elsewhere when it is needed is there from
 * the beginning. Helia only where it is given, and the memory tier not at all: a worker without IndexedDB serves nothing.
 *
 * @throws InvalidOptionsError
 */
export function getStorage(options?: StorageOptions, helia?: HeliaCode): BaseStorage {
  provideAll(helia)
  return sharedStorage(options, () => new BaseStorage(options))
}

/**
 * Pack writers are not among it: where there are no dedicated workers, there are none of them.
 *
 * @throws InvalidOptionsError where `helia` is something else
 */
export function provideAll(helia?: HeliaCode): void {
  if (helia !== undefined && (typeof helia !== 'object' || helia === null || typeof helia.heliaModules !== 'function')) {
    throw new InvalidOptionsError("option 'helia' must be the `helia` that 'ipfs-kit-web/service-worker/helia' exports", 'helia')
  }
  provide({
    car: async () => car,
    download: async () => download,
    eviction: async () => eviction,
    hashWasm: async () => ({ createSHA256 }),
    ipld: async () => ipld,
    packMove: async () => packMove,
    packRewrite: async () => packRewrite,
    packSweep: async () => packSweep,
    settle: async () => settle,
    verification: async () => verification,
    // Typed loosely in public, so that the types of Helia need not be there where it is not.
    ...(helia as Partial<LazyCode> | undefined),
  })
}
