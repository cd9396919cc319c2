// What pages and workers load when they need it.
import type { LazyCode } from './lazy.ts'

/** Each rejects where its code can't be loaded (offline). */
export const LATER: Omit<LazyCode, 'heliaModules'> = {
  car: async () => import('./files/car.ts'),
  download: async () => import('./download/index.ts'),
  eviction: async () => import('./blocks/eviction.ts'),
  guestStores: async () => import('./network/guest-stores.ts'),
  hashCode: async () => import('./download/hash-code.ts'),
  hashWasm: async () => import('hash-wasm'),
  heliaNode: async () => import('./network/helia-node.ts'),
  ipld: async () => import('./blocks/ipld.ts'),
  lanes: async () => import('./packs/lanes.ts'),
  memory: async () => import('./memory.ts'),
  packMove: async () => import('./blocks/pack-move.ts'),
  packRewrite: async () => import('./blocks/pack-rewrite.ts'),
  packSweep: async () => import('./blocks/pack-sweep.ts'),
  settle: async () => import('./blocks/settle.ts'),
  verification: async () => import('./verify.ts'),
}
