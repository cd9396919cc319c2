// Requests that a pack worker makes by itself: what comes is gathered into leaves, hashed and held here until it is told which of them to write, so that no
// byte enters the thread that asked.
import type { Buffer } from './service.ts'

/** A request as it can be sent to a worker. */
export interface RequestInWords {
  url: string
  init: RequestInit
}

/** What an answer says before its body. */
export interface Head {
  status: number
  headers: [name: string, value: string][]
}

/** What one pull brought: a leaf, or why there is none. */
export interface Pulled {
  /** Bytes that came, also where they make no leaf yet: they are kept for the next pull. */
  bytes: number
  leaf?: { id: number; digest: Buffer }
  /** The answer ended too early, in that way; `longer`: it should have ended, and did not. */
  end?: 'over' | 'broken' | 'stalled' | 'longer'
  message?: string
}

interface Reader {
  read: () => Promise<Uint8Array<ArrayBuffer> | undefined>
  cancel: () => Promise<void>
}

interface Filled extends Omit<Pulled, 'leaf'> {
  filled?: Uint8Array<ArrayBuffer>
}

/** One request after the other, whose leaves follow each other. */
interface Connection {
  /** The number of what was asked last. */
  asked: number
  request: AbortController | undefined
  reader: Reader | undefined
  /** Read and not in a leaf yet. */
  rest: Uint8Array<ArrayBuffer>
  leaf: Uint8Array<ArrayBuffer> | undefined
  filled: number
  /** Resolves when the pulls before have what they asked for. */
  before: Promise<unknown>
  held: Set<number>
}

const READ_BYTES = 1 << 20
const POOLED = 16
const NOTHING = new Uint8Array(0)

/** Every method may be called at once. */
export interface Requests {
  /** Asks, in place of what that connection asked before, and gives that a number. Rejects as fetch() does. */
  ask(connection: number, number: number, request: RequestInWords): Promise<Head>
  /** The next so many bytes of what has that number. `last`: the answer should end behind them, and is read to its end. */
  pull(connection: number, number: number, size: number, last: boolean, stallMs: number): Promise<Pulled>
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
export function createRequests(): Requests & { bytesOf(leaf: number): Uint8Array<ArrayBuffer>; hangAll(): void } {
  const connections = new Map<number, Connection>()
  const leaves = new Map<number, { connection: Connection; bytes: Uint8Array<ArrayBuffer> }>()
  const free: Uint8Array<ArrayBuffer>[] = []
  let next = 0

  const connectionOf = (id: number): Connection => {
    const known = connections.get(id)
    if (known !== undefined) return known
    const fresh: Connection = {
      asked: -1,
      request: undefined,
      reader: undefined,
      rest: NOTHING,
      leaf: undefined,
      filled: 0,
      before: Promise.resolve(),
      held: new Set(),
    }
    connections.set(id, fresh)
    return fresh
  }
  const bufferOf = (size: number): Uint8Array<ArrayBuffer> => {
    const pooled = size === READ_BYTES ? free.pop() : undefined
    return pooled ?? new Uint8Array(size)
  }
  const bytesOf = (id: number): Uint8Array<ArrayBuffer> => {
    const leaf = leaves.get(id)
    if (leaf === undefined) throw new DOMException(`leaf ${id} is not held`, 'InvalidStateError')
    return leaf.bytes
  }
  const drop = (id: number): Uint8Array<ArrayBuffer> | undefined => {
    const leaf = leaves.get(id)
    leaves.delete(id)
    leaf?.connection.held.delete(id)
    return leaf?.bytes
  }
  const letGo = (ids: Iterable<number>): void => {
    for (const id of ids) {
      const bytes = drop(id)
      if (bytes?.byteLength === READ_BYTES && free.length < POOLED) free.push(bytes)
    }
  }
  const hangUp = (connection: Connection): void => {
    const { request, reader } = connection
    connection.request = undefined
    connection.reader = undefined
    connection.rest = NOTHING
    reader?.cancel().catch(() => undefined)
    request?.abort()
  }
  /** Into the same buffer each time, where the engine has bodies of bytes. */
  const readerOf = (body: ReadableStream<Uint8Array<ArrayBuffer>>): Reader => {
    let reader: ReadableStreamBYOBReader
    try {
      reader = body.getReader({ mode: 'byob' })
    } catch {
      const plain = body.getReader()
      return { read: async () => (await plain.read()).value, cancel: () => plain.cancel() }
    }
    let buffer = new ArrayBuffer(READ_BYTES)
    return {
      async read() {
        const { done, value } = await reader.read(new Uint8Array(buffer))
        if (done || value === undefined) return undefined
        buffer = value.buffer
        return value
      },
      cancel: () => reader.cancel(),
    }
  }
  const inTime = <T>(work: Promise<T>, milliseconds: number): Promise<T | 'stalled'> =>
    new Promise((resolve, reject) => {
      const timer = setTimeout(() => resolve('stalled'), milliseconds)
      work.then(resolve, reject).finally(() => clearTimeout(timer))
    })
  /** The next piece; what else it answers is why there is none. */
  const pieceOf = async (connection: Connection, stallMs: number): Promise<Uint8Array<ArrayBuffer> | Pick<Pulled, 'end' | 'message'>> => {
    const { reader, rest } = connection
    if (rest.byteLength > 0) return rest
    if (reader === undefined) return { end: 'broken', message: 'it was not asked for anything' }
    try {
      const piece = await inTime(reader.read(), stallMs)
      if (piece === 'stalled') return { end: 'stalled' }
      if (connection.reader !== reader) return { end: 'broken', message: 'the request was ended' }
      return piece ?? { end: 'over' }
    } catch (error) {
      return { end: 'broken', message: String(error) }
    }
  }
  const isPiece = (answer: Uint8Array<ArrayBuffer> | Pick<Pulled, 'end'>): answer is Uint8Array<ArrayBuffer> => answer instanceof Uint8Array
  const fill = async (connection: Connection, size: number, last: boolean, stallMs: number): Promise<Filled> => {
    let bytes = 0
    const leaf = (connection.leaf ??= bufferOf(size))
    while (connection.filled < size) {
      const piece = await pieceOf(connection, stallMs)
      if (!isPiece(piece)) return { bytes, ...piece }
      const taken = piece.subarray(0, size - connection.filled)
      leaf.set(taken, connection.filled)
      connection.filled += taken.byteLength
      connection.rest = piece.subarray(taken.byteLength)
      bytes += taken.byteLength
    }
    connection.leaf = undefined
    connection.filled = 0
    if (!last) return { bytes, filled: leaf }
    // A connection whose answer was left unread is of no more use; one that breaks here has given all that was wanted.
    const piece = await pieceOf(connection, stallMs)
    return isPiece(piece) ? { bytes, end: 'longer' } : { bytes, filled: leaf }
  }

  return {
    async ask(id, number, { url, init }) {
      const connection = connectionOf(id)
      hangUp(connection)
      connection.asked = number
      const request = (connection.request = new AbortController())
      const { status, headers, body } = await fetch(url, { ...init, signal: request.signal })
      if (connection.request !== request) throw new DOMException('the request was ended', 'AbortError')
      connection.reader = body === null ? { read: async () => undefined, cancel: async () => undefined } : readerOf(body)
      return { status, headers: [...headers] }
    },
    async pull(id, number, size, last, stallMs) {
      const connection = connectionOf(id)
      const work = async (): Promise<Filled> =>
        connection.asked === number
          ? fill(connection, size, last, stallMs)
          : { bytes: 0, end: 'broken', message: 'something else was asked' }
      const filling = connection.before.then(work)
      connection.before = filling
      const { filled, ...pulled } = await filling
      if (filled === undefined) return pulled
      if (connections.get(id) !== connection) return { ...pulled, end: 'broken', message: 'the connection was ended' }
      const leaf = next++
      leaves.set(leaf, { connection, bytes: filled })
      connection.held.add(leaf)
      // The next ones are read meanwhile.
      return { ...pulled, leaf: { id: leaf, digest: await crypto.subtle.digest('SHA-256', filled) } }
    },
    async hang(id) {
      const connection = connections.get(id)
      if (connection !== undefined) hangUp(connection)
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
      hangUp(connection)
      letGo(connection.held)
    },
    bytesOf,
    hangAll() {
      for (const connection of connections.values()) hangUp(connection)
      connections.clear()
    },
  }
}
