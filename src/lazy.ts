// Code that most pages never need, loaded where it is. A service worker can load none later, so its entry brings all of it along (see provide()).
import type * as HttpPackage from '@helia/http'
import type * as HeliaPackage from 'helia'
import type * as Eviction from './blocks/eviction.ts'
import type * as Ipld from './blocks/ipld.ts'
import type * as PackMove from './blocks/pack-move.ts'
import type * as PackRewrite from './blocks/pack-rewrite.ts'
import type * as PackSweep from './blocks/pack-sweep.ts'
import type * as Settle from './blocks/settle.ts'
import type * as Car from './files/car.ts'
import type * as Memory from './memory.ts'
import type * as GuestStores from './network/guest-stores.ts'
import type * as HeliaNode from './network/helia-node.ts'
import type * as Lanes from './packs/lanes.ts'
import type * as Verification from './verify.ts'

export interface LazyCode {
  car: () => Promise<typeof Car>
  eviction: () => Promise<typeof Eviction>
  guestStores: () => Promise<typeof GuestStores>
  heliaNode: () => Promise<typeof HeliaNode>
  /** Helia itself, where the application brought it along: the namespaces of `helia` and `@helia/http`. */
  heliaModules?: () => Promise<[typeof HeliaPackage, typeof HttpPackage]>
  ipld: () => Promise<typeof Ipld>
  lanes: () => Promise<typeof Lanes>
  memory: () => Promise<typeof Memory>
  packMove: () => Promise<typeof PackMove>
  packRewrite: () => Promise<typeof PackRewrite>
  packSweep: () => Promise<typeof PackSweep>
  settle: () => Promise<typeof Settle>
  verification: () => Promise<typeof Verification>
}

/** Each rejects where its code can't be loaded (offline). */
export const lazy: LazyCode = {
  car: async () => import('./files/car.ts'),
  eviction: async () => import('./blocks/eviction.ts'),
  guestStores: async () => import('./network/guest-stores.ts'),
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

/** Puts code that is at hand in the place of what would be loaded. */
export function provide(code: Partial<LazyCode>): void {
  Object.assign(lazy, code)
}
