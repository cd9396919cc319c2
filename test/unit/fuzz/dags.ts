// Random DAGs, honest ones and others, and a naive model of what lies in them.
import * as dagCbor from '@ipld/dag-cbor'
import * as dagJson from '@ipld/dag-json'
import * as dagPb from '@ipld/dag-pb'
import * as fc from 'fast-check'
import { UnixFS } from 'ipfs-unixfs'
import { CID } from 'multiformats/cid'
import * as Digest from 'multiformats/hashes/digest'
import { sha256, sha512 } from 'multiformats/hashes/sha2'
import { MAX_DAG_DEPTH, MAX_IDENTITY_DIGEST_BYTES, MAX_LINKS_PER_NODE } from '../../../src/limits.ts'
import { concat, type Block } from './support.ts'

export const RAW = 0x55
export const DAG_PB = 0x70
const DAG_CBOR = 0x71
const DAG_JSON = 0x0129
const PLAIN = [0x51, 0x0200]
/** dag-jose, and a number that stands for nothing. */
const UNKNOWN = [0x85, 0x99]

const FILE = 2
const DIRECTORY = 1

type Hash = 'sha256' | 'sha512' | 'cut' | 'cut short' | 'identity' | 'large identity' | 'unknown'

/** A block that is to be made. */
export type Spec =
  | { is: 'bytes'; codec: number; bytes: Uint8Array; hash: Hash }
  | { is: 'links'; codec: number; links: Spec[]; hash: Hash }
  | {
      is: 'unixfs'
      type: number | undefined
      data: Uint8Array | undefined
      links: SpecLink[]
      /** Sizes more or less than there are links. */
      sizes: number
      fileSize: bigint | 'true' | undefined
      fanout: bigint | undefined
      hashType: bigint | undefined
      dataFirst: boolean
      version: 0 | 1
      hash: Hash
    }
  /** Each node links twice to the one below. */
  | { is: 'doubled'; leaf: Spec; times: number }
  | { is: 'chain'; leaf: Spec; times: number; type: number }
  /** The same bytes under another codec. */
  | { is: 'recast'; spec: Spec; codec: number }

interface SpecLink {
  spec: Spec
  name: string | undefined
  tsize: bigint | undefined
  /** In place of the bytes below; a number is added to them. */
  size: bigint | number
}

const LIES = [0n, 1n, 2n ** 20n, 2n ** 31n, 2n ** 32n - 1n, 2n ** 40n, 2n ** 52n, 2n ** 53n - 1n, 2n ** 53n, 2n ** 63n, 2n ** 64n - 1n]

/** What is chosen `one` time in so many. */
function rarely<T>(one: number, often: fc.Arbitrary<T>, seldom: fc.Arbitrary<T>): fc.Arbitrary<T> {
  return fc.oneof({ arbitrary: often, weight: one - 1 }, { arbitrary: seldom, weight: 1 })
}

const hash: fc.Arbitrary<Hash> = rarely<Hash>(
  12,
  fc.constant('sha256'),
  fc.constantFrom('sha512', 'cut', 'cut short', 'identity', 'large identity', 'unknown'),
)
const honestHash: fc.Arbitrary<Hash> = rarely<Hash>(8, fc.constant('sha256'), fc.constantFrom('sha512', 'cut', 'identity'))

export const oddName: fc.Arbitrary<string> = fc.oneof(
  fc.constantFrom(
    '',
    'a',
    'b',
    'c',
    'a/b',
    '.',
    '..',
    '/',
    'é',
    'e\u0301',
    '%2F',
    '\0',
    '00',
    '0A',
    '0Aa',
    'FFa',
    'n'.repeat(300),
    '__proto__',
  ),
  fc.string({ unit: 'binary', maxLength: 6 }),
)

const leafBytes = fc.oneof(
  { arbitrary: fc.uint8Array({ maxLength: 40 }), weight: 9 },
  { arbitrary: fc.integer({ min: 0, max: 3000 }).map((size) => new Uint8Array(size).fill(size)), weight: 1 },
)

function specs(honest: boolean): fc.Arbitrary<Spec> {
  const anyHash = honest ? honestHash : hash
  const size = honest ? fc.constant<bigint | number>(0) : rarely<bigint | number>(8, fc.constant(0), fc.constantFrom(...LIES, -1, 1))
  const lieOrNone = rarely<bigint | undefined>(4, fc.constant(undefined), fc.constantFrom(...LIES))
  const trueOrNone = fc.constantFrom<'true' | undefined>('true', undefined)
  const unixfs = (
    type: fc.Arbitrary<number | undefined>,
    spec: fc.Arbitrary<Spec>,
    name: fc.Arbitrary<string | undefined>,
  ): fc.Arbitrary<Spec> =>
    fc.record({
      is: fc.constant('unixfs' as const),
      type,
      data: rarely<Uint8Array | undefined>(3, fc.constant(undefined), leafBytes),
      links: fc.array(fc.record({ spec, name, tsize: honest ? fc.constant(undefined) : lieOrNone, size }), {
        maxLength: 5,
        depthIdentifier: 'dag',
      }),
      sizes: honest ? fc.constant(0) : rarely(15, fc.constant(0), fc.constantFrom(-1, 1)),
      fileSize: honest ? trueOrNone : rarely<bigint | 'true' | undefined>(12, trueOrNone, fc.constantFrom(...LIES)),
      fanout: honest
        ? fc.constant(undefined)
        : rarely<bigint | undefined>(
            3,
            fc.constant(undefined),
            fc.constantFrom(2n, 8n, 16n, 256n, 7n, 0n, 1n, 1024n, 2048n, 2n ** 64n - 1n),
          ),
      hashType: honest ? fc.constant(undefined) : fc.constantFrom(undefined, 0x22n, 0x12n),
      dataFirst: fc.boolean(),
      version: fc.constantFrom(0, 1),
      hash: anyHash,
    })
  const name = fc.option(oddName, { nil: undefined })
  return fc.letrec<{ leaf: Spec; file: Spec; node: Spec; any: Spec }>((tie) => ({
    leaf: fc.oneof(
      { arbitrary: fc.record({ is: fc.constant('bytes' as const), codec: fc.constant(RAW), bytes: leafBytes, hash: anyHash }), weight: 6 },
      {
        arbitrary: unixfs(
          fc.constantFrom(0, FILE),
          fc.constant<Spec>({ is: 'bytes', codec: RAW, bytes: new Uint8Array(3), hash: 'sha256' }),
          fc.constant(undefined),
        ),
        weight: 2,
      },
    ),
    file: fc.oneof(
      { depthIdentifier: 'dag', maxDepth: 5 },
      { arbitrary: tie('leaf'), weight: 3 },
      { arbitrary: unixfs(fc.constantFrom(FILE, FILE, FILE, 0), tie('file'), honest ? fc.constant(undefined) : name), weight: 6 },
      {
        arbitrary: fc.record({ is: fc.constant('doubled' as const), leaf: tie('leaf'), times: fc.integer({ min: 1, max: 14 }) }),
        weight: 1,
      },
    ),
    node: fc.oneof(
      { depthIdentifier: 'dag', maxDepth: 5 },
      { arbitrary: tie('file'), weight: 6 },
      { arbitrary: unixfs(fc.constant(DIRECTORY), tie('node'), name), weight: 5 },
      { arbitrary: unixfs(fc.constant(4), tie('leaf'), name), weight: 1 },
      {
        arbitrary: fc.record({
          is: fc.constant('links' as const),
          codec: fc.constantFrom(DAG_CBOR, DAG_JSON),
          links: fc.array(tie('node'), { maxLength: 3, depthIdentifier: 'dag' }),
          hash: anyHash,
        }),
        weight: 1,
      },
      {
        arbitrary: fc.record({ is: fc.constant('bytes' as const), codec: fc.constantFrom(...PLAIN), bytes: leafBytes, hash: anyHash }),
        weight: 1,
      },
      { arbitrary: fc.record({ is: fc.constant('recast' as const), spec: tie('node'), codec: fc.constantFrom(RAW, ...PLAIN) }), weight: 1 },
    ),
    any: honest
      ? tie('node')
      : fc.oneof(
          { depthIdentifier: 'dag', maxDepth: 5 },
          { arbitrary: tie('node'), weight: 8 },
          { arbitrary: unixfs(fc.constantFrom(undefined, 0, 1, 2, 3, 4, 5, 5, 5, 6, 7, 200), tie('any'), name), weight: 6 },
          {
            arbitrary: fc.record({
              is: fc.constant('bytes' as const),
              codec: fc.constantFrom(DAG_PB, DAG_CBOR, DAG_JSON, ...UNKNOWN),
              bytes: leafBytes,
              hash: anyHash,
            }),
            weight: 1,
          },
          {
            arbitrary: fc.record({
              is: fc.constant('recast' as const),
              spec: tie('any'),
              codec: fc.constantFrom(RAW, DAG_PB, DAG_CBOR, DAG_JSON, ...PLAIN, ...UNKNOWN),
            }),
            weight: 1,
          },
          {
            arbitrary: fc.record({
              is: fc.constant('chain' as const),
              leaf: tie('leaf'),
              times: fc.constantFrom(2, 127, 128, 129, 300),
              type: fc.constantFrom(FILE, DIRECTORY, 5),
            }),
            weight: 1,
          },
          {
            arbitrary: fc.record({ is: fc.constant('doubled' as const), leaf: tie('any'), times: fc.constantFrom(20, 40, 60, 130) }),
            weight: 1,
          },
        ),
  })).any
}

export const honestSpec: fc.Arbitrary<Spec> = specs(true)
export const anySpec: fc.Arbitrary<Spec> = fc.oneof({ arbitrary: specs(false), weight: 3 }, { arbitrary: specs(true), weight: 1 })

/** Blocks by the string of their CIDs. */
export class Blocks extends Map<string, Block> {
  async add(codec: number, bytes: Uint8Array, as: Hash = 'sha256', version: 0 | 1 = 1): Promise<CID> {
    const digest = await digestOf(bytes, as)
    const cid = version === 0 && codec === DAG_PB && as === 'sha256' ? CID.createV0(digest as never) : CID.createV1(codec, digest)
    this.set(cid.toString(), { cid: cid, bytes })
    return cid
  }
}

async function digestOf(bytes: Uint8Array, as: Hash): Promise<Digest.Digest<number, number>> {
  switch (as) {
    case 'sha256':
      return Digest.create(0x12, (await sha256.digest(bytes as never)).digest)
    case 'sha512':
      return Digest.create(0x13, (await sha512.digest(bytes as never)).digest)
    case 'cut':
      return Digest.create(0x12, (await sha256.digest(bytes as never)).digest.slice(0, 20))
    case 'cut short':
      return Digest.create(0x12, (await sha256.digest(bytes as never)).digest.slice(0, 10))
    case 'identity':
    case 'large identity':
      // Else every node above would be too large as well.
      if (bytes.byteLength > MAX_IDENTITY_DIGEST_BYTES * (as === 'identity' ? 1 : 2)) return digestOf(bytes, 'sha256')
      return Digest.create(0, bytes)
    case 'unknown':
      return Digest.create(0x1e, (await sha256.digest(bytes as never)).digest)
  }
}

interface Made {
  cid: CID
  /** Bytes of content that it says it holds. */
  size: bigint
}

/** Makes the blocks of a DAG, and answers its root. */
export async function make(spec: Spec, blocks: Blocks): Promise<Made> {
  switch (spec.is) {
    case 'bytes':
      return { cid: await blocks.add(spec.codec, spec.bytes, spec.hash), size: BigInt(spec.codec === RAW ? spec.bytes.byteLength : 0) }
    case 'links': {
      const links: CID[] = []
      for (const link of spec.links) links.push((await make(link, blocks)).cid)
      const value = { links, text: 'x' }
      return {
        cid: await blocks.add(spec.codec, spec.codec === DAG_CBOR ? dagCbor.encode(value) : dagJson.encode(value), spec.hash),
        size: 0n,
      }
    }
    case 'recast': {
      const { cid } = await make(spec.spec, blocks)
      const recast = CID.createV1(spec.codec, cid.toV1().multihash) as CID
      const { bytes } = blocks.get(cid.toString()) as Block
      blocks.set(recast.toString(), { cid: recast, bytes })
      return { cid: recast, size: BigInt(spec.codec === RAW ? bytes.byteLength : 0) }
    }
    case 'doubled': {
      let below = await make(spec.leaf, blocks)
      for (let time = 0; time < spec.times; time++) {
        const size = 2n * below.size
        const bytes = pbNode(unixfsMessage({ type: FILE, sizes: [below.size, below.size] }), [{ cid: below.cid }, { cid: below.cid }])
        below = { cid: await blocks.add(DAG_PB, bytes), size }
      }
      return below
    }
    case 'chain': {
      let below = await make(spec.leaf, blocks)
      for (let time = 0; time < spec.times; time++) {
        const isFile = spec.type === FILE
        const message = unixfsMessage({ type: spec.type, sizes: isFile ? [below.size] : [], fanout: spec.type === 5 ? 256n : undefined })
        const bytes = pbNode(message, [{ cid: below.cid, name: spec.type === 5 ? '00' : 'a' }])
        below = { cid: await blocks.add(DAG_PB, bytes), size: isFile ? below.size : 0n }
      }
      return below
    }
    case 'unixfs': {
      const links: { cid: CID; name: string | undefined; tsize: bigint | undefined }[] = []
      let sizes: bigint[] = []
      for (const { spec: below, name, tsize, size } of spec.links) {
        const made = await make(below, blocks)
        links.push({ cid: made.cid, name, tsize })
        sizes.push(BigInt.asUintN(64, typeof size === 'bigint' ? size : made.size + BigInt(size)))
      }
      const isFile = spec.type === 0 || spec.type === FILE
      if (!isFile) sizes = []
      if (spec.sizes < 0) sizes.pop()
      if (spec.sizes > 0) sizes.push(5n)
      const { type, data, fanout, hashType } = spec
      const size = isFile ? sizes.reduce((sum, one) => sum + one, BigInt(data?.byteLength ?? 0)) : 0n
      const fileSize = spec.fileSize === 'true' ? size : spec.fileSize
      const bytes = pbNode(unixfsMessage({ type, data, sizes, fileSize, fanout, hashType }), links, spec.dataFirst)
      return { cid: await blocks.add(DAG_PB, bytes, spec.hash, spec.version), size: BigInt.asUintN(64, size) }
    }
  }
}

// Written by hand, because no encoder writes what is wrong. https://specs.ipfs.tech/unixfs/

export function varintOf(value: bigint): Uint8Array {
  const bytes: number[] = []
  let rest = BigInt.asUintN(64, value)
  for (; rest > 0x7fn; rest >>= 7n) bytes.push(Number(rest & 0x7fn) | 0x80)
  return new Uint8Array([...bytes, Number(rest)])
}

function numberField(field: number, value: bigint | undefined): Uint8Array {
  return value === undefined ? new Uint8Array(0) : concat([varintOf(BigInt(field << 3)), varintOf(value)])
}

function bytesField(field: number, value: Uint8Array | undefined): Uint8Array {
  if (value === undefined) return new Uint8Array(0)
  return concat([varintOf(BigInt((field << 3) | 2)), varintOf(BigInt(value.byteLength)), value])
}

export function unixfsMessage(fields: {
  type: number | undefined
  data?: Uint8Array | undefined
  sizes?: bigint[]
  fileSize?: bigint | undefined
  fanout?: bigint | undefined
  hashType?: bigint | undefined
}): Uint8Array {
  return concat([
    numberField(1, fields.type === undefined ? undefined : BigInt(fields.type)),
    bytesField(2, fields.data),
    numberField(3, fields.fileSize),
    ...(fields.sizes ?? []).map((size) => numberField(4, size)),
    numberField(5, fields.hashType),
    numberField(6, fields.fanout),
  ])
}

export function pbNode(
  data: Uint8Array | undefined,
  links: readonly { cid: CID; name?: string | undefined; tsize?: bigint | undefined }[],
  dataFirst = false,
): Uint8Array {
  const linkFields = links.map(({ cid, name, tsize }) =>
    bytesField(
      2,
      concat([
        bytesField(1, cid.bytes),
        bytesField(2, name === undefined ? undefined : new TextEncoder().encode(name)),
        numberField(3, tsize),
      ]),
    ),
  )
  return concat(dataFirst ? [bytesField(1, data), ...linkFields] : [...linkFields, bytesField(1, data)])
}

/** What one block is, by the decoders of its codecs alone. */
export type Look =
  | { kind: 'bad' }
  | { kind: 'dag' }
  | { kind: 'symlink'; size: number }
  | { kind: 'file'; data: Uint8Array; children: { cid: CID; size: number }[]; size: number; whole: boolean }
  | { kind: 'directory'; entries: { name: string; cid: CID; tsize: number | undefined }[] }
  | { kind: 'shard' }

/** Where the model knows of no bytes: a DAG that lies, or is deeper than it may be. */
export class NoBytes extends Error {}

export class Model {
  readonly #blocks: Blocks

  constructor(blocks: Blocks) {
    this.#blocks = blocks
  }

  bytesOf(cid: CID): Uint8Array {
    return cid.multihash.code === 0 ? cid.multihash.digest : (this.#blocks.get(cid.toString()) as Block).bytes
  }

  look(cid: CID): Look {
    const { code, size } = cid.multihash
    if (code === 0 ? size > MAX_IDENTITY_DIGEST_BYTES : (code !== 0x12 && code !== 0x13) || size < 20) return { kind: 'bad' }
    const bytes = this.bytesOf(cid)
    if (cid.code === RAW) return { kind: 'file', data: bytes, children: [], size: bytes.byteLength, whole: true }
    if (PLAIN.includes(cid.code)) return { kind: 'dag' }
    const links = this.links(cid)
    if (links === undefined) return { kind: 'bad' }
    if (cid.code !== DAG_PB) return { kind: 'dag' }
    const node = dagPb.decode(bytes)
    const unixfs = unixfsOf(node.Data)
    if (unixfs === undefined) return { kind: 'dag' }
    switch (unixfs.type) {
      case 'file':
      case 'raw': {
        const data = unixfs.data ?? new Uint8Array(0)
        const children = links.map((link, index) => ({ cid: link, size: Number(unixfs.blockSizes[index] ?? 0n) }))
        const total = unixfs.blockSizes.reduce((sum, one) => sum + one, BigInt(data.byteLength))
        const said = fileSizeOf(node.Data ?? new Uint8Array(0))
        const hides = children.some((child) => child.size === 0 && child.cid.code === RAW && this.#holdsSome(child.cid))
        const sums = total <= BigInt(Number.MAX_SAFE_INTEGER) && (said === undefined || said === total)
        const whole = unixfs.blockSizes.length === links.length && sums && !hides
        return { kind: 'file', data, children, size: Number(total), whole }
      }
      case 'directory':
        return {
          kind: 'directory',
          entries: node.Links.map(({ Name = '', Hash, Tsize }) => ({ name: Name, cid: Hash, tsize: Tsize })),
        }
      case 'hamt-sharded-directory':
        return { kind: 'shard' }
      case 'symlink':
        return { kind: 'symlink', size: unixfs.data?.byteLength ?? 0 }
      default:
        return { kind: 'dag' }
    }
  }

  /** Of what has an unknown hash nothing is known. */
  #holdsSome(cid: CID): boolean {
    return [0, 0x12, 0x13].includes(cid.multihash.code) && this.bytesOf(cid).byteLength > 0
  }

  /** undefined where the block is not of its codec or links to too much. */
  links(cid: CID): CID[] | undefined {
    if (cid.code === RAW || PLAIN.includes(cid.code)) return []
    const bytes = this.bytesOf(cid)
    let links: CID[] = []
    try {
      if (cid.code === DAG_PB) links = dagPb.decode(bytes).Links.map((link) => link.Hash)
      else if (cid.code === DAG_CBOR) links = cidsIn(dagCbor.decode(bytes))
      else if (cid.code === DAG_JSON) links = cidsIn(dagJson.decode(bytes))
      else return undefined
    } catch {
      return undefined
    }
    const tooLarge = links.some(({ multihash }) => multihash.code === 0 && multihash.size > MAX_IDENTITY_DIGEST_BYTES)
    return links.length > MAX_LINKS_PER_NODE || tooLarge ? undefined : links
  }

  /** Every block below and with the root, by the string of its CID; undefined where one lies too deep or is bad, leaves too where they are `read`. */
  all(root: CID, read = true): Map<string, CID> | undefined {
    const found = new Map<string, CID>([[root.toString(), root]])
    let level = [root]
    for (let depth = 0; level.length > 0; depth++) {
      const next: CID[] = []
      for (const cid of level) {
        const isLeaf = cid.code === RAW || PLAIN.includes(cid.code)
        const links = (read || !isLeaf) && this.look(cid).kind === 'bad' ? undefined : this.links(cid)
        if (links === undefined || (links.length > 0 && depth >= MAX_DAG_DEPTH)) return undefined
        for (const link of links) {
          if (found.has(link.toString())) continue
          found.set(link.toString(), link)
          next.push(link)
        }
      }
      level = next
    }
    return found
  }

  /** Bytes `from` to `to` of a file. Of a child that says it holds nothing nothing is read. @throws NoBytes */
  range(cid: CID, from: number, to: number, depth = 0): Uint8Array {
    const node = this.look(cid)
    if (node.kind !== 'file' || !node.whole) throw new NoBytes()
    const parts = [node.data.subarray(Math.min(from, node.data.byteLength), Math.min(to, node.data.byteLength))]
    let start = node.data.byteLength
    for (const child of node.children) {
      const end = start + child.size
      if (start < end && from < end && to > start) {
        const below = this.look(child.cid)
        if (depth >= MAX_DAG_DEPTH || below.kind !== 'file' || below.size !== child.size) throw new NoBytes()
        parts.push(this.range(child.cid, Math.max(from, start) - start, Math.min(to, end) - start, depth + 1))
      }
      start = end
    }
    return concat(parts)
  }
}

/** The last number of field 3 of a message. */
function fileSizeOf(message: Uint8Array): bigint | undefined {
  const numberAt = (at: number): [bigint, number] => {
    let [value, end] = [0n, at]
    do value |= BigInt((message[end] ?? 0) & 0x7f) << BigInt(7 * (end - at))
    while ((message[end++] ?? 0) >= 0x80)
    return [BigInt.asUintN(64, value), end]
  }
  let found: bigint | undefined
  for (let at = 0; at < message.byteLength;) {
    const [tag, after] = numberAt(at)
    const [value, end] = numberAt(after)
    const skipped = { 0: end, 1: after + 8, 2: end + Number(value), 5: after + 4 }[Number(tag & 7n)]
    if (skipped === undefined) return undefined
    if (tag === 24n) found = value
    at = skipped
  }
  return found
}

function unixfsOf(data: Uint8Array | undefined): UnixFS | undefined {
  if (data === undefined || data.byteLength === 0) return undefined
  try {
    return UnixFS.unmarshal(data)
  } catch {
    return undefined
  }
}

function cidsIn(value: unknown): CID[] {
  const cid = CID.asCID(value)
  if (cid !== null) return [cid]
  return typeof value === 'object' && value !== null && !ArrayBuffer.isView(value) ? Object.values(value).flatMap(cidsIn) : []
}
