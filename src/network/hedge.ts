// One after the other, and another beside one that stays silent: the first to deliver wins.

/**
 * Tries candidates in order until one attempt succeeds. The next begins when one fails, or beside it when it was silent for that time;
 * an attempt that calls `heard` is not silent any more and gets all the time it needs. Attempts that lose are not ended here: end what
 * they listen to once this settles.
 *
 * @throws AggregateError of what the attempts threw, once all failed and no candidate is left
 * @throws the signal's reason
 */
export function hedge<C, T>(
  candidates: AsyncIterable<C>,
  attempt: (candidate: C, heard: () => void) => Promise<T>,
  options: { silenceMs: number; signal: AbortSignal },
): Promise<T> {
  const { silenceMs, signal } = options
  const iterator = candidates[Symbol.asyncIterator]()
  const failures: unknown[] = []
  let running = 0
  let exhausted = false
  let isAsking = false
  let done = false
  return new Promise<T>((resolve, reject) => {
    const finish = (settle: () => void): void => {
      if (done) return
      done = true
      signal.removeEventListener('abort', onAbort)
      settle()
      // Not awaited: a generator ends only after what it waits for.
      if (!exhausted) iterator.return?.().catch(() => {})
    }
    const onAbort = (): void => finish(() => reject(signal.reason as Error))
    const begin = async (candidate: C): Promise<void> => {
      running++
      const silence = setTimeout(() => void next(), silenceMs)
      try {
        const result = await attempt(candidate, () => clearTimeout(silence))
        finish(() => resolve(result))
      } catch (cause) {
        failures.push(cause)
      }
      clearTimeout(silence)
      running--
      void next()
      giveUp()
    }
    const next = async (): Promise<void> => {
      if (done || isAsking || exhausted) return
      isAsking = true
      try {
        const result = await iterator.next()
        exhausted = result.done === true
        if (result.done !== true && !done) void begin(result.value)
      } catch (cause) {
        exhausted = true
        failures.push(cause)
      }
      isAsking = false
      giveUp()
    }
    const giveUp = (): void => {
      if (exhausted && running === 0) finish(() => reject(new AggregateError(failures, 'every attempt failed')))
    }
    if (signal.aborted) onAbort()
    else {
      signal.addEventListener('abort', onAbort, { once: true })
      void next()
    }
  })
}
