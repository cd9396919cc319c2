// One IndexedDB database, opened so that nothing hangs: the events of the specification turned into promises and typed errors.
import { ClosedError, DatabaseError, QuotaError, StorageError } from '../errors.ts'
import {
  DATABASE_BLOCKED_TIMEOUT_MS,
  DATABASE_OPEN_TIMEOUT_MS,
  DATABASE_OPEN_TRIES,
  KEYS_READ_FACTOR,
  KEYS_READ_MIN,
  MARKS_READ_WHOLE,
} from '../limits.ts'

const PAGE_ROWS = 256

/** 'upgraded' costs nothing: the database is opened again at the next use. 'evicted': it was, and there is another one of its name. */
export type DatabaseLoss = 'deleted' | 'terminated' | 'upgraded' | 'evicted'

export interface DatabaseInit {
  name: string
  factory: IDBFactory
  /** Absent: whatever version exists. */
  version?: number
  upgrade(db: IDBDatabase, transaction: IDBTransaction): void
  /** Tells a database whose object stores are not all there; it is opened again with the next version, and `upgrade` completes it. */
  lacks?(db: IDBDatabase): boolean
  /** Looks at each new connection before it is used, also at one that is made after another context upgraded the database. */
  check?(db: IDBDatabase): Promise<void>
  /** Another context deleted it, or the browser took it away. */
  onLost?(loss: DatabaseLoss): void
}

/** The result of a request. */
export function result<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result)
    request.onerror = () => reject(request.error ?? new DOMException('request failed', 'UnknownError'))
  })
}

/**
 * Which of the keys are in a store, or in a range of it, that may hold few: one request tells, and only where it holds more than a few times as many
 * as are asked for is each looked up.
 */
export async function keysAmong<K extends string>(
  store: IDBObjectStore,
  keys: readonly K[],
  range: IDBKeyRange | null = null,
): Promise<Set<K>> {
  const limit = Math.max(MARKS_READ_WHOLE, keys.length < KEYS_READ_MIN ? 0 : keys.length * KEYS_READ_FACTOR)
  const first = await result(store.getAllKeys(range, limit + 1))
  if (first.length <= limit) {
    const few = new Set(first)
    return new Set(few.size === 0 ? [] : keys.filter((key) => few.has(key)))
  }
  const found = await Promise.all(keys.map(async (key) => (await result(store.getKey(key))) !== undefined))
  return new Set(keys.filter((_, index) => found[index] === true))
}

/** All rows of a store in the order of their keys, some at a time. */
export async function* pagesOf<T>(store: IDBObjectStore, keyOf: (row: T) => unknown): AsyncGenerator<T[], void, undefined> {
  for (let range: IDBKeyRange | null = null; ;) {
    const page: T[] = await result<T[]>(store.getAll(range, PAGE_ROWS))
    const last = page.at(-1)
    if (last === undefined) return
    yield page
    range = keyRange(store.transaction, keyOf(last), [[]], true)
  }
}

/** Adds a value unless its key, or one in a unique index, is there: one request where a look-up first would take two. */
export function added(store: IDBObjectStore, value: unknown, key?: IDBValidKey): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const request = store.add(value, key)
    request.onsuccess = () => resolve(true)
    request.onerror = (event) => {
      if (request.error?.name !== 'ConstraintError') {
        reject(request.error ?? new DOMException('request failed', 'UnknownError'))
        return
      }
      // Must not abort the transaction.
      event.preventDefault()
      event.stopPropagation()
      resolve(false)
    }
  })
}

/** Where a memory tier's transactions get their ranges from: IndexedDB takes none but its own implementation's. */
export const memoryRanges: { bound?: typeof IDBKeyRange.bound } = {}

/** A key range for requests of this transaction. */
export function keyRange(tx: IDBTransaction, lower: unknown, upper: unknown, lowerOpen = false, upperOpen = false): IDBKeyRange {
  const native = typeof IDBTransaction !== 'undefined' && tx instanceof IDBTransaction
  const bound = native ? IDBKeyRange.bound.bind(IDBKeyRange) : memoryRanges.bound
  if (bound === undefined) throw new DatabaseError('the memory tier was not loaded: this cannot be', tx.db.name)
  return bound(lower, upper, lowerOpen, upperOpen)
}

/**
 * A database that gives way to others: when another context upgrades it, the connection is closed at once and made again at the next use; when
 * another deletes it, every later use is a DatabaseError.
 */
export class Database {
  readonly name: string
  readonly #init: DatabaseInit
  /** What is under way, and whom to tell that its connection was lost. */
  readonly #running = new Map<IDBTransaction, (reason: unknown) => void>()
  #connection: Promise<IDBDatabase> | undefined
  #ended: Error | undefined

  constructor(init: DatabaseInit) {
    this.name = init.name
    this.#init = init
  }

  /** Opens the database where it is not open yet. @throws DatabaseError, ClosedError */
  async open(): Promise<IDBDatabase> {
    if (this.#ended !== undefined) throw this.#ended
    this.#connection ??= this.#connect().catch((error: unknown) => {
      this.#connection = undefined
      throw error
    })
    return this.#connection
  }

  /**
   * Runs `work` in one transaction and resolves with its answer when the transaction is complete. Whatever `work` throws aborts it.
   * `work` must await nothing but requests of the transaction. Writes are on the disk by then, unless `durability` says otherwise.
   *
   * @throws QuotaError, DatabaseError, and what `work` throws
   */
  async run<T>(
    stores: string | string[],
    mode: IDBTransactionMode,
    work: (transaction: IDBTransaction) => Promise<T>,
    durability: IDBTransactionDurability = mode === 'readwrite' ? 'strict' : 'default',
  ): Promise<T> {
    const transaction = await this.#begin(stores, mode, durability)
    // Must not be left to the transaction: Chromium ends one that meets the loss of its connection neither way.
    const lost = new Promise<never>((_, reject) => {
      this.#running.set(transaction, reject)
    })
    try {
      return await Promise.race([this.#finish(transaction, mode, work), lost])
    } finally {
      this.#running.delete(transaction)
    }
  }

  async #finish<T>(transaction: IDBTransaction, mode: IDBTransactionMode, work: (transaction: IDBTransaction) => Promise<T>): Promise<T> {
    const complete = new Promise<void>((resolve, reject) => {
      transaction.oncomplete = () => resolve()
      transaction.onabort = () => reject(transaction.error ?? new DOMException(`transaction on ${this.name} was aborted`, 'AbortError'))
    })
    let answer: T
    try {
      answer = await work(transaction)
    } catch (error) {
      try {
        transaction.abort()
      } catch {
        // It is over already: what ended it says more than the request that failed with it.
      }
      const reason: unknown = await complete.then(
        () => error,
        (cause: unknown) => (isAbort(error) ? cause : error),
      )
      throw this.#explain(reason, mode)
    }
    try {
      if (mode === 'readwrite') transaction.commit?.()
    } catch {
      // Must not matter: a transaction without further requests commits by itself.
    }
    await complete.catch((error: unknown) => {
      throw this.#explain(error, mode)
    })
    return answer
  }

  /** Closes the connection; later uses reject with `reason`. May be called twice. */
  async close(reason: Error = new ClosedError(`the storage was closed: make a new one to go on`)): Promise<void> {
    this.#ended ??= reason
    const connection = this.#connection
    this.#connection = undefined
    if (connection !== undefined) (await connection.catch(() => undefined))?.close()
  }

  async #begin(stores: string | string[], mode: IDBTransactionMode, durability: IDBTransactionDurability): Promise<IDBTransaction> {
    for (let attempt = 0; ; attempt++) {
      const db = await this.open()
      try {
        return db.transaction(stores, mode, { durability })
      } catch (error) {
        // The connection may have been closed for another context's sake between open() and here.
        if (attempt > 0 || !(error instanceof DOMException) || error.name !== 'InvalidStateError') throw this.#explain(error, mode)
        this.#connection = undefined
      }
    }
  }

  async #connect(tries = 1): Promise<IDBDatabase> {
    let db = await openRequest(this.#init, this.#init.version).catch((error: unknown) => {
      // The browser was about to take away what was there: now it begins anew.
      if (error instanceof DatabaseError && isAbort(error.cause)) return openRequest(this.#init, this.#init.version)
      throw error
    })
    if (this.#init.lacks?.(db) === true) {
      const version = db.version + 1
      db.close()
      try {
        db = await openRequest(this.#init, version)
      } catch (error) {
        if (!(error instanceof DatabaseError && error.cause instanceof DOMException && error.cause.name === 'VersionError')) throw error
        // Another context completed it meanwhile.
        db = await openRequest(this.#init, undefined)
      }
    }
    // Before it is looked at: whoever deletes it meanwhile would wait, and nobody would hear of it.
    const state = this.#giveWay(db)
    try {
      await this.#init.check?.(db)
      if (this.#ended !== undefined) throw this.#ended
    } catch (error) {
      db.close()
      if (this.#ended !== undefined) throw this.#ended
      if (!state.isLost || tries === DATABASE_OPEN_TRIES) throw error
    }
    state.isChecked = true
    // It gave way to an upgrade, or the browser took it: what is there now is looked at.
    return state.isLost && tries < DATABASE_OPEN_TRIES ? this.#connect(tries + 1) : db
  }

  #giveWay(db: IDBDatabase): { isLost: boolean; isChecked: boolean } {
    const state = { isLost: false, isChecked: false }
    const lose = (): void => {
      state.isLost = true
      // Before that it is nobody's.
      if (state.isChecked) this.#connection = undefined
    }
    db.onversionchange = (event) => {
      lose()
      db.close()
      if (event.newVersion !== null) {
        this.#init.onLost?.('upgraded')
        return
      }
      this.#ended ??= new DatabaseError(
        `database '${this.name}' was deleted by another tab or worker: make a new storage to begin again`,
        this.name,
      )
      this.#init.onLost?.('deleted')
    }
    db.onclose = () => {
      lose()
      const cause = new DOMException('the browser took it away', 'AbortError')
      for (const [transaction, end] of this.#running) if (transaction.db === db) end(this.#explain(cause, transaction.mode))
      this.#init.onLost?.('terminated')
    }
    return state
  }

  #explain(error: unknown, mode: IDBTransactionMode): unknown {
    if (error instanceof StorageError) return error
    if (!isDomException(error)) return error
    if (error.name === 'QuotaExceededError') {
      return noRoom(this.name, error)
    }
    if (this.#ended !== undefined) return this.#ended
    const what = mode === 'readwrite' ? 'write to' : 'read'
    return new DatabaseError(`could not ${what} database '${this.name}' (${error.name}: ${error.message})`, this.name, { cause: error })
  }
}

/** Deletes a database. @throws DatabaseError where another context holds it open past DATABASE_BLOCKED_TIMEOUT_MS */
export function deleteDatabase(factory: IDBFactory, name: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const request = factory.deleteDatabase(name)
    const timer = setTimeout(() => {
      reject(
        new DatabaseError(
          `database '${name}' is held open by another tab: nobody can use it any more, and it goes when that tab closes, or at the next opening`,
          name,
        ),
      )
    }, DATABASE_BLOCKED_TIMEOUT_MS)
    request.onsuccess = () => {
      clearTimeout(timer)
      resolve()
    }
    request.onerror = () => {
      clearTimeout(timer)
      reject(new DatabaseError(`could not delete database '${name}' (${String(request.error)})`, name, { cause: request.error }))
    }
  })
}

function openRequest(init: DatabaseInit, version: number | undefined): Promise<IDBDatabase> {
  return new Promise((resolve, reject) => {
    let late = false
    const fail = (message: string, cause?: unknown): void => {
      late = true
      clearTimeout(timer)
      const isFull = isDomException(cause) && cause.name === 'QuotaExceededError'
      reject(isFull ? noRoom(init.name, cause) : new DatabaseError(message, init.name, cause === undefined ? undefined : { cause }))
    }
    let timer = setTimeout(() => {
      fail(`database '${init.name}' did not open: another tab is deleting or holding it; close other tabs of this site and try again`)
    }, DATABASE_OPEN_TIMEOUT_MS)
    let request: IDBOpenDBRequest
    try {
      request = version === undefined ? init.factory.open(init.name) : init.factory.open(init.name, version)
    } catch (cause) {
      fail(`this context refuses IndexedDB (${String(cause)})`, cause)
      return
    }
    request.onupgradeneeded = () => {
      const transaction = request.transaction
      if (late || transaction === null) {
        transaction?.abort()
        return
      }
      init.upgrade(request.result, transaction)
    }
    request.onblocked = () => {
      clearTimeout(timer)
      timer = setTimeout(() => {
        fail(
          `database '${init.name}' is held by a tab with older code that does not give way: close the other tabs of this site and try again`,
        )
      }, DATABASE_BLOCKED_TIMEOUT_MS)
    }
    request.onsuccess = () => {
      clearTimeout(timer)
      if (late) request.result.close()
      else resolve(request.result)
    }
    request.onerror = () => {
      if (!late) fail(`could not open database '${init.name}' (${String(request.error)})`, request.error)
    }
  })
}

function noRoom(name: string, cause: unknown): QuotaError {
  return new QuotaError(`the browser has no room left for database '${name}': delete or unpin something, or free disk space`, {}, { cause })
}

function isDomException(error: unknown): error is { name: string; message: string } {
  return (
    (typeof DOMException !== 'undefined' && error instanceof DOMException) ||
    (error instanceof Error && error.constructor.name.startsWith('FDB'))
  )
}

function isAbort(error: unknown): boolean {
  return isDomException(error) && error.name === 'AbortError'
}
