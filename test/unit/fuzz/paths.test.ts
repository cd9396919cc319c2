// Random paths and CIDs in every form: what names nothing is told so by an error of ours, and every form of a CID names the same content.
import * as fc from 'fast-check'
import { importer } from 'ipfs-unixfs-importer'
import { bases } from 'multiformats/basics'
import { base32, base32upper } from 'multiformats/bases/base32'
import { base36 } from 'multiformats/bases/base36'
import { base58btc } from 'multiformats/bases/base58'
import { CID } from 'multiformats/cid'
import * as Digest from 'multiformats/hashes/digest'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { ContentPath, DirectoryEntry, Source } from '../../../src/index.ts'
import { Blocks, DAG_PB, oddName, pbNode, RAW, unixfsMessage } from './dags.ts'
import { carOf, closeAll, expectProperty, expectSame, FUZZ_TIMEOUT, openStorage, outcomeOf, stateOf, type Opened } from './support.ts'

const BASES = [base32, base32upper, base36, base58btc]

let opened: Opened
let before: unknown
/** A CIDv0 of a directory with a file 'a', in which all odd names lead to the same bytes. */
let root: CID
const bytes = new TextEncoder().encode('what is named')
const NAMES = ['a', 'é', '%2F', ' ', '?', '#', 'a?b#c', '\u{1f600}', 'n'.repeat(255), '__proto__', '\\', '...']

beforeAll(async () => {
  opened = await openStorage()
  const blocks = new Blocks()
  const leaf = await blocks.add(RAW, bytes)
  const links = NAMES.map((name) => ({ cid: leaf, name, tsize: BigInt(bytes.byteLength) }))
  root = await blocks.add(DAG_PB, pbNode(unixfsMessage({ type: 1 }), links), 'sha256', 0)
  await opened.storage.importCar(carOf([root], blocks.values()), { filename: 'named', pin: true })
  before = await stateOf(opened)
})
afterAll(closeAll)

/** Every method that takes a path, by what it answers where that names nothing. */
function methodsOver(path: ContentPath): [name: string, work: () => Promise<unknown>, nothing: unknown][] {
  const { storage } = opened
  return [
    ['retrieve', () => storage.retrieve(path), null],
    ['stream', async () => (await storage.stream(path))?.cancel() ?? null, null],
    ['blob', () => storage.blob(path), null],
    ['stat', () => storage.stat(path), null],
    ['listDirectory', () => storage.listDirectory(path), null],
    ['exportCar', async () => (await storage.exportCar(path))?.cancel() ?? null, null],
    ['exists', () => storage.exists(path), false],
    ['pin', () => storage.pin(path), false],
    ['unpin', () => storage.unpin(path), false],
    ['delete', () => storage.delete(path), false],
    ['verify', async () => (await storage.verify(path)).blocks, 0],
  ]
}

/** As multiformats reads it in the bases of the contract. */
function cidIn(text: string): CID | undefined {
  try {
    const decoder = BASES.slice(1).reduce((all, base) => all.or(base.decoder) as never, BASES[0]!.decoder.or(base32upper.decoder))
    return CID.parse(text, decoder)
  } catch {
    return undefined
  }
}

function isCidBytes(value: unknown): boolean {
  try {
    return value instanceof Uint8Array && CID.decode(value) instanceof CID
  } catch {
    return false
  }
}

const anyText = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 80 }),
  fc.string({ maxLength: 80 }),
  fc.webUrl(),
  fc.constantFrom(
    '',
    '/',
    '//',
    '/ipfs',
    '/ipfs/',
    'ipfs://',
    'ipfs:///',
    '/ipfs//',
    '..',
    '.',
    '\0',
    '/ipns/a',
    'data:,x',
    'Q',
    'z',
    'k',
    'b',
    'B',
    'f01551220',
  ),
)

/** A CID of whatever kind, which may name what is nowhere, can't be checked, or is no CID any more. */
const cidBytes = fc
  .record({
    version: fc.constantFrom(0, 1, 1, 1, 1, 2, 18, 255),
    codec: fc.constantFrom(0x55, 0x70, 0x71, 0x0129, 0x51, 0x0200, 0x72, 0x85, 0xb0, 0x2_0000),
    hash: fc.constantFrom(0x12, 0x12, 0x12, 0x13, 0, 0x1e, 0xb220, 0x11, 0xd5),
    digest: fc.oneof(fc.uint8Array({ minLength: 32, maxLength: 32 }), fc.uint8Array({ maxLength: 200 })),
    cut: fc.oneof({ arbitrary: fc.constant(0), weight: 4 }, { arbitrary: fc.integer({ min: -3, max: 3 }), weight: 1 }),
  })
  .map(({ version, codec, hash, digest, cut }) => {
    const whole = version === 0 ? Digest.create(hash, digest).bytes : CID.createV1(codec, Digest.create(hash, digest)).bytes.slice()
    if (version > 1) whole[0] = version
    return cut < 0 ? whole.subarray(0, cut) : Uint8Array.from([...whole, ...new Uint8Array(cut)])
  })

const around = fc.constantFrom(
  (cid: string) => cid,
  (cid: string) => `/ipfs/${cid}`,
  (cid: string) => `ipfs://${cid}`,
)

/** What a path below a CID is answered with: anything but an answer, or an error of ours. */
async function expectNothing(path: ContentPath, codes: readonly string[]): Promise<void> {
  for (const [name, work, nothing] of methodsOver(path)) {
    const { answer, error } = await outcomeOf(work)
    if (error === undefined) expect([name, answer]).toEqual([name, nothing])
    else expect(codes).toContain(error.code)
  }
  expect(await stateOf(opened)).toEqual(before)
}

describe('a path', () => {
  it(
    'of random characters is no CID',
    async () => {
      await expectProperty(
        fc.asyncProperty(anyText, around, async (text, wrap) => {
          const path = wrap(text)
          const bare = path.startsWith('ipfs://') ? path.slice(7) : path.startsWith('/ipfs/') ? path.slice(6) : path
          fc.pre(cidIn(bare.split('/')[0] ?? '') === undefined)
          for (const [name, work] of methodsOver(path)) expect([name, (await outcomeOf(work)).error?.code]).toEqual([name, 'invalid-cid'])
        }),
        200,
      )
    },
    FUZZ_TIMEOUT,
  )

  it(
    'of anything but a string or a CID is none',
    async () => {
      const looksLike = fc
        .record({ version: fc.anything(), code: fc.anything(), multihash: fc.anything(), bytes: fc.oneof(fc.uint8Array(), fc.anything()) })
        .map((fields) => ({ ...fields, '/': fields.bytes }))
      const tagged = fc.record({ version: fc.anything(), code: fc.anything(), multihash: fc.anything() }).map((fields) => {
        const value: Record<string, unknown> = { ...fields }
        value.asCID = value
        return value
      })
      await expectProperty(
        fc.asyncProperty(
          fc.oneof(fc.anything({ withBigInt: true, withDate: true, withTypedArray: true }), looksLike, tagged),
          async (value) => {
            // One whose bytes are those of a CID may well be a CID.
            fc.pre(typeof value !== 'string' && !isCidBytes((value as { bytes?: unknown } | null | undefined)?.bytes))
            for (const [name, work] of methodsOver(value as ContentPath)) {
              // verify() without a path is of everything.
              if (name === 'verify' && value === undefined) continue
              expect([name, (await outcomeOf(work)).error?.code]).toEqual([name, 'invalid-cid'])
            }
          },
        ),
        200,
      )
    },
    FUZZ_TIMEOUT,
  )

  it(
    'of a CID in any base names nothing, or is refused',
    async () => {
      await expectProperty(
        fc.asyncProperty(cidBytes, fc.constantFrom(...Object.values(bases)), around, async (cid, base, wrap) => {
          const text = base.encode(cid)
          const parsed = cidIn(text)
          if (parsed === undefined) {
            for (const [name, work] of methodsOver(wrap(text)))
              expect([name, (await outcomeOf(work)).error?.code]).toEqual([name, 'invalid-cid'])
          } else if (parsed.multihash.code === 0) {
            // The content lies in the CID.
            for (const [, work] of methodsOver(wrap(text)).slice(0, 6)) await outcomeOf(work)
          } else await expectNothing(wrap(text), ['unsupported-content', 'not-a-file', 'not-a-directory'])
        }),
        150,
      )
    },
    FUZZ_TIMEOUT,
  )

  it(
    'that is very long is refused, or names nothing, at once',
    async () => {
      const length = fc.constantFrom(1025, 100_000, 300_000)
      const long = fc.oneof(
        fc.tuple(fc.constantFrom('z', 'Qm', 'b', 'B', 'k', 'f', 'm'), length).map(([prefix, count]) => prefix + '2'.repeat(count)),
        length.map((count) => `${root.toString()}${'/a'.repeat(count)}`),
        length.map((count) => `${root.toString()}/${'a'.repeat(count)}`),
        length.map((count) => `${'/'.repeat(count)}${root.toString()}`),
        length.map((count) => `${root.toString()}/a${'/'.repeat(count)}`),
      )
      await expectProperty(
        fc.asyncProperty(long, async (path) => {
          for (const [name, work, nothing] of methodsOver(path).filter(([one]) => one !== 'delete' && one !== 'pin')) {
            const { answer, error } = await outcomeOf(work)
            if (error !== undefined) expect(['invalid-cid', 'limit', 'not-a-directory']).toContain(error.code)
            // Slashes at the end say nothing.
            else if (!/\/a\/*$/.test(path)) expect([name, answer]).toEqual([name, nothing])
          }
        }),
        30,
      )
    },
    FUZZ_TIMEOUT,
  )

  it(
    'leads to the same bytes by every form of its CID, and to nothing by any other name',
    async () => {
      const form = fc.constantFrom<(cid: CID) => ContentPath>(
        (cid) => cid,
        (cid) => cid.toV1(),
        (cid) => cid.toString(),
        ...BASES.map((base) => (cid: CID) => cid.toV1().toString(base.encoder)),
      )
      const { storage } = opened
      await expectProperty(
        fc.asyncProperty(
          form,
          around,
          fc.oneof(fc.constantFrom(...NAMES), oddName),
          fc.constantFrom('', '/'),
          async (write, wrap, name, end) => {
            const cid = write(root)
            expect((await storage.stat(cid))?.cid).toBe(root.toV1().toString())
            const path = `${wrap(typeof cid === 'string' ? cid : cid.toString())}/${name}${end}`
            const { answer, error } = await outcomeOf(() => storage.retrieve(path))
            const segments = name.split('/').filter((segment) => segment !== '')
            if (segments.includes('.') || segments.includes('..')) expect(error?.code).toBe('invalid-path')
            else if (segments.length === 0) expect(error?.code).toBe('not-a-file')
            else if (segments.length === 1 && NAMES.includes(segments[0] ?? '')) expectSame(answer, bytes)
            else expect(answer).toBeNull()
          },
        ),
        300,
      )
      expect(await stateOf(opened)).toEqual(before)
    },
    FUZZ_TIMEOUT,
  )
})

describe('storeDirectory', () => {
  const name = fc.oneof(
    { arbitrary: fc.constantFrom('a', 'b', 'c'), weight: 6 },
    { arbitrary: oddName, weight: 1 },
    { arbitrary: fc.constantFrom('\\', 'a\\', '\ud800', 'x'.repeat(256), 'é'.repeat(128)), weight: 1 },
  )
  const path = fc.oneof(
    { arbitrary: fc.array(name, { minLength: 1, maxLength: 4 }).map((names) => names.join('/')), weight: 20 },
    { arbitrary: fc.constantFrom('', '/', 'a/', '/a', '//', 'a//b', `${'a/'.repeat(300)}a`), weight: 1 },
  )
  const entries = fc.array(fc.record({ path, data: fc.oneof(fc.string({ maxLength: 20 }), fc.uint8Array({ maxLength: 20 })) }), {
    maxLength: 8,
  })

  it(
    'makes the tree that the paths say, or refuses them',
    async () => {
      const { storage } = opened
      await expectProperty(
        fc.asyncProperty(entries, async (list) => {
          const wrong = wrongIn(list.map((entry) => entry.path))
          const { answer, error } = await outcomeOf(() => storage.storeDirectory(list as { path: string; data: Source }[]))
          if (wrong !== undefined) expect(error?.code).toBe(wrong)
          else {
            if (error !== undefined) throw error
            const encoded = list.map((entry) => ({
              path: entry.path,
              data: typeof entry.data === 'string' ? new TextEncoder().encode(entry.data) : entry.data,
            }))
            for (const { path: at, data } of encoded) expectSame(await storage.retrieve(`${answer}/${at}`), data)
            expect(await treeOf(answer)).toEqual(encoded.map((entry) => entry.path).toSorted())
            // The importer takes a '\' before a '/' for an escape.
            if (encoded.every((entry) => !entry.path.includes('\\'))) expect(answer).toBe(await reference(encoded))
            expect(await storage.delete(answer)).toBe(true)
          }
          await storage.gc()
          expect(await stateOf(opened)).toEqual(before)
        }),
        100,
      )
    },
    FUZZ_TIMEOUT,
  )

  /** Every file below, by its path. */
  async function treeOf(directory: string, base = ''): Promise<string[]> {
    const listed = (await opened.storage.listDirectory(`${directory}/${base}`)) as DirectoryEntry[]
    const below = listed.map(async (entry) => {
      const at = base === '' ? entry.name : `${base}/${entry.name}`
      return entry.type === 'directory' ? treeOf(directory, at) : [at]
    })
    return (await Promise.all(below)).flat().toSorted()
  }
})

/** The code of the error that the first path asks for which can't be taken, as the contract and limits.ts have it. */
function wrongIn(paths: readonly string[]): string | undefined {
  const files = new Set<string>()
  const directories = new Set<string>()
  for (const path of paths) {
    const names = path.split('/')
    if (names.length > 256) return 'limit'
    for (const name of names) {
      if (name === '' || name === '.' || name === '..' || name.includes('\0') || /\p{Surrogate}/u.test(name)) return 'invalid-path'
      if (new TextEncoder().encode(name).byteLength > 255) return 'limit'
    }
    const above = names.map((_, index) => names.slice(0, index).join('/')).slice(1)
    if (files.has(path) || directories.has(path) || above.some((directory) => files.has(directory))) return 'invalid-path'
    files.add(path)
    for (const directory of above) directories.add(directory)
  }
  return undefined
}

async function reference(entries: readonly { path: string; data: Uint8Array }[]): Promise<string> {
  const nowhere = { put: async (cid: CID) => cid }
  const candidates = entries.map(({ path, data }) => ({ path, content: data }))
  let last = ''
  for await (const { cid } of importer(candidates, nowhere, { profile: 'unixfs-v1-2025', wrapWithDirectory: true })) last = cid.toString()
  return last === '' ? 'bafybeiczsscdsbs7ffqz55asqdf3smv6klcw3gofszvwlyarci47bgf354' : last
}
