// Waiting that an abort ends at once, and a signal that follows another one.

const ignore = (): void => undefined

/** Settles as the promise does, or rejects with the signal's reason as soon as it aborts, whatever the promise still waits for. */
export function raced<T>(promise: PromiseLike<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return Promise.resolve(promise)
  return new Promise<T>((resolve, reject) => {
    const abort = (): void => reject(reasonOf(signal))
    if (signal.aborted) abort()
    signal.addEventListener('abort', abort)
    promise.then(resolve, reject).then(() => signal.removeEventListener('abort', abort), ignore)
  })
}

/** The reason as it is, though it may be no Error: who aborts says what is thrown. */
export function reasonOf(signal: AbortSignal): Error {
  return signal.reason as Error
}

/** Runs clean-up that nobody waits for: whoever needs it has failed already, for a reason that matters more. */
export function inBackground(work: () => unknown): void {
  try {
    Promise.resolve(work()).catch(ignore)
  } catch {
    // As above: the first failure is the one that is told.
  }
}

/** An AbortController that also aborts when `signal` does. `release` must be called in the end, or a long-lived signal would keep it. */
export interface FollowingAbort {
  readonly signal: AbortSignal
  abort(reason?: unknown): void
  release(): void
}

// AbortSignal.any is missing in browsers of 2023.
export function following(signal: AbortSignal | undefined): FollowingAbort {
  const controller = new AbortController()
  const follow = (): void => controller.abort(signal?.reason)
  if (signal?.aborted === true) follow()
  signal?.addEventListener('abort', follow)
  return {
    signal: controller.signal,
    abort: (reason) => controller.abort(reason),
    release: () => signal?.removeEventListener('abort', follow),
  }
}

/** What the work answers, which is given a signal that also aborts when so much time has passed: then this rejects with a TimeoutError. */
export async function withinTime<T>(
  milliseconds: number,
  signal: AbortSignal | undefined,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const limit = following(signal)
  const timer = setTimeout(() => limit.abort(new DOMException(`there was no answer for ${milliseconds} ms`, 'TimeoutError')), milliseconds)
  try {
    return await raced(work(limit.signal), limit.signal)
  } finally {
    clearTimeout(timer)
    limit.release()
  }
}
