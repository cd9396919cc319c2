// Waiting that ends with a signal, and signals that follow others for a while.

/** Answers what the work answers, or rejects with the signal's reason as soon as it aborts. The work goes on by itself then. */
export function untilAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    const onAbort = (): void => reject(signal.reason as Error)
    if (signal.aborted) onAbort()
    else signal.addEventListener('abort', onAbort, { once: true })
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort))
  })
}

/** Aborts the controller when one of the signals does, until the function answered is called. A signal may outlive many followers. */
export function follow(controller: AbortController, signals: readonly (AbortSignal | undefined)[]): () => void {
  const releases = signals.map((signal) => {
    if (signal === undefined) return () => {}
    const onAbort = (): void => controller.abort(signal.reason)
    if (signal.aborted) onAbort()
    else signal.addEventListener('abort', onAbort, { once: true })
    return () => signal.removeEventListener('abort', onAbort)
  })
  return () => {
    for (const release of releases) release()
  }
}

/** Resolves true when the work settles within that time, whatever its result; false otherwise. */
export function settlesWithin(work: Promise<unknown>, milliseconds: number): Promise<boolean> {
  return new Promise<boolean>((resolve) => {
    const timer = setTimeout(() => resolve(false), milliseconds)
    const settled = (): void => {
      clearTimeout(timer)
      resolve(true)
    }
    work.then(settled, settled)
  })
}
