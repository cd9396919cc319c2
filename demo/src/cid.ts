// A CID with a button that copies it.
import { el, icon } from './dom.ts'
import { shortCid } from './format.ts'
import { notify, notifyError } from './notices.ts'

/** `full` shows every character, else the first and last ones. The copy is always whole. */
export function cidElement(cid: string, options: { full?: boolean } = {}): HTMLElement {
  const text = el('code', { class: options.full ? 'cid cid-full' : 'cid', title: cid }, options.full ? cid : shortCid(cid))
  const copy = el(
    'button',
    { class: 'button icon-only', type: 'button', 'aria-label': `Copy CID ${shortCid(cid)}`, title: 'Copy CID' },
    icon('copy'),
  )
  copy.addEventListener('click', () => {
    copyText(cid).then(() => {
      copy.replaceChildren(icon('check'))
      setTimeout(() => copy.replaceChildren(icon('copy')), 1_500)
      notify('CID copied.')
    }, notifyError)
  })
  return el('span', { class: 'cid-line' }, text, copy)
}

/** On http over a LAN there is no clipboard API; the older command still works there. */
async function copyText(text: string): Promise<void> {
  if (navigator.clipboard) return navigator.clipboard.writeText(text)
  const area = el('textarea', { class: 'offscreen', readonly: true })
  area.value = text
  const focused = document.activeElement
  document.body.append(area)
  area.select()
  const done = document.execCommand('copy')
  area.remove()
  if (focused instanceof HTMLElement) focused.focus()
  if (!done) throw new Error(`The browser refused to copy. The CID is ${text}`)
}
