// Short messages at the edge of the page: said to screen readers, shown to everyone, and errors stay until dismissed.
import { byId, el, icon, remove } from './dom.ts'
import { explainError, type Explanation } from './messages.ts'

const SUCCESS_MS = 6_000
/** More would cover a small page. */
const MAX_SUCCESSES = 2

/** Says something without showing it: progress and other things that can be seen anyway. */
export function announce(text: string): void {
  byId('announcer').textContent = text
}

export function notify(text: string): void {
  const notice = el('div', { class: 'notice good' }, icon('check'), el('p', {}, text))
  for (const old of [...byId('notices').querySelectorAll('.notice.good')].slice(0, 1 - MAX_SUCCESSES)) old.remove()
  byId('notices').append(notice)
  setTimeout(() => notice.remove(), SUCCESS_MS)
}

/** With a button; stays until it is used or dismissed. */
export function offer(text: string, action: string, onAction: () => void): void {
  const notice = el('div', { class: 'notice' }, el('p', {}, text))
  const button = el('button', { class: 'button small primary', type: 'button', click: onAction }, action)
  notice.append(
    button,
    dismissButton(() => remove(notice)),
  )
  byId('notices').append(notice)
}

export function notifyError(error: unknown): void {
  const box = errorBox(error, () => remove(box))
  box.classList.add('notice')
  byId('notices').append(box)
}

/** An alert with what happened, what to do, and the technical message for those who want it. */
export function errorBox(error: unknown, onDismiss?: () => void): HTMLElement {
  return alertBox(explainError(error), onDismiss)
}

function alertBox({ title, advice, detail }: Explanation, onDismiss?: () => void): HTMLElement {
  return el(
    'div',
    { class: 'alert', role: 'alert' },
    icon('alert'),
    el(
      'div',
      { class: 'alert-text' },
      el('p', { class: 'alert-title' }, title),
      el('p', {}, advice),
      detail ? el('details', {}, el('summary', {}, 'Technical details'), el('p', { class: 'mono' }, detail)) : null,
    ),
    onDismiss ? dismissButton(onDismiss) : null,
  )
}

function dismissButton(onDismiss: () => void): HTMLButtonElement {
  return el('button', { class: 'button icon-only', type: 'button', 'aria-label': 'Dismiss', click: onDismiss }, icon('x'))
}
