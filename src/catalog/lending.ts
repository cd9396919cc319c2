// Blobs over packs are handed out for good: nobody can tell how long one is used, so the locks of their packs are held while this realm lives.

const held = new Map<string, Promise<void>>()

/** Locks behind Blobs, for whoever passes one on to another realm. */
const behind = new WeakMap<Blob, readonly string[]>()

/** Takes a shared lock that only the end of this page or worker lets go of. Resolves when it is held. */
export function holdForLife(lock: string): Promise<void> {
  const before = held.get(lock)
  if (before !== undefined) return before
  const taken = new Promise<void>((resolve, reject) => {
    navigator.locks
      .request(lock, { mode: 'shared' }, () => {
        resolve()
        return new Promise<never>(() => undefined)
      })
      .catch(reject)
  })
  held.set(lock, taken)
  taken.catch(() => held.delete(lock))
  return taken
}

export function isHeldForLife(lock: string): boolean {
  return held.has(lock)
}

export function noteLocks(blob: Blob, locks: readonly string[]): void {
  behind.set(blob, locks)
}

export function locksBehind(blob: Blob): readonly string[] {
  return behind.get(blob) ?? []
}
