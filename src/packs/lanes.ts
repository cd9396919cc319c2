// Workers that read, write and hash packs, and read records, beside this thread: one from the beginning, a second one once there is work for two.
import { NotSupportedError } from '../errors.ts'
import { CHUNK_SIZE_BYTES, PACK_FLUSH_BYTES, PACK_LANES, PACK_WORKER_TIMEOUT_MS } from '../limits.ts'
import { Connection } from './connection.ts'
import { InThread, workersMayHang, type WorkerLike } from './in-thread.ts'
import type { Folder, Part, ReadRun, Run, Service } from './service.ts'
import type { Answer, Request } from './worker.ts'
import { WORKER_CODE } from './worker-code.ts'

type Method = keyof Service

interface Waiting {
  resolve(value: unknown): void
  reject(error: unknown): void
}

/** One worker, its calls under way and the bytes that they are about. */
export class Lane {
  readonly #worker: WorkerLike
  readonly #waiting = new Map<number, Waiting>()
  #next = 0
  #ended: Error | undefined
  readonly #over = new AbortController()
  #greeted: (() => void) | undefined
  readonly ready: Promise<void>
  /** Bytes that it was asked to work on and has not answered. */
  load = 0
  /** Downloads that it is at. */
  connections = 0
  #isReady = false

  constructor(createWorker: () => WorkerLike) {
    this.#worker = createWorker()
    this.ready = new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.end(new NotSupportedError(`the pack worker said nothing for ${PACK_WORKER_TIMEOUT_MS} ms: does its script call servePacks()?`))
      }, PACK_WORKER_TIMEOUT_MS)
      this.#greeted = () => {
        clearTimeout(timer)
        this.#isReady = true
        resolve()
      }
      this.#waiting.set(-1, { resolve: () => undefined, reject })
    })
    this.ready.catch(() => undefined)
    this.#worker.addEventListener('message', (event: MessageEvent<Answer>) => this.#hear(event.data))
    this.#worker.addEventListener('error', (event) => {
      event.preventDefault()
      this.end(
        new NotSupportedError(`the pack worker could not be started: ${event.message || 'its script was refused or failed to load'}`),
      )
    })
  }

  call<M extends Method>(
    method: M,
    args: Parameters<Service[M]>,
    options: { transfer?: Transferable[]; bytes?: number } = {},
  ): ReturnType<Service[M]> {
    const { transfer = [], bytes = 0 } = options
    this.load += bytes
    const answer = new Promise((resolve, reject) => {
      if (this.#ended !== undefined) throw this.#ended
      const id = this.#next++
      this.#waiting.set(id, { resolve, reject })
      this.#worker.postMessage({ id, method, args } as Request, transfer)
    })
    const settled = (): void => {
      this.load -= bytes
    }
    answer.then(settled, settled)
    return answer as ReturnType<Service[M]>
  }

  /** The worker holds that lock while it lives: one that its application terminates would else leave calls waiting for ever. */
  #watch(lock: string): void {
    const died = (): void => this.end(new NotSupportedError('the pack worker was terminated'))
    // Rejects where the lane ends first.
    navigator.locks.request(lock, { signal: this.#over.signal }, died).catch(() => undefined)
  }

  end(error: Error): void {
    if (this.#ended !== undefined) return
    this.#ended = error
    this.#over.abort()
    this.#worker.terminate()
    for (const waiting of this.#waiting.values()) waiting.reject(error)
    this.#waiting.clear()
  }

  get isAlive(): boolean {
    return this.#ended === undefined
  }

  /** It has started, and not ended. */
  get isAvailable(): boolean {
    return this.#isReady && this.isAlive
  }

  #hear(answer: Answer): void {
    if ('type' in answer) {
      this.#waiting.delete(-1)
      this.#greeted?.()
      if (answer.lock !== undefined) this.#watch(answer.lock)
      return
    }
    const waiting = this.#waiting.get(answer.id)
    this.#waiting.delete(answer.id)
    if ('error' in answer) waiting?.reject(new DOMException(answer.error.message, answer.error.name))
    else waiting?.resolve(answer.value)
  }
}

export class Lanes {
  readonly #createWorker: () => WorkerLike
  readonly #lanes: Lane[]
  readonly #folder: Folder
  /** Which lane writes a pack. */
  readonly #writers = new Map<string, Lane>()
  /** This thread is one, however often it is asked. */
  readonly #most = workersMayHang() ? 1 : PACK_LANES
  /** Packs can be read by sync handles while others have them open. */
  readonly sharedReading: boolean

  private constructor(createWorker: () => WorkerLike, first: Lane, folder: Folder, sharedReading: boolean) {
    this.#createWorker = createWorker
    this.#lanes = [first]
    this.#folder = folder
    this.sharedReading = sharedReading
  }

  /**
   * Starts a worker and lets it try what it will be asked for.
   *
   * @throws NotSupportedError where this context can't make workers or the worker has no sync access handles
   */
  static async open(folder: Folder, probeName: string, given?: () => Worker): Promise<Lanes> {
    if (workersMayHang() && !('FileSystemSyncAccessHandle' in globalThis)) {
      throw new NotSupportedError('a shared worker of Firefox writes no packs: making the workers that do may hang it')
    }
    const createWorker = makerOf(given)
    const lane = firstLane(createWorker)
    try {
      await lane.ready
      const { sharedReading } = await lane.call('probe', [folder, probeName])
      return new Lanes(createWorker, lane, folder, sharedReading)
    } catch (cause) {
      lane.end(new NotSupportedError('the pack worker was not used'))
      throw cause instanceof NotSupportedError
        ? cause
        : new NotSupportedError(`the private file system can't be written here (${String(cause)})`, { cause })
    }
  }

  /** Starts a worker for reading records: it need not be able to do anything with packs. @throws NotSupportedError */
  static async openForRecords(createWorker: () => Worker = inlineWorker): Promise<Lanes> {
    if (workersMayHang()) throw new NotSupportedError('making a worker may hang this one')
    const lane = firstLane(createWorker)
    await lane.ready
    return new Lanes(createWorker, lane, [], false)
  }

  /** `connection`: whose leaves are to be written to it. */
  create(pack: string, connection?: Connection): Promise<void> {
    const lane = connection?.lane ?? this.#idlest()
    this.#writers.set(pack, lane)
    return lane.call('create', [this.#folder, pack])
  }

  write(pack: string, parts: Part[]): ReturnType<Service['write']> {
    const transfer = parts.filter((part) => typeof part !== 'number')
    const bytes = transfer.reduce((sum, buffer) => sum + buffer.byteLength, 0) + (parts.length - transfer.length) * CHUNK_SIZE_BYTES
    return this.#writer(pack).call('write', [pack, parts], { transfer, bytes })
  }

  /** Resolves when as many workers as so many downloads need, and there may be, have started or failed. */
  async prepare(connections: number): Promise<void> {
    while (this.#lanes.length < connections && this.#start() !== undefined);
    await Promise.allSettled(this.#lanes.map(({ ready }) => ready))
  }

  /** A download by the worker that has the fewest of them. */
  connect(): Connection {
    const [first, ...others] = this.#lanes.filter(({ isAvailable }) => isAvailable)
    if (first === undefined) throw new NotSupportedError('the pack workers have ended')
    return new Connection(others.reduce((least, lane) => (lane.connections < least.connections ? lane : least), first))
  }

  /** Nothing else is done by that worker meanwhile: as much as it may push to the disk counts as its load. */
  flush(pack: string): Promise<void> {
    return this.#writer(pack).call('flush', [pack], { bytes: PACK_FLUSH_BYTES })
  }

  async seal(pack: string): Promise<number> {
    const bytes = await this.#writer(pack).call('seal', [pack], { bytes: PACK_FLUSH_BYTES })
    this.#writers.delete(pack)
    return bytes
  }

  async drop(pack: string): Promise<void> {
    const lane = this.#writers.get(pack)
    this.#writers.delete(pack)
    await lane?.call('drop', [pack])
  }

  /** `buffer` is given away, and comes back in the answer where it has the size. */
  read(pack: string, run: Run, options: { hash: boolean; buffer?: ArrayBuffer | undefined }): Promise<ReadRun> {
    const bytes = run.lengths.reduce((sum, length) => sum + length, 0)
    const transfer = options.buffer === undefined ? [] : [options.buffer]
    return this.#idlest(bytes).call('read', [this.#folder, pack, run, options], { transfer, bytes })
  }

  /** Whether the bytes at each place of a pack are those of the buffer. The buffers come back. */
  compare(
    pack: string,
    packBytes: number,
    places: readonly number[],
    buffers: ArrayBuffer[],
  ): Promise<{ buffers: ArrayBuffer[]; same: boolean[] }> {
    const bytes = buffers.reduce((sum, buffer) => sum + buffer.byteLength, 0)
    return this.#idlest(bytes).call('compare', [this.#folder, pack, packBytes, places, buffers], { transfer: buffers, bytes })
  }

  /** Closes what was opened for reading. */
  async release(pack: string): Promise<void> {
    await Promise.all(this.#lanes.map((lane) => lane.call('release', [pack])))
  }

  /** Records as they lie in a database, undefined where there is none, and their SHA-256 where asked for. */
  records(database: string, keys: readonly string[], hash: boolean): ReturnType<Service['records']> {
    const bytes = keys.length * CHUNK_SIZE_BYTES
    return this.#idlest(bytes).call('records', [database, keys, hash], { bytes })
  }

  hash(buffer: ArrayBuffer): Promise<{ buffers: ArrayBuffer[]; digests: ArrayBuffer[] }> {
    return this.#idlest(buffer.byteLength).call('hash', [[buffer]], { transfer: [buffer], bytes: buffer.byteLength })
  }

  get isAlive(): boolean {
    return this.#lanes[0]?.isAlive === true
  }

  close(reason: Error): void {
    for (const lane of this.#lanes) lane.end(reason)
  }

  #writer(pack: string): Lane {
    const lane = this.#writers.get(pack)
    if (lane === undefined) throw new DOMException(`pack ${pack} is not being written`, 'InvalidStateError')
    return lane
  }

  /** The lane with the least to do; a new one where all are at work and there may be more. */
  #idlest(bytes = 0): Lane {
    const [first, ...others] = this.#lanes
    if (first === undefined) throw new NotSupportedError('the pack workers have ended')
    // Until one has started the others go on; one that fails is left out.
    const lane = others.reduce((least, other) => (other.load < least.load && other.isAvailable ? other : least), first)
    if (lane.load > 0 && bytes > 0) this.#start()
    return lane
  }

  /** Another one, where there may be more; undefined where there may not. */
  #start(): Lane | undefined {
    if (this.#lanes.length >= this.#most) return undefined
    try {
      const fresh = new Lane(this.#createWorker)
      this.#lanes.push(fresh)
      return fresh
    } catch {
      // One worker does it as well.
      return undefined
    }
  }
}

function makerOf(given: (() => Worker) | undefined): () => WorkerLike {
  return workersMayHang() ? () => new InThread() : (given ?? inlineWorker)
}

function firstLane(createWorker: () => WorkerLike): Lane {
  try {
    return new Lane(createWorker)
  } catch (cause) {
    throw cause instanceof NotSupportedError ? cause : new NotSupportedError(`no pack worker could be made (${String(cause)})`, { cause })
  }
}

let inlineUrl: string | undefined

/** A worker from text, so that no bundler has to know of it. A Content-Security-Policy may refuse it: then `createWorker` makes one. */
function inlineWorker(): Worker {
  // Never revoked: browsers differ in when a worker has read it, and one a realm is a few kB.
  inlineUrl ??= URL.createObjectURL(new Blob([WORKER_CODE], { type: 'text/javascript' }))
  return new Worker(inlineUrl, { name: 'ipfs-kit-web packs' })
}
