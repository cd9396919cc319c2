// How each side of a port notices the death of the other: it holds a Web Lock while it lives, which browsers let go of for the dead.

/** Takes a lock of its own and tells its name when it has it. Answers how to let go. Without Web Locks nothing is told. */
export function holdLock(tell: (lock: string) => void): () => void {
  const locks = globalThis.navigator?.locks
  if (locks === undefined) return () => undefined
  const over = new AbortController()
  const lock = `ipfs-kit:alive:${crypto.randomUUID()}`
  const held = locks.request(lock, { signal: over.signal }, () => {
    tell(lock)
    return new Promise<void>((resolve) => over.signal.addEventListener('abort', () => resolve()))
  })
  // Rejects only where it was let go of before it was had.
  held.catch(() => undefined)
  return () => over.abort()
}

/** Calls `died` when nobody holds the lock any more, unless the signal aborts before. */
export function watchLock(lock: string, signal: AbortSignal, died: () => void): void {
  // Rejects with the signal's reason only.
  globalThis.navigator?.locks.request(lock, { signal }, died).catch(() => undefined)
}
