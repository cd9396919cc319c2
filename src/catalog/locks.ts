// The locks of a storage: Web Locks where the context has them, else locks of this realm alone.
import { StorageError } from '../errors.ts'

/** A lock that was taken. Released when the promise resolves, so that whoever asks then gets it. Releasing twice does nothing. */
export interface Held {
  release(): Promise<void>
}

/**
 * `shared` is held for one batch of a writer, `exclusive` for one step of a removal, `own` by an owner for its life. Waiting ends with the
 * signal's reason.
 */
export class Locks {
  readonly #name: string
  readonly #manager: LockManagerLike
  /** Other tabs and workers see these locks. Where false, freeing waits for an opening that nobody else answers. */
  readonly crossContext: boolean

  constructor(name: string, manager: LockManagerLike | undefined) {
    this.#name = `ipfs-kit:${name}`
    this.#manager = manager ?? new RealmLocks()
    this.crossContext = manager !== undefined
  }

  shared<T>(work: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    return this.#request(this.#name, { mode: 'shared', ...(signal === undefined ? {} : { signal }) }, work)
  }

  exclusive<T>(work: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    return this.#request(this.#name, { mode: 'exclusive', ...(signal === undefined ? {} : { signal }) }, work)
  }

  /** Takes the lock of an owner, or answers undefined where it is held: that owner is alive. */
  own(owner: string): Promise<Held | undefined> {
    return this.#hold(`${this.#name}:owner:${owner}`, 'exclusive', { ifAvailable: true })
  }

  /** As own, but waits until it is free. Rejects with the signal's reason. */
  async ownWhenFree(owner: string, signal: AbortSignal): Promise<Held> {
    const held = await this.#hold(`${this.#name}:owner:${owner}`, 'exclusive', { signal })
    if (held === undefined) throw new StorageError(`lock of owner ${owner} was neither given nor refused: this cannot be`)
    return held
  }

  /** Runs `work` unless somebody does such work already: then it waits until that is done, and answers undefined. */
  async makingRoom<T>(work: () => Promise<T>, signal: AbortSignal): Promise<T | undefined> {
    const name = `${this.#name}:room`
    const first = await this.#request(
      name,
      { mode: 'exclusive', ifAvailable: true },
      async (lock) => lock !== null && { done: await work() },
    )
    if (first !== false) return first.done
    await this.#request(name, { mode: 'shared', signal }, () => Promise.resolve())
    return undefined
  }

  /** Runs `alone`, which may fail, where no other context has the storage open; then answers what says that this one has. Rejects with the signal's reason. */
  async open(alone: () => Promise<void>, signal: AbortSignal): Promise<Held | undefined> {
    const name = `${this.#name}:open`
    let asked: Promise<Held | undefined> | undefined
    await this.#request(name, { mode: 'exclusive', ifAvailable: true }, async (lock) => {
      if (lock === null) return
      await alone().catch(() => undefined)
      // Before the other is let go of, so that nobody comes between.
      asked = this.#hold(name, 'shared', { signal })
      asked.catch(() => undefined)
    })
    return asked ?? this.#hold(name, 'shared', { signal })
  }

  packName(pack: string): string {
    return `${this.#name}:pack:${pack}`
  }

  /**
   * A pack's lock: shared by whoever reads it or has lent a Blob over it, exclusive for whoever removes it. undefined where `ifAvailable` is asked
   * for and it is not. Rejects with the signal's reason.
   */
  holdPack(
    pack: string,
    mode: 'shared' | 'exclusive',
    options: { ifAvailable?: boolean; signal?: AbortSignal } = {},
  ): Promise<Held | undefined> {
    return this.#hold(this.packName(pack), mode, options)
  }

  #hold(name: string, mode: 'shared' | 'exclusive', options: { ifAvailable?: boolean; signal?: AbortSignal }): Promise<Held | undefined> {
    return new Promise((resolve, reject) => {
      const over = this.#manager.request(name, { mode, ...options }, (lock) => {
        if (lock === null) {
          resolve(undefined)
          return Promise.resolve()
        }
        return new Promise<void>((end) => {
          resolve({
            async release() {
              end()
              await over
            },
          })
        })
      })
      over.catch(reject)
    })
  }

  async #request<T>(name: string, options: LockRequest, work: (lock: unknown) => Promise<T>): Promise<T> {
    return (await this.#manager.request(name, options, work)) as T
  }
}

interface LockRequest {
  mode: 'shared' | 'exclusive'
  ifAvailable?: boolean
  signal?: AbortSignal
}

/** The part of navigator.locks that is used. */
export interface LockManagerLike {
  request(name: string, options: LockRequest, callback: (lock: unknown) => Promise<unknown>): Promise<unknown>
}

interface Waiting {
  mode: 'shared' | 'exclusive'
  grant(): void
}

/** The same rules as the Web Locks API, for one realm: first come, first served; shared ones together. */
class RealmLocks implements LockManagerLike {
  readonly #queues = REALM_QUEUES

  async request(name: string, options: LockRequest, callback: (lock: unknown) => Promise<unknown>): Promise<unknown> {
    options.signal?.throwIfAborted()
    const queue = this.#queues.get(name) ?? { held: [], waiting: [] }
    this.#queues.set(name, queue)
    const free = queue.waiting.length === 0 && compatible(queue.held, options.mode)
    if (!free && options.ifAvailable === true) return callback(null)
    if (free) queue.held.push(options.mode)
    else await this.#wait(name, queue, options)
    try {
      return await callback({ name, mode: options.mode })
    } finally {
      queue.held.splice(queue.held.indexOf(options.mode), 1)
      this.#grant(name, queue)
    }
  }

  #wait(name: string, queue: Queue, options: LockRequest): Promise<void> {
    return new Promise((resolve, reject) => {
      const grant = (): void => {
        queue.held.push(options.mode)
        resolve()
      }
      const waiting: Waiting = { mode: options.mode, grant }
      queue.waiting.push(waiting)
      options.signal?.addEventListener(
        'abort',
        () => {
          const index = queue.waiting.indexOf(waiting)
          if (index < 0) return
          queue.waiting.splice(index, 1)
          this.#grant(name, queue)
          reject(options.signal?.reason as Error)
        },
        { once: true },
      )
    })
  }

  #grant(name: string, queue: Queue): void {
    for (let next = queue.waiting[0]; next !== undefined && compatible(queue.held, next.mode); next = queue.waiting[0]) {
      queue.waiting.shift()
      next.grant()
    }
    if (queue.held.length === 0) this.#queues.delete(name)
  }
}

interface Queue {
  held: ('shared' | 'exclusive')[]
  waiting: Waiting[]
}

const REALM_QUEUES: Map<string, Queue> = new Map()

function compatible(held: readonly string[], mode: 'shared' | 'exclusive'): boolean {
  return held.length === 0 || (mode === 'shared' && held.every((other) => other === 'shared'))
}
