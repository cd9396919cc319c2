// Between flows and ReadableStream. Streams are never transferred themselves: Safari can't.
import type { Inflow } from './inflow.ts'

/** A flow as a stream that pulls nothing before it is read. */
export function streamOf<T>(inflow: Inflow<T>): ReadableStream<T> {
  return new ReadableStream<T>(
    {
      async pull(controller) {
        const result = await inflow.next()
        if (result.done === true) controller.close()
        else controller.enqueue(result.value)
      },
      async cancel() {
        await inflow.return()
      },
    },
    { highWaterMark: 0 },
  )
}

/** A stream as an iterator, where streams are not iterable too. `return()` cancels at once, even while a read waits. */
export function readingOf<T>(stream: ReadableStream<T>): AsyncIterator<T, undefined> {
  const reader = stream.getReader()
  return {
    async next() {
      const result = await reader.read()
      if (!result.done) return result
      reader.releaseLock()
      return { done: true, value: undefined }
    },
    async return() {
      await reader.cancel()
      return { done: true, value: undefined }
    },
  }
}
