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
  /** Bytes that came, also where they make no leaf yet: they are kept for the next answer. */
  bytes: number
  leaf?: { id: number; digest: Buffer }
  /** The answer ended before the leaf did, in that way, and brings no more; `longer`: it should have ended, and did not. */
  end?: 'over' | 'broken' | 'stalled' | 'longer'
  message?: string
}

type Bytes = Uint8Array<ArrayBuffer>
type End = Pick<Pulled, 'end' | 'message'>

interface Reader {
  read: () => Promise<Bytes | undefined>
  cancel: () => Promise<void>
}

/** One request and its answer. */
interface Asked {
  request: AbortController
  reader: Reader | undefined
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

const READ_BYTES = 1 << 20
const POOLED = 16
const NOTHING = new Uint8Array(0)

/** Every method may be called at once. */
export interface Requests {
  /** Asks, in place of what that connection asked before. Rejects as fetch() does. */
  ask(connection: number, request: RequestInWords): Promise<Head>
  /** The next so many bytes of the answer. `last`: it should end behind them, and is read to its end. */
  pull(connection: number, size: number, last: boolean, stallMs: number): Promise<Pulled>
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
  const free: Bytes[] = []
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
      if (bytes?.byteLength === READ_BYTES && free.length < POOLED) free.push(bytes)
    }
  }
  const hangUp = (asked: Asked | undefined): void => {
    if (asked === undefined || asked.isOver) return
    asked.isOver = true
    asked.reader?.cancel().catch(() => undefined)
    asked.request.abort()
  }
  /** Into the same buffer each time, where the engine has bodies of bytes. */
  const readerOf = (body: ReadableStream<Bytes> | null): Reader => {
    if (body === null) return { read: async () => undefined, cancel: async () => undefined }
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
  const fill = async (
    connection: Connection,
    asked: Asked,
    { size, last, stallMs }: { size: number; last: boolean; stallMs: number },
  ): Promise<Omit<Pulled, 'leaf'> & { filled?: Bytes }> => {
    // What was pulled behind the end must not touch what is left of a leaf.
    if (asked.isOver) return { bytes: 0, end: 'broken', message: 'the request is over' }
    let bytes = 0
    const leaf = (connection.leaf ??= (size === READ_BYTES ? free.pop() : undefined) ?? new Uint8Array(size))
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
      bytes += taken.byteLength
    }
    connection.leaf = undefined
    connection.filled = 0
    if (!last) return { bytes, filled: leaf }
    // A connection whose answer was left unread is of no more use; one that breaks here has given all that was wanted.
    const isLonger = isPiece(await pieceOf(asked, stallMs))
    hangUp(asked)
    return isLonger ? { bytes, end: 'longer' } : { bytes, filled: leaf }
  }

  return {
    async ask(id, { url, init }) {
      const connection = connectionOf(id)
      hangUp(connection.asked)
      const asked: Asked = { request: new AbortController(), reader: undefined, rest: NOTHING, isOver: false }
      connection.asked = asked
      const { status, headers, body } = await fetch(url, { ...init, signal: asked.request.signal })
      asked.reader = readerOf(body)
      return { status, headers: [...headers] }
    },
    async pull(id, size, last, stallMs) {
      const connection = connections.get(id)
      const asked = connection?.asked
      if (connection === undefined || asked === undefined) return { bytes: 0, end: 'broken', message: 'nothing was asked' }
      const filling = connection.before.then(() => fill(connection, asked, { size, last, stallMs }))
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
