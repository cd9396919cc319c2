// Counts what is written to a database of blocks, from outside: one number a transaction.

export interface Writes {
  /** Puts of each readwrite transaction that had any. */
  readonly puts: readonly number[]
  /** Bytes handed to puts so far. */
  readonly bytes: number
  stop(): void
}

/** Watches every connection of this realm to the database until it is stopped. */
export function watchWrites(database: string): Writes {
  const counts = new Map<IDBTransaction, number>()
  let bytes = 0
  const original = Object.getOwnPropertyDescriptor(IDBObjectStore.prototype, 'put')!
  const put = original.value as (this: IDBObjectStore, value: unknown, key?: IDBValidKey) => IDBRequest<IDBValidKey>
  Object.defineProperty(IDBObjectStore.prototype, 'put', {
    ...original,
    value(this: IDBObjectStore, value: unknown, key?: IDBValidKey) {
      const request = put.call(this, value, key)
      if (this.transaction.db.name === database) {
        counts.set(this.transaction, (counts.get(this.transaction) ?? 0) + 1)
        // The whole buffer: that is what structured clone writes.
        if (ArrayBuffer.isView(value)) bytes += value.buffer.byteLength
      }
      return request
    },
  })
  return {
    get puts() {
      return [...counts.values()]
    },
    get bytes() {
      return bytes
    },
    stop: () => void Object.defineProperty(IDBObjectStore.prototype, 'put', original),
  }
}
