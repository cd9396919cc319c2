// What a storage said it did, kept outside of the browser, and whether what is found after a kill agrees with it.
import type { Look, Step } from './workload.ts'

export class Ledger {
  /** CIDs by filename. */
  readonly #entries = new Map<string, string>()
  /** 'cid holder'. */
  readonly #pins = new Set<string>()
  /** Steps that began and were not heard to be over. */
  readonly #open = new Map<number, Step>()
  stepsOver = 0

  note(step: Step): void {
    if (step.over !== true) {
      this.#open.set(step.id, step)
      return
    }
    this.#open.delete(step.id)
    this.stepsOver++
    if (step.refused !== true) this.#apply(step)
  }

  get files(): number {
    return this.#entries.size
  }

  /** What is wrong, in words. What was under way may be done or not; from then on it counts as it is found. */
  compare(look: Look): string[] {
    const wrong: string[] = []
    const found = new Map(look.files.map(({ filename, cid }) => [filename, cid]))
    const open = [...this.#open.values()]
    this.#open.clear()
    for (const step of open) this.#settle(step, found, new Set(look.audit.pins), wrong)
    for (const [filename, cid] of this.#entries) {
      if (found.get(filename) !== cid) wrong.push(`'${filename}' was stored as ${cid}, and is ${found.get(filename) ?? 'not there'}`)
    }
    for (const filename of found.keys())
      if (!this.#entries.has(filename)) wrong.push(`'${filename}' is listed, and was deleted or never stored`)
    const pins = new Set(look.audit.pins)
    for (const pin of this.#pins) if (!pins.has(pin)) wrong.push(`pin ${pin} is lost`)
    for (const pin of pins) if (!this.#pins.has(pin)) wrong.push(`pin ${pin} is there, and was taken away or never made`)
    wrong.push(...faultsIn(look))
    return wrong
  }

  #apply({ kind, names, cids = [], pin = false, holder = '' }: Step): void {
    if (kind === 'store') {
      names.forEach((name, index) => this.#entries.set(name, cids[index] ?? ''))
      if (pin) for (const cid of cids) this.#pins.add(`${cid} ${holder}`)
    }
    if (kind === 'delete') for (const name of names) this.#entries.delete(name)
    if (kind === 'pin') for (const cid of cids) this.#pins.add(`${cid} ${holder}`)
    if (kind === 'unpin') for (const cid of cids) this.#pins.delete(`${cid} ${holder}`)
  }

  /** A step that was cut off is done whole or not at all. */
  #settle(step: Step, found: ReadonlyMap<string, string>, pins: ReadonlySet<string>, wrong: string[]): void {
    const { kind, names, cids = [], holder = '' } = step
    const there = names.filter((name) => found.has(name))
    if (kind === 'store') {
      if (there.length > 0 && there.length < names.length) wrong.push(`of ${names.length} files stored together ${there.length} are there`)
      if (there.length === names.length) this.#apply({ ...step, cids: names.map((name) => found.get(name) ?? '') })
    }
    if (kind === 'delete' && there.length === 0) this.#apply(step)
    const isPinned = cids.some((cid) => pins.has(`${cid} ${holder}`))
    if ((kind === 'pin' && isPinned) || (kind === 'unpin' && !isPinned)) this.#apply(step)
  }
}

/** What is wrong whatever was stored, in words. */
export function faultsIn({ files, damaged, unread, audit, usage }: Look): string[] {
  const wrong: string[] = []
  for (const { filename, state } of files) if (state !== 'whole') wrong.push(`'${filename}' is ${state}`)
  for (const block of damaged) wrong.push(`damaged: ${block}`)
  for (const cid of unread) wrong.push(`${cid} can't be read`)
  wrong.push(...audit.faults)
  if (usage.bytes !== audit.bytes) wrong.push(`the usage says ${usage.bytes} bytes, and ${audit.bytes} are there`)
  if (usage.deadBytes !== audit.deadBytes) wrong.push(`the usage says ${usage.deadBytes} dead bytes, and ${audit.deadBytes} are there`)
  if (usage.files !== files.length) wrong.push(`the usage says ${usage.files} files, and ${files.length} are listed`)
  return wrong
}
