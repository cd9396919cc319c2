// The public types: everything an application names, kept word for word with the contract. No code lives here.
import type { CID } from 'multiformats/cid'
import type { Blockstore } from 'interface-blockstore'
import type { Datastore } from 'interface-datastore'

/** `<cid>`, `<cid>/path`, `/ipfs/<cid>/path`, `ipfs://<cid>/path` or a CID. Anything else: InvalidCidError. */
export type ContentPath = string | CID
export type Bytes = Uint8Array<ArrayBuffer>

/**
 * A string is always content (UTF-8), never a path. Streams are read once, with back-pressure, in bounded memory; an error of
 * theirs is rethrown as it is. A Response that is not ok, or opaque, is refused. Buffers are copied chunk by chunk before they are
 * hashed, so that a caller who goes on writing, or shares the buffer, can't spoil a block; they are never detached.
 */
export type Source =
  | string
  | ArrayBuffer
  | SharedArrayBuffer
  | ArrayBufferView
  | Blob
  | Response
  | FileSystemFileHandle
  | ReadableStream<Uint8Array>
  | AsyncIterable<Uint8Array>
  | Iterable<Uint8Array>

export interface Progress {
  bytes: number
  total?: number
  phase: 'download' | 'store' | 'retrieve' | 'verify' | 'replicate'
}
export interface Cancellable {
  signal?: AbortSignal
  onProgress?: (progress: Progress) => void
}

export interface StorageOptions {
  /** Try to run Helia. Default true. Named after the system this follows. */
  enableIpfsKit?: boolean
  /** Never start Helia and never touch the network: the browser's own storage alone. Default false. */
  forceFallback?: boolean
  /** Name of this storage. Its databases are `<cacheDir>/blocks`, `<cacheDir>/data` and `<cacheDir>/catalog`. Default 'ipfs_accelerate'. */
  cacheDir?: string
  /** Every key is honoured; an unknown key or an impossible combination (ipfs settings with forceFallback) throws InvalidOptionsError. */
  config?: StorageConfig
}

export interface StorageConfig {
  /** Reach the IPFS network through Helia. Default true. */
  enableIpfs?: boolean
  /** Absent: the defaults (HTTP retrieval from public gateways, which see the CIDs asked for). Peer to peer is opt-in. */
  ipfs?: {
    /** Origins of trustless gateways, such as 'https://ipfs.example'. Default: Helia's own public ones. An empty list asks none. */
    gateways?: string[]
    /** Base URLs of delegated routers, which find who has a block. Default: Helia's own public one. */
    delegatedRouters?: string[]
    /** Peer to peer: true with Helia's defaults, or options of libp2p. Default false. */
    libp2p?: boolean | Record<string, unknown>
    /** Milliseconds until the fallback is settled on. @default 10,000 */
    startTimeoutMs?: number
    /** Milliseconds until the first block of something not here; a signal overrides it. @default 20,000 */
    retrieveTimeoutMs?: number
  }
  /** Not in this release: true throws InvalidOptionsError. */
  enableS3?: boolean
  /** Not in this release: throws InvalidOptionsError. */
  s3?: Record<string, unknown>
  /** Not in this release: true throws InvalidOptionsError. */
  enableFilecoin?: boolean
  /** Not in this release: throws InvalidOptionsError. */
  filecoin?: Record<string, unknown>
  /** Not in this release: anything but an empty list throws InvalidOptionsError. */
  backends?: unknown[]
  /**
   * Where leaves of large files (from 4 MiB), and small files stored together (from 4 MiB or 512 of them), are written. 'auto' (default): OPFS packs where this context can, else IndexedDB records; the status
   * says which, and why. 'records': always records, so that a stock Helia on the same database sees everything. 'packs': packs, or ready() and
   * whatever stores a large file rejects with NotSupportedError. Reading never depends on it.
   */
  tier?: 'auto' | 'records' | 'packs'
  /**
   * Makes a pack worker, whose script calls `servePacks()` of 'ipfs-kit-web/pack-worker'. Wanted where a Content-Security-Policy forbids workers
   * from blob: URLs, which is how they are made else. Called once or twice for packs; where none can be written, when much is read for the
   * first time, since such workers also read records beside the page. Not called inside a worker of Firefox, where making one may hang that worker for
   * good (a defect of Firefox): there the storage's own thread does their work.
   *
   * @example
   * createWorker: () => new Worker(new URL('./pack-worker.ts', import.meta.url), { type: 'module' })
   */
  createWorker?: () => Worker
  /** Adopt an existing blockstore-idb database of this name instead of `<cacheDir>/blocks`. */
  blocksDatabase?: string
  /**
   * Upper bound on bytes of different blocks that are kept, a whole number of at least 1. What is new makes room: content that was used least recently
   * and that no pin holds goes, with its events, as much as is needed. Where that is not enough, or there are no Web Locks: QuotaError. Default: what the browser allows.
   */
  maxBytes?: number
}

/** `holder` names who pins, so that two users of one content don't undo each other; default ''. */
export interface StoreOptions extends Cancellable {
  filename?: string
  pin?: boolean
  holder?: string
  mediaType?: string
}
/** What is known of a download beforehand, and how it may be done. */
export interface StoreUrlOptions extends StoreOptions {
  /** SHA-256 of the whole content in hex: what has another one is refused with IntegrityError, and nothing of it is kept. */
  sha256?: string
  /** The CID that `store()` gives the content; else as `sha256`. Where all of it is here already, nothing is downloaded. */
  cid?: string
  /** Bytes of the content; a server that says otherwise is refused before anything is downloaded. */
  size?: number
  /** Requests under way at once at most, where the server answers ranges and fewer do not bring what this device can take: 1 to 16. @default 4 */
  maxConnections?: number
}

/** A download that is not over, as it was when it was asked about. */
export interface DownloadInfo {
  /** Names it among the downloads of this storage. */
  id: string
  url: string
  /** What the entry is to be called, where it is not its CID. */
  filename?: string
  /** 'running': a tab or worker of this storage is at it. 'interrupted': it waits for `resume()`, or for `storeUrl()` of the same URL. */
  state: 'running' | 'interrupted'
  /** Bytes that are here, those on their way included where it runs in this context. */
  bytes: number
  /** Bytes of the content, as far as the server told. */
  total?: number
  started: Date
  /** When something of it was last put on record; one that nobody went on with for a week after that ends by itself. */
  modified: Date
}

export interface Download extends DownloadInfo {
  /** Goes on as `storeUrl()` of whoever began it would, but for headers of a Request, which are not kept. Answers the CID. */
  resume(options?: Cancellable): Promise<string>
  /** Ends it, wherever it runs, and frees what has come of it. false where it was over already. */
  cancel(): Promise<boolean>
}

/** `verify: false` skips re-hashing on this read. Default true. `localOnly`: ask no backend. */
export interface RetrieveOptions extends Cancellable {
  offset?: number
  length?: number
  verify?: boolean
  localOnly?: boolean
}
export interface LookupOptions {
  signal?: AbortSignal
  localOnly?: boolean
}

/** An entry: one name for one content. The same content under two filenames is two entries over one copy; other content under a known filename is another entry. */
export interface FileInfo {
  cid: string
  type: 'file' | 'directory' | 'dag'
  filename: string // the CID where none was given
  size: number // bytes of content; of a directory that is here in part, an estimate from its links
  localBytes: number // of them, here
  state: 'whole' | 'partial' | 'damaged'
  modified: Date
  lastUsed: Date
  pinned: boolean // by any holder
  fallback: boolean // stored while no Helia node was running
  mediaType?: string
  sha256?: string // of the whole file, hex, where known
  /** Names of the remote backends that have confirmed a whole copy. */
  replicas: string[]
}
export interface FileStat {
  cid: string
  type: 'file' | 'directory' | 'symlink' | 'dag'
  size: number
  blocks: number
  localBlocks: number
  pinned: boolean
}
/** `size`: bytes of a file's content; of a subdirectory, bytes of all blocks below it, as its parent says. */
export interface DirectoryEntry {
  name: string
  path: string
  cid: string
  type: 'file' | 'directory' | 'symlink'
  size: number
}

export interface BackendStatus {
  /** A Helia node is running. */
  ipfsKitAvailable: boolean
  usingFallback: boolean
  /** Why, while usingFallback. 'disabled': by enableIpfsKit, enableIpfs or the environment. */
  fallbackReason?: 'starting' | 'forced' | 'disabled' | 'helia-unavailable' | 'helia-failed' | 'offline'
  /** The error behind 'helia-unavailable' and 'helia-failed', as a person would read it. */
  fallbackDetail?: string
  /** Where `config.ipfs.libp2p` is set: whether the node here talks to peers itself. One of an origin does; when it closes another takes over. */
  libp2p?: boolean
  cacheDir: string
  persisted: boolean
  /**
   * The browser took away what was stored, while this storage was open or before it was opened (which only a page can tell, and only in Chromium).
   * What is listed was stored since then. `persist()` asks the browser not to.
   */
  storageEvicted?: true
  /** Where leaves of large files are written here. */
  tier: 'packs' | 'records' | 'memory'
  /** Why, where that is not packs. */
  tierDetail?: string
  /**
   * `bytes` and `blocks`: unique blocks that this storage wrote. `pinnedBytes`: bytes of content that is pinned, each content once. `deadBytes`:
   * bytes of packs that nothing needs any more, or that a Blob handed out still holds; they go when they are half of a pack, or it is let go of.
   */
  usage: { bytes: number; quota?: number; files: number; blocks: number; pinnedBytes: number; deadBytes: number }
  /** local: the last write and read worked; ipfs: a node runs and its last contact, if any, worked. Further backends by name. */
  backends: { local: boolean; ipfs: boolean; s3: boolean; filecoin: boolean; [name: string]: boolean }
}

export interface StorageEvents {
  /** Here or in another tab: an entry was added, changed or removed. */
  change: CustomEvent<{ cid: string; filename: string; kind: 'stored' | 'updated' | 'deleted' | 'pinned' | 'unpinned' }>
  /** Here or in another tab: an entry was given up to make room. `bytes` went with the first of a content's entries. */
  evicted: CustomEvent<{ cid: string; filename: string; bytes: number }>
  damaged: CustomEvent<{ cid: string; block: string }>
  repaired: CustomEvent<{ cid: string; block: string; from: string }>
  /** The status changed: Helia started or stopped, online or offline, blocks were freed, another tab upgraded or deleted the storage. */
  status: CustomEvent<BackendStatus>
}

/** What the page, a worker's client and tests of adapters all hold. Details of events can be cloned. */
export interface ContentStorage extends EventTarget {
  /** Resolves when Helia runs or the fallback is settled on, within startTimeoutMs. Rejects only where nothing can be stored. */
  ready(): Promise<this>
  store(data: Source, options?: StoreOptions): Promise<string>
  /**
   * Downloads what a URL answers and stores it, under the CID that `store()` gives the same bytes. Goes on after a break of the network, a reload or
   * a crash from where it was, where the server answers ranges and says by a strong ETag or Last-Modified that it is the same; else it begins again.
   * Calls for one URL, in this tab or another, share one download. Its signal interrupts it: what has come stays for a later call, or for `downloads()`.
   * Only this asks the network whatever `forceFallback` says.
   *
   * @param url http or https; a Request may bring headers and credentials, no body
   * @throws DownloadError, which names the URL and what to do
   * @throws IntegrityError where it is not what `sha256`, `cid` or `size` say; nothing of it is kept
   * @throws InvalidSourceError for another URL or method
   *
   * @example
   * const cid = await storage.storeUrl('https://models.example/model.onnx', { filename: 'model.onnx', sha256: '9f86d0…' })
   * await storage.blob(cid) //=> Blob, also offline
   */
  storeUrl(url: string | URL | Request, options?: StoreUrlOptions): Promise<string>
  /**
   * What `storeUrl()` is at or was interrupted in, in every tab of this storage, the oldest first.
   *
   * @example
   * for (const download of await storage.downloads()) if (download.state === 'interrupted') await download.resume()
   */
  downloads(): Promise<Download[]>
  /** Many small items in as few transactions as possible; CIDs in order. All of them or none. */
  storeMany(items: Iterable<{ data: Source } & StoreOptions>, options?: Cancellable): Promise<string[]>
  /** A directory from `{path, data}` entries; answers the root's CID. An empty, repeated or escaping path: InvalidPathError. */
  storeDirectory(
    entries: Iterable<{ path: string; data: Source }> | AsyncIterable<{ path: string; data: Source }>,
    options?: StoreOptions,
  ): Promise<string>
  /**
   * The bytes. null: not here, and nobody who was asked has it (in the fallback, and with localOnly, nobody is asked).
   * UnavailableError: not here, and nobody who might have it could be asked in time ('offline' and 'helia-failed' too); its `causes` say why.
   * IntegrityError: damaged here and not to be repaired. Damaged bytes are never answered. A directory: NotAFileError.
   * A range past the end: the bytes there are. A negative or fractional one: RangeError.
   * Content that a backend supplied is kept: a whole file as an unpinned entry under its own CID, a part as blocks of a 'partial' one.
   */
  retrieve(path: ContentPath, options?: RetrieveOptions): Promise<Bytes | null>
  /** As retrieve; errors that come later error the stream. */
  stream(path: ContentPath, options?: RetrieveOptions): Promise<ReadableStream<Bytes> | null>
  /**
   * A Blob over the content, with its media type. Where it lies in packs it is ready at once whatever its size, read by the browser
   * itself and therefore not verified; `verify: true` hashes everything first. Elsewhere it is read and verified once, a few batches at a time in
   * script memory (what the browser then holds of a Blob is its own).
   * It stays readable while the page or worker that asked for it lives, deleted or not.
   */
  blob(path: ContentPath, options?: LookupOptions & { verify?: boolean; onProgress?: (progress: Progress) => void }): Promise<Blob | null>
  stat(path: ContentPath, options?: LookupOptions): Promise<FileStat | null>
  /** Not a directory: NotADirectoryError; absent: null. */
  listDirectory(path: ContentPath, options?: LookupOptions): Promise<DirectoryEntry[] | null>
  /** Entries whose filename is `path` or lies under it, by segments ('models' does not mean 'models2'); '/' or nothing: all. By filename, then CID. */
  listFiles(path?: string, options?: { after?: Pick<FileInfo, 'filename' | 'cid'>; limit?: number }): Promise<FileInfo[]>
  /** true only when every block is on this machine. */
  exists(path: ContentPath): Promise<boolean>
  /**
   * Removes the content's entries, or with `filename` that one. false where there is none. The last entry of a pinned content:
   * PinnedError, unless `force`, which drops every holder's pin too. Blocks that another entry, pin or writer needs stay.
   */
  delete(cid: ContentPath, options?: { filename?: string; force?: boolean }): Promise<boolean>
  /** Keeps every block here until this holder unpins; fetches what is missing. false where it can't be had. */
  pin(cid: ContentPath, options?: Cancellable & { holder?: string }): Promise<boolean>
  /** false where that holder had not pinned it. */
  unpin(cid: ContentPath, options?: { holder?: string }): Promise<boolean>
  /** Re-hashes every block of one content, or of all. What is damaged or lost is fetched again where the network has it, with its events; the rest is answered. `blocks` and `bytes` count those that are whole. */
  verify(path?: ContentPath, options?: Cancellable): Promise<{ blocks: number; bytes: number; damaged: { cid: string; block: string }[] }>
  /**
   * Frees what dead writers and deletions left. Blocks that this storage never wrote (an adopted database) stay, as does what Helia's
   * own pins hold; `foreign: true` frees the unpinned ones among them.
   */
  gc(options?: Cancellable & { foreign?: boolean }): Promise<{ blocks: number; bytes: number }>
  exportCar(cid: ContentPath, options?: Cancellable): Promise<ReadableStream<Bytes> | null>
  /** Verifies every block; answers the roots, each an entry. A damaged or incomplete CAR: CarError, nothing stored. */
  importCar(source: Source, options?: StoreOptions): Promise<string[]>
  /** Asks the browser not to evict this origin; a worker's client asks in the page. Never asked unasked. */
  persist(): Promise<boolean>
  /** A Helia node is running. */
  isAvailable(): Promise<boolean>
  /** At once; 'starting' while Helia starts. */
  getBackendStatus(): Promise<BackendStatus>
  /** The running node, over the same blocks; null in the fallback. A worker's client: NotSupportedError. */
  helia(): Promise<HeliaNode | null>
  /** Aborts what is under way with ClosedError, closes the databases, stops Helia. May be called twice. */
  close(): Promise<void>
  addEventListener<K extends keyof StorageEvents>(
    type: K,
    listener: (event: StorageEvents[K]) => void,
    options?: AddEventListenerOptions | boolean,
  ): void
  addEventListener(type: string, listener: EventListenerOrEventListenerObject | null, options?: AddEventListenerOptions | boolean): void
}

/** What @helia/unixfs, @helia/car and the like need of a node; a Helia is one. `ipfs-kit-web/helia` types it as Helia. */
export interface HeliaNode {
  readonly blockstore: Blockstore
  readonly datastore: Datastore
  readonly status: string
}
