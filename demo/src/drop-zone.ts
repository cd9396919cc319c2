// Any file or folder of the user's: dropped or chosen, stored one after another.
import { byId, el } from './dom.ts'
import { formatCount } from './format.ts'
import type { LiveStorage } from './live.ts'
import { notify, notifyError } from './notices.ts'
import { runTransfer } from './transfer.ts'

/** One thing to store: a file, or a folder with the files below it. */
interface Item {
  name: string
  files: { path: string; file: File }[]
  isFolder: boolean
}

function readFile(entry: FileSystemFileEntry): Promise<File> {
  return new Promise((resolve, reject) => entry.file(resolve, reject))
}

/** Must be called until it answers an empty list: Chromium gives at most 100 a time. */
function readBatch(reader: FileSystemDirectoryReader): Promise<FileSystemEntry[]> {
  return new Promise((resolve, reject) => reader.readEntries(resolve, reject))
}

async function walk(entry: FileSystemEntry, prefix: string, into: Item['files']): Promise<void> {
  if (entry.isFile) {
    into.push({ path: `${prefix}${entry.name}`, file: await readFile(entry as FileSystemFileEntry) })
    return
  }
  const reader = (entry as FileSystemDirectoryEntry).createReader()
  for (let batch = await readBatch(reader); batch.length > 0; batch = await readBatch(reader)) {
    for (const child of batch) await walk(child, `${prefix}${entry.name}/`, into)
  }
}

/** Paths in a folder begin with the folder's name; inside the stored directory they must not. */
function folderItem(name: string, files: Item['files']): Item {
  return { name, isFolder: true, files: files.map(({ path, file }) => ({ path: path.slice(path.indexOf('/') + 1), file })) }
}

const fileItem = (file: File): Item => ({ name: file.name, isFolder: false, files: [{ path: file.name, file }] })

/** Entries and files must be taken before anything is awaited: a DataTransfer is empty after its event. */
async function droppedItems(transfer: DataTransfer): Promise<Item[]> {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry()).filter((entry) => entry !== null)
  // What other programs drag may be files without being entries.
  if (entries.length === 0) return [...transfer.files].map(fileItem)
  const items: Item[] = []
  for (const entry of entries) {
    const files: Item['files'] = []
    await walk(entry, '', files)
    items.push(entry.isDirectory ? folderItem(entry.name, files) : { name: entry.name, isFolder: false, files })
  }
  return items
}

function chosenItems(input: HTMLInputElement): Item[] {
  const files = [...(input.files ?? [])]
  if (!input.webkitdirectory) return files.map(fileItem)
  const paths = files.map((file) => ({ path: file.webkitRelativePath, file }))
  const name = paths[0]?.path.split('/')[0]
  return name === undefined ? [] : [folderItem(name, paths)]
}

async function storeItem(live: LiveStorage, item: Item): Promise<void> {
  const total = item.files.reduce((sum, { file }) => sum + file.size, 0)
  const cid = await runTransfer(byId('add-transfers'), {
    label: item.isFolder ? `${item.name} (${formatCount(item.files.length, 'file')})` : item.name,
    total,
    onEnd: () => byId('choose-files'),
    task: (signal, onProgress) => {
      if (item.isFolder) {
        const entries = item.files.map(({ path, file }) => ({ path, data: file }))
        return live.storage.storeDirectory(entries, { filename: item.name, signal, onProgress })
      }
      const file = item.files[0]!.file
      return live.storage.store(file, { filename: item.name, signal, onProgress, ...(file.type ? { mediaType: file.type } : {}) })
    },
  })
  if (cid === undefined) return
  notify(`${item.name} is stored.`)
  live.refresh()
}

export function startDropZone(live: LiveStorage): void {
  // One after another: two large files at once would only share one disk.
  let queue = Promise.resolve()
  const add = (items: Promise<Item[]>): void => {
    queue = queue
      .then(() => items)
      .then(async (all) => {
        for (const item of all) await storeItem(live, item)
      })
      .catch(notifyError)
  }

  for (const [buttonId, isFolder] of [
    ['choose-files', false],
    ['choose-folder', true],
  ] as const) {
    const input = el('input', { type: 'file', multiple: true, hidden: true, id: `${buttonId}-input` })
    input.webkitdirectory = isFolder
    input.addEventListener('change', () => {
      add(Promise.resolve(chosenItems(input)))
      // So that choosing the same file again is a change.
      input.value = ''
    })
    byId(buttonId).addEventListener('click', () => input.click())
    byId('drop-zone').append(input)
  }

  const zone = byId('drop-zone')
  const carriesFiles = (event: DragEvent): boolean => event.dataTransfer?.types.includes('Files') ?? false
  // Anywhere on the page: a file dropped beside the zone would otherwise replace the page.
  addEventListener('dragover', (event) => {
    if (!carriesFiles(event)) return
    event.preventDefault()
    zone.classList.add('dragging')
  })
  addEventListener('dragleave', (event) => {
    if (event.relatedTarget === null) zone.classList.remove('dragging')
  })
  addEventListener('drop', (event) => {
    zone.classList.remove('dragging')
    if (!carriesFiles(event) || !event.dataTransfer) return
    event.preventDefault()
    add(droppedItems(event.dataTransfer))
  })
}
