// Reading content by one operation: from here, else from the network, and what the network supplied is kept.
import type { CID } from 'multiformats/cid'
import { MissingBlockError, type BlockOptions, type BlockSource } from './blocks/blocks.ts'
import { matches } from './blocks/hashing.ts'
import { blockKey } from './blocks/records.ts'
import { Writer } from './blocks/writer.ts'
import type { KeptContent } from './catalog/commit.ts'
import { entriesOf } from './catalog/entries.ts'
import type { EntryOwner } from './catalog/schema.ts'
import type { Core } from './core.ts'
import { IntegrityError } from './errors.ts'
import { FETCHES_IN_FLIGHT } from './limits.ts'
import { describeHere, nameHere, nameNode } from './naming.ts'
import { follow, untilAborted } from './network/abort.ts'
import type { Bytes } from './types.ts'

/** Asks the network for one block. null: nobody who was asked has it. @throws UnavailableError */
export type Fetch = (cid: CID) => Promise<Bytes | null>

export interface ContentOptions {
  signal: AbortSignal
  /** Absent: nobody is asked. */
  fetch?: Fetch | undefined
  onRepaired?: (block: CID) => void
}

/** The fields of an entry that a commit may give anew. */
export function draftOf({
  id: _id,
  kind: _kind,
  modified: _modified,
  lastUsed: _lastUsed,
  replicas: _replicas,
  ...draft
}: EntryOwner): NonNullable<KeptContent['entry']> {
  return { ...draft, existed: true }
}

export class Content implements BlockSource {
  readonly #core: Core
  readonly #options: ContentOptions
  readonly #root: CID
  /** Ends what is still being read once the operation keeps or drops what it has. */
  readonly #over = new AbortController()
  readonly #reading = new Set<Promise<unknown>>()
  #writer: Promise<Writer> | undefined
  #existed: Promise<boolean> | undefined

  /** `root` is what the operation was asked for: the CID that stands before the path. */
  constructor(core: Core, root: CID, options: ContentOptions) {
    this.#core = core
    this.#root = root
    this.#options = options
  }

  getMany(cids: readonly CID[], options: BlockOptions = {}): Promise<(Bytes | undefined)[]> {
    const reading = this.#read(cids, options)
    this.#reading.add(reading)
    reading.then(
      () => this.#reading.delete(reading),
      () => this.#reading.delete(reading),
    )
    return reading
  }

  /** Makes what was fetched visible: as a whole entry, or as a part of one. `nodes` are directory nodes on the way to `target`. */
  async keep(target: CID, nodes: readonly CID[], whole: boolean): Promise<void> {
    const writer = await this.#end()
    if (writer === undefined) return
    try {
      const contents = await this.#kept(writer, target, nodes, whole)
      if (contents === undefined) return await this.#letGo(writer)
      const { changes, leftover } = await writer.commit(contents)
      this.#core.announce(changes)
      await this.#core.free([leftover])
    } catch (error) {
      await this.#letGo(writer)
      // What was read is gone by now: that is no failure of the reading.
      if (!(error instanceof MissingBlockError)) throw error
    }
  }

  /** Lets go of what was fetched. */
  async drop(): Promise<void> {
    const writer = await this.#end()
    if (writer !== undefined) await this.#letGo(writer)
  }

  /** Fetches blocks that are missing or damaged here, and keeps those that come. Answers their lengths; ends where nobody can be asked. */
  async repair(cids: readonly CID[]): Promise<Map<CID, number>> {
    const lengths = new Map<CID, number>()
    for (let from = 0; from < cids.length && this.#options.fetch !== undefined; from += FETCHES_IN_FLIGHT) {
      const some = cids.slice(from, from + FETCHES_IN_FLIGHT)
      const answers = await Promise.allSettled(some.map((cid) => this.getMany([cid])))
      this.#options.signal.throwIfAborted()
      answers.forEach((answer, index) => {
        const [cid, bytes] = [some[index], answer.status === 'fulfilled' ? answer.value[0] : undefined]
        if (cid !== undefined && bytes !== undefined) lengths.set(cid, bytes.byteLength)
      })
      if (answers.every((answer) => answer.status === 'rejected')) break
    }
    return lengths
  }

  /** The writer of what is fetched, for whoever commits by itself (a pin). `existed`: there was an entry, and one that is gone stays deleted. */
  openWriter(existed?: true): Promise<Writer> {
    this.#over.signal.throwIfAborted()
    if (existed === true) this.#existed = Promise.resolve(true)
    this.#writer ??= Writer.open(this.#core.store, this.#options.signal)
    return this.#writer
  }

  /** The network supplied something of it. */
  get isFetched(): boolean {
    return this.#existed !== undefined
  }

  /** Ends reads under way, so that none of them opens a writer that nobody ends. */
  async #end(): Promise<Writer | undefined> {
    this.#over.abort(new DOMException('the operation is over', 'AbortError'))
    await Promise.allSettled(this.#reading)
    const writer = await this.#writer
    this.#writer = undefined
    return writer
  }

  async #letGo(writer: Writer): Promise<void> {
    await this.#core.free([await writer.abort()])
  }

  async #kept(writer: Writer, target: CID, nodes: readonly CID[], whole: boolean): Promise<KeptContent[] | undefined> {
    const { lenient } = this.#core.store
    for (const node of nodes) await nameNode(writer, lenient, node)
    const allHere = await nameHere(writer, lenient, target)
    const complete = whole && allHere && nodes.length === 0
    const references = writer.references(this.#root)
    const cid = this.#root.toString()
    const entries = await entriesOf(this.#core.catalog, cid)
    const described = entries.length === 0 || complete ? await describeHere(lenient, this.#root) : undefined
    if (entries.length > 0) {
      return entries.map((entry) => ({ cid, references, entry: { ...draftOf(entry), ...described, complete: entry.complete || complete } }))
    }
    // Somebody deleted it meanwhile, and it stays deleted.
    if (described === undefined || (await this.#existed) === true) return undefined
    return [{ cid, references, entry: { filename: cid, cid, ...described, complete, fallback: false } }]
  }

  async #read(cids: readonly CID[], options: BlockOptions): Promise<(Bytes | undefined)[]> {
    const { fetch, signal } = this.#options
    if (fetch === undefined) return this.#core.store.getMany(cids, { ...options, signal: options.signal ?? signal })
    const end = new AbortController()
    const release = follow(end, [signal, options.signal, this.#over.signal])
    try {
      const { blocks, damaged } = await this.#core.store.examine(cids, { ...options, signal: end.signal })
      const missing = cids.flatMap((_, index) => (blocks[index] === undefined ? [index] : []))
      if (missing.length === 0) return blocks
      const spoilt = new Set(damaged.map(blockKey))
      const fetched = new Map<string, Bytes>()
      await inParallel(missing, FETCHES_IN_FLIGHT, async (index) => {
        const cid = cids[index]
        if (cid === undefined) return
        const key = blockKey(cid)
        const bytes = fetched.get(key) ?? (await this.#ask(cid, fetch, spoilt.has(key), end.signal))
        if (bytes === null) return
        fetched.set(key, bytes)
        blocks[index] = bytes
      })
      if (fetched.size > 0) await this.#keepBlocks(cids, fetched, spoilt)
      return blocks
    } finally {
      release()
    }
  }

  async #ask(cid: CID, fetch: Fetch, damaged: boolean, signal: AbortSignal): Promise<Bytes | null> {
    let cause: unknown
    try {
      // Must not wait for the network where this operation ends: the network does not know of it.
      const bytes = await untilAborted(fetch(cid), signal)
      if (bytes !== null && (await matches(cid, bytes))) return bytes
    } catch (error) {
      if (!damaged || signal.aborted) throw error
      cause = error
    }
    if (!damaged) return null
    const name = cid.toV1().toString()
    throw new IntegrityError(`block ${name} is damaged here, and nobody who was asked could replace it`, name, { cause })
  }

  async #keepBlocks(cids: readonly CID[], fetched: ReadonlyMap<string, Bytes>, spoilt: ReadonlySet<string>): Promise<void> {
    this.#existed ??= entriesOf(this.#core.catalog, this.#root.toString()).then((entries) => entries.length > 0)
    await this.#existed
    const writer = await this.openWriter()
    for (const cid of cids) {
      const bytes = fetched.get(blockKey(cid))
      if (bytes !== undefined) await writer.put(cid, bytes)
    }
    await writer.flush()
    for (const cid of cids) if (spoilt.has(blockKey(cid)) && fetched.has(blockKey(cid))) this.#options.onRepaired?.(cid)
  }
}

async function inParallel<T>(items: readonly T[], width: number, work: (item: T) => Promise<void>): Promise<void> {
  let next = 0
  const run = async (): Promise<void> => {
    for (let item = items[next++]; item !== undefined; item = items[next++]) await work(item)
  }
  await Promise.all(Array.from({ length: Math.min(width, items.length) }, run))
}
