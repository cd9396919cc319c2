// The front: one storage, opened once, whose every method is one operation that ends whole or not at all.
import type { CID } from 'multiformats/cid'
import { blockKey } from './blocks/records.ts'
import { writeLastUsed } from './catalog/entries.ts'
import { parseContentPath } from './cid.ts'
import { Content } from './content.ts'
import { Core } from './core.ts'
import { destroyStorage } from './destruction.ts'
import { ClosedError, DatabaseError, InvalidOptionsError, NotSupportedError, QuotaError, StorageError } from './errors.ts'
import { load } from './lazy.ts'
import { LAST_USED_FLUSH_MS } from './limits.ts'
import { checkRange } from './files/read.ts'
import { checkSource } from './files/source.ts'
import { exists, listFiles, stat } from './inspect.ts'
import { collect, pin, remove, unpin } from './maintain.ts'
import { createBlockFetcher, type BlockFetcher } from './network/block-fetcher.ts'
import { follow, untilAborted } from './network/abort.ts'
import { HeliaBackend } from './network/helia.ts'
import { checkOptions, type Operation } from './operation.ts'
import { resolveOptions, sameOptions, type ResolvedOptions } from './options.ts'
import { blob, car, directory, retrieve, stream } from './read.ts'
import { backendStatus, storageManager, usageOf } from './status.ts'
import { checkStoreOptions, importCar, STORE_OPTIONS, storeDirectory, storeFile, storeMany } from './store.ts'
import type * as Downloading from './download/index.ts'
import type * as Verification from './verify.ts'
import type {
  BackendStatus,
  Bytes,
  Cancellable,
  ContentPath,
  ContentStorage,
  DirectoryEntry,
  Download,
  DownloadInfo,
  FileInfo,
  FileStat,
  HeliaNode,
  LookupOptions,
  Progress,
  RetrieveOptions,
  Source,
  StorageEvents,
  StorageOptions,
  StoreOptions,
  StoreUrlOptions,
} from './types.ts'

type Kind = 'read' | 'write'

/** The storage without the code that is loaded later, which must be provided before one is made (see lazy.ts). */
export class BaseStorage extends EventTarget implements ContentStorage {
  readonly #options: ResolvedOptions
  readonly #closing = new AbortController()
  readonly #core: Promise<Core>
  readonly #helia: HeliaBackend | undefined
  readonly #fetcher: BlockFetcher | undefined
  readonly #running = new Set<Promise<unknown>>()
  readonly #used = new Map<string, number>()
  #flushTimer: ReturnType<typeof setTimeout> | undefined
  #closed: Promise<void> | undefined
  #isDestroyed = false
  /** Whether the last of each worked. */
  readonly #works = { read: true, write: true }

  /**
   * Begins to open the storage. Nothing is thrown later for what can be seen now.
   *
   * @throws InvalidOptionsError
   */
  constructor(options?: StorageOptions) {
    super()
    this.#options = resolveOptions(options)
    this.#core = Core.open(this.#options, {
      onChange: (change) => this.#emit('change', change),
      onDamaged: (cid) => void this.#reportDamage(cid),
      onLost: (loss) => {
        if (loss === 'deleted') this.#isDestroyed = true
        void this.#reportStatus()
      },
      onFreed: () => void this.#reportStatus(),
      onEvicted: (evicted) => this.#emit('evicted', evicted),
      flushLastUsed: async () => this.#flushLastUsed(await this.#core),
    })
    // Whoever calls a method hears of it; here it must not count as unhandled.
    this.#core.catch(() => undefined)
    if (this.#options.fallback !== undefined) return
    const helia = new HeliaBackend({
      settings: this.#options.ipfs,
      openStores: () => this.#openStores(),
      onChange: () => void this.#reportStatus(),
    })
    this.#helia = helia
    this.#fetcher = createBlockFetcher(helia, { timeoutMs: this.#options.ipfs.retrieveTimeoutMs })
    // After the databases: Helia never delays local work.
    this.#core.then(
      () => {
        if (!this.#closing.signal.aborted) helia.start()
      },
      () => undefined,
    )
  }

  /** Deletes a storage; an adopted blocksDatabase stays. @throws DatabaseError where another tab holds it open past 5 s */
  static async destroy(cacheDir?: string): Promise<void> {
    await destroyStorage(resolveOptions(cacheDir === undefined ? {} : { cacheDir }).cacheDir)
  }

  async ready(): Promise<this> {
    this.#checkOpen()
    const core = await this.#core
    // Of tier 'packs' this is where it shows that there are none.
    await core.store.packLanes()
    await this.#helia?.settled()
    this.#checkOpen()
    return this
  }

  async store(data: Source, options: StoreOptions = {}): Promise<string> {
    checkStoreOptions('store', options)
    checkSource(data)
    return this.#operate('write', options.signal, (operation) => storeFile(operation, data, options))
  }

  async storeUrl(url: string | URL | Request, options: StoreUrlOptions = {}): Promise<string> {
    checkOptions('storeUrl', options, ['sha256', 'cid', 'size', 'maxConnections', ...STORE_OPTIONS])
    // A Request has one of its own.
    const signal = options.signal ?? (url as { signal?: AbortSignal } | null)?.signal
    return this.#operate('write', signal, async (operation) => (await loadDownload()).storeUrl(operation, url, options))
  }

  async downloads(): Promise<Download[]> {
    const infos = await this.listDownloads()
    return infos.map((info) => ({
      ...info,
      resume: (options) => this.resumeDownload(info.id, options),
      cancel: () => this.cancelDownload(info.id),
    }))
  }

  /** downloads() without what can't be cloned, for clients of a worker. @internal */
  async listDownloads(): Promise<DownloadInfo[]> {
    return this.#operate('read', undefined, async (operation) => (await loadDownload()).listDownloads(operation))
  }

  /** @internal */
  async resumeDownload(id: string, options: Cancellable = {}): Promise<string> {
    checkOptions('resume', options, ['signal', 'onProgress'])
    return this.#operate('write', options.signal, async (operation) => (await loadDownload()).resumeDownload(operation, id, options))
  }

  /** @internal */
  async cancelDownload(id: string): Promise<boolean> {
    return this.#operate('write', undefined, async (operation) => (await loadDownload()).cancelDownload(operation, id))
  }

  async storeMany(items: Iterable<{ data: Source } & StoreOptions>, options: Cancellable = {}): Promise<string[]> {
    checkOptions('storeMany', options, ['signal', 'onProgress'])
    return this.#operate('write', options.signal, (operation) => storeMany(operation, items, options))
  }

  async storeDirectory(
    entries: Iterable<{ path: string; data: Source }> | AsyncIterable<{ path: string; data: Source }>,
    options: StoreOptions = {},
  ): Promise<string> {
    checkStoreOptions('storeDirectory', options)
    return this.#operate('write', options.signal, (operation) => storeDirectory(operation, entries, options))
  }

  async retrieve(path: ContentPath, options: RetrieveOptions = {}): Promise<Bytes | null> {
    this.#checkRetrieve('retrieve', path, options)
    return this.#operate('read', options.signal, (operation) => retrieve(operation, path, options))
  }

  async stream(path: ContentPath, options: RetrieveOptions = {}): Promise<ReadableStream<Bytes> | null> {
    this.#checkRetrieve('stream', path, options)
    return this.#operateOn('read', options.signal, (operation, end) => stream(operation, path, options, end))
  }

  async blob(
    path: ContentPath,
    options: LookupOptions & { verify?: boolean; onProgress?: (progress: Progress) => void } = {},
  ): Promise<Blob | null> {
    checkOptions('blob', options, ['signal', 'localOnly', 'verify', 'onProgress'])
    parseContentPath(path)
    return this.#operate('read', options.signal, (operation) => blob(operation, path, options))
  }

  async stat(path: ContentPath, options: LookupOptions = {}): Promise<FileStat | null> {
    checkOptions('stat', options, ['signal', 'localOnly'])
    parseContentPath(path)
    return this.#operate('read', options.signal, (operation) => stat(operation, path, options))
  }

  async listDirectory(path: ContentPath, options: LookupOptions = {}): Promise<DirectoryEntry[] | null> {
    checkOptions('listDirectory', options, ['signal', 'localOnly'])
    parseContentPath(path)
    return this.#operate('read', options.signal, (operation) => directory(operation, path, options))
  }

  async listFiles(path = '/', options: { after?: Pick<FileInfo, 'filename' | 'cid'>; limit?: number } = {}): Promise<FileInfo[]> {
    checkOptions('listFiles', options, ['after', 'limit'])
    return this.#operate('read', undefined, async (operation) => {
      const files = await listFiles(operation, path, options)
      for (const file of files) {
        const used = this.#used.get(file.cid)
        if (used !== undefined && used > file.lastUsed.getTime()) file.lastUsed = new Date(used)
      }
      return files
    })
  }

  async exists(path: ContentPath): Promise<boolean> {
    parseContentPath(path)
    return this.#operate('read', undefined, (operation) => exists(operation, path))
  }

  async delete(cid: ContentPath, options: { filename?: string; force?: boolean } = {}): Promise<boolean> {
    checkOptions('delete', options, ['filename', 'force'])
    parseContentPath(cid)
    return this.#operate('write', undefined, (operation) => remove(operation, cid, options))
  }

  async pin(cid: ContentPath, options: Cancellable & { holder?: string } = {}): Promise<boolean> {
    checkOptions('pin', options, ['signal', 'onProgress', 'holder'])
    parseContentPath(cid)
    return this.#operate('write', options.signal, (operation) => pin(operation, cid, options))
  }

  async unpin(cid: ContentPath, options: { holder?: string } = {}): Promise<boolean> {
    checkOptions('unpin', options, ['holder'])
    parseContentPath(cid)
    return this.#operate('write', undefined, (operation) => unpin(operation, cid, options))
  }

  async verify(
    path?: ContentPath,
    options: Cancellable = {},
  ): Promise<{ blocks: number; bytes: number; damaged: { cid: string; block: string }[] }> {
    checkOptions('verify', options, ['signal', 'onProgress'])
    if (path !== undefined) parseContentPath(path)
    return this.#operate('read', options.signal, async (operation) => (await loadVerify()).verify(operation, path, options))
  }

  async gc(options: Cancellable & { foreign?: boolean } = {}): Promise<{ blocks: number; bytes: number }> {
    checkOptions('gc', options, ['signal', 'onProgress', 'foreign'])
    return this.#operate('write', options.signal, (operation) => collect(operation, options))
  }

  async exportCar(cid: ContentPath, options: Cancellable = {}): Promise<ReadableStream<Bytes> | null> {
    checkOptions('exportCar', options, ['signal', 'onProgress'])
    parseContentPath(cid)
    return this.#operateOn('read', options.signal, (operation, end) => car(operation, cid, options.onProgress, end))
  }

  async importCar(source: Source, options: StoreOptions = {}): Promise<string[]> {
    checkStoreOptions('importCar', options)
    checkSource(source)
    return this.#operate('write', options.signal, (operation) => importCar(operation, source, options))
  }

  async persist(): Promise<boolean> {
    this.#checkOpen()
    const storage = storageManager()
    if (typeof storage?.persist !== 'function') {
      throw new NotSupportedError('this context can not ask the browser to keep its storage: ask in a page, over https or on localhost')
    }
    const persisted = await storage.persist()
    void this.#reportStatus()
    return persisted
  }

  async isAvailable(): Promise<boolean> {
    this.#checkOpen()
    return this.#helia?.status().running ?? false
  }

  async getBackendStatus(): Promise<BackendStatus> {
    this.#checkOpen()
    return this.#currentStatus(await this.#core)
  }

  async helia(): Promise<HeliaNode | null> {
    await this.ready()
    return this.#helia?.node() ?? null
  }

  close(): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  /** Resolves when the databases are open and recovered. @internal */
  async opened(): Promise<void> {
    this.#checkOpen()
    await this.#core
  }

  /** One operation of a room above, over when it calls `end` or throws. The signal does not lift the timeout of what is fetched. @internal */
  operate<T>(
    signal: AbortSignal | undefined,
    work: (operation: Operation, end: () => void) => Promise<T>,
    kind: Kind = 'read',
  ): Promise<T> {
    return this.#operateOn(kind, signal, work, true)
  }

  /** Tells what a page knows of the network and its worker does not. @internal */
  setOnline(online: boolean): void {
    this.#helia?.setOnline(online)
  }

  /** Another page or worker deleted its databases: it will never work again. @internal */
  get isDestroyed(): boolean {
    return this.#isDestroyed
  }

  /** @internal */
  get isClosed(): boolean {
    return this.#closed !== undefined
  }

  /** Whether another call asks for this very storage. @internal */
  isSame(options: StorageOptions | undefined): boolean {
    return sameOptions(this.#options, resolveOptions(options))
  }

  async #close(): Promise<void> {
    clearTimeout(this.#flushTimer)
    this.#closing.abort(new ClosedError('the storage was closed while this was under way'))
    const core = await this.#core.catch(() => undefined)
    await Promise.allSettled(this.#running)
    try {
      if (core !== undefined) await this.#flushLastUsed(core)
      await this.#helia?.stop()
    } finally {
      await core?.close()
    }
  }

  #checkOpen(): void {
    if (this.#closed !== undefined) throw new ClosedError('the storage was closed: make a new one to go on')
  }

  #checkRetrieve(method: string, path: ContentPath, options: RetrieveOptions): void {
    checkOptions(method, options, ['signal', 'onProgress', 'offset', 'length', 'verify', 'localOnly'])
    parseContentPath(path)
    checkRange(options.offset, options.length)
  }

  #operate<T>(kind: Kind, signal: AbortSignal | undefined, work: (operation: Operation) => Promise<T>): Promise<T> {
    return this.#operateOn(kind, signal, async (operation, end) => {
      try {
        return await work(operation)
      } finally {
        end()
      }
    })
  }

  /** As #operate, for what goes on after its answer: `work` calls `end` when nothing of it is under way any more. */
  async #operateOn<T>(
    kind: Kind,
    signal: AbortSignal | undefined,
    work: (operation: Operation, end: () => void) => Promise<T>,
    bounded: boolean = signal === undefined,
  ): Promise<T> {
    this.#checkOpen()
    signal?.throwIfAborted()
    const scope = new AbortController()
    const release = follow(scope, [signal, this.#closing.signal])
    let end = (): void => undefined
    const over = new Promise<void>((resolve) => {
      end = () => {
        release()
        resolve()
      }
    })
    this.#running.add(over)
    void over.then(() => this.#running.delete(over))
    try {
      const core = await untilAborted(this.#core, scope.signal)
      const answer = await work(this.#operation(core, scope.signal, bounded), end)
      this.#works[kind] = true
      return answer
    } catch (error) {
      end()
      // A reading without room (for a Blob, say) tells nothing of the storage.
      if (error instanceof DatabaseError || (error instanceof QuotaError && kind === 'write')) {
        this.#works[kind] = false
        void this.#reportStatus()
      }
      // Whatever an abort makes fail on its way, its reason is what the caller hears.
      if (scope.signal.aborted) throw scope.signal.reason
      throw error
    }
  }

  #operation(core: Core, signal: AbortSignal, bounded: boolean): Operation {
    const helia = this.#helia
    const fetcherOf = this.#fetcher
    return {
      core,
      signal,
      fallback: helia?.status().running !== true,
      touch: (cid) => this.#touch(cid),
      content: (root, options = {}) => {
        if (helia === undefined || fetcherOf === undefined || options.localOnly === true) return new Content(core, root, { signal })
        // A caller's signal overrides the timeout, so the one of this operation, which always is there, must not be passed for it.
        const fetcher = fetcherOf.operation(bounded ? {} : { signal })
        return new Content(core, root, {
          signal,
          fetch: (cid) => fetcher.fetch(cid),
          onRepaired: (block) => this.#emit('repaired', { cid: root.toString(), block: block.toString(), from: 'ipfs' }),
        })
      },
    }
  }

  async #openStores(): Promise<Awaited<ReturnType<ConstructorParameters<typeof HeliaBackend>[0]['openStores']>>> {
    const core = await this.#core
    const { openGuestStores } = await load('guestStores')
    return openGuestStores(core, `${this.#options.cacheDir}/data`)
  }

  #touch(cid: CID): void {
    this.#used.set(cid.toString(), Date.now())
    // Gathered, so that reading does not mean writing; what a crash loses of it is a few seconds of order.
    this.#flushTimer ??= setTimeout(() => {
      this.#flushTimer = undefined
      void this.#core.then((core) => this.#flushLastUsed(core)).catch(() => undefined)
    }, LAST_USED_FLUSH_MS)
  }

  async #flushLastUsed(core: Core): Promise<void> {
    if (this.#used.size === 0) return
    const times = new Map(this.#used)
    this.#used.clear()
    // Where the catalog can't be written, they are kept for the next time.
    await writeLastUsed(core.catalog, times).catch(() => {
      for (const [cid, time] of times) if (!this.#used.has(cid)) this.#used.set(cid, time)
    })
  }

  #emit<K extends keyof StorageEvents>(type: K, detail: StorageEvents[K] extends CustomEvent<infer D> ? D : never): void {
    this.dispatchEvent(new CustomEvent(type, { detail }))
  }

  async #reportDamage(block: string): Promise<void> {
    try {
      const core = await this.#core
      const [owners = []] = await core.catalog.ownersOf([blockKey(parseContentPath(block).cid)])
      const cids = new Set(owners.flatMap((owner) => (owner.kind === 'entry' ? [owner.cid] : [])))
      for (const cid of cids.size > 0 ? cids : [block]) this.#emit('damaged', { cid, block })
    } catch {
      this.#emit('damaged', { cid: block, block })
    }
  }

  async #reportStatus(): Promise<void> {
    // A storage that never opened has no status; whoever calls a method hears why.
    const core = await this.#core.catch(() => undefined)
    if (core === undefined) return
    const status = await this.#currentStatus(core)
    if (this.#closed === undefined) this.#emit('status', status)
  }

  async #currentStatus(core: Core): Promise<BackendStatus> {
    const usage = await usageOf(core).catch((error: unknown) => {
      if (!(error instanceof StorageError)) throw error
      // Deleted by another tab, or not to be read any more: that is what there is to tell.
      this.#works.read = false
      return { bytes: 0, blocks: 0, files: 0, pinnedBytes: 0, deadBytes: 0 }
    })
    const localWorks = this.#works.read && this.#works.write
    return backendStatus({ core, options: this.#options, helia: this.#helia?.status(), localWorks, usage })
  }
}

export interface BaseStorage {
  addEventListener<K extends keyof StorageEvents>(
    type: K,
    listener: (event: StorageEvents[K]) => void,
    options?: AddEventListenerOptions | boolean,
  ): void
  addEventListener(type: string, listener: EventListenerOrEventListenerObject | null, options?: AddEventListenerOptions | boolean): void
}

/** Most pages never ask for it. @throws StorageError where it can't be loaded */
function loadVerify(): Promise<typeof Verification> {
  return load('verification').catch((cause: unknown) => {
    throw new StorageError("the code that verifies could not be loaded: go online, or keep it in the application's cache", { cause })
  })
}

/** Most pages never download. @throws StorageError where it can't be loaded */
function loadDownload(): Promise<typeof Downloading> {
  return load('download').catch((cause: unknown) => {
    throw new StorageError("the code that downloads could not be loaded: go online, or keep it in the application's cache", { cause })
  })
}

let shared: BaseStorage | undefined

/** One storage a realm, made by `make` where there is none. @throws InvalidOptionsError where a second call asks for another one */
export function sharedStorage(options: StorageOptions | undefined, make: () => BaseStorage): BaseStorage {
  // One that was closed by whoever held it is of no use to the next.
  if (shared === undefined || shared.isClosed) {
    shared = make()
  } else if (options !== undefined && !shared.isSame(options)) {
    throw new InvalidOptionsError(
      'getStorage() was called before with other options: call resetStorage() first, or make an IPFSKitStorage of your own',
      'options',
    )
  }
  return shared
}

/** Closes the shared storage; the next getStorage() makes a new one. What is stored stays. */
export async function resetStorage(): Promise<void> {
  const before = shared
  shared = undefined
  await before?.close()
}
