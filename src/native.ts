// What this context has to open a storage with, and what it means where that fails.
import type { LockManagerLike } from './catalog/locks.ts'
import { DatabaseError } from './errors.ts'

/** Names of refusals at the first opening after which memory takes the place of IndexedDB. Another tab's hold is none of them. */
const REFUSALS = ['SecurityError', 'InvalidStateError', 'NotSupportedError', 'UnknownError', 'NotAllowedError']

export function nativeFactory(): IDBFactory {
  const factory = globalThis.indexedDB as IDBFactory | undefined
  if (factory === undefined || factory === null) {
    throw new DatabaseError('this context has no IndexedDB', 'indexedDB', { cause: new DOMException('no IndexedDB', 'NotSupportedError') })
  }
  return factory
}

export function lockManager(): LockManagerLike | undefined {
  return (globalThis.navigator as { locks?: LockManagerLike } | undefined)?.locks
}

/** The cause of it is no more than that something went wrong. */
export function isUnknown(error: unknown): boolean {
  return error instanceof DatabaseError && (error.cause as Error | undefined)?.name === 'UnknownError'
}

export async function mayBeThere(factory: IDBFactory, name: string): Promise<boolean> {
  const known = await factory.databases?.().catch(() => undefined)
  return known?.every((database) => database.name !== name) !== true
}

export function cantBeOpened(cacheDir: string, cause: unknown): DatabaseError {
  return new DatabaseError(
    `the browser can't open storage '${cacheDir}' now, which may be there: close other windows of this browser, or start it anew, and try again`,
    `${cacheDir}/catalog`,
    // Not the browser's own error, which stands for there being no IndexedDB.
    { cause: new Error(String(cause), { cause }) },
  )
}

export function isRefusal(error: unknown): boolean {
  if (!(error instanceof DatabaseError) || typeof error.cause !== 'object' || error.cause === null) {
    return error instanceof DOMException && REFUSALS.includes(error.name)
  }
  return REFUSALS.includes((error.cause as { name?: string }).name ?? '')
}
