// One resumable download: how far it is, Pause or Resume, and Cancel.
import { el, icon, nextId } from './dom.ts'
import { formatBytes } from './format.ts'
import { RateMeter } from './rate.ts'

export interface Standing {
  /** 'here': this tab is at it. 'elsewhere': another one is. 'ending': it was told to stop. */
  state: 'here' | 'elsewhere' | 'interrupted' | 'ending'
  bytes: number
  total: number | undefined
}

interface Actions {
  resume: () => void
  pause: () => void
  cancel: () => void
}

export class DownloadRow {
  readonly element: HTMLElement
  /** Pause or Resume: one button, so that the focus stays where it is. */
  readonly toggle = el('button', { class: 'button small', type: 'button' })
  #bar = el('progress', { value: 0 })
  #percent = el('span', { class: 'percent' })
  #figures = el('span', { class: 'figures' })
  #cancel = el('button', { class: 'button small', type: 'button' }, 'Cancel')
  #name: string
  #meter = new RateMeter()
  #standing: Standing = { state: 'ending', bytes: 0, total: undefined }

  constructor(name: string, actions: Actions) {
    this.#name = name
    const id = nextId('download')
    this.#bar.setAttribute('aria-labelledby', id)
    this.#cancel.setAttribute('aria-label', `Cancel: ${name}`)
    this.#cancel.addEventListener('click', () => actions.cancel())
    this.toggle.addEventListener('click', () => {
      if (this.#standing.state === 'here') actions.pause()
      else if (this.#standing.state === 'interrupted') actions.resume()
    })
    this.element = el(
      'div',
      { class: 'transfer' },
      el('div', { class: 'transfer-head' }, el('span', { class: 'transfer-label', id }, name), this.#percent),
      this.#bar,
      el('div', { class: 'transfer-foot' }, this.#figures, el('span', { class: 'transfer-actions' }, this.toggle, this.#cancel)),
    )
  }

  get standing(): Standing {
    return this.#standing
  }

  show(standing: Standing): void {
    const { state, bytes, total } = standing
    const isNew = state !== this.#standing.state
    this.#standing = standing
    if (isNew) {
      this.#meter = new RateMeter()
      this.element.dataset['state'] = state
      const isPaused = state === 'interrupted'
      this.toggle.replaceChildren(icon(isPaused ? 'play' : 'pause'), isPaused ? 'Resume' : 'Pause')
      this.toggle.setAttribute('aria-label', `${isPaused ? 'Resume' : 'Pause'}: ${this.#name}`)
      this.toggle.setAttribute('aria-disabled', String(state === 'ending'))
      this.toggle.hidden = state === 'elsewhere'
    }
    const rate = this.#meter.add(bytes, performance.now())
    this.#bar.max = Math.max(1, total ?? bytes)
    this.#bar.value = bytes
    this.#percent.textContent = total === undefined ? '' : `${Math.floor((bytes / Math.max(1, total)) * 100)}%`
    const amount = total === undefined ? formatBytes(bytes) : `${formatBytes(bytes)} of ${formatBytes(total)}`
    this.#figures.textContent = sentence(state, amount, rate)
    this.element.dataset['waiting'] = String(state === 'here' && rate === 0)
  }
}

function sentence(state: Standing['state'], amount: string, rate: number | undefined): string {
  if (state === 'interrupted') return `Interrupted: ${amount} are here`
  if (state === 'elsewhere') return `${amount} · another tab is at it`
  if (state === 'ending') return `${amount} · ending…`
  if (rate === 0) return `${amount} · nothing comes; it is tried again`
  return rate === undefined ? amount : `${amount} · ${formatBytes(Math.max(0, rate))}/s`
}
