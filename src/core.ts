// What a storage is made of once it is open: databases, locks, blocks, and the channel to other tabs.
import { LocalBlockstore, packsMissing } from './blocks/local-blockstore.ts'
import { prepareHashing } from './blocks/hashing.ts'
import { PackStore } from './blocks/pack-store.ts'
import { BlockRecords } from './blocks/records.ts'
import { endDead, recountUsage, runRemoval, type Freed, type RemovalOptions } from './blocks/removal.ts'
import { Catalog } from './catalog/catalog.ts'
import type { Evicted, makeRoom } from './blocks/eviction.ts'
import type { CatalogChange } from './catalog/commit.ts'
import { result, type Database, type DatabaseLoss } from './catalog/database.ts'
import { Locks, type Held } from './catalog/locks.ts'
import { mayLoseLog, renewLog } from './catalog/log.ts'
import { newOwnerId } from './catalog/owners.ts'
import { MOVABLE } from './catalog/schema.ts'
import { channelName, type ChannelMessage, type DownloadMessage } from './channel.ts'
import { finishDestruction, heldDestroyed } from './destruction.ts'
import { ClosedError, DatabaseError, NotSupportedError } from './errors.ts'
import { isProvided, load } from './lazy.ts'
import { DATABASE_OPEN_TRIES, DATABASE_RETRY_MS } from './limits.ts'
import { LayoutCache } from './files/read.ts'
import { untilAborted } from './network/abort.ts'
import { datastoreDatabase, heliaPins } from './network/helia-pins.ts'
import { cantBeOpened, isRefusal, isUnknown, lockManager, mayBeThere, nativeFactory } from './native.ts'
import type { ResolvedOptions } from './options.ts'
import { PackDirectory, packFolder } from './packs/directory.ts'
import type { Lanes } from './packs/lanes.ts'
import type { Folder } from './packs/service.ts'
import { forget, wasAnother } from './remembered.ts'

export interface CoreEvents {
  onChange(change: CatalogChange): void
  onDamaged(block: string): void
  onLost(loss: DatabaseLoss): void
  /** Blocks were freed, here or in another tab. */
  onFreed(): void
  /** Content was given up for want of space, here or in another tab. */
  onEvicted(evicted: Evicted): void
  /** Writes down when content was last used, as far as that waits to be written. */
  flushLastUsed(): Promise<void>
}

export class Core {
  readonly medium: 'idb' | 'memory'
  /** The browser took away what was here before. */
  isEvicted = false
  /** Why this context writes no packs, once that is known. */
  packsRefused: Error | undefined
  readonly catalog: Catalog
  readonly store: LocalBlockstore
  readonly locks: Locks
  readonly layouts: LayoutCache = new LayoutCache()
  readonly #cacheDir: string
  readonly #datastore: Database
  readonly #channel: BroadcastChannel | undefined
  readonly #events: CoreEvents
  readonly #removals = new Set<Promise<unknown>>()
  /** Workers that only read records. */
  readonly #readers: { asked: boolean; lanes?: Lanes } = { asked: false }
  #rewriting: Promise<void> = Promise.resolve()
  #moving: Promise<void> = Promise.resolve()
  #freeingAlone: { interrupt: AbortController; work: Promise<unknown> } | undefined
  /** Asked instead of the database in the memory tier, where Helia's datastore is no database. */
  memoryPins: RemovalOptions['pinnedByHelia'] | undefined
  readonly #ending = new AbortController()
  /** Says to other contexts that this one has the storage open, once the log of the databases is renewed. */
  #held: Promise<Held | undefined> | undefined
  /** Who hears what other contexts say of downloads. */
  readonly downloadListeners: Set<(message: DownloadMessage) => void> = new Set()

  private constructor(options: ResolvedOptions, medium: 'idb' | 'memory', factory: IDBFactory, catalog: Catalog, events: CoreEvents) {
    this.medium = medium
    this.#cacheDir = options.cacheDir
    this.catalog = catalog
    this.#events = events
    this.locks = new Locks(options.cacheDir, medium === 'memory' ? undefined : lockManager())
    const records = new BlockRecords(options.blocksDatabase, factory, (loss) => events.onLost(loss))
    this.store = new LocalBlockstore({
      records,
      packs: this.#openPacks(options),
      catalog,
      locks: this.locks,
      tier: options.tier,
      packsRefused: () => this.packsRefused,
      recordLanes: () => this.#recordLanes(options),
      onDamaged: (cid) => events.onDamaged(cid.toV1().toString()),
      maxBytes: options.maxBytes,
      makeRoom: async (needed, of, signal = this.#ending.signal) => {
        if (this.#removals.size === 0) return this.#makeRoom(needed, of, signal)
        // What is being freed may be enough.
        await untilAborted(this.settleRemovals(), signal)
        return undefined
      },
    })
    this.#datastore = datastoreDatabase(`${options.cacheDir}/data`, factory)
    if (medium !== 'memory' && typeof BroadcastChannel !== 'undefined') {
      this.#channel = new BroadcastChannel(channelName(options.cacheDir))
      this.#channel.onmessage = (event: MessageEvent<ChannelMessage>) => this.#hear(event.data)
      // Node keeps a process alive for an open channel; browsers have no such notion.
      ;(this.#channel as { unref?: () => void }).unref?.()
    }
  }

  /** Opens the databases, or memory where this context has no IndexedDB, and ends what dead owners left. @throws DatabaseError */
  static async open(options: ResolvedOptions, events: CoreEvents): Promise<Core> {
    prepareHashing()
    let core: Core
    try {
      core = await Core.#openPatiently(options, events)
    } catch (error) {
      if (!isRefusal(error) || !isProvided('memory')) throw error
      const { memoryFactory } = await load('memory')
      core = await Core.#openWith(options, 'memory', memoryFactory(), events)
    }
    if (core.medium === 'idb' && mayLoseLog()) core.#renewLog()
    // What can't be ended now (a full disk, a catalog that only newer code may write) is ended later; reading must go on.
    await core.#recover().catch(() => undefined)
    core.#inBackground(core.sweepPacks({ measure: true }).then(() => core.#rewriteWhenIdle()))
    core.#prepareForFullDisk()
    core.#keepToMaxBytes()
    return core
  }

  /**
   * Tries again where the browser says no more than that it can't, as it does while processes of one that was killed still hold its files. Data that is
   * there must not seem to be gone: where it stays so, memory takes the place of IndexedDB only where the browser knows that none of it is there.
   */
  static async #openPatiently(options: ResolvedOptions, events: CoreEvents): Promise<Core> {
    const factory = nativeFactory()
    for (let tries = 1; ; tries++) {
      try {
        return await Core.#openWith(options, 'idb', factory, events)
      } catch (error) {
        if (!isUnknown(error)) throw error
        if (tries < DATABASE_OPEN_TRIES) await new Promise((resolve) => setTimeout(resolve, DATABASE_RETRY_MS * 2 ** tries))
        else if (await mayBeThere(factory, `${options.cacheDir}/catalog`)) throw cantBeOpened(options.cacheDir, error)
        else throw error
      }
    }
  }

  static async #openWith(options: ResolvedOptions, medium: 'idb' | 'memory', factory: IDBFactory, events: CoreEvents): Promise<Core> {
    let opened: Core | undefined
    const onLost = (loss: DatabaseLoss): void => {
      if (loss === 'evicted') opened?.noticeEviction()
      if (loss === 'deleted') opened?.noticeDestruction()
      events.onLost(loss)
    }
    let catalog = new Catalog(`${options.cacheDir}/catalog`, factory, onLost)
    if (!(await catalog.open())) {
      // A destruction that another tab held up is finished here.
      await catalog.database.close()
      await finishDestruction(factory, options.cacheDir)
      catalog = new Catalog(`${options.cacheDir}/catalog`, factory, onLost)
      if (!(await catalog.open())) throw heldDestroyed(options.cacheDir)
    }
    const core = (opened = new Core(options, medium, factory, catalog, events))
    try {
      await core.store.records.database.open()
    } catch (error) {
      await core.close()
      throw error
    }
    if (medium === 'idb' && catalog.id !== undefined) core.isEvicted = wasAnother(options.cacheDir, catalog.id)
    return core
  }

  /** What comes next is kept like anything else. */
  noticeEviction(): void {
    this.isEvicted = true
    if (this.catalog.id !== undefined) wasAnother(this.#cacheDir, this.catalog.id)
    this.#inBackground(this.store.packs?.renew(new DatabaseError('the browser took the packs away', this.#cacheDir)) ?? Promise.resolve())
  }

  /** Whoever destroyed it may be a worker, which can't reach what pages remember. */
  noticeDestruction(): void {
    if (this.catalog.id !== undefined) forget(this.#cacheDir, this.catalog.id)
  }

  /** Packs need a private file system and locks that other tabs see. Reading them needs no more; writing needs workers, which start now. */
  #openPacks(options: ResolvedOptions): PackStore | undefined {
    const refuse = (error: Error): undefined => {
      this.packsRefused = error
    }
    if (this.medium === 'memory' || !this.locks.crossContext || !PackDirectory.isSupported) return refuse(packsMissing())
    const folder = packFolder(options.cacheDir)
    const startLanes = async (): Promise<Lanes | undefined> =>
      options.tier === 'records'
        ? refuse(new NotSupportedError("tier 'records' was asked for"))
        : this.#openLanes(folder, options.createWorker).catch(refuse)
    return new PackStore(new PackDirectory(folder), this.catalog, this.locks, startLanes)
  }

  async #openLanes(folder: Folder, createWorker: (() => Worker) | undefined): Promise<Lanes> {
    const { Lanes } = await loadLanes(createWorker)
    // Held, so that no sweep takes the file that is tried.
    const probe = `probe-${newOwnerId()}`
    const lock = await this.locks.holdPack(probe, 'shared')
    try {
      return await Lanes.open(folder, probe, createWorker)
    } finally {
      await lock?.release()
    }
  }

  /** Those of the packs, or where there are none some that begin with the first large reading, which does not wait for them. */
  #recordLanes({ createWorker }: ResolvedOptions): Lanes | undefined {
    const those = this.store.packs?.lanesNow ?? this.#readers.lanes
    if (those !== undefined) return those !== 'starting' && those.isAlive ? those : undefined
    // A worker sees what is in IndexedDB, and none of it in memory; and it takes a lock to tell that it lives.
    if (this.#readers.asked || this.medium === 'memory' || !this.locks.crossContext) return undefined
    this.#readers.asked = true
    const open = async (): Promise<void> => {
      const { Lanes } = await loadLanes(createWorker)
      const lanes = await Lanes.openForRecords(createWorker)
      if (this.#ending.signal.aborted) lanes.close(new ClosedError('the storage was closed'))
      else this.#readers.lanes = lanes
    }
    // Where there can be none this thread reads as well.
    open().catch(() => undefined)
    return undefined
  }

  /** Where leaves of large files are written here. */
  async tier(): Promise<'packs' | 'records' | 'memory'> {
    if (this.medium === 'memory') return 'memory'
    return this.store.tier !== 'records' && (await this.store.packs?.lanes()) !== undefined ? 'packs' : 'records'
  }

  #renewLog(): void {
    this.catalog.marks = true
    this.#held = renewLog(this.catalog, this.locks, this.#ending.signal).catch(() => undefined)
  }

  /** Turns dead owners into removals, and carries removals out behind everybody's back where that is safe. */
  async #recover(): Promise<void> {
    if (this.canFree) {
      const { removals, uncounted } = await endDead(this.store, Date.now())
      if (removals.length > 0) void this.free(removals, uncounted)
      return
    }
    // Without locks nobody may begin to write while this frees: who comes now is told to wait (see #hear), and ends it.
    const interrupt = new AbortController()
    if (!(await this.#isAlone())) return
    const work = endDead(this.store, Date.now()).then(({ removals }) => this.freeNow(removals, { signal: interrupt.signal }))
    this.#freeingAlone = { interrupt, work: work.catch(() => undefined) }
    await this.#freeingAlone.work
    this.#freeingAlone = undefined
  }

  /** Something to give up when a full disk must allow a deletion, without which (no room, read-only) things are as they are; and what makes room. */
  #prepareForFullDisk(): void {
    this.#inBackground(this.#keepReserve())
    // By the time that it is needed there may be no network to load it from.
    this.#inBackground(loadEviction())
  }

  async #keepReserve(): Promise<void> {
    const [{ files }, has] = await Promise.all([this.catalog.usage(), this.catalog.hasReserve()])
    if (!has && files > 0 && this.canFree) {
      // What was deleted while nothing could be written may not be settled yet (see endOverQuota).
      const { settleCatalog } = await load('settle')
      await settleCatalog(this.store, this.pinnedByHelia, this.#ending.signal)
    }
    await this.catalog.keepReserve()
  }

  /** Where an earlier opening was allowed more. What is pinned stays. */
  #keepToMaxBytes(): void {
    const { maxBytes } = this.store
    if (maxBytes === undefined) return
    const keep = async (): Promise<void> => {
      const { bytes } = await this.catalog.usage()
      // What nobody needs goes by itself, and may not be enough.
      if (bytes > maxBytes && (await this.#makeRoom(bytes - maxBytes, 'kept', this.#ending.signal)) !== 0) await keep()
    }
    this.#inBackground(keep())
  }

  /** Answers the bytes that became free, and undefined where another context made room meanwhile. */
  async #makeRoom(needed: number, of: 'disk' | 'kept', signal: AbortSignal): Promise<number | undefined> {
    // Without locks that other tabs see, freeing waits for an opening with nobody else.
    if (!this.canFree) return 0
    // Where its code can't be loaded, the write that failed says what the matter is.
    const eviction = await loadEviction().catch(() => undefined)
    if (eviction === undefined) return 0
    return this.locks.makingRoom(async () => {
      await this.#events.flushLastUsed()
      const freed = await eviction.makeRoom(this.store, {
        needed,
        of,
        pinnedByHelia: this.pinnedByHelia,
        signal,
        onChanges: (changes) => this.announce(changes),
        onEvicted: (evicted) => this.#announceEvicted(evicted),
      })
      if (freed > 0) this.announceFreed()
      return freed
    }, signal)
  }

  #announceEvicted(evicted: readonly Evicted[]): void {
    for (const one of evicted) this.#events.onEvicted(one)
    this.#channel?.postMessage({ type: 'evicted', evicted } satisfies ChannelMessage)
  }

  /** Tells this tab and the others that there is more room. */
  announceFreed(): void {
    this.#events.onFreed()
    this.#channel?.postMessage({ type: 'freed' } satisfies ChannelMessage)
  }

  /** Holds packs against the index and removes what is of no use. */
  async sweepPacks(options: { measure: boolean } = { measure: false }): Promise<void> {
    const { packs } = this.store
    if (packs === undefined || !this.canFree) return
    // Where its code can't be loaded (offline), the next time will do.
    const module = await load('packSweep').catch(() => undefined)
    await module?.sweepPacks(this.store, packs, options)
  }

  /** Rewrites packs that are mostly dead, after whoever is at it here. */
  async rewritePacks(signal: AbortSignal): Promise<void> {
    const { packs } = this.store
    if (packs === undefined || !this.canFree) return
    const work = this.#rewriting.then(async () => {
      // One row tells that there is nothing to do, which is so after most removals.
      if ((await this.catalog.usage()).deadBytes === 0) return
      // Where its code can't be loaded (offline), the next time will do.
      const module = await load('packRewrite').catch(() => undefined)
      await module?.rewritePacks(this.store, packs, signal)
    })
    this.#rewriting = work.catch(() => undefined)
    await work
  }

  /** Moves leaves into packs that came when nobody could write any. Nobody waits for it but close(). */
  #moveRecords(): void {
    const { packs, tier } = this.store
    const { signal } = this.#ending
    if (packs === undefined || tier === 'records' || !this.canFree) return
    const move = async (): Promise<void> => {
      const first = await this.catalog.read(['owners'], (tx) => result(tx.objectStore('owners').index('movable').getKey(MOVABLE)))
      if (first === undefined) return
      // Where its code can't be loaded (offline), the next time will do.
      const module = await load('packMove')
      await module.moveRecords(this.store, packs, this.pinnedByHelia, signal)
    }
    // What fails here (a full disk, a closed database) is done the next time.
    this.#moving = this.#moving.then(move).catch(() => undefined)
  }

  /** Where nobody can tell when a context is idle, it begins at once: behind everybody's back all the same. */
  #rewriteWhenIdle(): void {
    if (this.store.packs === undefined) return
    const { signal } = this.#ending
    const rewrite = (): void => {
      if (!signal.aborted) this.#inBackground(this.rewritePacks(signal).then(() => this.#moveRecords()))
    }
    if (typeof requestIdleCallback === 'function') requestIdleCallback(rewrite)
    else rewrite()
  }

  #inBackground(work: Promise<unknown>): void {
    const settled = work.catch(() => undefined)
    this.#removals.add(settled)
    void settled.then(() => this.#removals.delete(settled))
  }

  /** Frees what these owners named alone. Without locks that other tabs see, that waits for an opening to which nobody else answers. */
  async free(ids: readonly (string | undefined)[], recount = false): Promise<void> {
    const removals = ids.filter((id) => id !== undefined)
    if (removals.length === 0 || !this.canFree) return
    // What fails here (a full disk, a closed database) is done by the next gc() or opening: the removals are on record.
    const work = this.freeNow(removals, { signal: this.#ending.signal, recount }).catch(() => undefined)
    this.#removals.add(work)
    const freed = await work
    this.#removals.delete(work)
    if (freed === undefined || freed.blocks === 0 || this.#ending.signal.aborted) return
    this.#rewriteWhenIdle()
    this.announceFreed()
  }

  /** Whether this context may free blocks at any time: every other one that uses the storage sees its locks. */
  get canFree(): boolean {
    return this.locks.crossContext || this.medium === 'memory'
  }

  /** `recount`: somebody was cut off before counting what it wrote or freed. */
  async freeNow(ids: readonly string[], options: Omit<RemovalOptions, 'pinnedByHelia'> & { recount?: boolean } = {}): Promise<Freed> {
    const freed: Freed = { blocks: 0, bytes: 0 }
    for (const id of ids) {
      const { blocks, bytes } = await runRemoval(this.store, id, { ...options, pinnedByHelia: this.pinnedByHelia })
      freed.blocks += blocks
      freed.bytes += bytes
    }
    if (options.recount === true) await recountUsage(this.store)
    return freed
  }

  /** Resolves when removals under way have come to their end. */
  async settleRemovals(): Promise<void> {
    await Promise.all(this.#removals)
  }

  readonly pinnedByHelia: RemovalOptions['pinnedByHelia'] = (keys) => (this.memoryPins ?? heliaPins(this.#datastore))(keys)

  /** Tells this tab and the others. */
  announce(changes: readonly CatalogChange[]): void {
    for (const change of changes) this.#events.onChange(change)
    if (changes.length > 0) this.#channel?.postMessage({ type: 'changes', changes } satisfies ChannelMessage)
  }

  /** Tells the others of a download. */
  tellOfDownload(message: DownloadMessage): void {
    this.#channel?.postMessage(message)
  }

  async close(reason?: Error): Promise<void> {
    this.#ending.abort(reason)
    await Promise.all([...this.#removals, this.#moving])
    await (await this.#held)?.release()
    this.#channel?.close()
    this.#readers.lanes?.close(reason ?? new ClosedError('the storage was closed'))
    await this.store.packs?.close(reason ?? new ClosedError('the storage was closed'))
    await Promise.all([this.catalog.database.close(reason), this.store.records.database.close(reason), this.#datastore.close(reason)])
  }

  #hear(message: ChannelMessage): void {
    if (message.type === 'changes') for (const change of message.changes) this.#events.onChange(change)
    else if (message.type === 'freed') this.#events.onFreed()
    else if (message.type === 'evicted') for (const one of message.evicted) this.#events.onEvicted(one)
    else if (message.type === 'anyone') void this.#answerHere()
    else if (message.type === 'download' || message.type === 'download-cancelled') {
      for (const listener of this.downloadListeners) listener(message)
    } else if (message.type === 'destroyed') {
      this.noticeDestruction()
      const reason = new DatabaseError(`storage '${this.#cacheDir}' was destroyed by another tab or worker`, this.#cacheDir)
      void this.store.packs?.abandon(reason).catch(() => undefined)
    }
  }

  async #answerHere(): Promise<void> {
    const freeing = this.#freeingAlone
    if (freeing !== undefined) {
      this.#channel?.postMessage({ type: 'busy' } satisfies ChannelMessage)
      freeing.interrupt.abort()
      await freeing.work
    }
    if (!this.#ending.signal.aborted) this.#channel?.postMessage({ type: 'here' } satisfies ChannelMessage)
  }

  /** Whether no other context answers on the channel, or asks at the same time. Only asked where Web Locks are missing. */
  async #isAlone(): Promise<boolean> {
    const channel = this.#channel
    if (channel === undefined) return false
    return new Promise((resolve) => {
      const listen = (event: MessageEvent<ChannelMessage>): void => {
        if (event.data.type === 'here' || event.data.type === 'anyone') finish(false)
        if (event.data.type !== 'busy') return
        clearTimeout(timer)
        timer = setTimeout(() => finish(false), BUSY_TIMEOUT_MS)
      }
      const finish = (alone: boolean): void => {
        clearTimeout(timer)
        channel.removeEventListener('message', listen)
        resolve(alone)
      }
      let timer = setTimeout(() => finish(true), ANSWER_TIMEOUT_MS)
      channel.addEventListener('message', listen)
      channel.postMessage({ type: 'anyone' } satisfies ChannelMessage)
    })
  }
}

/** @throws NotSupportedError where there can be no workers */
async function loadLanes(createWorker: (() => Worker) | undefined): Promise<{ Lanes: typeof Lanes }> {
  if (createWorker === undefined && typeof Worker === 'undefined') throw new NotSupportedError('this context can not make workers')
  try {
    return await load('lanes')
  } catch (cause) {
    throw new NotSupportedError(`the code that starts pack workers could not be loaded (${String(cause)})`, { cause })
  }
}

async function loadEviction(): Promise<{ makeRoom: typeof makeRoom }> {
  return load('eviction')
}

/** Milliseconds that another context has to answer. */
const ANSWER_TIMEOUT_MS = 300
/** Milliseconds that one which is freeing has to stop. */
const BUSY_TIMEOUT_MS = 5_000
