// Counts what is asked of IndexedDB in this realm: each request, and each row that an answer holds.

const COUNTED = ['get', 'getKey', 'getAll', 'getAllKeys', 'count', 'openCursor', 'openKeyCursor', 'put', 'add', 'delete'] as const

/** What `work` asks for, by the object store's name without that of the storage. A `count` is one, though a browser counts row by row: it is asked of few rows only. */
export async function requestsOf(work: () => Promise<unknown>): Promise<Record<string, number>> {
  const counts: Record<string, number> = {}
  const note = (store: string, more: number): void => {
    counts[store] = (counts[store] ?? 0) + more
  }
  const undo: (() => void)[] = []
  for (const prototype of [IDBObjectStore.prototype, IDBIndex.prototype]) {
    for (const name of COUNTED) {
      const methods = prototype as unknown as Record<string, (...args: unknown[]) => IDBRequest<unknown>>
      const original = methods[name]
      if (original === undefined) continue
      methods[name] = function counted(this: IDBObjectStore | IDBIndex, ...args: unknown[]): IDBRequest<unknown> {
        const { name: full } = 'objectStore' in this ? this.objectStore : this
        const store = full.slice(full.lastIndexOf('/') + 1)
        note(store, 1)
        const request = original.apply(this, args)
        request.addEventListener('success', () => {
          if (Array.isArray(request.result)) note(store, request.result.length)
        })
        return request
      }
      undo.push(() => {
        methods[name] = original
      })
    }
  }
  try {
    await work()
  } finally {
    for (const restore of undo) restore()
  }
  return counts
}
