// A file that lies in packs as a whole: its Blob, and which of its bytes were found to be what their CIDs say. What is verified is what this Blob reads,
// since no pack is ever written again.
import type { CID } from 'multiformats/cid'
import type { BlockSource } from '../blocks/blocks.ts'
import { matchMany } from '../blocks/hashing.ts'
import { partsOf, type FileLayout, type LayoutOptions } from '../files/layout.ts'
import { READ_WINDOW_BLOCKS, STREAM_WINDOW_BYTES, VERIFIED_AHEAD_LEAVES } from '../limits.ts'
import type { Bytes } from '../types.ts'
import type { ByteSpan } from './range.ts'
import { VerifiedSpans } from './verified-spans.ts'

/** Bytes of the first window of a stream. The next ones double, so that the first bytes come soon and the rest in large reads. */
const FIRST_WINDOW_BYTES = STREAM_WINDOW_BYTES / 4

/** Of which one is consumed and the others are read and hashed. */
const WINDOWS_ALIVE = 2

interface Leaf extends ByteSpan {
  cid: CID
}

/** Neighbouring leaves that are read together. */
interface Window extends ByteSpan {
  leaves: Leaf[]
}

interface VerifyOptions extends LayoutOptions {
  /** Also what was verified before. */
  again?: boolean
}

/** What a pack holds is not what its leaves' CIDs say, or can't be read. */
export class PackedDamage extends Error {
  override readonly name = 'PackedDamage'
}

export class PackedFile {
  readonly #file: FileLayout
  readonly #blob: Blob
  readonly #verified = new VerifiedSpans()

  constructor(file: FileLayout, blob: Blob) {
    this.#file = file
    this.#blob = blob
  }

  isVerified(span: ByteSpan): boolean {
    return this.#verified.has(span)
  }

  /** For the browser to read, who does not verify. */
  slice({ from, to }: ByteSpan): Blob {
    return from === 0 && to === this.#file.size ? this.#blob : this.#blob.slice(from, to)
  }

  /**
   * Hashes what of a span was not verified yet, with the leaves at its ends as wholes. False where those are more than somebody should wait for, of which
   * some are verified then.
   *
   * @throws PackedDamage
   */
  async verify(source: BlockSource, span: ByteSpan, options: LayoutOptions): Promise<boolean> {
    const checked = this.#windows(source, span, STREAM_WINDOW_BYTES, options, (window) => this.#check(window, options))
    let leaves = 0
    for await (const count of checked) {
      leaves += count
      if (leaves > VERIFIED_AHEAD_LEAVES) return false
    }
    return true
  }

  /**
   * The bytes of a span, each window hashed before it is given.
   *
   * @throws PackedDamage
   */
  async *read(source: BlockSource, span: ByteSpan, options: VerifyOptions): AsyncGenerator<Bytes, void, undefined> {
    const read = async (window: Window): Promise<Bytes> => this.#clipped(window, span, await this.#bytesOf(window, options))
    yield* this.#windows(source, span, FIRST_WINDOW_BYTES, options, read)
  }

  /** What `work` makes of each window in order, that of the next one under way meanwhile. */
  async *#windows<T>(
    source: BlockSource,
    span: ByteSpan,
    firstBytes: number,
    options: LayoutOptions,
    work: (window: Window) => Promise<T>,
  ): AsyncGenerator<T, void, undefined> {
    const windows = windowsOf(source, this.#file, span, firstBytes, options)
    const next = async (): Promise<{ made: T } | undefined> => {
      const window = await windows.next()
      return window.done === true ? undefined : { made: await work(window.value) }
    }
    const alive: ReturnType<typeof next>[] = []
    for (;;) {
      while (alive.length < WINDOWS_ALIVE) {
        const one = next()
        // Seen when its turn comes; where the consumer left before, nobody asks.
        one.catch(() => undefined)
        alive.push(one)
      }
      const done = await alive.shift()
      if (done === undefined) return
      options.signal?.throwIfAborted()
      yield done.made
    }
  }

  async #check(window: Window, options: LayoutOptions): Promise<number> {
    if (!this.#verified.has(window)) await this.#bytesOf(window, options)
    return window.leaves.length
  }

  async #bytesOf(window: Window, { again = false, signal }: VerifyOptions): Promise<Bytes> {
    const { from, to, leaves } = window
    const bytes = await this.#readBlob(from, to)
    if (!again && this.#verified.has(window)) return bytes
    signal?.throwIfAborted()
    const blocks = leaves.map((leaf) => ({ bytes: bytes.subarray(leaf.from - from, leaf.to - from) }))
    const whole = await matchMany(
      leaves.map(({ cid }) => cid),
      blocks,
    )
    if (whole.includes(false)) throw new PackedDamage(`bytes ${from} to ${to} of ${this.#file.cid.toString()} are damaged in a pack`)
    this.#verified.add(window)
    return bytes
  }

  async #readBlob(from: number, to: number): Promise<Bytes> {
    try {
      return new Uint8Array(await this.#blob.slice(from, to).arrayBuffer())
    } catch (cause) {
      throw new PackedDamage(`a pack of ${this.#file.cid.toString()} can't be read`, { cause })
    }
  }

  #clipped(window: Window, span: ByteSpan, bytes: Bytes): Bytes {
    if (window.from >= span.from && window.to <= span.to) return bytes
    return bytes.slice(Math.max(0, span.from - window.from), Math.min(window.to, span.to) - window.from)
  }
}

/** The leaves of a span, those at its ends as wholes. Reads nodes, and no leaf. */
async function* windowsOf(
  source: BlockSource,
  file: FileLayout,
  span: ByteSpan,
  firstBytes: number,
  options: LayoutOptions,
): AsyncGenerator<Window, void, undefined> {
  let [leaves, start, at, limit]: [Leaf[], number, number, number] = [[], 0, span.from, firstBytes]
  for await (const parts of partsOf(source, file, span.from, span.to, options)) {
    for (const part of parts) {
      const from = at - part.from
      const leaf = { cid: part.cid, from, to: from + part.size }
      if (leaves.length > 0 && (leaf.to - start > limit || leaves.length >= READ_WINDOW_BLOCKS)) {
        yield { from: start, to: leaf.from, leaves }
        leaves = []
        limit = Math.min(limit * 2, STREAM_WINDOW_BYTES)
      }
      if (leaves.length === 0) start = from
      leaves.push(leaf)
      at += part.to - part.from
    }
  }
  const last = leaves.at(-1)
  if (last !== undefined) yield { from: start, to: last.to, leaves }
}
