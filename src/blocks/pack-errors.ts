// What the file system says, as errors of this library.
import { DatabaseError, QuotaError, StorageError } from '../errors.ts'
import { isNamed } from '../packs/directory.ts'

/** An error of a pack worker in the terms of the contract; others as they are. */
export function packError(error: unknown, what: 'hash' | 'read' | 'write' | 'flush'): unknown {
  if (error instanceof StorageError && error.code !== 'not-supported') return error
  if (isNamed(error, 'QuotaExceededError')) {
    return new QuotaError('the browser has no room left for this file: delete or unpin something, or free disk space', {}, { cause: error })
  }
  if (!(error instanceof DOMException) && !(error instanceof StorageError)) return error
  return new DatabaseError(`could not ${what} a pack in the private file system (${String(error)}): try again`, 'packs', { cause: error })
}
