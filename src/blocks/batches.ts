// One pending owner and its batches: what is about to be written is named first, under the shared lock.
import { newOwnerId } from '../catalog/owners.ts'
import { placesOf } from '../catalog/pack-rows.ts'
import type { Added, Place, PendingOwner } from '../catalog/schema.ts'
import type { Bytes } from '../types.ts'
import type { BlockKey } from './blocks.ts'
import type { LocalBlockstore } from './local-blockstore.ts'

export class Batches {
  readonly #store: LocalBlockstore
  readonly #owner: PendingOwner
  /** Tells batches of one owner apart, also where a later context goes on with it. */
  readonly #run = newOwnerId()
  #added: Added = { bytes: 0, blocks: 0, recounts: 0 }
  #hasWritten = false
  #hasFound = false
  /** Bytes of a file that may be kept beside what is pinned. */
  #fitting = 0
  #count = 0
  #begun = false
  #beginning: Promise<void> | undefined

  constructor(store: LocalBlockstore, owner: PendingOwner) {
    this.#store = store
    this.#owner = owner
  }

  /** Whether the owner is on record: it is from its first batch on. */
  get begun(): boolean {
    return this.#begun
  }

  /** Puts the owner on record before its first batch. */
  async begin(): Promise<void> {
    if (this.#begun) return
    this.#beginning ??= this.#store.catalog.begin({ ...this.#owner, lastUsed: Date.now() }).catch((error: unknown) => {
      // Whoever makes room tries again.
      this.#beginning = undefined
      throw error
    })
    await this.#beginning
    this.#begun = true
  }

  /** What was written since the last batch was named, for whoever ends the owner. */
  get added(): Added {
    return this.#added
  }

  /** Writes blocks that are not here yet, or not whole, of files of which the largest has `expected` bytes. The caller holds the shared lock. */
  async write(blocks: ReadonlyMap<BlockKey, Bytes>, expected = 0): Promise<void> {
    const store = this.#store
    const recordsOnly = store.tier === 'records'
    const keys = [...blocks.keys()]
    // Here means readable: what lies there is compared with what it should be, since the right bytes are at hand.
    const [recorded, places] = await Promise.all([store.records.hasMany(keys), placesOf(store.catalog, keys)])
    const rows = new Map(places.flatMap((row) => (row === undefined ? [] : [[row.block, row]])))
    const here = new Set(keys.filter((key, index) => recorded[index] === true || rows.has(key)))
    this.#hasFound ||= here.size > 0
    const candidates = new Map([...blocks].filter(([key]) => here.has(key)))
    // Must not give the bytes away: whoever put them may have them in hand still.
    const whole = here.size === 0 ? here : await store.compare(candidates, recordsOnly ? new Map() : rows)
    await this.#name(
      [...blocks].map(([key, bytes]) => [key, bytes.byteLength]),
      here,
      rows,
    )
    const written = keys.flatMap((key) => (whole.has(key) ? [] : { key, bytes: blocks.get(key) ?? new Uint8Array(0) }))
    if (store.maxBytes !== undefined && written.length > 0) {
      const more = written.reduce((sum, { key, bytes }) => sum + (here.has(key) ? 0 : bytes.byteLength), 0)
      await this.checkFits(expected)
      store.checkMaxBytes((await store.catalog.usage()).bytes, more, expected)
    }
    this.#hasWritten ||= written.length > 0
    const fresh = await store.records.putMany(written, here)
    written.forEach(({ key, bytes }, index) => {
      if (fresh[index] !== true || here.has(key)) return
      this.#added.blocks++
      this.#added.bytes += bytes.byteLength
    })
    const noted = await store.catalog.damaged(keys)
    const rewritten = new Set(written.map(({ key }) => key))
    // What was damaged in a pack, noted or not, lies whole in a record now. Beside a pack that is whole a record may stand where it was asked for.
    const spoilt = keys.filter((key) => rewritten.has(key) && (noted.has(key) || (rows.has(key) && !recordsOnly)))
    const found = keys.filter((key) => noted.has(key) && !rewritten.has(key))
    if (found.length > 0) await store.catalog.noteWhole(found)
    if (spoilt.length === 0) return
    // Before the packs are asked for: an optional call does not evaluate its arguments where there are none.
    const emptied = await store.catalog.replaced(spoilt)
    // Not waited for: what stays of a pack now goes at the next sweep.
    void store.packs?.removeEmptied(emptied).catch(() => undefined)
  }

  /**
   * Refuses a file that has no room whatever is given up for it. Where something of what came so far was here already, more of it may be, and it is
   * found out on the way.
   *
   * @throws QuotaError
   */
  async checkFits(bytes: number): Promise<void> {
    if (this.#hasFound || bytes <= this.#fitting) return
    await this.#store.checkBesidePins(bytes)
    this.#fitting = bytes
  }

  /** Whether anything was written, or may have been. */
  get hasWritten(): boolean {
    return this.#hasWritten
  }

  /** Puts what was written since the last batch was named into the usage, for an owner who may not name another one for long. */
  async report(): Promise<void> {
    if (this.#added.blocks === 0) return
    const added = this.#added
    this.#added = { ...added, bytes: 0, blocks: 0 }
    await this.#store.catalog.count(added)
  }

  /** Names those of the blocks that are here; answers which, and where those lie that are in packs. The caller holds the shared lock. */
  async nameHere(sizes: ReadonlyMap<BlockKey, number>): Promise<{ here: Set<BlockKey>; rows: Map<BlockKey, Place> }> {
    const { here, rows } = await this.#store.lookUp([...sizes.keys()])
    this.#hasFound ||= here.size > 0
    if (here.size > 0) {
      await this.#name(
        [...sizes].filter(([key]) => here.has(key)),
        here,
        rows,
      )
    }
    return { here, rows }
  }

  /** `rows` of those in packs. */
  async #name(sizes: readonly [BlockKey, number][], here: ReadonlySet<BlockKey>, rows: ReadonlyMap<BlockKey, unknown>): Promise<void> {
    await this.#beginning
    const added = this.#added
    this.#added = { ...added, bytes: 0, blocks: 0 }
    const batch = { node: `${this.#run}-${this.#count++}`, blocks: sizes.map(([key]) => key), sizes: sizes.map(([, size]) => size), own: 0 }
    const recounts = await this.#store.catalog
      .name({ ...this.#owner, lastUsed: Date.now() }, !this.#begun, batch, { here, rows }, added)
      .catch((error: unknown) => {
        // Not told yet: the next one tells it.
        this.#added = { ...added, bytes: added.bytes + this.#added.bytes, blocks: added.blocks + this.#added.blocks }
        throw error
      })
    // Must be what held when the batch was named: its blocks are written before anybody can count anew.
    this.#added = { bytes: 0, blocks: 0, recounts }
    this.#begun = true
  }
}
