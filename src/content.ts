// Reading content by one operation: from here, else from the network, and what the network supplied is kept.
import type { CID } from 'multiformats/cid'
import { MissingBlockError, type BlockOptions, type BlockSource } from './blocks/blocks.ts'
import { canLink, DAG_PB, decodePb } from './blocks/links.ts'
import { matches } from './blocks/hashing.ts'
import { blockKey } from './blocks/records.ts'
import { Writer } from './blocks/writer.ts'
import type { EntryDraft, KeptContent } from './catalog/catalog.ts'
import { entriesOf } from './catalog/entries.ts'
import type { Core } from './core.ts'
import { IntegrityError } from './errors.ts'
import { describeRoot } from './files/stat.ts'
import { walk } from './files/walk.ts'
import { FETCHES_IN_FLIGHT, READ_WINDOW_BLOCKS } from './limits.ts'
import { untilAborted } from './network/abort.ts'
import type { Bytes } from './types.ts'

/** Asks the network for one block. null: nobody who was asked has it. @throws UnavailableError */
export type Fetch = (cid: CID) => Promise<Bytes | null>

export interface ContentOptions {
  signal?: AbortSignal | undefined
  /** Absent: nobody is asked. */
  fetch?: Fetch | undefined
  onRepaired?: (block: CID) => void
}

export class Content implements BlockSource {
  readonly #core: Core
  readonly #options: ContentOptions
  readonly #root: CID
  #writer: Promise<Writer> | undefined
  #existed: Promise<boolean> | undefined

  /** `root` is what the operation was asked for: the CID that stands before the path. */
  constructor(core: Core, root: CID, options: ContentOptions) {
    this.#core = core
    this.#root = root
    this.#options = options
  }

  async getMany(cids: readonly CID[], options: BlockOptions = {}): Promise<(Bytes | undefined)[]> {
    const signal = options.signal ?? this.#options.signal
    const { fetch } = this.#options
    if (fetch === undefined) return this.#core.store.getMany(cids, { ...options, signal })
    const { blocks, damaged } = await this.#core.store.examine(cids, { ...options, signal })
    const missing = cids.flatMap((_, index) => (blocks[index] === undefined ? [index] : []))
    if (missing.length === 0) return blocks
    const spoilt = new Set(damaged.map(blockKey))
    const fetched = new Map<string, Bytes>()
    await inParallel(missing, FETCHES_IN_FLIGHT, async (index) => {
      const cid = cids[index]
      if (cid === undefined) return
      const key = blockKey(cid)
      const bytes = fetched.get(key) ?? (await this.#ask(cid, fetch, spoilt.has(key)))
      if (bytes === null) return
      fetched.set(key, bytes)
      blocks[index] = bytes
    })
    if (fetched.size > 0) await this.#keepBlocks(cids, fetched, spoilt)
    return blocks
  }

  /** Makes what was fetched visible: as a whole entry, or as a part of one. `nodes` are directory nodes on the way to `target`. */
  async keep(target: CID, nodes: readonly CID[], whole: boolean): Promise<void> {
    const writer = await this.#takeWriter()
    if (writer === undefined) return
    try {
      const allHere = await this.#nameLocal(writer, [...nodes, target])
      const entries = await entriesOf(this.#core.catalog, this.#root.toString())
      const complete = whole && allHere && nodes.length === 0
      const references = writer.references(this.#root)
      const cid = this.#root.toString()
      let contents: KeptContent[]
      if (entries.length > 0) {
        contents = entries.map(({ id: _id, kind: _kind, modified: _modified, lastUsed: _lastUsed, replicas: _replicas, ...draft }) => ({
          cid,
          references,
          entry: { ...draft, complete: draft.complete || complete, existed: true },
        }))
      } else {
        // Somebody deleted it meanwhile, and it stays deleted.
        if ((await this.#existed) === true) return await this.#letGo(writer)
        const { type, size } = await describeHere(this.#core.store, this.#root)
        contents = [{ cid, references, entry: { filename: cid, cid, type, size, complete, fallback: false } }]
      }
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
    const writer = await this.#takeWriter()
    if (writer !== undefined) await this.#letGo(writer)
  }

  async #letGo(writer: Writer): Promise<void> {
    await this.#core.free([await writer.abort()])
  }

  /** The writer of what is fetched, for whoever commits by itself (a pin). */
  openWriter(): Promise<Writer> {
    this.#writer ??= Writer.open(this.#core.store, this.#options.signal)
    return this.#writer
  }

  async #takeWriter(): Promise<Writer | undefined> {
    const writer = await this.#writer
    this.#writer = undefined
    return writer
  }

  async #ask(cid: CID, fetch: Fetch, damaged: boolean): Promise<Bytes | null> {
    let cause: unknown
    try {
      // The network does not know of this operation's end, such as that of the storage.
      const { signal } = this.#options
      const bytes = await (signal === undefined ? fetch(cid) : untilAborted(fetch(cid), signal))
      if (bytes !== null && (await matches(cid, bytes))) return bytes
    } catch (error) {
      if (!damaged || this.#options.signal?.aborted === true) throw error
      cause = error
    }
    if (damaged)
      throw new IntegrityError(`block ${cid.toString()} is damaged here, and nobody who was asked could replace it`, cid.toString(), {
        cause,
      })
    return null
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

  /** Names what is here of the last of these and the very blocks of the others; answers whether all of the last is. */
  async #nameLocal(writer: Writer, roots: readonly CID[]): Promise<boolean> {
    for (const root of roots.slice(0, -1)) {
      const [bytes] = await this.#core.store.getMany([root])
      if (bytes === undefined) continue
      await writer.name([root], [bytes.byteLength])
      writer.note(root, bytes)
    }
    const target = roots.at(-1)
    if (target !== undefined) await nameHere(writer, this.#core.store, target)
  }
}

/** Type and size for an entry of a root, as far as they can be told from here. A directory that is here in part counts with the sizes it gives. */
export async function describeHere(source: BlockSource, root: CID): Promise<Pick<EntryDraft, 'type' | 'size'>> {
  try {
    const { type, size } = await describeRoot(source, root)
    return { type: type === 'symlink' ? 'dag' : type, size }
  } catch (error) {
    if (!(error instanceof MissingBlockError)) throw error
    const [bytes] = await source.getMany([root])
    if (bytes === undefined || root.code !== DAG_PB) throw error
    return { type: 'directory', size: decodePb(root, bytes).Links.reduce((sum, link) => sum + (link.Tsize ?? 0), 0) }
  }
}

/**
 * Names every block of a DAG that `source` has, nodes before what they link to, and answers whether all of it is here. Leaves are looked up, not
 * read; those that are missing are asked of `source` where `ask` says so.
 */
export async function nameHere(
  writer: Writer,
  source: BlockSource,
  root: CID,
  options: { ask?: boolean; signal?: AbortSignal | undefined; onProgress?: (bytes: number) => void } = {},
): Promise<boolean> {
  let whole = true
  let nodes: Sized[] = []
  let leaves: Sized[] = []
  const nameAll = async (): Promise<void> => {
    // One that was read and is gone now was freed in between.
    if ((await nameSized(writer, nodes)).includes(false)) whole = false
    if (!(await nameLeaves(writer, source, leaves, options))) whole = false
    options.onProgress?.(leaves.reduce((sum, { size }) => sum + Math.max(0, size), 0))
    nodes = []
    leaves = []
  }
  const onNode = (cid: CID, bytes: Bytes): void => {
    writer.note(cid, bytes)
    nodes.push({ cid, size: bytes.byteLength })
  }
  if (!canLink(root)) {
    // A root without links gets a record of its own, which needs its size.
    const [bytes] = await source.getMany([root], { signal: options.signal })
    if (bytes === undefined) return false
    onNode(root, bytes)
    await nameAll()
    return whole
  }
  const onMissing = (): void => {
    whole = false
  }
  for await (const { cid, bytes } of walk(source, root, { signal: options.signal, onNode, onMissing })) {
    if (!canLink(cid)) leaves.push({ cid, size: bytes ?? -1 })
    if (nodes.length + leaves.length >= READ_WINDOW_BLOCKS) await nameAll()
  }
  await nameAll()
  return whole
}

interface Sized {
  cid: CID
  /** -1 where it is not known. */
  size: number
}

function nameSized(writer: Writer, blocks: readonly Sized[]): Promise<boolean[]> {
  return writer.name(
    blocks.map(({ cid }) => cid),
    blocks.map(({ size }) => size),
  )
}

async function nameLeaves(
  writer: Writer,
  source: BlockSource,
  leaves: readonly Sized[],
  options: { ask?: boolean; signal?: AbortSignal | undefined },
): Promise<boolean> {
  if (leaves.length === 0) return true
  const here = await nameSized(writer, leaves)
  const absent = leaves.filter((_, index) => here[index] !== true).map(({ cid }) => cid)
  if (absent.length === 0) return true
  if (options.ask !== true) return false
  const blocks = await source.getMany(absent, { signal: options.signal })
  return blocks.every((bytes) => bytes !== undefined)
}

async function inParallel<T>(items: readonly T[], width: number, work: (item: T) => Promise<void>): Promise<void> {
  let next = 0
  const run = async (): Promise<void> => {
    for (let item = items[next++]; item !== undefined; item = items[next++]) await work(item)
  }
  await Promise.all(Array.from({ length: Math.min(width, items.length) }, run))
}
