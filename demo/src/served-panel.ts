// "See it by its CID": pictures, a video and the model by their addresses alone, answered by the service worker out of the store.
import type { FileInfo } from 'ipfs-kit-web'
import { cidElement } from './cid.ts'
import { whenControlled } from './controller.ts'
import { byId, el, hide, icon } from './dom.ts'
import { formatBytes, formatCount, formatDuration } from './format.ts'
import type { LiveStorage } from './live.ts'
import { fetchMedia, MEDIA_BYTES, MEDIA_NAME, PICTURES, VIDEO } from './media.ts'
import { MODEL_FILE_NAMES } from './model.ts'
import { announce, errorBox, notify, notifyError } from './notices.ts'
import { startOrigins } from './origins.ts'
import { runTransfer } from './transfer.ts'

const addressOf = (cid: string, name: string): string => new URL(`ipfs/${cid}/${name}`, document.baseURI).href

async function storeMedia(live: LiveStorage): Promise<void> {
  const button = byId('store-media')
  byId('media-offer').hidden = true
  const cid = await runTransfer(byId('media-transfer'), {
    label: 'Storing the pictures and the video',
    total: MEDIA_BYTES,
    takeFocus: true,
    onEnd: () => {
      byId('media-offer').hidden = false
      return button
    },
    task: (signal, onProgress) => live.storage.storeDirectory(fetchMedia(signal), { filename: MEDIA_NAME, pin: true, signal, onProgress }),
  })
  if (cid === undefined) return
  notify('The pictures and the video are stored and pinned.')
  live.refresh()
}

function galleryElement(media: FileInfo): HTMLElement {
  const pictures = PICTURES.map(({ name, caption, description }) => {
    const address = addressOf(media.cid, name)
    const image = el('img', { src: address, alt: description, width: 960, height: 640, decoding: 'async' })
    return el('figure', {}, el('a', { href: address, target: '_blank', rel: 'noopener' }, image), el('figcaption', {}, caption))
  })
  const video = el('video', {
    src: addressOf(media.cid, VIDEO.name),
    controls: true,
    muted: true,
    loop: true,
    playsinline: true,
    preload: 'metadata',
    width: 480,
    height: 320,
    'aria-label': VIDEO.description,
  })
  return el(
    'div',
    {},
    el('div', { class: 'gallery' }, ...pictures, el('figure', {}, video, el('figcaption', {}, `${VIDEO.caption}, a video`))),
    el('p', { class: 'label' }, 'All four lie in one directory, and its CID is their address'),
    el('div', { id: 'media-cid' }, cidElement(media.cid, { full: true })),
  )
}

/** As any loader of models does that knows of URLs alone. */
async function fetchModelByCid(cid: string): Promise<string> {
  const started = performance.now()
  let bytes = 0
  for (const name of MODEL_FILE_NAMES) {
    const response = await fetch(addressOf(cid, name))
    if (!response.ok) throw new Error(`${name} was answered with ${response.status}: ${await response.text()}`)
    bytes += (await response.arrayBuffer()).byteLength
  }
  const files = formatCount(MODEL_FILE_NAMES.length, 'file')
  return `${formatBytes(bytes)} in ${files} came by fetch(), checked against their CIDs, in ${formatDuration(performance.now() - started)}.`
}

function startModelFetch(live: LiveStorage): void {
  const button = byId('fetch-model')
  const result = byId('fetch-model-result')
  let cid: string | undefined
  button.addEventListener('click', () => {
    if (cid === undefined || button.getAttribute('aria-disabled') === 'true') return
    button.setAttribute('aria-disabled', 'true')
    result.replaceChildren('Fetching…')
    fetchModelByCid(cid)
      .then(
        (text) => {
          result.replaceChildren(el('span', { class: 'success' }, icon('check'), text))
          announce(text)
        },
        (error: unknown) => result.replaceChildren(errorBox(error)),
      )
      .finally(() => button.removeAttribute('aria-disabled'))
  })
  live.subscribe(({ model }) => {
    cid = model?.state === 'whole' ? model.cid : undefined
    hide(byId('fetch-model-line'), byId('served-title'), cid === undefined)
    if (cid === undefined) result.replaceChildren()
  })
}

export function startServedPanel(live: LiveStorage): void {
  byId('media-facts').textContent = `${formatBytes(MEDIA_BYTES)}, served with this page.`
  byId('store-media').addEventListener('click', () => {
    storeMedia(live).catch(notifyError)
  })
  startOrigins()
  startModelFetch(live)
  let shown: string | undefined
  let served = false
  const show = (media: FileInfo | undefined): void => {
    const whole = media?.state === 'whole'
    hide(byId('media-absent'), byId('served-title'), whole)
    byId('media-shown').hidden = !whole
    const cid = whole && served ? media.cid : undefined
    if (cid === shown) return
    shown = cid
    byId('media-shown').replaceChildren(...(cid === undefined ? [] : [galleryElement(media as FileInfo)]))
  }
  let last: FileInfo | undefined
  live.subscribe(({ media }) => {
    last = media
    show(media)
    byId('served').setAttribute('aria-busy', 'false')
  })
  whenControlled().then((reason) => {
    byId('served-impossible').textContent = reason ?? ''
    byId('served-impossible').hidden = reason === undefined
    served = reason === undefined
    show(last)
  }, notifyError)
}
