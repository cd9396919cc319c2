// The files of one stored directory: sizes, CIDs, a look inside, download. Folders open in place.
import type { ContentStorage, DirectoryEntry } from 'ipfs-kit-web'
import { cidElement } from './cid.ts'
import { el, icon, nextId } from './dom.ts'
import { downloadFile } from './download.ts'
import { formatBytes } from './format.ts'
import { errorBox, notifyError } from './notices.ts'
import { previewElement } from './preview.ts'

/** A button that shows and hides a region, which is filled anew each time it opens. */
export function disclosure(
  label: string,
  name: string,
  fill: () => Promise<HTMLElement>,
): { button: HTMLButtonElement; region: HTMLElement } {
  const id = nextId('region')
  const region = el('div', { class: 'region', id, hidden: true })
  const button = el(
    'button',
    {
      class: 'button small',
      type: 'button',
      'aria-expanded': 'false',
      'aria-controls': id,
      'aria-label': `${label} ${name}`.trim(),
    },
    icon('chevron'),
    el('span', { class: 'button-label' }, label),
  )
  let opening = 0
  button.addEventListener('click', () => {
    const open = button.getAttribute('aria-expanded') !== 'true'
    button.setAttribute('aria-expanded', String(open))
    region.hidden = !open
    region.replaceChildren()
    const turn = ++opening
    if (!open) return
    region.append(el('p', { class: 'muted' }, 'Opening…'))
    fill()
      .catch((error: unknown) => errorBox(error))
      .then((content) => {
        // Closed, or opened again, while it was being read.
        if (turn === opening) region.replaceChildren(content)
      }, notifyError)
  })
  return { button, region }
}

function entryElement(storage: ContentStorage, entry: DirectoryEntry, path: string): HTMLElement {
  const isFolder = entry.type === 'directory'
  const opener =
    entry.type === 'symlink'
      ? undefined
      : disclosure('Open', entry.name, () =>
          isFolder ? directoryElement(storage, path, entry.name) : previewElement(storage, path, entry.name, entry.size),
        )
  const download = el(
    'button',
    {
      class: 'button small square',
      type: 'button',
      title: 'Download',
      'aria-label': `Download ${entry.name}`,
    },
    icon('download'),
  )
  download.addEventListener('click', () => {
    downloadFile(storage, path, entry.name).catch(notifyError)
  })
  return el(
    'li',
    { class: 'entry' },
    el(
      'div',
      { class: 'entry-row' },
      el('span', { class: 'entry-name' }, icon(isFolder ? 'folder' : 'file'), el('span', {}, entry.name)),
      el('span', { class: 'entry-size' }, entry.type === 'symlink' ? 'link' : formatBytes(entry.size)),
      el('span', { class: 'entry-cid' }, cidElement(entry.cid)),
      el('span', { class: 'entry-actions' }, opener?.button, entry.type === 'file' && download),
    ),
    opener?.region,
  )
}

/** `path` is a CID or a path below one. */
export async function directoryElement(storage: ContentStorage, path: string, name: string): Promise<HTMLElement> {
  const entries = await storage.listDirectory(path)
  if (!entries) return el('p', { class: 'muted' }, 'This directory is not on this device, and nobody could be asked for it.')
  if (entries.length === 0) return el('p', { class: 'muted' }, 'This directory is empty.')
  return el(
    'ul',
    { class: 'entries', 'aria-label': `Files of ${name}` },
    ...entries.map((entry) => entryElement(storage, entry, `${path}/${entry.name}`)),
  )
}
