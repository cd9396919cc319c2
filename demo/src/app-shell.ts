// Registers the demo's own service worker, which keeps the page itself, and offers newer versions when they are ready.
import { byId } from './dom.ts'
import { notifyError, offer } from './notices.ts'

function show(text: string, ready: boolean): void {
  byId('shell-text').textContent = text
  byId('shell-row').dataset['ready'] = String(ready)
}

/** Calls back when the worker of an update is installed and waits; not for the first one. */
function whenUpdateWaits(registration: ServiceWorkerRegistration, callback: (worker: ServiceWorker) => void): void {
  const watch = (worker: ServiceWorker | null): void => {
    if (!worker) return
    const check = (): void => {
      if (worker.state === 'installed' && navigator.serviceWorker.controller) callback(worker)
    }
    worker.addEventListener('statechange', check)
    check()
  }
  watch(registration.waiting)
  registration.addEventListener('updatefound', () => watch(registration.installing))
}

async function register(): Promise<void> {
  const hadController = navigator.serviceWorker.controller !== null
  const registration = await navigator.serviceWorker.register(new URL('sw.js', document.baseURI), { updateViaCache: 'none' })
  let reloadHere = false
  whenUpdateWaits(registration, (worker) =>
    offer('A newer version of this page is ready.', 'Reload', () => {
      reloadHere = true
      worker.postMessage('skip-waiting')
    }),
  )
  navigator.serviceWorker.addEventListener('controllerchange', () => {
    if (reloadHere) location.reload()
    else if (hadController) offer('This page was updated from another tab.', 'Reload', () => location.reload())
  })
  await navigator.serviceWorker.ready
  show('This page reopens without its server', true)
}

export function startAppShell(): void {
  if (!HAS_APP_SHELL) return show('Only in the built page', false)
  if (!('serviceWorker' in navigator)) return show('Needs https or localhost', false)
  register().catch((error: unknown) => {
    show('This page’s files could not be kept', false)
    // With the server gone only the check for a newer version fails, and the page at hand is the kept one.
    if (!navigator.serviceWorker.controller) notifyError(error)
    else show('This page reopens without its server', true)
  })
}
