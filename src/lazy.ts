// Code that most pages never need, loaded where it is. Where it comes from is said by who makes storages: pages import it when they need it, service workers,
// which can load nothing later, bring it along.
import type { createSHA256 } from 'hash-wasm'
import type * as HttpPackage from '@helia/http'
import type * as HeliaPackage from 'helia'
import type * as Downloading from './download/index.ts'
import type * as HashCode from './download/hash-code.ts'
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

interface Parts {
  car: typeof Car
  download: typeof Downloading
  eviction: typeof Eviction
  guestStores: typeof GuestStores
  hashCode: typeof HashCode
  hashWasm: { createSHA256: typeof createSHA256 }
  /** Helia itself, where the application brought it along: the namespaces of `helia` and `@helia/http`. */
  heliaModules: [typeof HeliaPackage, typeof HttpPackage]
  heliaNode: typeof HeliaNode
  ipld: typeof Ipld
  lanes: typeof Lanes
  memory: typeof Memory
  packMove: typeof PackMove
  packRewrite: typeof PackRewrite
  packSweep: typeof PackSweep
  settle: typeof Settle
  verification: typeof Verification
}

export type LazyCode = { [Name in keyof Parts]: () => Promise<Parts[Name]> }

const provided: Partial<LazyCode> = {}

/** Code that is at hand. */
export function provide(code: Partial<LazyCode>): void {
  Object.assign(provided, code)
}

/** Where to load what is not at hand. */
export function provideLater(code: Partial<LazyCode>): void {
  Object.assign(provided, { ...code, ...provided })
}

/** Rejects where it can't be loaded: offline, or in a bundle that has it not. */
export async function load<Name extends keyof Parts>(name: Name): Promise<Parts[Name]> {
  const loader = provided[name] as LazyCode[Name] | undefined
  if (loader === undefined) throw new Error(`'${name}' is no part of this bundle`)
  return loader()
}

export function isProvided(name: keyof Parts): boolean {
  return provided[name] !== undefined
}
