// The panel that says how things stand: network, tier, space, whether the browser keeps it, whether the page reopens offline.
import type { BackendStatus, ContentStorage } from 'ipfs-kit-web'
import { byId, hide } from './dom.ts'
import { formatBytes, formatCount } from './format.ts'
import type { LiveStorage } from './live.ts'
import { explainNetwork, TIERS } from './messages.ts'
import { announce, notify, notifyError } from './notices.ts'

function text(id: string, value: string): void {
  const element = byId(id)
  if (element.textContent !== value) element.textContent = value
}

function showNetwork(status: BackendStatus): void {
  const network = explainNetwork(status)
  const box = byId('status-network')
  const changed = box.dataset['tone'] !== undefined && byId('network-title').textContent !== network.title
  box.dataset['tone'] = network.tone
  text('network-title', network.title)
  text('network-text', network.text)
  if (changed) announce(`${network.title}. ${network.text}`)
}

function showUsage({ usage }: BackendStatus): void {
  const bar = byId('usage-bar')
  const quota = usage.quota ?? 0
  bar.hidden = quota === 0
  if (quota > 0) {
    const percent = Math.min(100, (usage.bytes / quota) * 100)
    bar.setAttribute('aria-valuenow', percent.toFixed(1))
    bar.setAttribute('aria-valuetext', `${formatBytes(usage.bytes)} of ${formatBytes(quota)}`)
    bar.dataset['full'] = String(percent > 90)
    // A bar that shows nothing while something is stored would look broken.
    byId('usage-fill').style.inlineSize = `${usage.bytes === 0 ? 0 : Math.max(1.5, percent)}%`
  }
  text('usage-bytes', formatBytes(usage.bytes))
  text('usage-quota', quota > 0 ? `of ${formatBytes(quota)} the browser allows` : 'used; the browser names no limit')
  text('usage-files', formatCount(usage.files, 'entry', 'entries'))
  text('usage-blocks', formatCount(usage.blocks, 'block'))
  text('usage-pinned', formatBytes(usage.pinnedBytes))
}

function showPersisted(persisted: boolean): void {
  text('persisted-title', persisted ? 'Protected from clearing' : 'Not protected from clearing')
  text(
    'persisted-text',
    persisted ? 'The browser keeps it until you delete it.' : 'The browser may clear it when this device runs out of space.',
  )
  byId('persisted-row').dataset['persisted'] = String(persisted)
  hide(byId('persist'), byId('status-title'), persisted)
}

async function askToPersist(storage: ContentStorage): Promise<void> {
  if (await storage.persist()) notify('The browser will keep what is stored here.')
  else
    text(
      'persisted-text',
      'The browser said no for now. It is likelier to say yes once you bookmark or install this page, or use it more often.',
    )
}

export function startStatusPanel(live: LiveStorage): void {
  // On narrow pages the rest is one press away, so that the first step is in sight.
  if (matchMedia('(width < 62rem)').matches) byId('status-more').removeAttribute('open')
  const persist = byId('persist', HTMLButtonElement)
  persist.addEventListener('click', () => {
    // aria-disabled and not disabled: a disabled button would lose the focus.
    if (persist.getAttribute('aria-disabled') === 'true') return
    persist.setAttribute('aria-disabled', 'true')
    askToPersist(live.storage)
      .catch(notifyError)
      .finally(() => {
        persist.removeAttribute('aria-disabled')
        live.refresh()
      })
  })
  let lastPersisted: boolean | undefined
  live.subscribe(({ status }) => {
    showNetwork(status)
    showUsage(status)
    // Only when it changed, so that the browser's "no" stays readable.
    if (status.persisted !== lastPersisted) showPersisted(status.persisted)
    lastPersisted = status.persisted
    text('tier', TIERS[status.tier])
    text('local-health', status.backends.local ? 'Working' : 'The last write or read failed')
    byId('status').setAttribute('aria-busy', 'false')
  })
}
