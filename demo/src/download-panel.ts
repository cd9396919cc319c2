// "Interrupt a large download": one that goes on after a cut, a pause or a reload from where it was, with what the server counted of it.
import type { Cancellable, ContentStorage, Download, FileInfo } from 'ipfs-kit-web'
import { cidElement } from './cid.ts'
import { byId, el, hide, icon, remove } from './dom.ts'
import { baseName } from './download.ts'
import { DownloadRow, type Standing } from './download-row.ts'
import { formatBytes } from './format.ts'
import { LARGE_FILE, LARGE_NAME, lastAddress, newAddress } from './large-file.ts'
import { LineSwitch } from './line-switch.ts'
import type { LiveStorage } from './live.ts'
import { isAbort } from './messages.ts'
import { announce, errorBox, notify, notifyError } from './notices.ts'

const REFRESH_MS = 1_000

/** What this tab is at. */
interface Work {
  controller: AbortController
  ended: Promise<void>
}

class DownloadPanel {
  #live: LiveStorage
  #storage: ContentStorage
  #rows = new Map<string, DownloadRow>()
  #works = new Map<string, Work>()
  #line: LineSwitch
  #stored: FileInfo | undefined
  #shown: string | undefined

  constructor(live: LiveStorage) {
    this.#live = live
    this.#storage = live.storage
    this.#line = new LineSwitch(() => this.#hurry())
  }

  watch(): void {
    byId('start-download').addEventListener('click', () => this.#start())
    document.addEventListener('visibilitychange', () => this.#refresh())
    setInterval(() => {
      if (this.#rows.size > 0) this.#refresh()
    }, REFRESH_MS)
    this.#live.subscribe(({ large }) => {
      this.#stored = large?.state === 'whole' ? large : undefined
      this.#refresh()
    })
  }

  /** Reads what is under way or interrupted, and what the server says. */
  #refresh(): void {
    if (document.hidden) return
    this.#read().catch(notifyError)
  }

  async #read(): Promise<void> {
    const [downloads] = await Promise.all([this.#storage.downloads(), this.#line.refresh(this.#address())])
    for (const { url, state, bytes, total, filename } of downloads) {
      const row = this.#rowOf(url, filename)
      if (!this.#works.has(url)) row.show({ state: state === 'running' ? 'elsewhere' : 'interrupted', bytes, total })
    }
    for (const [url, row] of this.#rows) {
      const isListed = downloads.some((download) => download.url === url)
      // Again, so that a rate shows that nothing comes.
      if (this.#works.has(url)) row.show(row.standing)
      else if (!isListed) this.#drop(url, row)
    }
    this.#showEnds()
  }

  #address(): string | undefined {
    const [underWay] = this.#rows.keys()
    return underWay ?? lastAddress()
  }

  #rowOf(url: string, filename = url): DownloadRow {
    const known = this.#rows.get(url)
    if (known !== undefined) return known
    const row = new DownloadRow(baseName(filename), {
      resume: () => void this.#resume(url).catch(notifyError),
      pause: () => void this.#pause(url).catch(notifyError),
      cancel: () => void this.#cancel(url).catch(notifyError),
    })
    this.#rows.set(url, row)
    byId('downloads').append(row.element)
    return row
  }

  #drop(url: string, row: DownloadRow): void {
    this.#rows.delete(url)
    remove(row.element, byId('download-title'))
  }

  /** What stands around the rows: the button to begin, or what came of it, and the server's count. */
  #showEnds(): void {
    const stored = this.#rows.size === 0 ? this.#stored : undefined
    const [row] = this.#rows.values()
    hide(byId('download-offer'), row?.toggle ?? byId('download-title'), this.#rows.size > 0 || stored !== undefined)
    hide(byId('download-done'), byId('download-title'), stored === undefined)
    if (stored?.cid !== this.#shown) byId('download-done').replaceChildren(...(stored === undefined ? [] : doneElements(stored)))
    this.#shown = stored?.cid
    this.#line.showCount(stored === undefined ? row?.standing.bytes : LARGE_FILE.size, stored !== undefined)
    byId('download').setAttribute('aria-busy', 'false')
  }

  #start(): void {
    const { sha256, size } = LARGE_FILE
    const url = newAddress()
    byId('download-problem').replaceChildren()
    // One connection: the server's line is no faster with more, and a reload costs at most what one of them has not put on record.
    const wanted = { filename: LARGE_NAME, sha256, size, maxConnections: 1 }
    this.#work(url, LARGE_NAME, { state: 'here', bytes: 0, total: size }, (options) =>
      this.#storage.storeUrl(url, { ...wanted, ...options }),
    )
    this.#showEnds()
    announce(`Downloading ${LARGE_FILE.name}`)
  }

  async #resume(url: string): Promise<void> {
    const download = await this.#find(url)
    if (download === undefined) return this.#refresh()
    const { filename, bytes, total } = download
    byId('download-problem').replaceChildren()
    this.#work(url, filename, { state: 'here', bytes, total }, (options) => download.resume(options))
  }

  async #find(url: string): Promise<Download | undefined> {
    return (await this.#storage.downloads()).find((download) => download.url === url)
  }

  #work(url: string, filename: string | undefined, standing: Standing, begin: (options: Cancellable) => Promise<string>): void {
    if (this.#works.has(url)) return
    const row = this.#rowOf(url, filename)
    row.show(standing)
    const controller = new AbortController()
    const { signal } = controller
    const onProgress: Cancellable['onProgress'] = ({ bytes, total = standing.total }) => {
      if (!signal.aborted) row.show({ state: 'here', bytes, total })
    }
    const ended = begin({ signal, onProgress })
      .then(
        () => notify(`${baseName(filename ?? url)} is downloaded and stored.`),
        (error: unknown) => {
          if (!signal.aborted && !isAbort(error)) byId('download-problem').replaceChildren(errorBox(error))
        },
      )
      .then(() => {
        this.#works.delete(url)
        this.#live.refresh()
      })
    this.#works.set(url, { controller, ended })
  }

  /** What came stays. Resolves when it is on record. */
  async #pause(url: string): Promise<void> {
    const work = this.#works.get(url)
    if (work === undefined) return
    const row = this.#rowOf(url)
    row.show({ ...row.standing, state: 'ending' })
    work.controller.abort(new DOMException('Paused by the user', 'AbortError'))
    await work.ended
    await this.#read()
  }

  async #cancel(url: string): Promise<void> {
    const download = await this.#find(url)
    const row = this.#rowOf(url)
    row.show({ ...row.standing, state: 'ending' })
    if (await download?.cancel()) notify(`${baseName(download?.filename ?? url)}: cancelled. Nothing of it was kept.`)
    // One that has not begun yet is not listed.
    else this.#works.get(url)?.controller.abort(new DOMException('Cancelled by the user', 'AbortError'))
    await this.#works.get(url)?.ended
    await this.#read()
    if (!byId('download-offer').hidden) byId('start-download').focus()
  }

  /** The line is there again: those that wait between two tries go on at once. */
  async #hurry(): Promise<void> {
    for (const [url, row] of this.#rows) {
      if (row.element.dataset['waiting'] !== 'true') continue
      await this.#pause(url)
      await this.#resume(url)
    }
  }
}

function doneElements({ cid }: FileInfo): HTMLElement[] {
  return [
    el('p', { class: 'success' }, icon('check'), 'Downloaded, checked against its SHA-256, and stored. It is in the list below.'),
    el('p', { class: 'label' }, 'Its CID, which no break on the way could change'),
    el('div', { id: 'download-cid' }, cidElement(cid, { full: true })),
    el(
      'p',
      { class: 'muted small-text' },
      'A reload loses what came since the last 16 MiB that were put on record: that is fetched twice, and no more. To see it again, delete it in the list below.',
    ),
  ]
}

export function startDownloadPanel(live: LiveStorage): void {
  byId('download-size').textContent = formatBytes(LARGE_FILE.size)
  new DownloadPanel(live).watch()
}
