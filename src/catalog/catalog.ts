// The catalog of one storage: owners and what they name, each change one transaction.
import type { BlockKey } from '../blocks/blocks.ts'
import { DatabaseError, QuotaError } from '../errors.ts'
import { RESERVE_BYTES } from '../limits.ts'
import { commitIn, type Commit, type Committed } from './commit.ts'
import { Database, keyRange, keysAmong, pagesOf, result, type DatabaseLoss } from './database.ts'
import { entriesIn, entriesOfContent, rowsWithContent } from './entry-rows.ts'
import { addUsage, endPending, isOver, mustLive, newOwnerId, ownedBy, putReference, usageIn } from './owners.ts'
import { dropPlaces } from './pack-rows.ts'
import { PlaceCache } from './place-cache.ts'
import { isRaw, rawCid, referenceOfRaw } from './raw-blocks.ts'
import {
  CATALOG_FORMAT,
  lacksStores,
  upgradeCatalog,
  type Added,
  type EntryOwner,
  type Format,
  type Owner,
  type PackRow,
  type PendingOwner,
  type PinOwner,
  type Reference,
  type StoreName,
  type Usage,
} from './schema.ts'

/** Who may name a block, entries one by one. */
export type NamingOwner = EntryOwner | PinOwner | PendingOwner

export class Catalog {
  readonly database: Database
  readonly places: PlaceCache = new PlaceCache()
  /** Of this database and no later one of its name; undefined where it could not be written. */
  id: string | undefined
  /** Who wrote last when this was opened, if anybody did since the log was renewed (see log.ts). */
  writtenBy: string | undefined
  /** What this context writes is to be told to later ones. */
  marks = false
  readonly #writer = newOwnerId()
  #mark: Promise<void> | undefined

  constructor(name: string, factory: IDBFactory, onLost: (loss: DatabaseLoss) => void) {
    const check = async (db: IDBDatabase): Promise<void> => {
      await checkReadable(db)
      const [before, id] = [this.id, await identified(db).catch(() => undefined)]
      this.id = id
      if (id !== before) this.markAgain()
      if (before !== undefined && id !== undefined && id !== before) onLost('evicted')
    }
    this.database = new Database({ name, factory, upgrade: upgradeCatalog, lacks: lacksStores, check, onLost })
  }

  /** Answers false where the storage was marked destroyed: its deletion is to be finished first. @throws DatabaseError */
  async open(): Promise<boolean> {
    const [format, writtenBy] = await this.read(['meta'], (tx) => {
      const meta = tx.objectStore('meta')
      return Promise.all([result<Format | undefined>(meta.get('format')), result<string | undefined>(meta.get('written'))])
    })
    this.writtenBy = writtenBy
    return format?.destroyed !== true
  }

  read<T>(stores: StoreName[], work: (tx: IDBTransaction) => Promise<T>): Promise<T> {
    return this.database.run(stores, 'readonly', work)
  }

  /**
   * Says that this context writes to one of the storage's databases, in a transaction of its own: what is cut off by a kill is what comes after it. Where it
   * can't, the next write says so.
   */
  mark(): Promise<void> {
    if (!this.marks) return Promise.resolve()
    const put = async (): Promise<void> => {
      try {
        await this.#write([], async (tx) => void (await result(tx.objectStore('meta').put(this.#writer, 'written'))), 'relaxed')
      } catch {
        this.#mark = undefined
      }
    }
    return (this.#mark ??= put())
  }

  /** What was said may have been taken for what an earlier context said. */
  markAgain(): void {
    this.#mark = undefined
  }

  /** As read, but checks within the transaction that this code may write. @throws DatabaseError */
  async write<T>(
    stores: StoreName[],
    work: (tx: IDBTransaction) => Promise<T>,
    durability: IDBTransactionDurability = 'strict',
  ): Promise<T> {
    await this.mark()
    return this.#write(stores, work, durability)
  }

  /** The same for what says nothing of content. */
  writeUnmarked<T>(work: (meta: IDBObjectStore) => Promise<T>): Promise<T> {
    return this.#write([], (tx) => work(tx.objectStore('meta')), 'relaxed')
  }

  #write<T>(stores: StoreName[], work: (tx: IDBTransaction) => Promise<T>, durability: IDBTransactionDurability): Promise<T> {
    const checked = async (tx: IDBTransaction): Promise<T> => {
      const format = await result<Format | undefined>(tx.objectStore('meta').get('format'))
      if (format?.destroyed === true) {
        throw new DatabaseError(
          `storage of database '${this.database.name}' was destroyed: make a new storage to begin again`,
          this.database.name,
        )
      }
      if (format !== undefined && format.writableBy > CATALOG_FORMAT) {
        throw new DatabaseError(
          `database '${this.database.name}' is now written by a newer release (format ${format.writableBy}, this one writes ${CATALOG_FORMAT}): reading goes on, reload to write`,
          this.database.name,
        )
      }
      return work(tx)
    }
    return this.database.run([...new Set<StoreName>(['meta', ...stores])], 'readwrite', checked, durability)
  }

  /** Marks the storage destroyed, the step after which nobody can use it any more. */
  async markDestroyed(): Promise<void> {
    await this.database.run(['meta'], 'readwrite', async (tx) => {
      const meta = tx.objectStore('meta')
      const format = await result<Format | undefined>(meta.get('format'))
      await result(meta.put({ ...(format ?? { readableBy: CATALOG_FORMAT, writableBy: CATALOG_FORMAT }), destroyed: true }, 'format'))
    })
  }

  /**
   * Records a pending owner that has named nothing yet: whatever it makes from now on can be told to be its own. Where a power cut takes the record, what
   * it made has no owner, and goes.
   */
  async begin(owner: PendingOwner): Promise<void> {
    const work = async (tx: IDBTransaction): Promise<void> => void (await result(tx.objectStore('owners').put(owner)))
    await this.write(['owners'], work, 'relaxed')
  }

  /**
   * Names a batch for a pending owner, whose record is written with its first batch. Blocks found `here` that nobody names are marked foreign; those
   * with `rows` in packs were written by somebody who named them. Answers how often the usage was counted anew by then. A batch of nothing that is
   * about to be written needs no more than to be seen by others: the rows are on the disk with the next strict transaction, which the commit is.
   */
  async name(
    owner: PendingOwner,
    first: boolean,
    batch: Omit<Reference, 'owner'>,
    { here, rows }: { here: ReadonlySet<BlockKey>; rows: ReadonlyMap<BlockKey, unknown> },
    added: Added,
  ): Promise<number> {
    const durability = batch.blocks.every((block) => here.has(block)) ? 'relaxed' : 'strict'
    const work = async (tx: IDBTransaction): Promise<number> => {
      const references = tx.objectStore('references')
      const named = references.index('blocks')
      const owners = tx.objectStore('owners')
      const isNamed = async (block: BlockKey): Promise<boolean> =>
        (await result(named.getKey(block))) !== undefined || (await rowsWithContent(owners, rawCid(block).toString())).length > 0
      const recorded = [...here].filter((block) => !rows.has(block))
      const strangers = await Promise.all(recorded.map(async (block) => ((await isNamed(block)) ? undefined : block)))
      for (const block of strangers) if (block !== undefined) tx.objectStore('foreign').put(1, block)
      if (!first) await mustLive(tx, owner)
      // A session's record says when it was last used.
      if (first || owner.kind === 'session') tx.objectStore('owners').put(owner)
      putReference(tx, { ...batch, owner: owner.id })
      await addUsage(tx, { ...added, files: 0 })
      return (await usageIn(tx)).recounts ?? 0
    }
    return this.write(['owners', 'references', 'foreign'], work, durability)
  }

  /** The one transaction after which something is stored. Answers what changed, for the events. */
  async commit(commit: Commit): Promise<Committed> {
    const packs: StoreName[] = commit.packs.length > 0 ? ['packs', 'places', 'damaged'] : []
    const committed = await this.write(['owners', 'references', ...packs], (tx) => commitIn(tx, commit))
    for (const { pack, live, rows } of committed.places) this.places.add(pack, live, rows)
    if (committed.places.length > 0) {
      // A root of one record links to leaves alone. A directory may do so too.
      for (const { references, entry } of commit.contents) {
        const [root, ...others] = references
        if (root === undefined || others.length > 0 || root.own !== 0 || entry?.type !== 'file') continue
        this.places.addFile(root.node, root.blocks.slice(1))
      }
    }
    return committed
  }

  /** As write, for what leads to freeing: a full disk must allow it, so the reserve is given up first where there is no room. */
  async writeToFree<T>(stores: StoreName[], work: (tx: IDBTransaction) => Promise<T>): Promise<T> {
    try {
      return await this.write(stores, work)
    } catch (error) {
      if (!(error instanceof QuotaError)) throw error
      return this.write(stores, (tx) => {
        tx.objectStore('meta').delete('reserve')
        return work(tx)
      })
    }
  }

  /** Where a storage with content has none, that was given up. */
  async hasReserve(): Promise<boolean> {
    return (await this.read(['meta'], (tx) => result<IDBValidKey | undefined>(tx.objectStore('meta').getKey('reserve')))) !== undefined
  }

  /** Lays the reserve by that writeToFree gives up. */
  async keepReserve(): Promise<void> {
    if (await this.hasReserve()) return
    // Incompressible, so that it takes the room that it stands for.
    const reserve = new Uint8Array(RESERVE_BYTES)
    for (let at = 0; at < reserve.length; at += 65_536) crypto.getRandomValues(reserve.subarray(at, at + 65_536))
    await this.write([], async (tx) => {
      await result(tx.objectStore('meta').put(reserve, 'reserve'))
    })
  }

  /** Turns an owner into a removal, references and all as they are. */
  async end(id: string, added: Added): Promise<void> {
    await this.writeToFree(['owners', 'references'], async (tx) => {
      await endPending(tx, id, true)
      await addUsage(tx, { ...added, files: 0 })
    })
  }

  /** Turns an owner whose lock the caller holds into a removal, unless it was used since or is something else by now. */
  async endDead(id: string, now: number): Promise<boolean> {
    return this.writeToFree(['owners', 'references'], async (tx) => {
      const row = await result<Owner | undefined>(tx.objectStore('owners').get(id))
      if (row === undefined || !('pending' in row) || !isOver(row, now)) return false
      await endPending(tx, id, true)
      return true
    })
  }

  pending(): Promise<PendingOwner[]> {
    return this.read(['owners'], (tx) => result<PendingOwner[]>(tx.objectStore('owners').index('pending').getAll()))
  }

  async touchPending(id: string): Promise<void> {
    await this.write(['owners'], async (tx) => {
      const owners = tx.objectStore('owners')
      const row = await result<Owner | undefined>(owners.get(id))
      if (row !== undefined && 'pending' in row) owners.put({ ...row, lastUsed: Date.now() })
    })
  }

  /** Which of the blocks are noted damaged. */
  damaged(blocks: readonly BlockKey[]): Promise<Set<BlockKey>> {
    return this.read(['damaged'], (tx) => keysAmong(tx.objectStore('damaged'), blocks))
  }

  async noteDamaged(blocks: readonly BlockKey[]): Promise<void> {
    await this.write(['damaged'], async (tx) => {
      for (const block of blocks) tx.objectStore('damaged').put(1, block)
    })
  }

  async noteWhole(blocks: readonly BlockKey[]): Promise<void> {
    await this.write(['damaged'], async (tx) => {
      for (const block of blocks) tx.objectStore('damaged').delete(block)
    })
  }

  /** Notes that blocks lie whole as records now: what a pack holds of them was damaged. Answers the packs with nothing needed in them any more. */
  async replaced(blocks: readonly BlockKey[]): Promise<string[]> {
    return this.write(['damaged', 'packs', 'places'], async (tx) => {
      for (const block of blocks) tx.objectStore('damaged').delete(block)
      return (await dropPlaces(tx, blocks)).emptied
    })
  }

  referencesOf(owner: string): Promise<Reference[]> {
    return this.read(['references'], (tx) => this.referencesIn(tx, owner))
  }

  referencesIn(tx: IDBTransaction, owner: string): Promise<Reference[]> {
    return result<Reference[]>(tx.objectStore('references').getAll(ownedBy(tx, owner)))
  }

  /** What all entries and pins of a content say of its nodes, each node once. */
  async referencesOfContent(tx: IDBTransaction, cid: string): Promise<Reference[]> {
    const owners = tx.objectStore('owners')
    const [entries, pins] = await Promise.all([
      rowsWithContent(owners, cid),
      result(owners.index('pin').getAllKeys(keyRange(tx, [cid], [cid, []]))),
    ])
    const each = await Promise.all([...entries, ...pins].map((id) => this.referencesIn(tx, id as string)))
    const [raw] = entries.length > 0 && isRaw(cid) ? await entriesOfContent(tx, cid) : []
    const own = raw === undefined ? undefined : referenceOfRaw(raw)
    return [...new Map([...each.flat(), ...(own === undefined ? [] : [own])].map((reference) => [reference.node, reference])).values()]
  }

  /** Every block that any owner names and that is not foreign, with its length where a record tells. */
  namedSizes(): Promise<Map<BlockKey, number>> {
    return this.read(['owners', 'references', 'foreign'], async (tx) => {
      const sizes = new Map<BlockKey, number>()
      for await (const page of pagesOf<Owner>(tx.objectStore('owners'), ({ id }) => id)) {
        const entries = page.flatMap((owner) => (owner.kind === 'entry' ? entriesIn(owner) : []))
        for (const { node, own } of entries.flatMap((entry) => referenceOfRaw(entry) ?? [])) sizes.set(node, own)
      }
      for await (const page of pagesOf<Reference>(tx.objectStore('references'), ({ owner, node }) => [owner, node])) {
        for (const { blocks, sizes: lengths } of page) {
          blocks.forEach((key, index) => sizes.set(key, Math.max(sizes.get(key) ?? -1, lengths[index] ?? -1)))
        }
      }
      for (const key of await result(tx.objectStore('foreign').getAllKeys())) sizes.delete(key as BlockKey)
      return sizes
    })
  }

  async setUsage(bytes: number, blocks: number): Promise<void> {
    await this.write(['packs'], async (tx) => {
      const { recounts = 0, ...usage } = await usageIn(tx)
      const packs = await result<PackRow[]>(tx.objectStore('packs').getAll())
      const deadBytes = packs.reduce((sum, pack) => sum + pack.bytes - pack.live, 0)
      tx.objectStore('meta').put({ ...usage, bytes, blocks, deadBytes, recounts: recounts + 1 } satisfies Usage, 'usage')
    })
  }

  /** The owners that name a block, removals left out. */
  ownersOf(blocks: readonly BlockKey[]): Promise<NamingOwner[][]> {
    return this.read(['owners', 'references'], (tx) =>
      Promise.all(
        blocks.map(async (block) => {
          const keys = (await result(tx.objectStore('references').index('blocks').getAllKeys(block))) as [string, string][]
          const entries = await entriesOfContent(tx, rawCid(block).toString())
          const named = new Set(keys.map(([owner]) => owner))
          for (const { id } of entries) named.delete(id)
          const owners = await Promise.all([...named].map((id) => result<Owner | undefined>(tx.objectStore('owners').get(id))))
          const others = owners.flatMap((owner): NamingOwner[] =>
            owner === undefined ? [] : owner.kind === 'entry' ? entriesIn(owner) : [owner],
          )
          return [...entries, ...others].filter((owner) => owner.kind !== 'removal')
        }),
      ),
    )
  }

  /** Adds to the usage alone. */
  async count(added: Added): Promise<void> {
    await this.write([], (tx) => addUsage(tx, { ...added, files: 0 }))
  }

  usage(): Promise<Pick<Usage, 'bytes' | 'blocks' | 'files'> & { deadBytes: number }> {
    return this.read(['meta'], async (tx) => {
      const { bytes, blocks, files, deadBytes = 0 } = await usageIn(tx)
      return { bytes, blocks, files, deadBytes }
    })
  }
}

/** The name of this very database, which it is given when it has none. */
async function identified(db: IDBDatabase): Promise<string | undefined> {
  const given = await result<string | undefined>(db.transaction('meta').objectStore('meta').get('id'))
  if (given !== undefined) return given
  const tx = db.transaction('meta', 'readwrite')
  const meta = tx.objectStore('meta')
  const complete = new Promise<void>((resolve, reject) => {
    db.addEventListener('close', () => reject(new DOMException('the browser took it away', 'AbortError')))
    tx.oncomplete = () => resolve()
    tx.onabort = () => reject(tx.error ?? new DOMException('aborted', 'AbortError'))
  })
  complete.catch(() => undefined)
  const [format, other] = await Promise.all([result<Format | undefined>(meta.get('format')), result<string | undefined>(meta.get('id'))])
  const id = other ?? newOwnerId()
  const mayWrite = format === undefined || format.writableBy <= CATALOG_FORMAT
  if (other === undefined && mayWrite) meta.put(id, 'id')
  await complete
  return mayWrite ? id : undefined
}

async function checkReadable(db: IDBDatabase): Promise<void> {
  const format = await result<Format | undefined>(db.transaction('meta').objectStore('meta').get('format'))
  if (format === undefined || format.readableBy <= CATALOG_FORMAT) return
  throw new DatabaseError(
    `database '${db.name}' was written by a newer release (format ${format.readableBy}, this one reads ${CATALOG_FORMAT}): reload to get the newer code`,
    db.name,
  )
}
