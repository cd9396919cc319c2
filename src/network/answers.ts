// What those who were asked for one block answered, and what that means: the block, null, or UnavailableError.
import type { CID } from 'multiformats/cid'
import { LimitError, UnavailableError } from '../errors.ts'
import { MAX_NETWORK_BLOCK_BYTES } from '../limits.ts'
import type { Bytes } from '../types.ts'
import type { FetchReceiver } from './fetch.ts'

type Answer = 'none yet' | 'absent' | Error

/** Collects the answers to one question. */
export class Answers implements FetchReceiver {
  readonly #cid: CID
  readonly #answers = new Map<string, Answer>()
  #bytes: Bytes | undefined

  constructor(cid: CID) {
    this.#cid = cid
  }

  deliver(bytes: Uint8Array): void {
    if (this.#bytes !== undefined) return
    if (bytes.byteLength > MAX_NETWORK_BLOCK_BYTES) {
      const message = `block ${this.#cid.toString()} is ${bytes.byteLength} bytes long, more than ${MAX_NETWORK_BLOCK_BYTES}`
      this.failed('the node', new LimitError(message, 'MAX_NETWORK_BLOCK_BYTES', bytes.byteLength))
      return
    }
    // Must own its whole buffer: what a peer or gateway sent may be a part of something larger, and storing a part writes it all.
    this.#bytes = ownsBuffer(bytes) ? bytes : new Uint8Array(bytes)
  }

  asking(who: string): void {
    if (!this.#answers.has(who)) this.#answers.set(who, 'none yet')
  }

  answered(who: string): void {
    this.#answers.delete(who)
  }

  absent(who: string): void {
    this.#answers.set(who, 'absent')
  }

  failed(who: string, error: Error): void {
    this.#answers.set(who, error)
  }

  /** Somebody supplied the block or is known to lack it. */
  get isContact(): boolean {
    return this.#bytes !== undefined || [...this.#answers.values()].includes('absent')
  }

  /**
   * The block; null where somebody who was asked does not have it, or nobody was there to be asked.
   *
   * @param ended why waiting ended before everybody had answered
   * @throws UnavailableError where nobody gave an answer
   */
  result(ended?: Error): Bytes | null {
    if (this.#bytes !== undefined) return this.#bytes
    if (this.isContact) return null
    const causes = [...this.#answers].flatMap(([who, answer]) => {
      if (answer instanceof Error) return [answer]
      return answer === 'none yet' && ended !== undefined ? [new Error(`${who}: ${ended.message}`, { cause: ended })] : []
    })
    if (causes.length === 0 && ended !== undefined) causes.push(ended)
    if (causes.length === 0) return null
    throw unavailable(this.#cid, causes)
  }
}

export function unavailable(cid: CID, causes: readonly Error[]): UnavailableError {
  const reasons = causes.map((cause) => cause.message).join('; ')
  return new UnavailableError(`block ${cid.toString()} is not here and nobody could be asked for it: ${reasons}`, cid.toString(), causes)
}

function ownsBuffer(bytes: Uint8Array): bytes is Bytes {
  return bytes.buffer instanceof ArrayBuffer && bytes.byteLength === bytes.buffer.byteLength
}
