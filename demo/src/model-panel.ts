// "Store a model": fetches the embedding model, stores it as one directory, and shows what came of it.
import type { FileInfo } from 'ipfs-kit-web'
import { cidElement } from './cid.ts'
import { directoryElement, disclosure } from './directory-view.ts'
import { byId, el, hide } from './dom.ts'
import { formatBytes } from './format.ts'
import type { LiveStorage } from './live.ts'
import { fetchModel, MODEL_BYTES, MODEL_FILE_COUNT, MODEL_NAME } from './model.ts'
import { notify, notifyError } from './notices.ts'
import { runTransfer } from './transfer.ts'

async function storeModel(live: LiveStorage): Promise<void> {
  const button = byId('store-model')
  button.hidden = true
  const cid = await runTransfer(byId('model-transfer'), {
    label: 'Storing the model',
    total: MODEL_BYTES,
    takeFocus: true,
    onEnd: () => {
      button.hidden = false
      return button
    },
    task: (signal, onProgress) => live.storage.storeDirectory(fetchModel(signal), { filename: MODEL_NAME, pin: true, signal, onProgress }),
  })
  if (cid === undefined) return
  notify('The model is stored and pinned.')
  live.refresh()
}

function storedElement(live: LiveStorage, model: FileInfo): HTMLElement {
  const { button, region } = disclosure('Open its files', '', () => directoryElement(live.storage, model.cid, 'the model'))
  return el(
    'div',
    { class: 'stored-model' },
    el('p', { class: 'label' }, 'Its CID – computed from the bytes, the same on every device'),
    el('div', { id: 'model-cid' }, cidElement(model.cid, { full: true })),
    el('div', { class: 'actions' }, button),
    region,
    el('p', { class: 'hint' }, 'Now close this tab, stop the server, and come back: the page and the model will still be here.'),
  )
}

export function startModelPanel(live: LiveStorage): void {
  byId('model-facts').textContent = `${formatBytes(MODEL_BYTES)} in ${MODEL_FILE_COUNT} files, served with this page.`
  byId('store-model').addEventListener('click', () => {
    storeModel(live).catch(notifyError)
  })
  let shown: string | undefined
  live.subscribe(({ model }) => {
    const whole = model?.state === 'whole'
    hide(byId('model-absent'), byId('model-title'), whole)
    byId('model-incomplete').hidden = model === undefined || whole
    byId('model-done').hidden = !whole
    byId('model').setAttribute('aria-busy', 'false')
    const cid = whole ? model.cid : undefined
    if (cid === shown) return
    shown = cid
    byId('model-stored').replaceChildren(...(model && whole ? [storedElement(live, model)] : []))
  })
}
