// One transfer under way: bar, rate, Cancel; in its place an explanation if it fails.
import type { Progress } from 'ipfs-kit-web'
import { el, nextId, remove } from './dom.ts'
import { formatBytes, formatDuration } from './format.ts'
import { isAbort } from './messages.ts'
import { announce, errorBox, notify } from './notices.ts'
import { RateMeter } from './rate.ts'

interface TransferOptions<T> {
  label: string
  total: number
  /** Called at the end, whichever it is; answers where the focus goes if Cancel has it then. */
  onEnd: () => HTMLElement
  /** Moves the focus to Cancel, because the button that was pressed is gone. */
  takeFocus?: boolean
  task: (signal: AbortSignal, onProgress: (progress: Progress) => void) => Promise<T>
}

/** Runs the task with its progress shown in `host`; answers undefined where it was cancelled or failed, and `host` then says so. */
export async function runTransfer<T>(host: HTMLElement, options: TransferOptions<T>): Promise<T | undefined> {
  const { label, total, task } = options
  const cancelled = new AbortController()
  const id = nextId('transfer')
  const bar = el('progress', { 'aria-labelledby': id, max: Math.max(1, total), value: 0 })
  const figures = el('span', { class: 'figures' }, `0 B of ${formatBytes(total)}`)
  const percent = el('span', { class: 'percent' }, '0%')
  const cancel = el('button', { class: 'button small', type: 'button', 'aria-label': `Cancel: ${label}` }, 'Cancel')
  cancel.addEventListener('click', () => cancelled.abort(new DOMException('Cancelled by the user', 'AbortError')))
  const box = el(
    'div',
    { class: 'transfer' },
    el('div', { class: 'transfer-head' }, el('span', { class: 'transfer-label', id }, label), percent),
    bar,
    el('div', { class: 'transfer-foot' }, figures, cancel),
  )
  host.append(box)
  if (options.takeFocus) cancel.focus()
  announce(`${label}: started`)

  const meter = new RateMeter()
  let quarters = 0
  const show = ({ bytes }: Progress): void => {
    const share = total > 0 ? Math.min(1, bytes / total) : 0
    const rate = meter.add(bytes, performance.now())
    bar.value = Math.min(bytes, bar.max)
    percent.textContent = `${Math.floor(share * 100)}%`
    figures.textContent = `${formatBytes(bytes)} of ${formatBytes(total)}${rate ? ` · ${formatBytes(rate)}/s` : ''}`
    if (Math.floor(share * 4) > quarters && share < 1) {
      quarters = Math.floor(share * 4)
      announce(`${label}: ${quarters * 25} percent`)
    }
  }
  const started = performance.now()
  try {
    const result = await task(cancelled.signal, show)
    announce(`${label}: done in ${formatDuration(performance.now() - started)}`)
    remove(box, options.onEnd())
    return result
  } catch (error) {
    remove(box, options.onEnd())
    if (cancelled.signal.aborted || isAbort(error)) notify(`${label}: cancelled. Nothing was kept.`)
    else {
      const failed = errorBox(error, () => remove(failed, options.onEnd()))
      host.append(failed)
    }
    return undefined
  }
}
