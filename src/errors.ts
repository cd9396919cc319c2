// One class a cause that a caller can act on. `name` is a literal and facts are fields, so that an error survives bundling and
// the way through a MessagePort; `cause` is always kept.

/** The base of every error this library makes. Recognise one by `code` or `name`; both survive worker boundaries. */
export class StorageError extends Error {
  override readonly name: string = 'StorageError'
  readonly code: string = 'storage'
}

/** Not a CID, nor a path that begins with one. */
export class InvalidCidError extends StorageError {
  override readonly name = 'InvalidCidError'
  override readonly code = 'invalid-cid'
}

/** An empty, repeated or escaping path in a directory. */
export class InvalidPathError extends StorageError {
  override readonly name = 'InvalidPathError'
  override readonly code = 'invalid-path'
  readonly path: string
  constructor(message: string, path: string, options?: ErrorOptions) {
    super(message, options)
    this.path = path
  }
}

/** Something that is no Source, or one that must not be stored (a Response that is not ok, an opaque one, a stream read before). */
export class InvalidSourceError extends StorageError {
  override readonly name = 'InvalidSourceError'
  override readonly code = 'invalid-source'
}

/** An option that is unknown, of the wrong type, impossible beside another, or not in this release. */
export class InvalidOptionsError extends StorageError {
  override readonly name = 'InvalidOptionsError'
  override readonly code = 'invalid-options'
  readonly option: string
  constructor(message: string, option: string, options?: ErrorOptions) {
    super(message, options)
    this.option = option
  }
}

/** Bytes that do not match their CID, and that no backend could replace. */
export class IntegrityError extends StorageError {
  override readonly name = 'IntegrityError'
  override readonly code = 'integrity'
  readonly cid: string
  constructor(message: string, cid: string, options?: ErrorOptions) {
    super(message, options)
    this.cid = cid
  }
}

/** Unknown hash or codec, symlink where a file is needed, malformed node. */
export class UnsupportedContentError extends StorageError {
  override readonly name = 'UnsupportedContentError'
  override readonly code = 'unsupported-content'
  readonly cid: string
  constructor(message: string, cid: string, options?: ErrorOptions) {
    super(message, options)
    this.cid = cid
  }
}

/**
 * A DAG, block, directory or path beyond a limit of limits.ts, whose name is in `limit`; `value` is what was met. 'CLAIMED_BYTES': a file whose nodes say
 * of a size something else than what is there; `value` is what they say.
 */
export class LimitError extends StorageError {
  override readonly name = 'LimitError'
  override readonly code = 'limit'
  readonly limit: string
  readonly value: number
  constructor(message: string, limit: string, value: number, options?: ErrorOptions) {
    super(message, options)
    this.limit = limit
    this.value = value
  }
}

/** Not here, and nobody who might have it could be asked in time. `causes` says why, one error an attempt. */
export class UnavailableError extends StorageError {
  override readonly name = 'UnavailableError'
  override readonly code = 'unavailable'
  readonly cid: string
  readonly causes: readonly Error[]
  constructor(message: string, cid: string, causes: readonly Error[] = [], options?: ErrorOptions) {
    super(message, options ?? (causes.length > 0 ? { cause: causes[0] } : undefined))
    this.cid = cid
    this.causes = causes
  }
}

/** A directory or another DAG where a file is needed. */
export class NotAFileError extends StorageError {
  override readonly name = 'NotAFileError'
  override readonly code = 'not-a-file'
}

/** A file or another DAG where a directory is needed. */
export class NotADirectoryError extends StorageError {
  override readonly name = 'NotADirectoryError'
  override readonly code = 'not-a-directory'
}

/** The last entry of pinned content: unpin it first, or delete with `force`. */
export class PinnedError extends StorageError {
  override readonly name = 'PinnedError'
  override readonly code = 'pinned'
  readonly cid: string
  readonly holders: readonly string[]
  constructor(message: string, cid: string, holders: readonly string[], options?: ErrorOptions) {
    super(message, options)
    this.cid = cid
    this.holders = holders
  }
}

/** The browser has no room left. `needed` and `available` are bytes, where known. */
export class QuotaError extends StorageError {
  override readonly name = 'QuotaError'
  override readonly code = 'quota'
  readonly needed?: number
  readonly available?: number
  constructor(message: string, facts: { needed?: number; available?: number } = {}, options?: ErrorOptions) {
    super(message, options)
    if (facts.needed !== undefined) this.needed = facts.needed
    if (facts.available !== undefined) this.available = facts.available
  }
}

/**
 * A URL that can't be downloaded now: the server refuses it, can't be reached, or answers what makes no sense. `status` is that of its last answer,
 * where there was one; `retryAfterMs` what it asked for. What came before stays for `storeUrl()` to go on with, where it can be gone on with.
 */
export class DownloadError extends StorageError {
  override readonly name = 'DownloadError'
  override readonly code = 'download'
  readonly url: string
  readonly status?: number
  readonly retryAfterMs?: number
  constructor(message: string, url: string, facts: { status?: number; retryAfterMs?: number } = {}, options?: ErrorOptions) {
    super(message, options)
    this.url = url
    if (facts.status !== undefined) this.status = facts.status
    if (facts.retryAfterMs !== undefined) this.retryAfterMs = facts.retryAfterMs
  }
}

/** A CAR that is damaged, incomplete or no CAR at all. */
export class CarError extends StorageError {
  override readonly name = 'CarError'
  override readonly code = 'car'
}

/** The storage was closed. */
export class ClosedError extends StorageError {
  override readonly name = 'ClosedError'
  override readonly code = 'closed'
}

/** What this context or this kind of storage can't do. */
export class NotSupportedError extends StorageError {
  override readonly name = 'NotSupportedError'
  override readonly code = 'not-supported'
}

/** The databases can't be opened, written or deleted here (disabled, private mode, held by another tab, storage gone). */
export class DatabaseError extends StorageError {
  override readonly name = 'DatabaseError'
  override readonly code = 'database'
  readonly database: string
  constructor(message: string, database: string, options?: ErrorOptions) {
    super(message, options)
    this.database = database
  }
}
