// What a worker remembers of files while it is awake: which bytes were verified, Blobs over packs, media types.
import type { CID } from 'multiformats/cid'
import { REMEMBERED_FILES } from '../limits.ts'
import { VerifiedSpans } from './verified-spans.ts'

export interface FileMemory {
  readonly verified: VerifiedSpans
  /** The file as it lies in packs. */
  blob?: Blob | undefined
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
