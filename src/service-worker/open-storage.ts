// The storage that is served from: opened when the first request comes, in bounded time, and anew after a failure or when it was destroyed.
import { DatabaseError } from '../errors.ts'
import { settlesWithin } from '../network/abort.ts'
import { BaseStorage } from '../storage.ts'
import type { ResolvedHandlerOptions } from './options.ts'

export class OpenStorage {
  readonly #options: ResolvedHandlerOptions
  #storage: BaseStorage | undefined

  constructor(options: ResolvedHandlerOptions) {
    this.#options = options
  }

  /** @throws DatabaseError where it does not open, or not in time */
  async get(): Promise<BaseStorage> {
    const { storage: given, openTimeoutMs } = this.#options
    if (given instanceof BaseStorage) return this.#opened(given, openTimeoutMs)
    if (this.#storage?.isDestroyed === true) this.#drop(this.#storage)
    this.#storage ??= new BaseStorage(given)
    const storage = this.#storage
    try {
      return await this.#opened(storage, openTimeoutMs)
    } catch (error) {
      // One that only takes long may open yet.
      if (!(error instanceof SlowError)) this.#drop(storage)
      throw error
    }
  }

  #drop(storage: BaseStorage): void {
    if (this.#storage !== storage) return
    this.#storage = undefined
    void storage.close().catch(() => undefined)
  }

  async #opened(storage: BaseStorage, milliseconds: number): Promise<BaseStorage> {
    const opened = storage.opened()
    if (!(await settlesWithin(opened, milliseconds))) {
      throw new SlowError(`the storage did not open within ${milliseconds} ms: try again`, 'catalog')
    }
    await opened
    return storage
  }
}

class SlowError extends DatabaseError {}
