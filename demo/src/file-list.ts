// Everything stored, one row an entry. Rows are kept while their entry lives, so that focus and opened folders survive updates.
import type { ContentStorage, FileInfo } from 'ipfs-kit-web'
import { cidElement } from './cid.ts'
import { confirmDelete } from './delete-dialog.ts'
import { directoryElement, disclosure } from './directory-view.ts'
import { byId, el, icon } from './dom.ts'
import { baseName, downloadCar, downloadFile } from './download.ts'
import { formatAgo, formatBytes } from './format.ts'
import type { LiveStorage } from './live.ts'
import { notify } from './notices.ts'
import { onPress } from './press.ts'
import { previewElement } from './preview.ts'

const AGO_REFRESH_MS = 30_000
const keyOf = (file: FileInfo): string => `${file.filename}\n${file.cid}`

const STATES: Record<FileInfo['state'], { label: string; title: string }> = {
  whole: { label: 'Complete', title: 'Every block is on this device.' },
  partial: { label: 'Partial', title: 'Some blocks are not on this device.' },
  damaged: { label: 'Damaged', title: 'Some bytes no longer match their CID. Store the file again to repair it.' },
}

class Row {
  readonly element: HTMLLIElement
  #file: FileInfo
  #facts = el('p', { class: 'row-facts' })
  #pin: HTMLButtonElement

  constructor(live: LiveStorage, file: FileInfo) {
    const { storage } = live
    this.#file = file
    const name = baseName(file.filename)
    const isFolder = file.type === 'directory'
    this.#pin = el('button', { class: 'button small', type: 'button' })
    onPress(this.#pin, () => this.#togglePin(storage))
    const label = isFolder ? 'Download .car' : 'Download'
    const download = el('button', { class: 'button small', type: 'button', 'aria-label': `${label} ${name}` }, icon('download'), label)
    onPress(download, () => (file.type === 'file' ? downloadFile(storage, file.cid, name) : downloadCar(storage, file.cid, name)))
    const trash = el('button', { class: 'button small danger', type: 'button', 'aria-label': `Delete ${name}` }, icon('trash'), 'Delete')
    onPress(trash, () => this.#delete(live, name))
    const opener =
      file.type === 'dag'
        ? undefined
        : disclosure('Open', name, () =>
            isFolder ? directoryElement(storage, file.cid, name) : previewElement(storage, file.cid, name, file.size),
          )
    this.element = el(
      'li',
      { class: 'row' },
      el(
        'div',
        { class: 'row-main' },
        el('span', { class: 'row-icon' }, icon(isFolder ? 'folder' : 'file')),
        el(
          'div',
          { class: 'row-text' },
          el('h3', { class: 'row-name', title: file.filename }, file.filename === file.cid ? 'No name' : file.filename),
          this.#facts,
          cidElement(file.cid),
        ),
        el('div', { class: 'row-actions' }, opener?.button, this.#pin, download, trash),
      ),
      opener?.region,
    )
    this.update(file)
  }

  update(file: FileInfo): void {
    this.#file = file
    const state = STATES[file.state]
    const partial = file.state === 'partial' ? `${formatBytes(file.localBytes)} of ${formatBytes(file.size)}` : formatBytes(file.size)
    this.#facts.replaceChildren(
      el('span', {}, partial),
      el('span', { class: `chip ${file.state}`, title: state.title }, state.label),
      file.pinned ? el('span', { class: 'chip pinned', title: 'Kept until it is unpinned.' }, 'Pinned') : '',
      el('span', {}, 'used ', el('time', { datetime: file.lastUsed.toISOString() }, formatAgo(file.lastUsed))),
    )
    const name = baseName(file.filename)
    this.#pin.replaceChildren(icon(file.pinned ? 'unpin' : 'pin'), file.pinned ? 'Unpin' : 'Pin')
    this.#pin.setAttribute('aria-label', `${file.pinned ? 'Unpin' : 'Pin'} ${name}`)
  }

  async #togglePin(storage: ContentStorage): Promise<void> {
    const { cid, pinned, filename } = this.#file
    const done = pinned ? await storage.unpin(cid) : await storage.pin(cid)
    if (done) notify(`${baseName(filename)} is ${pinned ? 'no longer pinned' : 'pinned'}.`)
    else if (pinned) throw new Error('Another program on this page pinned it, and only that one can unpin it.')
    else throw new Error('Some of its blocks are not here, and nobody could be asked for them.')
  }

  async #delete(live: LiveStorage, name: string): Promise<void> {
    if (!(await confirmDelete(live.storage, this.#file))) return
    live.refresh()
    byId('stored-title').focus()
    notify(`${name} was deleted.`)
  }
}

export function startFileList(live: LiveStorage): void {
  const list = byId('files')
  const rows = new Map<string, Row>()
  let files: FileInfo[] = []
  const show = (): void => {
    const keys = new Set(files.map(keyOf))
    for (const [key, row] of rows) {
      if (keys.has(key)) continue
      if (row.element.contains(document.activeElement)) byId('stored-title').focus()
      row.element.remove()
      rows.delete(key)
    }
    for (const [index, file] of files.entries()) {
      const row = rows.get(keyOf(file)) ?? new Row(live, file)
      rows.set(keyOf(file), row)
      row.update(file)
      // Only what is out of place is moved: moving an element takes the focus from it.
      if (list.children[index] !== row.element) list.insertBefore(row.element, list.children[index] ?? null)
    }
  }
  byId('show-more').addEventListener('click', () => live.showMore())
  live.subscribe((snapshot) => {
    files = snapshot.files
    show()
    byId('empty').hidden = files.length > 0
    byId('show-more').hidden = !snapshot.more
    byId('stored').setAttribute('aria-busy', 'false')
  })
  setInterval(show, AGO_REFRESH_MS)
}
