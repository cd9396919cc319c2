// The front as a page holds it while the storage runs in a worker: every method is a call through a port.
import { parseContentPath } from '../cid.ts'
import { ClosedError, InvalidPathError, NotSupportedError } from '../errors.ts'
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
  LookupOptions,
  RetrieveOptions,
  Source,
  StoreOptions,
  StoreUrlOptions,
} from '../types.ts'
import { Calls } from './calls.ts'
import type { PortLike } from './protocol.ts'

type Items = Parameters<ContentStorage['storeMany']>[0]
type Entries = Parameters<ContentStorage['storeDirectory']>[0]

export class StorageClient extends EventTarget implements ContentStorage {
  readonly #calls: Calls
  readonly #closers: (() => void)[]

  /** `closers` run when the client ends, whichever way. */
  constructor(port: PortLike, closers: (() => void)[] = []) {
    super()
    this.#closers = closers
    const death = (): void => this.fail(new ClosedError('the worker with the storage ended: make another one and connect to it'))
    this.#calls = new Calls(port, { event: (name, detail) => this.dispatchEvent(new CustomEvent(name, { detail })), death })
    closers.push(watchOnline((online) => this.#calls.tellOnline(online)))
    // Where ports tell it; elsewhere a lock does.
    port.addEventListener('close', death)
  }

  /** Ends the client for a reason of the connection's. */
  fail(error: Error): void {
    this.#calls.end(error)
    for (const close of this.#closers.splice(0)) close()
  }

  async ready(): Promise<this> {
    await this.#calls.call('ready', () => [])
    return this
  }

  async store(data: Source, options?: StoreOptions): Promise<string> {
    return this.#calls.call('store', (args) => [args.source(data), args.options(options)])
  }

  async storeUrl(url: string | URL | Request, options?: StoreUrlOptions): Promise<string> {
    const signal = (url as { signal?: AbortSignal } | null)?.signal
    const all = signal === undefined ? options : { signal, ...options }
    return this.#calls.call('storeUrl', (args) => [args.url(url), args.options(all)])
  }

  async downloads(): Promise<Download[]> {
    const infos = await this.#calls.call<DownloadInfo[]>('listDownloads', () => [])
    return infos.map((info) => ({
      ...info,
      resume: (options) => this.#calls.call('resumeDownload', (args) => [args.value(info.id), args.options(options)]),
      cancel: () => this.#calls.call('cancelDownload', (args) => [args.value(info.id)]),
    }))
  }

  async storeMany(items: Items, options?: Cancellable): Promise<string[]> {
    return this.#calls.call('storeMany', (args) => [args.items(items), args.options(options)])
  }

  async storeDirectory(entries: Entries, options?: StoreOptions): Promise<string> {
    return this.#calls.call('storeDirectory', (args) => [args.items(entries), args.options(options)])
  }

  async retrieve(path: ContentPath, options?: RetrieveOptions): Promise<Bytes | null> {
    return this.#calls.call('retrieve', (args) => [args.value(pathOf(path)), args.options(options)])
  }

  async stream(path: ContentPath, options?: RetrieveOptions): Promise<ReadableStream<Bytes> | null> {
    return this.#calls.call('stream', (args) => [args.value(pathOf(path)), args.options(options)])
  }

  async blob(path: ContentPath, options?: Parameters<ContentStorage['blob']>[1]): Promise<Blob | null> {
    return this.#calls.call('blob', (args) => [args.value(pathOf(path)), args.options(options)])
  }

  async stat(path: ContentPath, options?: LookupOptions): Promise<FileStat | null> {
    return this.#calls.call('stat', (args) => [args.value(pathOf(path)), args.options(options)])
  }

  async listDirectory(path: ContentPath, options?: LookupOptions): Promise<DirectoryEntry[] | null> {
    return this.#calls.call('listDirectory', (args) => [args.value(pathOf(path)), args.options(options)])
  }

  async listFiles(path?: string, options?: Parameters<ContentStorage['listFiles']>[1]): Promise<FileInfo[]> {
    if (path !== undefined && typeof path !== 'string') throw new InvalidPathError('path to list must be a string', String(path))
    return this.#calls.call('listFiles', (args) => [args.value(path), args.value(options)])
  }

  async exists(path: ContentPath): Promise<boolean> {
    return this.#calls.call('exists', (args) => [args.value(pathOf(path))])
  }

  async delete(cid: ContentPath, options?: Parameters<ContentStorage['delete']>[1]): Promise<boolean> {
    return this.#calls.call('delete', (args) => [args.value(pathOf(cid)), args.value(options)])
  }

  async pin(cid: ContentPath, options?: Parameters<ContentStorage['pin']>[1]): Promise<boolean> {
    return this.#calls.call('pin', (args) => [args.value(pathOf(cid)), args.options(options)])
  }

  async unpin(cid: ContentPath, options?: Parameters<ContentStorage['unpin']>[1]): Promise<boolean> {
    return this.#calls.call('unpin', (args) => [args.value(pathOf(cid)), args.value(options)])
  }

  async verify(path?: ContentPath, options?: Cancellable): ReturnType<ContentStorage['verify']> {
    return this.#calls.call('verify', (args) => [args.value(path === undefined ? undefined : pathOf(path)), args.options(options)])
  }

  async gc(options?: Parameters<ContentStorage['gc']>[0]): ReturnType<ContentStorage['gc']> {
    return this.#calls.call('gc', (args) => [args.options(options)])
  }

  async exportCar(cid: ContentPath, options?: Cancellable): Promise<ReadableStream<Bytes> | null> {
    return this.#calls.call('exportCar', (args) => [args.value(pathOf(cid)), args.options(options)])
  }

  async importCar(source: Source, options?: StoreOptions): Promise<string[]> {
    return this.#calls.call('importCar', (args) => [args.source(source), args.options(options)])
  }

  async isAvailable(): Promise<boolean> {
    return this.#calls.call('isAvailable', () => [])
  }

  async getBackendStatus(): Promise<BackendStatus> {
    return this.#calls.call('getBackendStatus', () => [])
  }

  /** Asks in this page: a worker can't. */
  async persist(): Promise<boolean> {
    this.#calls.check()
    const manager = (globalThis as Partial<typeof globalThis>).navigator?.storage
    if (typeof manager?.persist !== 'function') {
      throw new NotSupportedError('this context can not ask the browser to keep its storage: ask in a page, over https or on localhost')
    }
    return manager.persist()
  }

  async helia(): Promise<null> {
    this.#calls.check()
    throw new NotSupportedError("helia() answers a node that can't leave its worker: use it there, on the storage itself")
  }

  async close(): Promise<void> {
    this.#calls.leave()
    this.fail(new ClosedError('the client of the storage was closed'))
  }
}

/** A CID object loses its class on the way; what is neither must not come through as a string. */
function pathOf(path: ContentPath): string {
  if (typeof path === 'string') return path
  return parseContentPath(path).cid.toString()
}

/** Workers are not told reliably, so pages tell them. Does nothing in a worker. */
function watchOnline(tell: (online: boolean) => void): () => void {
  if (typeof document === 'undefined') return () => undefined
  const changed = (): void => tell(navigator.onLine)
  changed()
  globalThis.addEventListener('online', changed)
  globalThis.addEventListener('offline', changed)
  return () => {
    globalThis.removeEventListener('online', changed)
    globalThis.removeEventListener('offline', changed)
  }
}
