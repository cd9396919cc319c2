// One body for two: whoever asked for it, and the store, which takes each piece first, since its reader may write into it or transfer it.
import { URL_UNREAD_MS } from '../limits.ts'
import type { Bytes } from '../types.ts'

export interface Split {
  /** For whoever asked. Its last piece comes when `settled` has ended, or its error instead. Cancelling it ends the other one too. */
  own: ReadableStream<Bytes>
  /** For the store. It errors where nobody reads on `own` for URL_UNREAD_MS, which then goes on alone. */
  copy: AsyncIterable<Bytes>
  /** The store takes no more, or never began: `own` goes on alone. */
  leave: () => void
}

/** Read at the pace of `own`. `settled` is what `copy` comes to. */
export function split(body: ReadableStream<Bytes>, settled: () => Promise<void>): Split {
  const reader = body.getReader()
  const channel = new Channel()
  // Whoever keeps what came before an error must not have it whole.
  let last: Bytes | undefined
  let unread: ReturnType<typeof setTimeout> | undefined
  const own = new ReadableStream<Bytes>({
    async pull(controller) {
      clearTimeout(unread)
      for (;;) {
        let piece: Bytes | undefined
        try {
          piece = (await reader.read()).value
        } catch (error) {
          channel.fail(error)
          throw error
        }
        if (piece === undefined) {
          channel.end()
          await settled()
          if (last !== undefined) controller.enqueue(last)
          controller.close()
          return
        }
        if (piece.byteLength === 0) continue
        await channel.give(piece)
        const before = last
        last = piece
        if (before === undefined) continue
        // A reader that waits already is given this piece, and pulls the next one.
        unread = setTimeout(() => channel.fail(new DOMException('nobody reads the body', 'TimeoutError')), URL_UNREAD_MS)
        controller.enqueue(before)
        return
      }
    },
    async cancel(reason) {
      clearTimeout(unread)
      channel.fail(reason ?? new DOMException('the body was cancelled', 'AbortError'))
      await reader.cancel(reason)
    },
  })
  return { own, copy: channel, leave: () => channel.leave() }
}

/** Hands over one piece at a time: a giver waits until the taker is done with it, or has left. */
class Channel implements AsyncIterable<Bytes> {
  #piece: Bytes | undefined
  #error: unknown
  #state: 'open' | 'ended' | 'left' = 'open'
  #wakeTaker: () => void = () => undefined
  #wakeGiver: () => void = () => undefined

  async give(piece: Bytes): Promise<void> {
    if (this.#state !== 'open') return
    const taken = new Promise<void>((resolve) => {
      this.#wakeGiver = resolve
    })
    this.#piece = piece
    this.#wakeTaker()
    await taken
  }

  end(): void {
    if (this.#state === 'open') this.#state = 'ended'
    this.#wakeTaker()
  }

  /** The taker gets the error. */
  fail(error: unknown): void {
    if (this.#state !== 'open') return
    this.#error = error ?? new TypeError('the body ended with an error that says nothing')
    this.end()
  }

  leave(): void {
    this.#state = 'left'
    this.#wakeGiver()
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Bytes, void, undefined> {
    try {
      for (;;) {
        if (this.#piece !== undefined) {
          yield this.#piece
          this.#piece = undefined
          this.#wakeGiver()
          continue
        }
        if (this.#state !== 'open') {
          if (this.#error !== undefined) throw this.#error as Error
          return
        }
        await new Promise<void>((resolve) => {
          this.#wakeTaker = resolve
        })
      }
    } finally {
      this.leave()
    }
  }
}
