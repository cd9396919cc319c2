// One body for two, of which the reader may leave off: the store doesn't wait for it for ever, and the reader misses nothing.
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { URL_UNREAD_MS } from '../../../src/limits.ts'
import type { Bytes } from '../../../src/types.ts'
import { split, type Split } from '../../../src/url-cache/split.ts'

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

const PIECES = 5

interface Scene extends Split {
  reader: ReadableStreamDefaultReader<Bytes>
  /** What the store got of it, and how that ended: undefined while it has not. */
  stored: { pieces: number[]; end?: string }
  /** Lets the next piece come. */
  next: () => void
}

/** A body of five pieces, which come at once unless they are to be let go one by one, and a store that takes what it gets. */
function scene({ isSlow = false } = {}): Scene {
  let next = (): void => undefined
  let count = 0
  const body = new ReadableStream<Bytes>(
    {
      async pull(controller) {
        if (isSlow) await new Promise<void>((resolve) => (next = resolve))
        controller.enqueue(Uint8Array.of(++count))
        if (count === PIECES) controller.close()
      },
    },
    { highWaterMark: 0 },
  )
  const stored: Scene['stored'] = { pieces: [] }
  let settle = (): void => undefined
  const settled = new Promise<void>((resolve) => (settle = resolve))
  const parts = split(body, () => settled)
  const take = async (): Promise<void> => {
    for await (const piece of parts.copy) stored.pieces.push(...piece)
  }
  void take()
    .then(
      () => (stored.end = 'whole'),
      (error: unknown) => (stored.end = (error as Error).name),
    )
    .finally(() => settle())
  return { ...parts, reader: parts.own.getReader(), stored, next: () => next() }
}

async function rest(reader: Scene['reader']): Promise<number[]> {
  const pieces: number[] = []
  for (let read = await reader.read(); !read.done; read = await reader.read()) pieces.push(...read.value)
  return pieces
}

describe('a body that is read', () => {
  it('goes to both', async () => {
    const { reader, stored } = scene()
    expect(await rest(reader)).toEqual([1, 2, 3, 4, 5])
    expect(stored).toEqual({ pieces: [1, 2, 3, 4, 5], end: 'whole' })
    expect(vi.getTimerCount()).toBe(0)
  })

  it('with breaks goes to both, each shorter than the limit', async () => {
    const { reader, stored } = scene()
    const pieces: number[] = []
    for (let read = await reader.read(); !read.done; read = await reader.read()) {
      pieces.push(...read.value)
      await vi.advanceTimersByTimeAsync(URL_UNREAD_MS - 1)
    }
    expect(pieces).toEqual([1, 2, 3, 4, 5])
    expect(stored.end).toBe('whole')
  })

  it('goes to both however long it takes to come', async () => {
    const { reader, stored, next } = scene({ isSlow: true })
    const all = rest(reader)
    for (let count = 0; count < PIECES; count++) {
      await vi.advanceTimersByTimeAsync(URL_UNREAD_MS * 2)
      next()
    }
    expect(await all).toEqual([1, 2, 3, 4, 5])
    expect(stored.end).toBe('whole')
  })
})

describe('a body that nobody reads', () => {
  it('ends the copy after the limit, and goes on alone when it is read after all', async () => {
    const { reader, stored } = scene()
    await vi.advanceTimersByTimeAsync(URL_UNREAD_MS - 1)
    expect(stored.end).toBeUndefined()
    await vi.advanceTimersByTimeAsync(1)
    expect(stored.end).toBe('TimeoutError')
    expect(await rest(reader)).toEqual([1, 2, 3, 4, 5])
    expect(stored.pieces.length).toBeLessThan(PIECES)
    expect(vi.getTimerCount()).toBe(0)
  })

  it('any further does the same', async () => {
    const { reader, stored } = scene()
    expect((await reader.read()).value).toEqual(Uint8Array.of(1))
    await vi.advanceTimersByTimeAsync(URL_UNREAD_MS)
    expect(stored.end).toBe('TimeoutError')
    expect(await rest(reader)).toEqual([2, 3, 4, 5])
  })

  it('and cancels leaves no timer behind', async () => {
    const { reader, stored } = scene()
    await reader.read()
    await vi.advanceTimersByTimeAsync(1)
    await reader.cancel()
    expect(vi.getTimerCount()).toBe(0)
    await vi.advanceTimersByTimeAsync(0)
    expect(stored.end).toBe('AbortError')
  })
})
