// The blocks on this machine: read and checked here, written by a Writer, freed by a removal.
import type { CID } from 'multiformats/cid'
import type { Catalog } from '../catalog/catalog.ts'
import type { Locks } from '../catalog/locks.ts'
import { IntegrityError } from '../errors.ts'
import type { Bytes } from '../types.ts'
import type { BlockKey, BlockOptions, BlockSource } from './blocks.ts'
import { checkHash, IDENTITY, matchMany } from './hashing.ts'
import { blockKey, type BlockRecords } from './records.ts'

export class LocalBlockstore implements BlockSource {
  readonly records: BlockRecords
  readonly catalog: Catalog
  readonly locks: Locks
  readonly #onDamaged: (cid: CID) => void

  constructor(records: BlockRecords, catalog: Catalog, locks: Locks, onDamaged: (cid: CID) => void) {
    this.records = records
    this.catalog = catalog
    this.locks = locks
    this.#onDamaged = onDamaged
  }

  async getMany(cids: readonly CID[], options: BlockOptions = {}): Promise<(Bytes | undefined)[]> {
    const { blocks, damaged } = await this.examine(cids, options)
    const [bad] = damaged
    if (bad !== undefined) {
      throw new IntegrityError(
        `block ${bad.toV1().toString()} is damaged here: store the content again, or fetch it from a backend`,
        bad.toV1().toString(),
      )
    }
    return blocks
  }

  /** As getMany, but answers damaged blocks beside the whole ones instead of throwing. They are noted, and count as absent from then on. */
  async examine(cids: readonly CID[], options: BlockOptions = {}): Promise<{ blocks: (Bytes | undefined)[]; damaged: CID[] }> {
    options.signal?.throwIfAborted()
    cids.forEach(checkHash)
    const blocks = await this.#read(cids)
    options.signal?.throwIfAborted()
    if (options.verify === false) return { blocks, damaged: [] }
    const whole = await matchMany(cids, blocks)
    options.signal?.throwIfAborted()
    const damaged = cids.filter((_, index) => whole[index] === false)
    if (damaged.length > 0) {
      // A hint for later: where it can't be written, the answer is the same.
      await this.catalog.noteDamaged(damaged.map(blockKey)).catch(() => undefined)
      damaged.forEach(this.#onDamaged)
    }
    return { blocks: blocks.map((bytes, index) => (whole[index] === true ? bytes : undefined)), damaged }
  }

  /** The same blocks for whoever goes on where some are damaged: those count as absent. */
  readonly lenient: BlockSource = { getMany: async (cids, options) => (await this.examine(cids, options)).blocks }

  /** Which are here and, as far as is known, whole. Identity CIDs are always here. */
  async hasMany(cids: readonly CID[]): Promise<boolean[]> {
    const here = await this.hasKeys(cids.map(blockKey))
    return here.map((has, index) => has || cids[index]?.multihash.code === IDENTITY)
  }

  async hasKeys(keys: readonly BlockKey[]): Promise<boolean[]> {
    const [here, damaged] = await Promise.all([this.records.hasMany(keys), this.catalog.damaged()])
    return damaged.size === 0 ? here : here.map((has, index) => has && !damaged.has(keys[index] ?? ''))
  }

  async #read(cids: readonly CID[]): Promise<(Bytes | undefined)[]> {
    const inline = cids.map((cid) => (cid.multihash.code === IDENTITY ? new Uint8Array(cid.multihash.digest) : undefined))
    if (inline.every((bytes) => bytes === undefined)) return this.records.getMany(cids.map(blockKey))
    const stored = await this.records.getMany(cids.filter((_, index) => inline[index] === undefined).map(blockKey))
    let next = 0
    return inline.map((bytes) => bytes ?? stored[next++])
  }
}
