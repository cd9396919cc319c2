// A stream that an operation answers: it ends with its content, its reader, the caller's signal or the storage, and settles once.
import { MissingBlockError } from './blocks/blocks.ts'
import type { Content } from './content.ts'
import { UnavailableError } from './errors.ts'
import type { Operation } from './operation.ts'
import type { Bytes } from './types.ts'

export interface AnswerStream {
  operation: Operation
  /** The root's CID, for errors. */
  cid: string
  content: Content
  /** The next piece, undefined at the end. */
  next: () => Promise<Bytes | undefined>
  /** Ends the reading before its end. */
  stop: () => Promise<unknown>
  /** Keeps what was fetched, after all of it was read (`whole`) or after the reader stopped. */
  keep: (whole: boolean) => Promise<void>
  /** The operation is over. */
  end: () => void
}

/** Pulled piece by piece. A stream that nobody reads ends with the operation's signal, so that closing the storage waits for no reader. */
export function answerStream({ operation, cid, content, next, stop, keep, end }: AnswerStream): ReadableStream<Bytes> {
  const { signal } = operation
  let over = false
  let onAbort = (): void => undefined
  const settle = async (work: () => Promise<void>): Promise<void> => {
    if (over) return
    over = true
    signal.removeEventListener('abort', onAbort)
    try {
      await work()
    } finally {
      end()
    }
  }
  return new ReadableStream<Bytes>(
    {
      start(controller) {
        onAbort = () => {
          controller.error(signal.reason)
          // What is being read now rejects by the signal itself; what was fetched is let go of as well as it can be.
          settle(() => content.drop()).catch(() => undefined)
        }
        signal.addEventListener('abort', onAbort, { once: true })
        if (signal.aborted) onAbort()
      },
      async pull(controller) {
        try {
          const piece = await next()
          if (over) return
          if (piece !== undefined) {
            controller.enqueue(piece)
            return
          }
          await settle(() => keep(true))
          controller.close()
        } catch (error) {
          await settle(() => content.drop()).catch(() => undefined)
          if (!(error instanceof MissingBlockError)) throw error
          throw new UnavailableError(`block ${error.cid.toString()} of ${cid} is missing: the stream ends here`, cid, [error])
        }
      },
      async cancel() {
        await settle(async () => {
          await stop()
          await keep(false)
        })
      },
    },
    { highWaterMark: 0 },
  )
}
