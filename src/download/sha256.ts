// SHA-256 of a whole that comes piece by piece, which crypto.subtle can't do: by WebAssembly, beside a page where it has workers, else in JavaScript.
import { sha256 } from '@noble/hashes/sha2.js'
import { bytesToHex } from '@noble/hashes/utils.js'
import { StorageError } from '../errors.ts'
import { load } from '../lazy.ts'
import { HASH_WORKER_TIMEOUT_MS, HASHED_BESIDE_BYTES } from '../limits.ts'
import type { HashAnswer, HashRequest } from './hash-worker.ts'

/** Takes pieces in order, one at a time. It must be ended. */
export interface Sha256 {
  /** Resolves when it may take another one. */
  update(piece: Uint8Array): Promise<void> | void
  hex(): Promise<string> | string
  end(): void
}

/** `size` is that of the whole, where it is known: what is small is hashed here. */
export async function createSha256(size: number = Number.POSITIVE_INFINITY): Promise<Sha256> {
  const isPage = typeof document !== 'undefined' && typeof Worker !== 'undefined'
  return (isPage && size > HASHED_BESIDE_BYTES ? await inWorker() : undefined) ?? here()
}

/** The pieces as they are, each hashed before it is passed on. */
export async function* hashed<T extends Uint8Array>(pieces: AsyncIterable<T>, hasher: Sha256): AsyncGenerator<T, void, undefined> {
  for await (const piece of pieces) {
    await hasher.update(piece)
    yield piece
  }
}

async function here(): Promise<Sha256> {
  const end = (): void => undefined
  try {
    const { createSHA256 } = await load('hashWasm')
    const hasher = await createSHA256()
    hasher.init()
    return { update: (piece) => void hasher.update(piece), hex: () => hasher.digest('hex'), end }
  } catch {
    // A Content-Security-Policy may forbid WebAssembly, and its code may not load: slower, the same.
    const hasher = sha256.create()
    return { update: (piece) => void hasher.update(piece), hex: () => bytesToHex(hasher.digest()), end }
  }
}

/** undefined where no worker can be made from text, or it can't do it. */
async function inWorker(): Promise<Sha256 | undefined> {
  let worker: Worker
  try {
    const { HASH_CODE } = await load('hashCode')
    const url = URL.createObjectURL(new Blob([HASH_CODE], { type: 'text/javascript' }))
    worker = new Worker(url, { name: 'ipfs-kit-web hash' })
    URL.revokeObjectURL(url)
  } catch {
    return undefined
  }
  const remote = new RemoteSha256(worker)
  return (await remote.isReady) ? remote : undefined
}

class RemoteSha256 implements Sha256 {
  readonly #worker: Worker
  readonly isReady: Promise<boolean>
  #answered: (answer: HashAnswer) => void = () => undefined
  #failed: (error: Error) => void = () => undefined
  #over: Error | undefined
  #before: Promise<HashAnswer | undefined> = Promise.resolve(undefined)

  constructor(worker: Worker) {
    this.#worker = worker
    worker.addEventListener('message', ({ data }: MessageEvent<HashAnswer>) => this.#answered(data))
    worker.addEventListener('error', (event) => {
      event.preventDefault()
      this.#end(new StorageError(`the worker that hashes ended: ${event.message}`))
    })
    this.isReady = this.#greeted()
  }

  async #greeted(): Promise<boolean> {
    let timer: ReturnType<typeof setTimeout> | undefined
    const late = new Promise<undefined>((resolve) => {
      timer = setTimeout(() => resolve(undefined), HASH_WORKER_TIMEOUT_MS)
    })
    const answer = await Promise.race([this.#next(), late]).catch(() => undefined)
    clearTimeout(timer)
    if (answer !== undefined && 'ready' in answer) return true
    this.end()
    return false
  }

  /** One is on its way while the next one is made ready. */
  async update(piece: Uint8Array): Promise<void> {
    const before = this.#before
    const copy = new Uint8Array(piece).buffer
    await before
    this.#before = this.#next()
    this.#before.catch(() => undefined)
    this.#worker.postMessage({ piece: copy } satisfies HashRequest, [copy])
  }

  async hex(): Promise<string> {
    await this.#before
    const answer = this.#next()
    this.#worker.postMessage({ end: true } satisfies HashRequest)
    const end = await answer
    if (!('hex' in end)) throw new StorageError('the worker that hashes answered no hash')
    return end.hex
  }

  end(): void {
    this.#end(new StorageError('the worker that hashes was ended'))
  }

  #end(error: Error): void {
    this.#over ??= error
    this.#worker.terminate()
    this.#failed(error)
  }

  #next(): Promise<HashAnswer> {
    return new Promise((resolve, reject) => {
      if (this.#over !== undefined) return reject(this.#over)
      this.#answered = resolve
      this.#failed = reject
    })
  }
}
