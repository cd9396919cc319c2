// The switch that cuts the large file's connections at the server, and what the server counted of what it sent.
import { byId, el } from './dom.ts'
import { formatBytes, formatCount } from './format.ts'
import type { LargeFileState } from './large-file-state.ts'
import { askServer, LARGE_FILE, switchNetwork } from './large-file.ts'
import { notifyError } from './notices.ts'

export class LineSwitch {
  #button = byId('line-switch', HTMLButtonElement)
  #state: LargeFileState | undefined
  #address: string | undefined

  /** `onBack` is called when the line is there again. */
  constructor(onBack: () => Promise<void>) {
    this.#button.addEventListener('click', () => {
      if (this.#button.getAttribute('aria-disabled') === 'true') return
      this.#turn(onBack).catch(notifyError)
    })
  }

  async refresh(address: string | undefined): Promise<void> {
    this.#address = address
    this.#state = await askServer(address)
    this.#show()
  }

  async #turn(onBack: () => Promise<void>): Promise<void> {
    const isOn = this.#state?.network === 'on'
    // A server that is gone is shown as such.
    await switchNetwork(isOn ? 'off' : 'on').catch(() => undefined)
    // What it says now, and not what was asked of it.
    await this.refresh(this.#address)
    if (this.#state?.network === 'on' && !isOn) await onBack()
  }

  #show(): void {
    const state = this.#state
    this.#button.setAttribute('aria-checked', String(state?.network === 'on'))
    this.#button.setAttribute('aria-disabled', String(state === undefined))
    byId('line-state').textContent = state?.network ?? 'unknown'
    byId('line-hint').textContent =
      state === undefined
        ? 'The demo’s server (npm start) can’t be reached: the switch and the count are its.'
        : 'The switch cuts the demo server’s connections for this file, and has it refuse new ones until it is on again. Nothing else notices.'
    byId('line-speed').textContent = state === undefined ? '' : `, at ${formatBytes(state.bytesASecond)}/s`
  }

  /** `bytes` that are here, where a download is shown. */
  showCount(bytes: number | undefined, isWhole: boolean): void {
    const list = byId('download-facts')
    const state = this.#state
    list.hidden = bytes === undefined || state === undefined || state.answers === 0
    if (bytes === undefined || state === undefined || list.hidden) return
    const { sent, answers } = state
    const twice = sent >= LARGE_FILE.size ? formatBytes(sent - LARGE_FILE.size) : 'unknown: the server was restarted'
    list.replaceChildren(
      fact('Sent by the server', `${formatBytes(sent)} in ${formatCount(answers, 'answer')}`),
      fact('The file', formatBytes(LARGE_FILE.size)),
      isWhole ? fact('Fetched twice', twice) : fact('Here', formatBytes(bytes)),
    )
  }
}

function fact(label: string, value: string): HTMLElement {
  return el('div', {}, el('dt', {}, label), el('dd', {}, value))
}
