// Content in small blocks, for what a gateway answers of it: made by the importer of UnixFS alone, with nothing of this library.
import * as dagCbor from '@ipld/dag-cbor'
import * as dagPb from '@ipld/dag-pb'
import { UnixFS } from 'ipfs-unixfs'
import { importer } from 'ipfs-unixfs-importer'
import { fixedSize } from 'ipfs-unixfs-importer/chunker'
import { CID } from 'multiformats/cid'
import { sha256 } from 'multiformats/hashes/sha2'

const LEAF_BYTES = 256
/** Of names in shards of 256. */
const PREFIX_CHARACTERS = 2

interface Block {
  cid: CID
  bytes: Uint8Array
}

/** CIDs are given and answered as strings. */
export class GatewayBlocks {
  /** By CIDv1, whatever the version of those that lead there. */
  readonly #blocks = new Map<string, Block>()

  values(): Iterable<Block> {
    return this.#blocks.values()
  }

  bytesOf(cid: string): Uint8Array {
    const block = this.#blocks.get(keyOf(cid))
    if (block === undefined) throw new Error(`${cid} is not among the blocks`)
    return block.bytes
  }

  /** What a node links to, in order. */
  children(cid: string): string[] {
    return this.#links(cid).map(({ Hash }) => Hash.toString())
  }

  child(cid: string, name: string): string {
    const link = this.#links(cid).find(({ Name }) => Name === name)
    if (link === undefined) throw new Error(`${cid} has no '${name}'`)
    return link.Hash.toString()
  }

  /** A node of a file or directory and all that is below, depth first, each once. */
  below(cid: string): string[] {
    const { code } = CID.parse(cid)
    return [...new Set([cid, ...(code === dagPb.code ? this.children(cid) : []).flatMap((child) => this.below(child))])]
  }

  /** The nodes of a sharded directory, depth first: links to further ones bear nothing but a prefix. */
  shards(cid: string): string[] {
    const further = this.#links(cid).filter(({ Name }) => Name?.length === PREFIX_CHARACTERS)
    return [cid, ...further.flatMap(({ Hash }) => this.shards(Hash.toString()))]
  }

  /** The nodes on the way to a name in a sharded directory, and what it names; none where it is not there. */
  inShards(cid: string, name: string): string[] {
    for (const { Name = '', Hash } of this.#links(cid)) {
      if (Name.slice(PREFIX_CHARACTERS) === name) return [cid, Hash.toString()]
      const further = Name.length === PREFIX_CHARACTERS ? this.inShards(Hash.toString(), name) : []
      if (further.length > 0) return [cid, ...further]
    }
    return []
  }

  /** Files in chunks of 256 bytes; names may hold slashes. Answers the root that has them all. */
  async import(
    files: Record<string, string | Uint8Array>,
    options: { cidVersion?: 0 | 1; shardSplitThresholdBytes?: number } = {},
  ): Promise<string> {
    const source = Object.entries(files).map(([path, content]) => ({
      path,
      content: typeof content === 'string' ? new TextEncoder().encode(content) : content,
    }))
    const store = {
      put: async (cid: CID, bytes: Uint8Array) => {
        this.#put(cid, bytes)
        return cid
      },
    }
    let root = ''
    const entries = importer(source, store, { ...options, wrapWithDirectory: true, chunker: fixedSize({ chunkSize: LEAF_BYTES }) })
    for await (const { cid } of entries) root = cid.toString()
    return root
  }

  /** A value of dag-cbor; links in it are CIDs. */
  async data(value: unknown): Promise<string> {
    const bytes = dagCbor.encode(value)
    return this.#put(CID.createV1(dagCbor.code, await sha256.digest(bytes)), bytes)
  }

  async symlink(to: string): Promise<string> {
    const unixfs = new UnixFS({ type: 'symlink', data: new TextEncoder().encode(to) })
    const bytes = dagPb.encode(dagPb.prepare({ Data: unixfs.marshal() }))
    return this.#put(CID.createV1(dagPb.code, await sha256.digest(bytes)), bytes)
  }

  remove(cid: string): void {
    this.#blocks.delete(keyOf(cid))
  }

  #links(cid: string): dagPb.PBLink[] {
    return dagPb.decode(this.bytesOf(cid)).Links
  }

  #put(cid: CID, bytes: Uint8Array): string {
    const id = cid.toString()
    this.#blocks.set(keyOf(id), { cid, bytes })
    return id
  }
}

function keyOf(cid: string): string {
  return CID.parse(cid).toV1().toString()
}
