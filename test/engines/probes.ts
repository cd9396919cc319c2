// What an engine can do, found out by doing it. Each probe answers what it found ('yes' where there is no more to say) or throws what is missing.
// Imports nothing of vitest, since workers run it too.

export type Probes = Record<string, () => Promise<string> | string>

const PROBE_TIMEOUT_MS = 10_000
const BYTES = new Uint8Array([1, 2, 3, 4, 5])

/** TypeScript has them in the lib of workers alone. */
interface SyncHandle {
  readonly mode?: string
  write(bytes: Uint8Array): number
  flush(): void
  close(): void
}
type SyncFileHandle = FileSystemFileHandle & { createSyncAccessHandle(options?: { mode: string }): Promise<SyncHandle> }

/** Runs every probe; answers what each found, or `no: ` and why. */
export async function probeAll(probes: Probes): Promise<Record<string, string>> {
  const found: Record<string, string> = {}
  for (const [name, probe] of Object.entries(probes)) {
    try {
      found[name] = await within(probe)
    } catch (error) {
      found[name] = `no: ${reasonOf(error)}`
    }
  }
  return found
}

async function within(probe: () => Promise<string> | string): Promise<string> {
  let timer: ReturnType<typeof setTimeout> | undefined
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${PROBE_TIMEOUT_MS / 1000} s`)), PROBE_TIMEOUT_MS)
  })
  try {
    return await Promise.race([Promise.resolve().then(probe), late])
  } finally {
    clearTimeout(timer)
  }
}

function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  return error instanceof Missing ? error.message : `${error.name}: ${error.message}`
}

let count = 0

/** A name of nothing else in this origin. */
function freshName(): string {
  return `probe-${performance.timeOrigin}-${Math.random()}-${count++}`
}

class Missing extends Error {}

/** @throws Missing where it is not there: engines differ in how they say that in a TypeError */
function need(of: object, name: string): void {
  if ((of as Record<string, unknown>)[name] === undefined) throw new Missing(`no ${name}`)
}

function needManager(method: keyof StorageManager): void {
  need(navigator, 'storage')
  need(navigator.storage, method)
}

/** What pages and workers alike may have. */
export const ANYWHERE: Probes = {
  IndexedDB: () => inDatabase((db) => committed(db.transaction('store', 'readwrite'), (store) => store.put(BYTES, 1))),
  'Blob in IndexedDB': () =>
    inDatabase((db) => committed(db.transaction('store', 'readwrite'), (store) => store.put(new Blob([BYTES]), 1))),
  'IndexedDB, relaxed durability': () =>
    inDatabase(async (db) => {
      const transaction = db.transaction('store', 'readwrite', { durability: 'relaxed' })
      await committed(transaction, (store) => store.put(1, 1))
      need(transaction, 'durability')
      return transaction.durability
    }),
  'Web Locks': async () => {
    need(navigator, 'locks')
    const [name, locks] = [freshName(), navigator.locks]
    return locks.request(name, () =>
      locks.request(name, { ifAvailable: true }, (lock) => (lock === null ? 'yes' : 'no: a lock is no lock')),
    )
  },
  BroadcastChannel: async () => {
    const name = freshName()
    const [from, to] = [new BroadcastChannel(name), new BroadcastChannel(name)]
    try {
      const heard = new Promise((resolve) => to.addEventListener('message', resolve, { once: true }))
      from.postMessage('hear')
      await heard
      return 'yes'
    } finally {
      from.close()
      to.close()
    }
  },
  'crypto.subtle': async () => {
    need(crypto, 'subtle')
    await crypto.subtle.digest('SHA-256', BYTES)
    return 'yes'
  },
  'crypto.randomUUID': () => {
    need(crypto, 'randomUUID')
    return 'yes'
  },
  'transferable streams': async () => {
    const { port1, port2 } = new MessageChannel()
    try {
      const heard = new Promise<ReadableStream>((resolve) => {
        port2.onmessage = ({ data }) => resolve(data as ReadableStream)
      })
      const stream = new Response(BYTES).body
      port1.postMessage(stream, [stream] as unknown as Transferable[])
      await (await heard).getReader().read()
      return 'yes'
    } finally {
      port1.close()
      port2.close()
    }
  },
  'ReadableStream of bytes': () => {
    new ReadableStream({ type: 'bytes' }).getReader({ mode: 'byob' }).releaseLock()
    return 'yes'
  },
  'async iteration of streams': async () => {
    // oxlint-disable-next-line no-unused-vars
    for await (const _part of new Response(BYTES).body!) break
    return 'yes'
  },
  SharedArrayBuffer: () => {
    if (typeof SharedArrayBuffer === 'undefined') throw new Missing(`no SharedArrayBuffer${crossOriginIsolated ? '' : ' (not isolated)'}`)
    return 'yes'
  },
  'storage.estimate': async () => {
    needManager('estimate')
    const { usage, quota } = await navigator.storage.estimate()
    return quota === undefined || usage === undefined ? 'no figures' : `${Math.round(quota / 1e9)} GB`
  },
  'storage.persisted': async () => {
    needManager('persisted')
    await navigator.storage.persisted()
    return 'yes'
  },
  OPFS: () => inFile(async () => 'yes'),
  'OPFS, createWritable': () =>
    inFile(async (handle) => {
      need(handle, 'createWritable')
      const writable = await handle.createWritable()
      await writable.write(BYTES)
      await writable.close()
      return 'yes'
    }),
  'OPFS, a Blob of a file': () =>
    inFile(async (handle) => {
      const slice = (await handle.getFile()).slice(0, 2)
      const url = URL.createObjectURL(slice)
      try {
        await (await fetch(url)).arrayBuffer()
        return 'yes'
      } finally {
        URL.revokeObjectURL(url)
      }
    }),
  'OPFS, move': () =>
    inFile(async (handle) => {
      need(handle, 'move')
      await (handle as FileSystemFileHandle & { move(name: string): Promise<void> }).move(freshName())
      return 'yes'
    }),
}

/** What dedicated workers alone may have. */
export const IN_WORKER: Probes = {
  'OPFS, createSyncAccessHandle': () =>
    inFile(async (handle) => {
      const file = handle as SyncFileHandle
      need(file, 'createSyncAccessHandle')
      const access = await file.createSyncAccessHandle()
      try {
        access.write(BYTES)
        access.flush()
        return 'yes'
      } finally {
        access.close()
      }
    }),
  "OPFS, sync handles of mode 'read-only'": () =>
    inFile(async (handle) => {
      const file = handle as SyncFileHandle
      need(file, 'createSyncAccessHandle')
      const access = await file.createSyncAccessHandle({ mode: 'read-only' })
      access.close()
      if (access.mode !== 'read-only') throw new Missing('the mode is ignored')
      return 'yes'
    }),
  'workers within workers': async () => {
    await answerOf(new Worker(blobUrl('postMessage(1)')))
    return 'yes'
  },
}

/** What pages alone may have. */
export const IN_PAGE: Probes = {
  'secure context': () => {
    if (!isSecureContext) throw new Missing('http on a name that is no loopback')
    return 'yes'
  },
  'cross-origin isolated': () => {
    if (!crossOriginIsolated) throw new Missing('no COOP and COEP headers')
    return 'yes'
  },
  'workers from blob: URLs': async () => {
    await answerOf(new Worker(blobUrl('postMessage(1)')))
    return 'yes'
  },
  'module workers': async () => {
    await answerOf(new Worker(blobUrl('export {}; postMessage(1)'), { type: 'module' }))
    return 'yes'
  },
  'shared module workers': async () => {
    const { port } = new SharedWorker(blobUrl('export {}; onconnect = ({ ports }) => ports[0].postMessage(1)'), { type: 'module' })
    await new Promise((resolve) => {
      port.onmessage = resolve
    })
    port.close()
    return 'yes'
  },
  'workers within shared workers': async () => {
    const inner = JSON.stringify(blobUrl('postMessage(1)'))
    const code = `onconnect = ({ ports: [port] }) => {
      if (typeof Worker === 'undefined') return port.postMessage('no Worker')
      const worker = new Worker(${inner})
      worker.onmessage = () => port.postMessage('yes')
      worker.onerror = () => port.postMessage('the worker does not start')
    }`
    const { port } = new SharedWorker(blobUrl(code))
    const answer = await new Promise<string>((resolve) => {
      port.onmessage = ({ data }) => resolve(data as string)
    })
    port.close()
    if (answer !== 'yes') throw new Missing(answer)
    return answer
  },
  'service workers': async () => {
    need(navigator, 'serviceWorker')
    const script = new URL('./nothing-service-worker.js', import.meta.url)
    const registration = await navigator.serviceWorker.register(script, { type: 'classic' })
    await registration.unregister()
    return 'yes'
  },
  'storage.persist': () => {
    // Only looked at: Firefox asks its user.
    needManager('persist')
    return 'yes'
  },
}

function blobUrl(code: string): string {
  return URL.createObjectURL(new Blob([code], { type: 'text/javascript' }))
}

async function answerOf(worker: Worker): Promise<void> {
  try {
    await new Promise((resolve, reject) => {
      worker.onmessage = resolve
      worker.onerror = () => reject(new Missing('the worker does not start'))
    })
  } finally {
    worker.terminate()
  }
}

async function inFile(work: (handle: FileSystemFileHandle) => Promise<string>): Promise<string> {
  needManager('getDirectory')
  const root = await navigator.storage.getDirectory()
  const handle = await root.getFileHandle(freshName(), { create: true })
  try {
    return await work(handle)
  } finally {
    await root.removeEntry(handle.name)
  }
}

async function inDatabase(work: (db: IDBDatabase) => Promise<string>): Promise<string> {
  const name = freshName()
  const request = indexedDB.open(name)
  const db = await new Promise<IDBDatabase>((resolve, reject) => {
    request.onupgradeneeded = () => request.result.createObjectStore('store')
    request.onsuccess = () => resolve(request.result)
    request.onerror = () => reject(request.error ?? new Error('open failed'))
  })
  try {
    return await work(db)
  } finally {
    db.close()
    indexedDB.deleteDatabase(name)
  }
}

async function committed(transaction: IDBTransaction, work: (store: IDBObjectStore) => IDBRequest): Promise<string> {
  work(transaction.objectStore('store'))
  await new Promise<void>((resolve, reject) => {
    transaction.oncomplete = () => resolve()
    transaction.onabort = () => reject(transaction.error ?? new Error('aborted'))
  })
  return 'yes'
}
