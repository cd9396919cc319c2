// What lies in the databases and the private file system of a storage, held against each other, in a page and from outside the library.

interface EntryRow {
  id: string
  kind: string
  names?: [string, string][]
  pinned?: string
  holder?: string
  held?: boolean
}

interface Reference {
  owner: string
  node: string
  blocks: string[]
}

interface PackRow {
  id: string
  bytes: number
  live: number
}

interface PlacesRow {
  pack: string
  blocks: string[]
  lengths: number[]
}

export interface Audit {
  /** What is there without need or need without being there, in words. Empty where all fits. */
  faults: string[]
  /** Holders of pins, as 'cid holder'. */
  pins: string[]
  /** Bytes of different blocks that the storage wrote, and of packs that nobody needs. */
  bytes: number
  deadBytes: number
}

/** Must be called where nobody writes. `rawKey` makes the key of a block from a raw CID. */
export async function audit(cacheDir: string, rawKey: (cid: string) => string | undefined): Promise<Audit> {
  const catalog = await open(`${cacheDir}/catalog`)
  const blocks = await open(`${cacheDir}/blocks`)
  try {
    const [owners, references, packs, places, foreign] = await Promise.all([
      all<EntryRow>(catalog, 'owners'),
      all<Reference>(catalog, 'references'),
      all<PackRow>(catalog, 'packs'),
      all<PlacesRow>(catalog, 'places'),
      keys(catalog, 'foreign'),
    ])
    const records = await sizes(blocks, `${cacheDir}/blocks`)
    const files = await packFiles(cacheDir)
    const faults: string[] = []
    const ids = new Set(owners.map(({ id }) => id))
    for (const { id, kind, held } of owners) if (kind !== 'entry' && kind !== 'pin' && held !== true) faults.push(`${kind} ${id} is left`)
    const named = new Set(owners.flatMap(({ names = [] }) => names.flatMap(([, cid]) => rawKey(cid) ?? [])))
    for (const { owner, node, blocks: own } of references) {
      if (!ids.has(owner)) faults.push(`reference ${node} of owner ${owner}, who is gone, is left`)
      for (const block of own) named.add(block)
    }
    const placed = new Map<string, number>()
    const live = new Map<string, number>()
    for (const row of places) {
      row.blocks.forEach((block, index) => {
        placed.set(block, row.lengths[index] ?? 0)
        live.set(row.pack, (live.get(row.pack) ?? 0) + (row.lengths[index] ?? 0))
      })
    }
    const here = new Map([...records, ...placed])
    for (const block of here.keys()) if (!named.has(block) && !foreign.includes(block)) faults.push(`block ${block} has no owner`)
    for (const block of named) if (!here.has(block)) faults.push(`block ${block} is not here`)
    for (const { id, bytes, live: said } of packs) {
      const counted = live.get(id) ?? 0
      if (counted !== said) faults.push(`pack ${id} says that ${said} bytes are needed, and it is ${counted}`)
      if (said * 2 < bytes) faults.push(`of pack ${id} only ${said} of ${bytes} bytes are needed`)
      if ((files.get(id) ?? -1) < bytes) faults.push(`pack ${id} has ${files.get(id)} bytes where ${bytes} were written`)
    }
    const known = new Set(packs.map(({ id }) => id))
    for (const id of live.keys()) if (!known.has(id)) faults.push(`places in pack ${id}, which has no row, are left`)
    for (const id of files.keys()) if (!known.has(id)) faults.push(`file ${id} is in no row of packs`)
    const sum = (numbers: Iterable<number>): number => [...numbers].reduce((total, number) => total + number, 0)
    return {
      faults,
      pins: owners.flatMap(({ pinned, holder }) => (pinned === undefined ? [] : [`${pinned} ${holder}`])).toSorted(),
      bytes: sum([...here].map(([block, length]) => (foreign.includes(block) ? 0 : length))),
      deadBytes: sum(packs.map(({ bytes, live: needed }) => bytes - needed)),
    }
  } finally {
    catalog.close()
    blocks.close()
  }
}

function open(name: string): Promise<IDBDatabase> {
  return settled(indexedDB.open(name))
}

function settled<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result)
    request.onerror = () => reject(request.error ?? new Error('the request failed'))
  })
}

function all<T>(db: IDBDatabase, store: string): Promise<T[]> {
  return settled(db.transaction(store).objectStore(store).getAll()) as Promise<T[]>
}

function keys(db: IDBDatabase, store: string): Promise<IDBValidKey[]> {
  return settled(db.transaction(store).objectStore(store).getAllKeys())
}

/** Lengths of records by their keys, one at a time. */
function sizes(db: IDBDatabase, store: string): Promise<Map<string, number>> {
  return new Promise((resolve, reject) => {
    const found = new Map<string, number>()
    const request = db.transaction(store).objectStore(store).openCursor()
    request.onerror = () => reject(request.error ?? new Error('the request failed'))
    request.onsuccess = () => {
      const cursor = request.result
      if (cursor === null) return resolve(found)
      found.set(cursor.key as string, (cursor.value as Uint8Array).byteLength)
      cursor.continue()
    }
  })
}

async function packFiles(cacheDir: string): Promise<Map<string, number>> {
  const files = new Map<string, number>()
  let folder = await navigator.storage.getDirectory()
  try {
    for (const name of ['ipfs-kit-web', `s-${encodeURIComponent(cacheDir)}`]) folder = await folder.getDirectoryHandle(name)
  } catch {
    return files
  }
  const entries = (folder as FileSystemDirectoryHandle & { entries(): AsyncIterable<[string, FileSystemHandle]> }).entries()
  for await (const [name, handle] of entries) {
    if (handle.kind === 'file') files.set(name, (await handle.getFile()).size)
  }
  return files
}
