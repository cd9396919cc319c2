// What a service worker answers to the requests of the gateway specifications: https://specs.ipfs.tech/http-gateways/path-gateway/ and
// https://specs.ipfs.tech/http-gateways/trustless-gateway/. `npm run test:conformance` asks the official cases where Go is there; these always run.
import { CarReader } from '@ipld/car'
import { CID } from 'multiformats/cid'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startGateway, type Answer, type Gateway } from '../conformance/harness.mjs'
import { GatewayBlocks } from './support/gateway-blocks.ts'

const IMMUTABLE = 'public, max-age=29030400, immutable'
const RAW = 'application/vnd.ipld.raw'
const CAR = 'application/vnd.ipld.car'
const TEXT = 'a short text of one block\n'
/** Five leaves, each of other bytes: four of 256, and one of 2. */
const LONG = Uint8Array.from({ length: 1026 }, (_, index) => (index >> 8) * 16 + (index % 16))

const blocks = new GatewayBlocks()
let gateway: Gateway
let root: string
let long: string
let leaves: string[]
let shards: string
let document: string
let old: string
let link: string
/** A file as long as LONG without its first leaf, and one without its third. */
let beheaded: string
let holed: string

beforeAll(async () => {
  root = await blocks.import({
    'text.txt': TEXT,
    'copy.txt': TEXT,
    'long.bin': LONG,
    'page/index.html': '<h1>page</h1>',
    'plain/ą/100%25 sure?.txt': 'encoded',
  })
  long = blocks.child(root, 'long.bin')
  leaves = blocks.children(long)
  const numbers = Array.from({ length: 400 }, (_, index): [string, string] => [`${index}.txt`, `number ${index}`])
  shards = await blocks.import(Object.fromEntries(numbers), { shardSplitThresholdBytes: 0 })
  document = await blocks.data({ title: 'a document', files: { text: CID.parse(blocks.child(root, 'text.txt')), long: CID.parse(long) } })
  old = await blocks.import({ 'text.txt': TEXT }, { cidVersion: 0 })
  link = await blocks.symlink('elsewhere/text.txt')
  const lacking = await blocks.import({ beheaded: LONG.map((byte) => byte ^ 0xff), holed: LONG.map((byte) => byte ^ 0x7f) })
  beheaded = blocks.child(lacking, 'beheaded')
  holed = blocks.child(lacking, 'holed')
  blocks.remove(blocks.children(beheaded)[0]!)
  blocks.remove(blocks.children(holed)[2]!)
  gateway = await startGateway(blocks.values())
})

afterAll(() => gateway?.close())

/** null: there is no such header. */
function expectAnswer({ status, headers }: Answer, wantedStatus: number, wanted: Record<string, string | RegExp | null> = {}): void {
  expect(status).toBe(wantedStatus)
  for (const [name, value] of Object.entries(wanted)) {
    const has = headers.get(name)
    if (value instanceof RegExp) expect([name, has]).toEqual([name, expect.stringMatching(value)])
    else expect([name, has]).toEqual([name, value])
  }
}

describe('files and directories', () => {
  it('a file is answered with what it is, for ever', async () => {
    const file = blocks.child(root, 'text.txt')
    const headers = {
      'accept-ranges': 'bytes',
      'cache-control': IMMUTABLE,
      'content-length': String(TEXT.length),
      'content-type': 'text/plain; charset=utf-8',
      etag: `"${file}"`,
      'x-content-type-options': 'nosniff',
      'x-ipfs-path': `/ipfs/${root}/text.txt`,
      'x-ipfs-roots': `${root},${file}`,
    }
    const answer = await gateway.ask(`/ipfs/${root}/text.txt`)
    expectAnswer(answer, 200, headers)
    expect(answer.body.toString()).toBe(TEXT)
    const head = await gateway.ask(`/ipfs/${root}/text.txt`, {}, 'HEAD')
    expectAnswer(head, 200, headers)
    expect(head.body).toHaveLength(0)
  })

  it.for([
    ['/plain/%C4%85/100%2525%20sure%3F.txt', 'encoded'],
    ['/page/', '<h1>page</h1>'],
    ['/page/index.html?filename=other.txt', '<h1>page</h1>'],
  ])('%s is found', async ([path, content]) => {
    const answer = await gateway.ask(`/ipfs/${root}${path}`)
    expectAnswer(answer, 200)
    expect(answer.body.toString()).toBe(content)
  })

  it.for([
    ['', ''],
    ['/page', ''],
    ['/plain/%C4%85', '?x=y'],
  ])("a directory at '%s%s' is named with a slash", async ([path, query]) => {
    expectAnswer(await gateway.ask(`/ipfs/${root}${path}${query}`), 301, { location: `/ipfs/${root}${path}/${query}` })
  })

  it('a directory with an index.html is answered for ever, under its own ETag', async () => {
    const page = blocks.child(root, 'page')
    expectAnswer(await gateway.ask(`/ipfs/${root}/page/`), 200, {
      'cache-control': IMMUTABLE,
      'content-type': 'text/html; charset=utf-8',
      etag: `"${page}"`,
      'x-ipfs-path': `/ipfs/${root}/page/`,
      'x-ipfs-roots': `${root},${page}`,
    })
    expectAnswer(await gateway.ask(`/ipfs/${root}/page/`, { 'if-none-match': `"${page}"` }), 304)
  })

  it('a directory without one is listed, for a while', async () => {
    const plain = blocks.child(root, 'plain')
    const answer = await gateway.ask(`/ipfs/${root}/plain/`)
    expectAnswer(answer, 200, {
      'cache-control': 'public, max-age=604800, stale-while-revalidate=2678400',
      'content-type': 'text/html; charset=utf-8',
      etag: new RegExp(`^"DirIndex-.*_CID-${plain}"$`),
    })
    expect(answer.body.toString()).toContain(`<a href="/ipfs/${root}/plain/%C4%85">ą</a>`)
    const etag = answer.headers.get('etag') ?? ''
    for (const tag of [etag, `W/${etag}`]) expectAnswer(await gateway.ask(`/ipfs/${root}/plain/`, { 'if-none-match': tag }), 304)
  })

  it('names are looked up in shards', async () => {
    expect((await gateway.ask(`/ipfs/${shards}/321.txt`)).body.toString()).toBe('number 321')
    expectAnswer(await gateway.ask(`/ipfs/${shards}/400.txt`), 404)
  })

  it('a symlink is answered as where it points', async () => {
    expect((await gateway.ask(`/ipfs/${link}`)).body.toString()).toBe('elsewhere/text.txt')
  })

  it('a CID of version 0 is answered as it is named', async () => {
    expectAnswer(await gateway.ask(`/ipfs/${old}/text.txt`), 200, {
      'x-ipfs-path': `/ipfs/${old}/text.txt`,
      'x-ipfs-roots': new RegExp(`^${old},`),
    })
  })

  it.for([
    ['/none.txt', 404],
    ['/text.txt/below', 404],
    ['/%FF', 400],
  ] as const)('%s is answered with %i', async ([path, status]) => {
    expectAnswer(await gateway.ask(`/ipfs/${root}${path}`), status, { etag: null, 'cache-control': 'no-store' })
  })

  it('other origins may read, and ask whether they may', async () => {
    const allowed = {
      'access-control-allow-origin': '*',
      'access-control-allow-methods': 'GET, HEAD, OPTIONS',
      'access-control-allow-headers': /Content-Type.*Range.*User-Agent.*X-Requested-With/,
      'access-control-expose-headers': /Content-Length.*Content-Range.*X-Chunked-Output.*X-Ipfs-Path.*X-Ipfs-Roots.*X-Stream-Output/,
    }
    expectAnswer(await gateway.ask('/ipfs/bafkqabtimvwgy3yk'), 200, allowed)
    expectAnswer(await gateway.ask('/ipfs/bafkqabtimvwgy3yk', {}, 'OPTIONS'), 204, allowed)
  })
})

describe('what a client has', () => {
  it('is not sent again', async () => {
    const tag = `"${blocks.child(root, 'text.txt')}"`
    for (const tags of [tag, `W/${tag}`, '*', `"one", W/"another", ${tag}`]) {
      const answer = await gateway.ask(`/ipfs/${root}/text.txt`, { 'if-none-match': tags })
      expectAnswer(answer, 304, { etag: tag })
      expect(answer.body).toHaveLength(0)
    }
    expectAnswer(await gateway.ask(`/ipfs/${root}/text.txt`, { 'if-none-match': '"one"' }), 200)
  })

  it('is known by its CID alone', async () => {
    expectAnswer(await gateway.ask(`/ipfs/${beheaded}`, { 'if-none-match': `"${beheaded}"` }), 304)
  })

  it('only-if-cached is answered with what is here, else with 412', async () => {
    const headers = { 'cache-control': 'only-if-cached' }
    for (const method of ['GET', 'HEAD']) {
      expectAnswer(await gateway.ask(`/ipfs/${root}/text.txt`, headers, method), 200)
      expectAnswer(await gateway.ask(`/ipfs/${root}/page/`, headers, method), 200)
    }
    expectAnswer(await gateway.ask(`/ipfs/${holed}`, headers), 412)
    expectAnswer(await gateway.ask(`/ipfs/${beheaded}`, headers, 'HEAD'), 412)
  })
})

describe('ranges', () => {
  it.for([
    ['bytes=2-6', '2-6'],
    ['bytes=-3', '1023-1025'],
    ['bytes=250-260', '250-260'],
    ['bytes=1020-', '1020-1025'],
    ['bytes=1020-9999', '1020-1025'],
    ['bytes=-9999', '0-1025'],
  ] as const)('%s is answered as %s', async ([range, described]) => {
    const [from = 0, to = 0] = described.split('-').map(Number)
    const answer = await gateway.ask(`/ipfs/${root}/long.bin`, { range })
    expectAnswer(answer, 206, { 'content-range': `bytes ${described}/1026`, 'content-length': String(to - from + 1), etag: `"${long}"` })
    expect(answer.body).toEqual(Buffer.from(LONG.subarray(from, to + 1)))
  })

  it('several are answered in parts', async () => {
    const answer = await gateway.ask(`/ipfs/${root}/text.txt`, { range: 'bytes=8-11,0-0' })
    expectAnswer(answer, 206, { 'content-type': /^multipart\/byteranges; boundary=/, 'content-range': null })
    const parts = answer.body.toString().split(/--[\d-]+(?:--)?\r\n/)
    expect(parts.slice(1, 3)).toEqual([
      'Content-Type: text/plain; charset=utf-8\r\nContent-Range: bytes 8-11/26\r\n\r\ntext\r\n',
      'Content-Type: text/plain; charset=utf-8\r\nContent-Range: bytes 0-0/26\r\n\r\na\r\n',
    ])
  })

  it('beyond the end are refused', async () => {
    expectAnswer(await gateway.ask(`/ipfs/${root}/text.txt`, { range: 'bytes=26-' }), 416, { 'content-range': 'bytes */26' })
  })

  it('hold for what the client knows', async () => {
    const ask = (condition: string) => gateway.ask(`/ipfs/${root}/long.bin`, { range: 'bytes=0-1', 'if-range': condition })
    expectAnswer(await ask(`"${long}"`), 206)
    expectAnswer(await ask('"another"'), 200)
  })

  it('need no other blocks than theirs', async () => {
    for (const [file, mask, ranges] of [
      [holed, 0x7f, ['0-511', '768-1025']],
      [beheaded, 0xff, ['256-1025', '300-301']],
    ] as const) {
      for (const range of ranges) {
        const [from = 0, to = 0] = range.split('-').map(Number)
        const answer = await gateway.ask(`/ipfs/${file}`, { range: `bytes=${range}` })
        expectAnswer(answer, 206, { 'content-range': `bytes ${range}/1026` })
        expect(answer.body).toEqual(Buffer.from(LONG.map((byte) => byte ^ mask).subarray(from, to + 1)))
      }
      expectAnswer(await gateway.ask(`/ipfs/${file}`), 404)
    }
  })
})

describe('blocks', () => {
  it.for(['format', 'Accept'])('are asked for by %s', async (way) => {
    const [query, headers] = way === 'format' ? ['?format=raw', {}] : ['', { accept: RAW }]
    for (const [path, cid] of [
      ['', root],
      ['/page', blocks.child(root, 'page')],
      ['/long.bin', long],
    ] as const) {
      const answer = await gateway.ask(`/ipfs/${root}${path}${query}`, headers)
      expectAnswer(answer, 200, {
        'cache-control': IMMUTABLE,
        'content-disposition': `attachment; filename="${cid}.bin"`,
        'content-length': String(blocks.bytesOf(cid).length),
        'content-type': RAW,
        etag: `"${cid}.raw"`,
        'x-content-type-options': 'nosniff',
        'x-ipfs-path': `/ipfs/${root}${path}`,
      })
      expect(answer.body).toEqual(Buffer.from(blocks.bytesOf(cid)))
    }
  })

  it('come in ranges, under another name and not again, as files do', async () => {
    const part = await gateway.ask(`/ipfs/${root}`, { accept: RAW, range: 'bytes=6-16' })
    const bytes = blocks.bytesOf(root)
    expectAnswer(part, 206, { 'content-type': RAW, 'content-range': `bytes 6-16/${bytes.length}` })
    expect(part.body).toEqual(Buffer.from(bytes.subarray(6, 17)))
    expectAnswer(await gateway.ask(`/ipfs/${root}?format=raw&filename=a.block`), 200, {
      'content-disposition': 'attachment; filename="a.block"',
    })
    expectAnswer(await gateway.ask(`/ipfs/${root}`, { accept: RAW, 'if-none-match': `"${root}.raw"` }), 304)
    expectAnswer(await gateway.ask(`/ipfs/${root}`, { accept: RAW, 'if-none-match': `"${root}"` }), 200)
  })
})

describe('CARs', () => {
  async function askCar(path: string, headers: Record<string, string> = {}): Promise<{ answer: Answer; roots: string[]; cids: string[] }> {
    const answer = await gateway.ask(path, headers)
    expect([path, answer.status]).toEqual([path, 200])
    const reader = await CarReader.fromBytes(answer.body)
    const cids: string[] = []
    for await (const { cid, bytes } of reader.blocks()) {
      expect(Buffer.from(bytes)).toEqual(Buffer.from(blocks.bytesOf(cid.toString())))
      cids.push(cid.toString())
    }
    return { answer, roots: (await reader.getRoots()).map(String), cids }
  }

  /** Both ways to ask for one. */
  async function expectCar(path: string, query: string, wanted: readonly string[]): Promise<void> {
    const byFormat = await askCar(`/ipfs/${path}?format=car${query === '' ? '' : `&${query}`}`)
    const byAccept = await askCar(`/ipfs/${path}${query === '' ? '' : `?${query}`}`, { accept: CAR })
    for (const { answer, cids } of [byFormat, byAccept]) {
      expectAnswer(answer, 200, {
        'accept-ranges': 'none',
        'cache-control': IMMUTABLE,
        'content-disposition': /^attachment; filename=".+\.car"$/,
        'content-type': `${CAR}; version=1; order=dfs; dups=n`,
        etag: /^W\/".+"$/,
        'x-content-type-options': 'nosniff',
      })
      expect(cids).toEqual(wanted)
    }
  }

  it('hold the way and all that is below', async () => {
    await expectCar(root, '', blocks.below(root))
    await expectCar(`${root}/page/index.html`, '', [
      root,
      blocks.child(root, 'page'),
      blocks.child(blocks.child(root, 'page'), 'index.html'),
    ])
    await expectCar(`${root}/long.bin`, 'dag-scope=all', [root, long, ...leaves])
    await expectCar(`${shards}/77.txt`, '', blocks.inShards(shards, '77.txt'))
  })

  it('hold the block that the way leads to', async () => {
    await expectCar(`${root}/plain`, 'dag-scope=block', [root, blocks.child(root, 'plain')])
    await expectCar(`${root}/long.bin`, 'dag-scope=block', [root, long])
    await expectCar(`${shards}/77.txt`, 'dag-scope=block', blocks.inShards(shards, '77.txt'))
  })

  it('hold what a file or a list of names is made of', async () => {
    await expectCar(`${root}/long.bin`, 'dag-scope=entity', [root, long, ...leaves])
    await expectCar(root, 'dag-scope=entity', [root])
    await expectCar(shards, 'dag-scope=entity', blocks.shards(shards))
    await expectCar(shards, 'dag-scope=entity&entity-bytes=0:*', blocks.shards(shards))
  })

  it('lead through documents', async () => {
    const text = blocks.child(root, 'text.txt')
    await expectCar(document, '', [document, long, ...leaves, text])
    await expectCar(document, 'dag-scope=entity', [document])
    await expectCar(`${document}/files/long`, 'dag-scope=block', [document, long])
  })

  it.for([
    ['0:*', [0, 1, 2, 3, 4]],
    ['256:*', [1, 2, 3, 4]],
    ['256:511', [1]],
    ['256:512', [1, 2]],
    ['256:-300', [1, 2]],
    ['-5:*', [3, 4]],
    ['-9999:*', [0, 1, 2, 3, 4]],
    ['-9999:-3', [0, 1, 2, 3]],
    ['0:0', [0]],
    ['1024:9999', [4]],
    ['9999:*', []],
  ] as const)('of the bytes %s hold the leaves %j', async ([range, wanted]) => {
    await expectCar(long, `dag-scope=entity&entity-bytes=${range}`, [long, ...wanted.map((index) => leaves[index]!)])
  })

  it('need no other blocks than theirs', async () => {
    const [zeroth, first, , third, fourth] = blocks.children(holed)
    await expectCar(holed, 'entity-bytes=0:511', [holed, zeroth!, first!])
    await expectCar(holed, 'entity-bytes=768:*', [holed, third!, fourth!])
    await expectCar(holed, 'dag-scope=block', [holed])
  })

  it('hold blocks again where that is asked for', async () => {
    const text = blocks.child(root, 'text.txt')
    const count = (cids: string[]): number => cids.filter((cid) => cid === text).length
    for (const [query, accept, times] of [
      ['', `${CAR}; version=1; order=dfs; dups=y`, 2],
      ['', `${CAR}; order=dfs; dups=n`, 1],
      ['?format=car', `${CAR}; dups=y`, 2],
      ['?format=car&car-dups=y', `${CAR}; dups=n`, 2],
      ['?format=car&car-order=dfs', `${CAR}; order=unk`, 1],
    ] as const) {
      const { answer, cids } = await askCar(`/ipfs/${root}${query}`, { accept })
      expectAnswer(answer, 200, { 'content-type': `${CAR}; version=1; order=dfs; dups=${times === 2 ? 'y' : 'n'}` })
      expect([query, accept, count(cids)]).toEqual([query, accept, times])
    }
  })

  it('hold no identity CIDs', async () => {
    expect((await askCar('/ipfs/bafkqabtimvwgy3yk', { accept: `${CAR}; dups=y` })).cids).toEqual([])
  })

  it('bear the CID that was asked for', async () => {
    for (const cid of [old, CID.parse(old).toV1().toString()]) {
      const { roots, cids } = await askCar(`/ipfs/${cid}?format=car`)
      expect([roots, cids[0]]).toEqual([[cid], cid])
    }
  })

  it('are not sent again, and described by HEAD', async () => {
    const { answer } = await askCar(`/ipfs/${root}?format=car`)
    const etag = answer.headers.get('etag') ?? ''
    expectAnswer(await gateway.ask(`/ipfs/${root}?format=car`, { 'if-none-match': etag }), 304)
    expectAnswer(await gateway.ask(`/ipfs/${root}?format=car&dag-scope=block`, { 'if-none-match': etag }), 200)
    const head = await gateway.ask(`/ipfs/${root}?format=car`, {}, 'HEAD')
    expectAnswer(head, 200, { etag, 'content-type': /^application\/vnd\.ipld\.car/ })
    expect(head.body).toHaveLength(0)
  })

  it.for([
    ['/none.txt?format=car', 404],
    ['?format=car&dag-scope=half', 400],
    ['?format=car&entity-bytes=5:1', 400],
    ['?format=car&entity-bytes=x', 400],
    ['?format=car&car-dups=maybe', 400],
    ['?format=tar', 406],
  ] as const)('%s is answered with %i', async ([query, status]) => {
    expectAnswer(await gateway.ask(`/ipfs/${root}${query}`), status)
  })

  it('are what the query says, whatever is accepted', async () => {
    expectAnswer(await gateway.ask(`/ipfs/${root}?format=car`, { accept: RAW }), 200, { 'content-type': /^application\/vnd\.ipld\.car;/ })
    expectAnswer(await gateway.ask(`/ipfs/${root}?format=raw`, { accept: CAR }), 200, { 'content-type': RAW })
  })
})
