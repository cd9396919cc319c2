// What a dedicated worker does with packs: writes, reads and hashes, by sync access handles; and it reads and hashes records, and downloads. Knows nothing of
// blocks, and imports little, since its code travels as text (see worker-code.ts).
import { createRequests, type Requests } from './requests.ts'

export type Buffer = ArrayBuffer

/** The folder of one storage's packs, from the root of the origin's private file system. */
export type Folder = readonly string[]

/** Bytes to write, or the id of a leaf that a download left in the worker. */
export type Part = Buffer | number

/** A contiguous part of a pack, and the lengths of the pieces in it, which are hashed one by one. */
export interface Run {
  at: number
  lengths: readonly number[]
}

export interface ReadRun {
  buffer: Buffer
  /** SHA-256 of each piece, where asked for. */
  digests: Buffer[]
  /** Bytes that were there. Fewer than asked: the pack is short. */
  length: number
}

/**
 * Every method may be called at once. Rejects with the DOMException of the file system: NotFoundError for a pack that is gone,
 * QuotaExceededError where there is no room; `records` with those of IndexedDB.
 */
export interface Service extends Requests {
  /** Tries a handle, and answers whether packs can be read while another handle has them open. */
  probe(folder: Folder, name: string): Promise<{ sharedReading: boolean }>
  create(folder: Folder, pack: string): Promise<void>
  /** Appends all or, with a refusal, nothing. The buffers come back either way; leaves that are held here, by their ids, are let go of once written. */
  write(pack: string, buffers: Part[]): Promise<{ buffers: Part[]; refusal?: { name: string; message: string } }>
  /** Pushes what was written to the disk, so that sealing has little left to wait for. */
  flush(pack: string): Promise<void>
  /** Flushes and closes; answers the bytes in it. One that could not be flushed stays open, to be sealed again or dropped. */
  seal(pack: string): Promise<number>
  /** Closes without a promise. */
  drop(pack: string): Promise<void>
  /** `buffer` is read into where it has just the size. */
  read(folder: Folder, pack: string, run: Run, options: { hash: boolean; buffer?: Buffer | undefined }): Promise<ReadRun>
  /** Whether the bytes at each place are those of the buffer. In a pack that can't be opened, or has fewer bytes than `packBytes`, none are. */
  compare(
    folder: Folder,
    pack: string,
    packBytes: number,
    places: readonly number[],
    buffers: Buffer[],
  ): Promise<{ buffers: Buffer[]; same: boolean[] }>
  /** Closes what was opened for reading. */
  release(pack: string): Promise<void>
  hash(buffers: Buffer[]): Promise<{ buffers: Buffer[]; digests: Buffer[] }>
  /** Records of the object store that bears its database's name, and their SHA-256 where asked for; undefined where there is none. */
  records(
    database: string,
    keys: readonly string[],
    hash: boolean,
  ): Promise<{ buffers: (Buffer | undefined)[]; digests: (Buffer | undefined)[] }>
  /** Closes all that is open, and all that is being opened: for who can't end the thread. */
  end(): Promise<void>
}

/** The part of FileSystemSyncAccessHandle that is used: TypeScript has it only in the lib of workers. */
interface SyncHandle {
  readonly mode?: string
  read(buffer: Uint8Array<ArrayBuffer>, options: { at: number }): number
  write(buffer: Uint8Array<ArrayBuffer>, options: { at: number }): number
  getSize(): number
  truncate(size: number): void
  flush(): void
  close(): void
}

interface FileHandle extends FileSystemFileHandle {
  createSyncAccessHandle(options?: { mode: 'read-only' }): Promise<SyncHandle>
}

interface Written {
  handle: SyncHandle
  bytes: number
}

export function createService(): Service {
  const written = new Map<string, Written>()
  const reading = new Map<string, Promise<SyncHandle>>()
  const folders = new Map<string, Promise<FileSystemDirectoryHandle>>()
  const requests = createRequests()
  let isOver = false
  const kept = (handle: SyncHandle): SyncHandle => {
    if (!isOver) return handle
    handle.close()
    throw new DOMException('this service has ended', 'InvalidStateError')
  }

  const folderOf = (path: Folder, create: boolean): Promise<FileSystemDirectoryHandle> => {
    const open = async (): Promise<FileSystemDirectoryHandle> => {
      let folder = await navigator.storage.getDirectory()
      for (const name of path) folder = await folder.getDirectoryHandle(name, { create })
      return folder
    }
    // Not kept where it only reads: another context may delete the folder and make it anew.
    const key = path.join('/')
    const known = folders.get(key)
    if (known !== undefined && !create) return known
    const opened = open()
    opened.then(
      () => folders.set(key, opened),
      () => folders.delete(key),
    )
    return opened
  }
  const fileOf = async (folder: Folder, name: string, create: boolean): Promise<FileHandle> =>
    (await (await folderOf(folder, create)).getFileHandle(name, { create })) as FileHandle

  const handleOf = (pack: string): Written => {
    const found = written.get(pack)
    if (found === undefined) throw new DOMException(`pack ${pack} is not being written`, 'InvalidStateError')
    return found
  }
  const writeAll = (handle: SyncHandle, bytes: Uint8Array<ArrayBuffer>, at: number): void => {
    for (let done = 0; done < bytes.byteLength;) {
      const count = handle.write(bytes.subarray(done), { at: at + done })
      if (count <= 0) throw new DOMException('a write took no bytes', 'QuotaExceededError')
      done += count
    }
  }
  const readAll = (handle: SyncHandle, bytes: Uint8Array<ArrayBuffer>, at: number): number => {
    let done = 0
    while (done < bytes.byteLength) {
      const count = handle.read(bytes.subarray(done), { at: at + done })
      if (count <= 0) break
      done += count
    }
    return done
  }
  const readerOf = (folder: Folder, pack: string): Promise<SyncHandle> => {
    const open = reading.get(pack)
    if (open !== undefined) return open
    const opening = fileOf(folder, pack, false).then(async (file) => kept(await file.createSyncAccessHandle({ mode: 'read-only' })))
    reading.set(pack, opening)
    opening.catch(() => reading.delete(pack))
    return opening
  }
  let scratch = new Uint8Array(0)
  /** Whole 32-bit words, then the rest: both begin at the beginning of their buffers. */
  const isSame = (a: Uint8Array<ArrayBuffer>, b: Uint8Array<ArrayBuffer>): boolean => {
    const words = a.byteLength >>> 2
    const [left, right] = [new Uint32Array(a.buffer, 0, words), new Uint32Array(b.buffer, 0, words)]
    for (let index = 0; index < words; index++) if (left[index] !== right[index]) return false
    for (let index = words << 2; index < a.byteLength; index++) if (a[index] !== b[index]) return false
    return true
  }
  const digest = (bytes: Uint8Array<ArrayBuffer>): Promise<Buffer> => crypto.subtle.digest('SHA-256', bytes)
  const databases = new Map<string, Promise<IDBDatabase>>()
  const settled = <T>(request: IDBRequest<T>): Promise<T> =>
    new Promise((resolve, reject) => {
      request.onsuccess = () => resolve(request.result)
      request.onerror = () => reject(request.error ?? new DOMException('request failed', 'UnknownError'))
    })
  const databaseOf = (name: string): Promise<IDBDatabase> => {
    const known = databases.get(name)
    if (known !== undefined) return known
    const request = indexedDB.open(name)
    // One that is not there must not come into being here.
    request.onupgradeneeded = () => request.transaction?.abort()
    const opening = settled(request).then((db) => {
      const forget = (): void => {
        databases.delete(name)
        db.close()
      }
      db.onversionchange = forget
      db.onclose = forget
      return db
    })
    databases.set(name, opening)
    opening.catch(() => databases.delete(name))
    return opening
  }
  /** Other writers store views, and all of the buffer comes with one. */
  const bufferOf = (value: unknown): Buffer | undefined => {
    if (!(value instanceof Uint8Array)) return value instanceof ArrayBuffer ? value : undefined
    return value.byteLength === value.buffer.byteLength ? (value.buffer as Buffer) : new Uint8Array(value).buffer
  }

  return {
    ...requests,
    async probe(folder, name) {
      const file = await fileOf(folder, name, true)
      const parent = await folderOf(folder, true)
      try {
        const handle = await file.createSyncAccessHandle()
        try {
          writeAll(handle, new Uint8Array(1), 0)
          handle.flush()
        } finally {
          handle.close()
        }
        // Browsers that don't know the mode ignore it and open the file for themselves alone.
        const reader = await file.createSyncAccessHandle({ mode: 'read-only' })
        const sharedReading = reader.mode === 'read-only'
        reader.close()
        return { sharedReading }
      } finally {
        await parent.removeEntry(name)
      }
    },
    async create(folder, pack) {
      const file = await fileOf(folder, pack, true)
      const handle = kept(await file.createSyncAccessHandle())
      written.set(pack, { handle, bytes: 0 })
    },
    async write(pack, buffers) {
      const target = handleOf(pack)
      let at = target.bytes
      try {
        for (const buffer of buffers) {
          const bytes = typeof buffer === 'number' ? requests.bytesOf(buffer) : new Uint8Array(buffer)
          writeAll(target.handle, bytes, at)
          at += bytes.byteLength
        }
      } catch (error) {
        // Whoever makes room tries again behind what is whole.
        if (target.handle.getSize() > target.bytes) target.handle.truncate(target.bytes)
        const { name, message } = error as Error
        return { buffers, refusal: { name, message } }
      }
      target.bytes = at
      await requests.letGo(buffers.filter((buffer) => typeof buffer === 'number'))
      return { buffers }
    },
    async flush(pack) {
      handleOf(pack).handle.flush()
    },
    async seal(pack) {
      const { handle, bytes } = handleOf(pack)
      handle.flush()
      written.delete(pack)
      handle.close()
      return bytes
    },
    async drop(pack) {
      const target = written.get(pack)
      written.delete(pack)
      target?.handle.close()
    },
    async read(folder, pack, { at, lengths }, { hash, buffer }) {
      const handle = await readerOf(folder, pack)
      const size = lengths.reduce((sum, length) => sum + length, 0)
      const bytes = buffer?.byteLength === size ? new Uint8Array(buffer) : new Uint8Array(size)
      const length = readAll(handle, bytes, at)
      const digests: Promise<Buffer>[] = []
      let from = 0
      for (const piece of hash ? lengths : []) digests.push(digest(bytes.subarray(from, (from += piece))))
      return { buffer: bytes.buffer, digests: await Promise.all(digests), length }
    },
    async compare(folder, pack, packBytes, places, buffers) {
      // Must not reject: the buffers were given away for this, and go back with the answer.
      const handle = await readerOf(folder, pack).catch(() => undefined)
      if (handle === undefined || handle.getSize() < packBytes) return { buffers, same: buffers.map(() => false) }
      const same = buffers.map((buffer, index) => {
        const size = buffer.byteLength
        if (scratch.byteLength < size) scratch = new Uint8Array(size)
        const stored = scratch.subarray(0, size)
        return readAll(handle, stored, places[index] ?? 0) === size && isSame(stored, new Uint8Array(buffer))
      })
      return { buffers, same }
    },
    async release(pack) {
      const opening = reading.get(pack)
      reading.delete(pack)
      ;(await opening?.catch(() => undefined))?.close()
    },
    async records(database, keys, hash) {
      const store = (await databaseOf(database)).transaction(database, 'readonly').objectStore(database)
      const buffers: (Buffer | undefined)[] = []
      const digests: (Buffer | undefined)[] = []
      // Each is hashed while the next ones come.
      const read = async (key: string, index: number): Promise<void> => {
        const buffer = (buffers[index] = bufferOf(await settled<unknown>(store.get(key))))
        if (hash) digests[index] = buffer && (await digest(new Uint8Array(buffer)))
      }
      await Promise.all(keys.map(read))
      return { buffers, digests }
    },
    async hash(buffers) {
      return { buffers, digests: await Promise.all(buffers.map((buffer) => digest(new Uint8Array(buffer)))) }
    },
    async end() {
      isOver = true
      requests.hangAll()
      for (const { handle } of written.values()) handle.close()
      written.clear()
      for (const opened of await Promise.allSettled([...reading.values(), ...databases.values()])) {
        if (opened.status === 'fulfilled') opened.value.close()
      }
    },
  }
}
