// Naming for a writer what is here already of a DAG, and describing its root.
import type { CID } from 'multiformats/cid'
import { MissingBlockError, type BlockSource } from './blocks/blocks.ts'
import { canLink, DAG_PB, decodePb, linksOf, loadCodec } from './blocks/links.ts'
import type { Writer } from './blocks/writer.ts'
import type { EntryDraft } from './catalog/commit.ts'
import { SIZE_UNKNOWN } from './catalog/schema.ts'
import { describeRoot } from './files/stat.ts'
import { walk } from './files/walk.ts'
import { LEAF_WINDOW_BLOCKS, READ_WINDOW_BLOCKS } from './limits.ts'
import type { Bytes } from './types.ts'

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

/** Names the very block of a node and what it links to, as far as they are here. What lies below its links is not looked at. */
export async function nameNode(writer: Writer, source: BlockSource, cid: CID): Promise<void> {
  const [bytes] = await source.getMany([cid])
  if (bytes === undefined) return
  await loadCodec(cid)
  writer.note(cid, bytes)
  const links = linksOf(cid, bytes).map((link) => ({ cid: link.cid, size: link.bytes ?? SIZE_UNKNOWN }))
  // Must name the links as well: the node's record refers to them, and what is here and nobody's must be known as foreign before.
  await nameSized(writer, [{ cid, size: bytes.byteLength }, ...links])
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
    if (!canLink(cid)) leaves.push({ cid, size: bytes ?? SIZE_UNKNOWN })
    if (nodes.length + leaves.length >= READ_WINDOW_BLOCKS) await nameAll()
  }
  await nameAll()
  return whole
}

interface Sized {
  cid: CID
  /** SIZE_UNKNOWN where it is not known. */
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
  const absent = leaves.filter((_, index) => here[index] !== true)
  if (absent.length === 0) return true
  if (options.ask !== true) return false
  for (let from = 0; from < absent.length; from += LEAF_WINDOW_BLOCKS) {
    const window = absent.slice(from, from + LEAF_WINDOW_BLOCKS)
    const blocks = await source.getMany(
      window.map(({ cid }) => cid),
      { signal: options.signal },
    )
    // What was fetched is named already; what another context wrote meanwhile, or what was noted damaged without reason, is named now.
    if (blocks.includes(undefined) || (await nameSized(writer, window)).includes(false)) return false
  }
  return true
}
