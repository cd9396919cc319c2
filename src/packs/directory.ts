// The folder of one storage's packs in the origin's private file system: what every context can do there, with or without sync handles.
import { sha256 } from '@noble/hashes/sha2.js'
import type { Folder } from './service.ts'

const ROOT = 'ipfs-kit-web'

/** Bytes that a name in the private file system may have everywhere. */
const MAX_NAME_LENGTH = 200

/** Where the packs of a storage lie. The name of the storage may hold anything, that of a folder may not. */
export function packFolder(cacheDir: string): Folder {
  // Must not be '.' or '..', which encodeURIComponent lets through.
  const encoded = `s-${encodeURIComponent(cacheDir)}`
  if (encoded.length <= MAX_NAME_LENGTH) return [ROOT, encoded]
  const digest = sha256(new TextEncoder().encode(cacheDir))
  return [ROOT, `h-${[...digest].map((byte) => byte.toString(16).padStart(2, '0')).join('')}`]
}

/** TypeScript's libs differ in what they say of its iterators. */
type Directory = FileSystemDirectoryHandle

/** Every method answers as for an empty folder where there is none, and rejects where the private file system can't be reached. */
export class PackDirectory {
  readonly folder: Folder
  #known: Directory | undefined

  constructor(folder: Folder) {
    this.folder = folder
  }

  /** Whether this context has a private file system at all: not over plain http, nor in WebKitGTK. */
  static get isSupported(): boolean {
    return typeof (globalThis as { navigator?: { storage?: { getDirectory?: unknown } } }).navigator?.storage?.getDirectory === 'function'
  }

  async names(): Promise<string[]> {
    const names: string[] = []
    const directory = await this.#open()
    if (directory !== undefined) for await (const name of directory.keys()) names.push(name)
    return names
  }

  /** Looks the folder up, so that the first file comes sooner. */
  async prepare(): Promise<void> {
    this.#known ??= await this.#open()
  }

  /** The pack as a File, which reads nothing yet. @throws NotFoundError */
  async file(pack: string): Promise<File> {
    try {
      if (this.#known !== undefined) return await (await this.#known.getFileHandle(pack)).getFile()
    } catch (error) {
      // The folder may have been deleted and made anew since it was looked up.
      if (!isNamed(error, 'NotFoundError')) throw error
    }
    this.#known = await this.#open()
    if (this.#known === undefined) throw new DOMException(`there is no pack ${pack}`, 'NotFoundError')
    return (await this.#known.getFileHandle(pack)).getFile()
  }

  /** False where somebody has it open. */
  async remove(pack: string): Promise<boolean> {
    const directory = await this.#open()
    try {
      await directory?.removeEntry(pack)
      return true
    } catch (error) {
      if (isNamed(error, 'NotFoundError')) return true
      if (isNamed(error, 'NoModificationAllowedError') || isNamed(error, 'InvalidModificationError')) return false
      throw error
    }
  }

  /** Removes the folder with all that is in it. False where somebody has a pack open. */
  async destroy(): Promise<boolean> {
    const [root, name] = this.folder
    try {
      const parent = await (await navigator.storage.getDirectory()).getDirectoryHandle(root ?? '')
      await parent.removeEntry(name ?? '', { recursive: true })
      return true
    } catch (error) {
      if (isNamed(error, 'NotFoundError')) return true
      if (isNamed(error, 'NoModificationAllowedError') || isNamed(error, 'InvalidModificationError')) return false
      throw error
    }
  }

  async #open(): Promise<Directory | undefined> {
    try {
      let directory = await navigator.storage.getDirectory()
      for (const name of this.folder) directory = await directory.getDirectoryHandle(name)
      return directory
    } catch (error) {
      if (isNamed(error, 'NotFoundError')) return undefined
      throw error
    }
  }
}

export function isNamed(error: unknown, name: string): boolean {
  return typeof error === 'object' && error !== null && 'name' in error && error.name === name
}
