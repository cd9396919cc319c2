// Windows of blocks, at most two of them alive: while one is consumed, the next is on its way.
import type { BlockSource } from '../blocks/blocks.ts'
import { READ_WINDOW_BLOCKS, STREAM_WINDOW_BYTES } from '../limits.ts'
import type { Bytes } from '../types.ts'
import { following } from './abort.ts'
import { fetchParts, partsOf, type FileLayout, type LayoutOptions, type Part } from './layout.ts'

/** Bytes of the first window. The next ones double, so that the first bytes come soon and the rest in large reads. */
const FIRST_WINDOW_BYTES = STREAM_WINDOW_BYTES / 4

const WINDOWS_ALIVE = 2

/** The content of a range in order. Ending early aborts what is still being read. */
export async function* readAhead(
  source: BlockSource,
  layout: FileLayout,
  from: number,
  to: number,
  windowBytes: number,
  options: LayoutOptions,
): AsyncGenerator<Bytes[], void, undefined> {
  options.signal?.throwIfAborted()
  const abort = following(options.signal)
  const inner = { ...options, signal: abort.signal }
  const windows = windowsOf(partsOf(source, layout, from, to, inner), windowBytes)
  const fetchNext = async (): Promise<Bytes[] | undefined> => {
    const next = await windows.next()
    return next.done === true ? undefined : fetchParts(source, next.value, inner)
  }
  const alive: Promise<Bytes[] | undefined>[] = []
  try {
    for (;;) {
      while (alive.length < WINDOWS_ALIVE) {
        const next = fetchNext()
        // Seen when its turn comes; until then, or when the consumer has left, it must not count as unhandled.
        next.catch(() => undefined)
        alive.push(next)
      }
      const pieces = await alive.shift()
      if (pieces === undefined) return
      yield pieces
      options.signal?.throwIfAborted()
    }
  } finally {
    abort.abort()
    abort.release()
  }
}

async function* windowsOf(lists: AsyncIterable<Part[]>, most: number): AsyncGenerator<Part[], void, undefined> {
  let [window, bytes, limit] = [[] as Part[], 0, FIRST_WINDOW_BYTES]
  for await (const parts of lists) {
    for (const part of parts) {
      if (window.length > 0 && (bytes + part.size > limit || window.length >= READ_WINDOW_BLOCKS)) {
        yield window
        limit = Math.min(limit * 2, most)
        window = []
        bytes = 0
      }
      window.push(part)
      bytes += part.size
    }
  }
  if (window.length > 0) yield window
}
