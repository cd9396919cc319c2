// Counts what a storage in this realm writes, from outside: records one number a transaction, and bytes that go to the workers which write packs.

export interface Writes {
  /** Puts of each readwrite transaction that had any. */
  readonly puts: readonly number[]
  /** Bytes handed to puts so far. */
  readonly bytes: number
  /** Bytes handed to workers to be written into packs so far, by whatever storage of this realm. */
  readonly packedBytes: number
  stop(): void
}

/** Watches every connection of this realm to the blocks of a storage, and every worker, until it is stopped. */
export function watchWrites(cacheDir: string): Writes {
  const database = `${cacheDir}/blocks`
  const counts = new Map<IDBTransaction, number>()
  let bytes = 0
  let packedBytes = 0
  const originals = (['put', 'add'] as const).map((method) => {
    const original = Object.getOwnPropertyDescriptor(IDBObjectStore.prototype, method)!
    const write = original.value as (this: IDBObjectStore, value: unknown, key?: IDBValidKey) => IDBRequest<IDBValidKey>
    Object.defineProperty(IDBObjectStore.prototype, method, {
      ...original,
      value(this: IDBObjectStore, value: unknown, key?: IDBValidKey) {
        const request = write.call(this, value, key)
        if (this.transaction.db.name === database) {
          counts.set(this.transaction, (counts.get(this.transaction) ?? 0) + 1)
          // The whole buffer: that is what structured clone writes.
          if (ArrayBuffer.isView(value)) bytes += value.buffer.byteLength
        }
        return request
      },
    })
    return { method, original }
  })
  const post = Object.getOwnPropertyDescriptor(Worker.prototype, 'postMessage')!
  const postMessage = post.value as (this: Worker, message: unknown, transfer: Transferable[]) => void
  Object.defineProperty(Worker.prototype, 'postMessage', {
    ...post,
    value(this: Worker, message: { method?: unknown; args?: unknown }, transfer: Transferable[]) {
      if (message.method === 'write') packedBytes += sizeOf(message.args)
      postMessage.call(this, message, transfer)
    },
  })
  return {
    get puts() {
      return [...counts.values()]
    },
    get bytes() {
      return bytes
    },
    get packedBytes() {
      return packedBytes
    },
    stop() {
      for (const { method, original } of originals) Object.defineProperty(IDBObjectStore.prototype, method, original)
      Object.defineProperty(Worker.prototype, 'postMessage', post)
    },
  }
}

/** Bytes of the buffers in a message. */
function sizeOf(value: unknown): number {
  if (value instanceof ArrayBuffer) return value.byteLength
  return Array.isArray(value) ? value.reduce((sum: number, each) => sum + sizeOf(each), 0) : 0
}
