// What the page shows of the storage, read again whenever something changed here or in another tab.
import type { BackendStatus, ContentStorage, FileInfo } from 'ipfs-kit-web'
import { LARGE_NAME } from './large-file.ts'
import { MEDIA_NAME } from './media.ts'
import { MODEL_NAME } from './model.ts'

export interface Snapshot {
  status: BackendStatus
  files: FileInfo[]
  /** There are more entries than were asked for. */
  more: boolean
  /** The model's entry, where it is stored. */
  model: FileInfo | undefined
  /** The entry of the pictures and the video, where they are. */
  media: FileInfo | undefined
  /** The entry of the large file, where it is. */
  large: FileInfo | undefined
}

const PAGE_ENTRIES = 100
/** A change is told when its transaction ends; what it frees, and so the usage, follows a moment later. */
const SETTLE_MS = 1_500

export class LiveStorage {
  readonly storage: ContentStorage
  #listeners: ((snapshot: Snapshot) => void)[] = []
  #onError: (error: unknown) => void
  #limit = PAGE_ENTRIES
  #reading = false
  #stale = false

  constructor(storage: ContentStorage, onError: (error: unknown) => void) {
    this.storage = storage
    this.#onError = onError
    let settling: ReturnType<typeof setTimeout> | undefined
    const refresh = (): void => {
      this.refresh()
      clearTimeout(settling)
      settling = setTimeout(() => this.refresh(), SETTLE_MS)
    }
    storage.addEventListener('change', refresh)
    storage.addEventListener('evicted', refresh)
    storage.addEventListener('damaged', refresh)
    storage.addEventListener('repaired', refresh)
    storage.addEventListener('status', refresh)
    // Last uses, and what another tab did while this one slept.
    document.addEventListener('visibilitychange', () => {
      if (!document.hidden) refresh()
    })
  }

  subscribe(listener: (snapshot: Snapshot) => void): void {
    this.#listeners.push(listener)
  }

  showMore(): void {
    this.#limit += PAGE_ENTRIES
    this.refresh()
  }

  /** One reading at a time; changes that come during one cause exactly one more. */
  refresh(): void {
    this.#stale = true
    if (this.#reading) return
    this.#reading = true
    this.#readAll().catch(this.#onError)
  }

  async #readAll(): Promise<void> {
    try {
      while (this.#stale) {
        this.#stale = false
        await this.#read()
      }
    } finally {
      this.#reading = false
    }
  }

  async #read(): Promise<void> {
    const [status, files, model, media, large] = await Promise.all([
      this.storage.getBackendStatus(),
      this.storage.listFiles('/', { limit: this.#limit + 1 }),
      this.#entry(MODEL_NAME, 'directory'),
      this.#entry(MEDIA_NAME, 'directory'),
      this.#entry(LARGE_NAME, 'file'),
    ])
    const snapshot = { status, files: files.slice(0, this.#limit), more: files.length > this.#limit, model, media, large }
    for (const listener of this.#listeners) listener(snapshot)
  }

  async #entry(name: string, type: FileInfo['type']): Promise<FileInfo | undefined> {
    const entries = await this.storage.listFiles(name)
    return entries.find((entry) => entry.filename === name && entry.type === type)
  }
}
