// Buttons whose press takes a while.
import { notifyError } from './notices.ts'

/** One press at a time; what goes wrong is shown. */
export function onPress(button: HTMLButtonElement, action: () => Promise<void>): void {
  button.addEventListener('click', () => {
    if (button.getAttribute('aria-disabled') === 'true') return
    button.setAttribute('aria-disabled', 'true')
    action()
      .catch(notifyError)
      .finally(() => button.removeAttribute('aria-disabled'))
  })
}
