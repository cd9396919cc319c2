// "Run it from the store": sentences in, a map of their similarity out, and where the weights came from.
import { byId, el } from './dom.ts'
import { Embedder } from './embedder.ts'
import { formatBytes, formatCount, formatDuration } from './format.ts'
import { heatMapElement } from './heat-map.ts'
import type { LiveStorage } from './live.ts'
import { MODEL_BYTES } from './model.ts'
import { announce, errorBox } from './notices.ts'

const MAX_SENTENCES = 12
const MAX_CHARACTERS = 300

interface Loaded {
  embedder: Embedder
  milliseconds: number
  earlier: boolean
}

/** Lines with text, or what is wrong with them. */
function readSentences(text: string): string[] | { problem: string } {
  const sentences = text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '')
  if (sentences.length < 2) return { problem: 'Type at least two sentences, one a line.' }
  if (sentences.length > MAX_SENTENCES)
    return { problem: `At most ${MAX_SENTENCES} sentences fit into the map; these are ${sentences.length}.` }
  const long = sentences.findIndex((sentence) => sentence.length > MAX_CHARACTERS)
  return long < 0 ? sentences : { problem: `Sentence ${long + 1} is longer than ${MAX_CHARACTERS} characters.` }
}

function factsElement(loaded: Loaded, milliseconds: number, sentences: number): HTMLElement {
  const fact = (label: string, value: string): HTMLElement => el('div', {}, el('dt', {}, label), el('dd', {}, value))
  return el(
    'dl',
    { class: 'facts' },
    fact('Weights', `came from the store: ${formatBytes(loaded.embedder.weightBytes)}, verified`),
    fact(
      'Model loaded',
      loaded.earlier ? `earlier, in ${formatDuration(loaded.milliseconds)}` : `in ${formatDuration(loaded.milliseconds)}`,
    ),
    fact('Inference', `${formatCount(sentences, 'sentence')} in ${formatDuration(milliseconds)}`),
  )
}

class RunPanel {
  #openPort: () => MessagePort
  #loaded: Loaded | undefined
  #cid: string | undefined
  #busy = false

  constructor(openPort: () => MessagePort) {
    this.#openPort = openPort
  }

  /** The CID of the model, where it is wholly here. */
  showModel(cid: string | undefined): void {
    this.#cid = cid
    byId('run-needs-model').hidden = cid !== undefined
    byId('run-button').setAttribute('aria-disabled', String(cid === undefined || this.#busy))
    if (this.#loaded && this.#loaded.embedder.cid !== cid) {
      this.#loaded.embedder.close()
      this.#loaded = undefined
    }
  }

  async submit(): Promise<void> {
    const problem = byId('run-problem')
    const area = byId('sentences', HTMLTextAreaElement)
    problem.textContent = ''
    area.removeAttribute('aria-invalid')
    if (this.#busy) return
    if (this.#cid === undefined) {
      problem.textContent = 'Store the model first: the button is above.'
      return
    }
    const sentences = readSentences(area.value)
    if ('problem' in sentences) {
      problem.textContent = sentences.problem
      area.setAttribute('aria-invalid', 'true')
      area.focus()
      return
    }
    this.#busy = true
    byId('run-button').setAttribute('aria-disabled', 'true')
    const result = byId('run-result')
    try {
      result.replaceChildren(await this.#run(this.#cid, sentences))
      announce(`Done. ${result.querySelector('.verdict')?.textContent ?? ''}`)
    } catch (error) {
      this.#loaded?.embedder.close()
      this.#loaded = undefined
      result.replaceChildren(errorBox(error))
    } finally {
      this.#busy = false
      byId('run-progress').hidden = true
      this.showModel(this.#cid)
    }
  }

  async #run(cid: string, sentences: string[]): Promise<HTMLElement> {
    const step = byId('run-step')
    const bar = byId('run-bar', HTMLProgressElement)
    const loaded = this.#loaded ?? (await this.#load(cid, bar, step))
    bar.removeAttribute('value')
    step.textContent = 'Thinking…'
    byId('run-progress').hidden = false
    const started = performance.now()
    const vectors = await loaded.embedder.embed(sentences)
    const element = el('div', {}, heatMapElement(sentences, vectors), factsElement(loaded, performance.now() - started, sentences.length))
    this.#loaded = { ...loaded, earlier: true }
    return element
  }

  async #load(cid: string, bar: HTMLProgressElement, step: HTMLElement): Promise<Loaded> {
    bar.max = MODEL_BYTES
    bar.value = 0
    step.textContent = 'Reading the model from the store…'
    byId('run-progress').hidden = false
    const started = performance.now()
    const embedder = new Embedder(cid)
    try {
      await embedder.load(this.#openPort(), (bytes) => {
        bar.value = bytes
        step.textContent = `Reading the model from the store: ${formatBytes(bytes)}`
      })
    } catch (error) {
      embedder.close()
      throw error
    }
    return { embedder, milliseconds: performance.now() - started, earlier: false }
  }
}

/** `openPort` answers ports that lead to the storage. */
export function startRunPanel(live: LiveStorage, openPort: () => MessagePort): void {
  const panel = new RunPanel(openPort)
  byId('run-form').addEventListener('submit', (event) => {
    event.preventDefault()
    void panel.submit()
  })
  live.subscribe(({ model }) => panel.showModel(model?.state === 'whole' ? model.cid : undefined))
}
