// The SHA-256 of a download whose leaves come in any order: of each leaf as soon as all before it are on record, read back from the store.
import type { Core } from '../core.ts'
import { IntegrityError } from '../errors.ts'
import type { Leaf } from './segment.ts'
import { createSha256, type Sha256 } from './sha256.ts'

/** Leaves read at once. */
const LEAVES_TOGETHER = 4

export class Digest {
  readonly #core: Core
  readonly #leaves: readonly (Leaf | undefined)[]
  readonly #signal: AbortSignal
  #hasher: Promise<Sha256> | undefined
  #done = 0
  #working: Promise<void> = Promise.resolve()

  constructor(core: Core, leaves: readonly (Leaf | undefined)[], signal: AbortSignal) {
    this.#core = core
    this.#leaves = leaves
    this.#signal = signal
  }

  /** Goes on with what has come, beside everything else. */
  advance(): void {
    this.#working = this.#working.then(() => this.#advance())
    // Told by hex().
    this.#working.catch(() => undefined)
  }

  /** Of all leaves, which must be on record. */
  async hex(): Promise<string> {
    this.advance()
    await this.#working
    const hasher = await (this.#hasher ??= createSha256())
    return hasher.hex()
  }

  /** Lets go of it. */
  async end(): Promise<void> {
    await this.#working.catch(() => undefined)
    ;(await this.#hasher?.catch(() => undefined))?.end()
  }

  async #advance(): Promise<void> {
    const hasher = await (this.#hasher ??= createSha256())
    for (;;) {
      this.#signal.throwIfAborted()
      const window = this.#leaves.slice(this.#done, this.#done + LEAVES_TOGETHER)
      const here = window.slice(0, window.includes(undefined) ? window.indexOf(undefined) : window.length).flatMap((leaf) => leaf ?? [])
      if (here.length === 0) return
      const cids = here.map(({ cid }) => cid)
      const blocks = await this.#core.store.getMany(cids, { verify: false, views: true, signal: this.#signal })
      for (const [index, bytes] of blocks.entries()) {
        const name = cids[index]?.toString() ?? ''
        if (bytes === undefined) throw new IntegrityError(`block ${name} of a download is gone: download it again`, name)
        await hasher.update(bytes)
        this.#done++
      }
    }
  }
}
