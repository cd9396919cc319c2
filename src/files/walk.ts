// Every block of a DAG once, without reading those that cannot link to others.
import type { CID } from 'multiformats/cid'
import { MissingBlockError, type BlockOptions, type BlockSource } from '../blocks/blocks.ts'
import { IDENTITY } from '../blocks/hashing.ts'
import { canLink, linksOf, loadCodec, type Link } from '../blocks/links.ts'
import { LimitError } from '../errors.ts'
import { MAX_DAG_DEPTH, READ_WINDOW_BLOCKS } from '../limits.ts'
import type { Bytes } from '../types.ts'

export interface WalkOptions extends BlockOptions {
  /** Called with each block that was read, before it is given. */
  onNode?: ((cid: CID, bytes: Bytes) => void) | undefined
  /** Called with a node that nobody who was asked has, instead of throwing; what lies below it is not walked. */
  onMissing?: ((cid: CID) => void) | undefined
}

export interface WalkedBlock {
  cid: CID
  /** In their order, repeated ones included. */
  links: CID[]
  /** Length of the block where it was read or its parent says it. */
  bytes: number | undefined
}

interface Open extends Link {
  depth: number
}

/**
 * Gives each block below and with the root once by its multihash; only one that is linked under two codecs is given under both, since its
 * links depend on them. Leaves and identity CIDs are given without being read, so they may be missing.
 *
 * @throws MissingBlockError for a node that nobody who was asked has
 * @throws UnsupportedContentError for an unknown codec or a malformed block, LimitError beyond MAX_DAG_DEPTH or MAX_LINKS_PER_NODE
 */
export async function* walk(source: BlockSource, root: CID, options: WalkOptions = {}): AsyncGenerator<WalkedBlock, void, undefined> {
  const seen = new Set<string>([blockId(root)])
  const open: Open[] = [{ cid: root, depth: 0 }]
  while (open.length > 0) {
    options.signal?.throwIfAborted()
    const window: Open[] = []
    // From the end, which keeps the list as short as the DAG is deep.
    for (let next = open.pop(); next !== undefined; next = window.length < READ_WINDOW_BLOCKS ? open.pop() : undefined) {
      if (canLink(next.cid)) window.push(next)
      else yield { cid: next.cid, links: [], bytes: next.bytes }
    }
    const blocks = await nodesOf(source, window, options)
    for (const [index, { cid, depth }] of window.entries()) {
      const bytes = blocks[index]
      if (bytes === undefined) {
        if (options.onMissing === undefined) throw new MissingBlockError(cid)
        options.onMissing(cid)
        continue
      }
      await loadCodec(cid)
      const links = linksOf(cid, bytes)
      if (links.length > 0 && depth >= MAX_DAG_DEPTH) {
        throw new LimitError(`DAG is deeper than ${MAX_DAG_DEPTH} levels at ${cid.toString()}`, 'MAX_DAG_DEPTH', depth + 1)
      }
      for (const link of links) {
        const id = blockId(link.cid)
        if (seen.has(id)) continue
        seen.add(id)
        open.push({ ...link, depth: depth + 1 })
      }
      options.onNode?.(cid, bytes)
      yield { cid, links: links.map((link) => link.cid), bytes: bytes.byteLength }
    }
  }
}

/** Names a block as far as walking goes: all leaves of one multihash are one. */
export function blockId(cid: CID): string {
  // One character a byte: a fraction of what base32 costs in time and memory.
  return `${canLink(cid) ? cid.code : ''}:${String.fromCharCode(...cid.multihash.bytes)}`
}

async function nodesOf(source: BlockSource, window: readonly Open[], options: WalkOptions): Promise<(Bytes | undefined)[]> {
  const inline = window.map(({ cid }) => (cid.multihash.code === IDENTITY ? new Uint8Array(cid.multihash.digest) : undefined))
  const asked = window.filter((_, index) => inline[index] === undefined).map(({ cid }) => cid)
  const answers = asked.length === 0 ? [] : await source.getMany(asked, { signal: options.signal, verify: options.verify })
  let next = 0
  return inline.map((bytes) => bytes ?? answers[next++])
}
