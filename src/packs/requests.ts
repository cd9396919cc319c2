// Requests that a pack worker makes by itself: what comes is gathered into leaves, hashed and held here until it is told which of them to write, so that no
// byte enters the thread that asked.
import { BufferPool } from '../blocks/buffer-pool.ts'
import { CHUNK_SIZE_BYTES, POOLED_CHUNKS } from '../limits.ts'
import { readerOf, type BodyReader } from './body-reader.ts'
import type { Buffer } from './service.ts'

/** A request as it can be sent to a worker. */
export interface RequestInWords {
  url: string
  init: RequestInit
}

/** Which bytes of a file an answer should have, and where the last leaf of all ends that are asked for. Leaves begin at multiples of CHUNK_SIZE_BYTES. */
export interface Stretch {
  from: number
  to: number
  limit: number
}

/** What an answer says before its body. */
export interface Head {
  status: number
  headers: [name: string, value: string][]
}

/** What one pull brought: leaves, one or more unless the answer ended. */
export interface Pulled {
  /** Bytes that came, also where they make no leaf yet: they are kept for the next answer. */
  bytes: number
  leaves: { id: number; digest: Buffer }[]
  /** The answer brings no more; `longer`: it should have ended, and did not. */
  end?: 'over' | 'broken' | 'stalled' | 'longer'
  message?: string
}

type Bytes = Uint8Array<ArrayBuffer>
type End = Pick<Pulled, 'end' | 'message'>

/** One request and its answer. */
interface Asked extends Stretch {
  /** How far it was read. */
  at: number
  request: AbortController
  reader: BodyReader | undefined
  /** Read and not in a leaf yet. */
  rest: Bytes
  isOver: boolean
}

/** One request after the other, whose leaves follow each other. */
interface Connection {
  asked: Asked | undefined
  /** The next leaf, which an answer may leave half full for the one after it. */
  leaf: Bytes | undefined
  filled: number
  /** Resolves when the pulls before have what they asked for. */
  before: Promise<unknown>
  held: Set<number>
}

/** Milliseconds after which a pull answers with what leaves it has: of a slow answer whoever waits hears leaf by leaf. */
const PULL_MS = 50
const NOTHING = new Uint8Array(0)
const EMPTY: BodyReader = { read: async () => undefined, cancel: async () => undefined }

/** Every method may be called at once. */
export interface Requests {
  /** Asks, in place of what that connection asked before. Rejects as fetch() does. */
  ask(connection: number, request: RequestInWords, stretch: Stretch): Promise<Head>
  /** The next leaves of the answer, so many at most. Behind the last one it is read to its end. */
  pull(connection: number, most: number, stallMs: number): Promise<Pulled>
  /** Ends the request. What has come of a leaf is kept for the next one. */
  hang(connection: number): Promise<void>
  /** Gives a leaf away. */
  take(leaf: number): Promise<{ buffer: Buffer }>
  /** Lets go of leaves that nobody needs. */
  letGo(leaves: readonly number[]): Promise<void>
  /** Ends a connection and lets go of all that it holds. */
  disconnect(connection: number): Promise<void>
}

/** The same, and for whoever writes leaves or ends the thread. */
export function createRequests(): Requests & { bytesOf(leaf: number): Bytes; hangAll(): void } {
  const connections = new Map<number, Connection>()
  const leaves = new Map<number, { connection: Connection; bytes: Bytes }>()
  const pool = new BufferPool(CHUNK_SIZE_BYTES, POOLED_CHUNKS)
  let next = 0

  const connectionOf = (id: number): Connection => {
    const known = connections.get(id)
    if (known !== undefined) return known
    const fresh: Connection = { asked: undefined, leaf: undefined, filled: 0, before: Promise.resolve(), held: new Set() }
    connections.set(id, fresh)
    return fresh
  }
  const bytesOf = (id: number): Bytes => {
    const leaf = leaves.get(id)
    if (leaf === undefined) throw new DOMException(`leaf ${id} is not held`, 'InvalidStateError')
    return leaf.bytes
  }
  const drop = (id: number): Bytes | undefined => {
    const leaf = leaves.get(id)
    leaves.delete(id)
    leaf?.connection.held.delete(id)
    return leaf?.bytes
  }
  const letGo = (ids: Iterable<number>): void => {
    for (const id of ids) {
      const bytes = drop(id)
      if (bytes !== undefined) pool.give(bytes.buffer)
    }
  }
  const hangUp = (asked: Asked | undefined): void => {
    if (asked === undefined || asked.isOver) return
    asked.isOver = true
    asked.reader?.cancel().catch(() => undefined)
    asked.request.abort()
  }
  const inTime = <T>(work: Promise<T>, milliseconds: number): Promise<T | 'stalled'> =>
    new Promise((resolve, reject) => {
      // Where this thread was kept from its work, by a disk, what has come meanwhile goes first.
      const late = (): void => {
        timer = setTimeout(() => resolve('stalled'))
      }
      let timer = setTimeout(late, milliseconds)
      work.then(resolve, reject).finally(() => clearTimeout(timer))
    })
  /** The next piece; what else it answers is why there is none. */
  const pieceOf = async ({ reader, rest, request }: Asked, stallMs: number): Promise<Bytes | End> => {
    if (rest.byteLength > 0) return rest
    if (reader === undefined) return { end: 'broken', message: 'it was not answered' }
    try {
      const piece = await inTime(reader.read(), stallMs)
      if (piece === 'stalled') return { end: 'stalled' }
      if (request.signal.aborted) return { end: 'broken', message: 'the request was ended' }
      return piece ?? { end: 'over' }
    } catch (error) {
      return { end: 'broken', message: String(error) }
    }
  }
  const isPiece = (answer: Bytes | End): answer is Bytes => answer instanceof Uint8Array
  /** A leaf, or what came of it and why it was no more. */
  const fill = async (connection: Connection, asked: Asked, stallMs: number): Promise<{ bytes: number; leaf?: Bytes } & End> => {
    let bytes = 0
    const size = Math.min(CHUNK_SIZE_BYTES, asked.limit - Math.floor(asked.at / CHUNK_SIZE_BYTES) * CHUNK_SIZE_BYTES)
    const leaf = (connection.leaf ??= size === CHUNK_SIZE_BYTES ? pool.take() : new Uint8Array(size))
    while (connection.filled < size) {
      const piece = await pieceOf(asked, stallMs)
      if (!isPiece(piece)) {
        hangUp(asked)
        return { bytes, ...piece }
      }
      const taken = piece.subarray(0, size - connection.filled)
      leaf.set(taken, connection.filled)
      connection.filled += taken.byteLength
      asked.rest = piece.subarray(taken.byteLength)
      asked.at += taken.byteLength
      bytes += taken.byteLength
    }
    connection.leaf = undefined
    connection.filled = 0
    return { bytes, leaf }
  }
  const fillAll = async (
    connection: Connection,
    asked: Asked,
    most: number,
    stallMs: number,
  ): Promise<{ bytes: number; filled: Bytes[] } & End> => {
    const filled: Bytes[] = []
    // What was pulled behind the end must not touch what is left of a leaf.
    if (asked.isOver) return { bytes: 0, filled, end: 'broken', message: 'the request is over' }
    const began = performance.now()
    let sum = 0
    while (filled.length < most && asked.at < asked.to && (filled.length === 0 || performance.now() - began < PULL_MS)) {
      const { bytes, leaf, ...end } = await fill(connection, asked, stallMs)
      sum += bytes
      if (leaf === undefined) return { bytes: sum, filled, ...end }
      filled.push(leaf)
    }
    if (asked.at < asked.to) return { bytes: sum, filled }
    // A connection whose answer was left unread is of no more use; one that breaks here has given all that was wanted.
    const isLonger = isPiece(await pieceOf(asked, stallMs))
    hangUp(asked)
    return { bytes: sum, filled, end: isLonger ? 'longer' : 'over' }
  }

  return {
    async ask(id, { url, init }, stretch) {
      const connection = connectionOf(id)
      hangUp(connection.asked)
      // Else bytes would come to lie where they don't belong.
      if (connection.filled !== stretch.from % CHUNK_SIZE_BYTES)
        throw new DOMException('the answer would not go on where the leaf ends', 'DataError')
      const asked: Asked = {
        ...stretch,
        at: stretch.from,
        request: new AbortController(),
        reader: undefined,
        rest: NOTHING,
        isOver: false,
      }
      connection.asked = asked
      const { status, headers, body } = await fetch(url, { ...init, signal: asked.request.signal })
      asked.reader = body === null ? EMPTY : readerOf(body)
      return { status, headers: [...headers] }
    },
    async pull(id, most, stallMs) {
      const connection = connections.get(id)
      const asked = connection?.asked
      if (connection === undefined || asked === undefined) return { bytes: 0, leaves: [], end: 'broken', message: 'nothing was asked' }
      const filling = connection.before.then(() => fillAll(connection, asked, most, stallMs))
      connection.before = filling
      const { filled, ...pulled } = await filling
      if (connections.get(id) !== connection) return { bytes: pulled.bytes, leaves: [], end: 'broken', message: 'the connection was ended' }
      const hold = async (bytes: Bytes): Promise<Pulled['leaves'][number]> => {
        const leaf = next++
        leaves.set(leaf, { connection, bytes })
        connection.held.add(leaf)
        return { id: leaf, digest: await crypto.subtle.digest('SHA-256', bytes) }
      }
      // The next ones are read meanwhile.
      return { ...pulled, leaves: await Promise.all(filled.map(hold)) }
    },
    async hang(id) {
      hangUp(connections.get(id)?.asked)
    },
    async take(id) {
      const { buffer } = bytesOf(id)
      drop(id)
      return { buffer }
    },
    async letGo(ids) {
      letGo(ids)
    },
    async disconnect(id) {
      const connection = connections.get(id)
      if (connection === undefined) return
      connections.delete(id)
      hangUp(connection.asked)
      letGo(connection.held)
    },
    bytesOf,
    hangAll() {
      for (const { asked } of connections.values()) hangUp(asked)
      connections.clear()
    },
  }
}
