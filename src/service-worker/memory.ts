// What a worker remembers of files while it is awake: what of them was verified, Blobs over packs, media types.
import type { CID } from 'multiformats/cid'
import { REMEMBERED_FILES } from '../limits.ts'
import type { PackedFile } from './packed-file.ts'
import { VerifiedSpans } from './verified-spans.ts'

export interface FileMemory {
  /** Bytes that were read block by block. */
  readonly verified: VerifiedSpans
  /** The file where all of it lies in packs. */
  packed?: PackedFile | undefined
  /** It has many leaves, and not all of them lie in packs: finding that out again takes long. */
  isElsewhere?: boolean
  sniffedType?: string
}

/** Least recently used files leave first. */
export class Memory {
  readonly #files = new Map<string, FileMemory>()
  #catalog: string | undefined

  /** Of a file in the storage that has this catalog: what was known of an earlier one, destroyed or taken away, is forgotten. */
  of(cid: CID, catalog: string | undefined): FileMemory {
    if (catalog !== this.#catalog) this.#files.clear()
    this.#catalog = catalog
    const key = cid.toV1().toString()
    const known = this.#files.get(key) ?? { verified: new VerifiedSpans() }
    this.#files.delete(key)
    this.#files.set(key, known)
    for (const oldest of this.#files.keys()) {
      if (this.#files.size <= REMEMBERED_FILES) break
      this.#files.delete(oldest)
    }
    return known
  }
}
