// "Keep what URLs answer": plain fetch(), of which a rule in the service worker keeps the answers; what is kept, and what came from where.
import type { CachedUrl } from 'ipfs-kit-web/fetch'
import type { ServedMessage } from 'ipfs-kit-web/service-worker'
import { VOICE_FILES } from 'virtual:voice-files'
import { askController, whenControlled } from './controller.ts'
import { byId, el, icon } from './dom.ts'
import { DownloadError } from './fetch-files.ts'
import { formatBytes, formatCount, formatDuration } from './format.ts'
import type { LiveStorage } from './live.ts'
import { announce, errorBox, notify, notifyError } from './notices.ts'
import { UrlRow } from './url-row.ts'

/** Answers are counted on record a few seconds later. */
const COUNTED_MS = 6_000
const AGO_REFRESH_MS = 30_000

const addressOf = (name: string): string => new URL(`voice/${name}`, document.baseURI).href

async function fetchUrl(url: string, cache: RequestCache): Promise<{ bytes: number; isStored: boolean }> {
  const unreachable = 'It is not kept here, or was to be fetched anew, and the server can’t be reached.'
  const response = await fetch(url, { cache }).catch((cause: unknown) => {
    throw new DownloadError(unreachable, { cause })
  })
  if (!response.ok) throw new DownloadError(`The server answered ${response.status}.`)
  const { byteLength } = await response.arrayBuffer()
  // As the library marks what it answers.
  return { bytes: byteLength, isStored: response.headers.has('x-ipfs-roots') }
}

async function fetchVoices(): Promise<string> {
  const started = performance.now()
  const answers = []
  for (const { name } of VOICE_FILES) answers.push(await fetchUrl(addressOf(name), 'default'))
  const bytes = answers.reduce((sum, answer) => sum + answer.bytes, 0)
  const stored = answers.filter((answer) => answer.isStored).length
  const from = `${stored} from the store, ${answers.length - stored} from the network`
  return `${formatBytes(bytes)} in ${formatCount(answers.length, 'file')}: ${from}, in ${formatDuration(performance.now() - started)}.`
}

class UrlsPanel {
  #live: LiveStorage
  #rows = new Map<string, UrlRow>()
  /** The last answer of each, which may come before it is kept. */
  #served = new Map<string, ServedMessage['served']>()
  #counting: ReturnType<typeof setTimeout> | undefined

  constructor(live: LiveStorage) {
    this.#live = live
  }

  watch(): void {
    byId('fetch-voices').addEventListener('click', () => void this.#fetchAll())
    this.#live.subscribe(() => this.#refresh())
    navigator.serviceWorker.addEventListener('message', ({ data }: MessageEvent<Partial<ServedMessage> | undefined>) => {
      if (data?.type !== 'ipfs-kit-web:served' || data.served?.from === undefined) return
      this.#served.set(data.served.url, data.served)
      this.#refresh()
      clearTimeout(this.#counting)
      this.#counting = setTimeout(() => this.#refresh(), COUNTED_MS)
    })
    setInterval(() => this.#refresh(), AGO_REFRESH_MS)
    this.#refresh()
  }

  #refresh(): void {
    if (document.hidden) return
    this.#read().catch(notifyError)
  }

  async #read(): Promise<void> {
    const kept = await askController<CachedUrl[]>({ type: 'urls' })
    for (const [url, row] of this.#rows) {
      if (kept.some((each) => each.url === url)) continue
      if (row.element.contains(document.activeElement)) byId('urls-title').focus()
      row.element.remove()
      this.#rows.delete(url)
    }
    for (const each of kept) {
      const row =
        this.#rows.get(each.url) ?? new UrlRow(each.url, { fetchAgain: () => this.#again(each.url), forget: () => this.#forget(each.url) })
      this.#rows.set(each.url, row)
      row.show(each, this.#served.get(each.url))
      if (!row.element.isConnected) byId('kept-urls').append(row.element)
    }
    byId('urls-empty').hidden = kept.length > 0
    byId('urls').setAttribute('aria-busy', 'false')
  }

  async #fetchAll(): Promise<void> {
    const button = byId('fetch-voices')
    const result = byId('fetch-voices-result')
    if (button.getAttribute('aria-disabled') === 'true') return
    button.setAttribute('aria-disabled', 'true')
    result.replaceChildren('Fetching…')
    try {
      const text = await fetchVoices()
      result.replaceChildren(el('span', { class: 'success' }, icon('check'), text))
      announce(text)
    } catch (error) {
      result.replaceChildren(errorBox(error))
    } finally {
      button.removeAttribute('aria-disabled')
      await this.#read().catch(notifyError)
    }
  }

  /** From the server, whatever is kept. Where that fails, what is kept stays. */
  async #again(url: string): Promise<void> {
    const { bytes } = await fetchUrl(url, 'reload')
    notify(`${formatBytes(bytes)} came anew from the network.`)
    await this.#read()
  }

  async #forget(url: string): Promise<void> {
    const wasKept = await askController<boolean>({ type: 'forget', url })
    if (wasKept) notify('It is no longer kept.')
    await this.#read()
    this.#live.refresh()
  }
}

export function startUrlsPanel(live: LiveStorage): void {
  const bytes = VOICE_FILES.reduce((sum, file) => sum + file.size, 0)
  byId('voices-facts').textContent = `${formatBytes(bytes)} in ${formatCount(VOICE_FILES.length, 'file')}, served with this page.`
  whenControlled().then((reason) => {
    if (reason === undefined) {
      new UrlsPanel(live).watch()
      byId('fetch-voices').removeAttribute('aria-disabled')
      return
    }
    byId('urls-impossible').textContent = reason
    byId('urls-impossible').hidden = false
    byId('urls').setAttribute('aria-busy', 'false')
  }, notifyError)
}
