// What is kept of one URL, and where its last answer came from.
import type { CachedUrl } from 'ipfs-kit-web/fetch'
import type { ServedMessage } from 'ipfs-kit-web/service-worker'
import { cidElement } from './cid.ts'
import { el, icon } from './dom.ts'
import { formatAgo, formatBytes, formatCount } from './format.ts'
import { onPress } from './press.ts'

interface Actions {
  fetchAgain: () => Promise<void>
  forget: () => Promise<void>
}

export class UrlRow {
  readonly element: HTMLLIElement
  #size = el('span', { class: 'origin-size' })
  #facts = el('p', { class: 'row-facts' })
  #cid = el('span', { class: 'kept-cid' })
  #shown: string | undefined

  constructor(url: string, actions: Actions) {
    const { pathname } = new URL(url)
    const name = decodeURIComponent(pathname.split('/').at(-1) ?? pathname)
    const again = el(
      'button',
      { class: 'button small', type: 'button', 'aria-label': `Fetch again ${name}` },
      icon('download'),
      'Fetch again',
    )
    const forget = el('button', { class: 'button small danger', type: 'button', 'aria-label': `Forget ${name}` }, icon('trash'), 'Forget')
    onPress(again, actions.fetchAgain)
    onPress(forget, actions.forget)
    this.element = el(
      'li',
      { class: 'kept' },
      el('div', { class: 'kept-head' }, el('span', { class: 'origin-name', title: url }, icon('file'), shortUrl(url)), this.#size),
      this.#facts,
      el('div', { class: 'kept-foot' }, this.#cid, el('span', { class: 'kept-actions' }, again, forget)),
    )
  }

  /** `last`: the last answer that the service worker told this page of. */
  show(kept: CachedUrl, last: ServedMessage['served'] | undefined): void {
    this.#size.textContent = formatBytes(kept.size)
    // Else its button would lose the focus.
    if (kept.cid !== this.#shown) this.#cid.replaceChildren(cidElement(kept.cid))
    this.#shown = kept.cid
    const { hits, checked } = kept
    this.#facts.replaceChildren(
      last === undefined
        ? el('span', { class: 'chip' }, 'Not asked for yet')
        : el(
            'span',
            { class: `chip ${last.from === 'store' ? 'whole' : 'pinned'}` },
            last.from === 'store' ? 'From the store' : 'From the network',
          ),
      el('span', {}, `${formatCount(hits, 'answer')} from the store`),
      el('span', {}, 'checked ', el('time', { datetime: checked.toISOString() }, formatAgo(checked))),
    )
  }
}

/** Below this page, its path from there. */
function shortUrl(url: string): string {
  const below = new URL('./', document.baseURI).href
  return decodeURI(url.startsWith(below) ? url.slice(below.length) : url)
}
