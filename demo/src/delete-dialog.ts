// Asks before anything is deleted, and says at once where it is pinned.
import type { ContentStorage, FileInfo } from 'ipfs-kit-web'
import { byId } from './dom.ts'
import { baseName } from './download.ts'
import { formatBytes } from './format.ts'
import { explainError } from './messages.ts'

const isPinnedError = (error: unknown): boolean => error instanceof Error && error.name === 'PinnedError'

/** Resolves true once it is deleted, false where the user thought better of it. */
export function confirmDelete(storage: ContentStorage, file: FileInfo): Promise<boolean> {
  const dialog = byId('delete-dialog', HTMLDialogElement)
  const confirm = byId('delete-confirm', HTMLButtonElement)
  const name = file.filename === file.cid ? 'this content' : `“${baseName(file.filename)}”`
  let force = false
  let deleted = false
  const show = (title: string, text: string, action: string): void => {
    byId('delete-title').textContent = title
    byId('delete-text').textContent = text
    confirm.textContent = action
  }
  const showPinned = (): void => {
    force = true
    show(
      'It is pinned',
      `A pin protects ${name} from being deleted by mistake or to make room. Unpin it and delete it now? This can’t be undone.`,
      'Unpin and delete',
    )
  }
  if (file.pinned) {
    showPinned()
  } else {
    show(
      `Delete ${name}?`,
      `Up to ${formatBytes(file.localBytes)} are freed. Blocks that other entries share stay. This can’t be undone.`,
      'Delete',
    )
  }
  byId('delete-error').textContent = ''

  const remove = async (): Promise<void> => {
    confirm.setAttribute('aria-disabled', 'true')
    try {
      await storage.delete(file.cid, { filename: file.filename, force })
      deleted = true
      dialog.close()
    } catch (error) {
      if (isPinnedError(error)) {
        // Pinned in another tab meanwhile. Must not be confirmed by the second half of a double click: the focus goes elsewhere, and only a
        // single click counts (see below).
        showPinned()
        byId('delete-cancel').focus()
      } else {
        const { title, advice } = explainError(error)
        byId('delete-error').textContent = `${title}. ${advice}`
      }
    } finally {
      confirm.removeAttribute('aria-disabled')
    }
  }
  const listening = new AbortController()
  confirm.addEventListener(
    'click',
    (event) => {
      if (event.detail <= 1 && confirm.getAttribute('aria-disabled') !== 'true') void remove()
    },
    { signal: listening.signal },
  )
  byId('delete-cancel').addEventListener('click', () => dialog.close(), { signal: listening.signal })
  return new Promise((resolve) => {
    dialog.addEventListener(
      'close',
      () => {
        listening.abort()
        resolve(deleted)
      },
      { once: true },
    )
    dialog.showModal()
  })
}
