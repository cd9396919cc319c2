// One pending owner and its batches: what is about to be written is named first, under the shared lock.
import { newOwnerId } from '../catalog/owners.ts'
import type { Added, PendingOwner } from '../catalog/schema.ts'
import type { Bytes } from '../types.ts'
import type { BlockKey } from './blocks.ts'
import { equalBytes } from './hashing.ts'
import type { LocalBlockstore } from './local-blockstore.ts'

export class Batches {
  readonly #store: LocalBlockstore
  readonly #owner: PendingOwner
  /** Tells batches of one owner apart, also where a later context goes on with it. */
  readonly #run = newOwnerId()
  #added: Added = { bytes: 0, blocks: 0, recounts: 0 }
  #count = 0

  constructor(store: LocalBlockstore, owner: PendingOwner) {
    this.#store = store
    this.#owner = owner
  }

  /** Batches named so far. Without one the owner has no record. */
  get count(): number {
    return this.#count
  }

  /** What was written since the last batch was named, for whoever ends the owner. */
  get added(): Added {
    return this.#added
  }

  /** Writes blocks that are not here yet, or not whole. The caller holds the shared lock. */
  async write(blocks: ReadonlyMap<BlockKey, Bytes>): Promise<void> {
    const { records, catalog } = this.#store
    const keys = [...blocks.keys()]
    const stored = await records.getMany(keys)
    const here = new Set(keys.filter((_, index) => stored[index] !== undefined))
    // Here means readable: what lies there is compared with what it should be, since the right bytes are at hand.
    const missing = keys.filter((key, index) => {
      const [there, right] = [stored[index], blocks.get(key)]
      return there === undefined || right === undefined || !equalBytes(there, right)
    })
    await this.#name(
      [...blocks].map(([key, bytes]) => [key, bytes.byteLength]),
      here,
    )
    const written = missing.flatMap((key) => ({ key, bytes: blocks.get(key) ?? new Uint8Array(0) }))
    const fresh = await records.putMany(written)
    written.forEach(({ bytes }, index) => {
      if (fresh[index] !== true) return
      this.#added.blocks++
      this.#added.bytes += bytes.byteLength
    })
    const noted = await catalog.damaged()
    const healed = keys.filter((key) => noted.has(key))
    if (healed.length > 0) await catalog.noteWhole(healed)
  }

  /** Puts what was written since the last batch was named into the usage, for an owner who may not name another one for long. */
  async report(): Promise<void> {
    if (this.#added.blocks === 0) return
    const added = this.#added
    this.#added = { ...added, bytes: 0, blocks: 0 }
    await this.#store.catalog.count(added)
  }

  /** Names those of the blocks that are here; answers which. The caller holds the shared lock. */
  async nameHere(sizes: ReadonlyMap<BlockKey, number>): Promise<Set<BlockKey>> {
    const keys = [...sizes.keys()]
    const has = await this.#store.hasKeys(keys)
    const here = new Set(keys.filter((_, index) => has[index] === true))
    if (here.size > 0) {
      await this.#name(
        [...sizes].filter(([key]) => here.has(key)),
        here,
      )
    }
    return here
  }

  async #name(sizes: readonly [BlockKey, number][], here: ReadonlySet<BlockKey>): Promise<void> {
    const added = this.#added
    this.#added = { ...added, bytes: 0, blocks: 0 }
    const batch = { node: `${this.#run}-${this.#count}`, blocks: sizes.map(([key]) => key), sizes: sizes.map(([, size]) => size), own: 0 }
    const recounts = await this.#store.catalog.name({ ...this.#owner, lastUsed: Date.now() }, this.#count === 0, batch, here, added)
    // Must be what held when the batch was named: its blocks are written before anybody can count anew.
    this.#added = { bytes: 0, blocks: 0, recounts }
    this.#count++
  }
}
