// What the handler of `ipfs-kit-web/service-worker` answers: content by CID as a path gateway does, out of a storage and nothing else.
import { CarWriter } from '@ipld/car'
import { decode, encode } from '@ipld/dag-pb'
import { UnixFS } from 'ipfs-unixfs'
import { CID } from 'multiformats/cid'
import { sha256 } from 'multiformats/hashes/sha2'
import { afterEach, beforeEach, describe, expect, inject, it } from 'vitest'
import type { IPFSKitStorage } from '../../src/index.ts'
import { createHandler, type Handler, type HandlerOptions, type Served } from '../../src/service-worker/index.ts'
import { clearGateway, flip, upload } from './support/outside.ts'
import { closeAll, freshName, localStorageOf, randomBytes, same, storageOf, TIER } from './support/stores.ts'

const MIB = 1024 * 1024

afterEach(closeAll)

interface Serving {
  storage: IPFSKitStorage
  handle: Handler
  served: Served[]
  get: (path: string, init?: RequestInit) => Promise<Response>
}

function serving(options: HandlerOptions & { storage?: IPFSKitStorage } = {}): Serving {
  const storage = options.storage ?? localStorageOf()
  const served: Served[] = []
  const handle = createHandler({ onServed: (each) => void served.push(each), ...options, storage })
  const get = async (path: string, init?: RequestInit): Promise<Response> => {
    const answer = await handle(new Request(new URL(path, location.href), init))
    if (answer === undefined) throw new Error(`${path} was not answered`)
    return answer
  }
  return { storage, handle, served, get }
}

async function bytesOf(response: Response): Promise<Uint8Array> {
  return new Uint8Array(await response.arrayBuffer())
}

describe('files', () => {
  it('are answered with the headers of a path gateway', async () => {
    const { storage, get } = serving()
    const cid = await storage.store('hello world', { filename: 'greeting.txt' })
    const response = await get(`/ipfs/${cid}`)
    expect(response.status).toBe(200)
    expect(await response.text()).toBe('hello world')
    expect(Object.fromEntries(response.headers)).toMatchObject({
      'accept-ranges': 'bytes',
      'cache-control': 'public, max-age=29030400, immutable',
      'content-length': '11',
      'content-security-policy': 'sandbox',
      'content-type': 'text/plain; charset=utf-8',
      'cross-origin-resource-policy': 'same-origin',
      etag: `"${cid}"`,
      'x-content-type-options': 'nosniff',
      'x-ipfs-path': `/ipfs/${cid}`,
      'x-ipfs-roots': cid,
    })
  })

  it('of many chunks are answered whole and in ranges, verified once and then read by the browser where they lie in packs', async () => {
    const { storage, get, served } = serving()
    const bytes = randomBytes(9 * MIB + 123)
    const cid = await storage.store(bytes, { mediaType: 'application/octet-stream' })
    const read = async (range?: string): Promise<Uint8Array> =>
      bytesOf(await get(`/ipfs/${cid}`, range === undefined ? {} : { headers: { range } }))
    const direct = TIER === 'packs' ? 'browser' : 'worker'
    for (const [range, from, to] of [
      ['bytes=1048570-5242890', 1_048_570, 5_242_891],
      ['bytes=0-0', 0, 1],
      ['bytes=-7', bytes.length - 7, bytes.length],
      ['bytes=9437184-', 9 * MIB, bytes.length],
    ] as const) {
      expect(same(await read(range), bytes.subarray(from, to))).toBe(true)
      expect(same(await read(range), bytes.subarray(from, to))).toBe(true)
    }
    expect(same(await read(), bytes)).toBe(true)
    expect(same(await read(), bytes)).toBe(true)
    expect(served.map(({ by, verified }) => [by, verified])).toEqual(Array.from({ length: 10 }, () => [direct, true]))
  })

  it('that are large are verified on their way the first time', async () => {
    const { storage, get, served } = serving()
    const bytes = randomBytes(36 * MIB + 123)
    const cid = await storage.store(bytes, { mediaType: 'application/octet-stream' })
    const read = async (range?: string): Promise<Uint8Array> =>
      bytesOf(await get(`/ipfs/${cid}`, range === undefined ? {} : { headers: { range } }))
    const direct = TIER === 'packs' ? 'browser' : 'worker'
    // Neither end is that of a leaf.
    expect(same(await read('bytes=5-34603025'), bytes.subarray(5, 34_603_026))).toBe(true)
    expect(same(await read('bytes=0-34603026'), bytes.subarray(0, 34_603_027))).toBe(true)
    expect(same(await read(), bytes)).toBe(true)
    expect(same(await read(), bytes)).toBe(true)
    expect(served.map(({ by }) => by)).toEqual(['worker', direct, 'worker', direct])
  })

  it.for(['always', 'never'] as const)('are read right where they are verified %s', async (verify) => {
    const { storage, get, served } = serving({ verify })
    const bytes = randomBytes(5 * MIB + 123)
    const cid = await storage.store(bytes, { mediaType: 'application/octet-stream' })
    for (let turn = 0; turn < 2; turn++) {
      expect(same(await bytesOf(await get(`/ipfs/${cid}`)), bytes)).toBe(true)
      const part = await get(`/ipfs/${cid}`, { headers: { range: 'bytes=1048570-3242890' } })
      expect(same(await bytesOf(part), bytes.subarray(1_048_570, 3_242_891))).toBe(true)
    }
    const by = verify === 'never' && TIER === 'packs' ? 'browser' : 'worker'
    expect(served.map((each) => [each.by, each.verified])).toEqual(Array.from({ length: 4 }, () => [by, verify === 'always']))
  })

  it('have the media type that is declared, else that of a name, else of their first bytes', async () => {
    const { storage, get } = serving()
    const typeOf = async (path: string): Promise<string | null> => (await get(path)).headers.get('content-type')
    const declared = await storage.store('{}', { filename: 'a.txt', mediaType: 'application/ld+json' })
    expect(await typeOf(`/ipfs/${declared}`)).toBe('application/ld+json')
    const named = await storage.store('body { color: red }', { filename: 'styles/a.css' })
    expect(await typeOf(`/ipfs/${named}`)).toBe('text/css; charset=utf-8')
    expect(await typeOf(`/ipfs/${named}?filename=b.json`)).toBe('application/json')
    // A link makes no page of what is none.
    for (const name of ['b.html', 'b.svg', 'b.js', 'b.xhtml', 'b.xml']) {
      expect(await typeOf(`/ipfs/${named}?filename=${name}`)).toBe('text/css; charset=utf-8')
    }
    const root = await storage.storeDirectory([{ path: 'deep/model.wasm', data: 'not really' }])
    expect(await typeOf(`/ipfs/${root}/deep/model.wasm`)).toBe('application/wasm')
    for (const [content, type] of [
      [new Uint8Array([0, 97, 115, 109, 1, 0, 0, 0]), 'application/wasm'],
      [new Uint8Array([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 0]), 'image/png'],
      ['<!DOCTYPE HTML><p>page</p>', 'text/html; charset=utf-8'],
      ['<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>', 'image/svg+xml'],
      ['plain text, grüße', 'text/plain; charset=utf-8'],
      [new Uint8Array([1, 2, 3]), 'application/octet-stream'],
    ] as const) {
      expect(await typeOf(`/ipfs/${await storage.store(content)}`)).toBe(type)
    }
  })

  it('are offered for saving under the name that is asked for', async () => {
    const { storage, get } = serving()
    const cid = await storage.store('x')
    const nameOf = async (query: string): Promise<string | null> => (await get(`/ipfs/${cid}?${query}`)).headers.get('content-disposition')
    expect(await nameOf('')).toBeNull()
    expect(await nameOf('filename=a.txt')).toBe('inline; filename="a.txt"')
    expect(await nameOf('filename=a%22b%0d%0a%C3%BC.txt&download=true')).toBe(
      `attachment; filename="a_b___.txt"; filename*=UTF-8''a%22b%0D%0A%C3%BC.txt`,
    )
  })

  it('are not sent again to whoever has them', async () => {
    const { storage, get } = serving()
    const cid = await storage.store('x')
    for (const tag of [`"${cid}"`, `W/"${cid}"`, '*', `"other", "${cid}"`]) {
      const response = await get(`/ipfs/${cid}`, { headers: { 'if-none-match': tag } })
      expect([tag, response.status, await response.text()]).toEqual([tag, 304, ''])
    }
    expect((await get(`/ipfs/${cid}`, { headers: { 'if-none-match': '"other"' } })).status).toBe(200)
  })

  it('are described by HEAD, without a body', async () => {
    const { storage, get } = serving()
    const cid = await storage.store('hello')
    const response = await get(`/ipfs/${cid}`, { method: 'HEAD' })
    expect([response.status, response.headers.get('content-length'), await response.text()]).toEqual([200, '5', ''])
    const range = await get(`/ipfs/${cid}`, { method: 'HEAD', headers: { range: 'bytes=1-2' } })
    expect([range.status, range.headers.get('content-range'), range.headers.get('content-length')]).toEqual([200, null, '5'])
  })

  it('without content are answered', async () => {
    const { storage, get } = serving()
    const response = await get(`/ipfs/${await storage.store('')}`)
    expect([response.status, response.headers.get('content-length'), await response.text()]).toEqual([200, '0', ''])
  })
})

describe('ranges', () => {
  const CONTENT = '0123456789'

  it.for([
    ['bytes=2-4', 206, '234', 'bytes 2-4/10'],
    ['bytes=-3', 206, '789', 'bytes 7-9/10'],
    ['bytes=-30', 206, CONTENT, 'bytes 0-9/10'],
    ['bytes=7-', 206, '789', 'bytes 7-9/10'],
    ['bytes=7-700', 206, '789', 'bytes 7-9/10'],
    ['bytes=10-', 416, undefined, 'bytes */10'],
    ['bytes=-0', 416, undefined, 'bytes */10'],
    ['bytes=5-2', 200, CONTENT, null],
    ['bytes=a-b', 200, CONTENT, null],
    ['items=0-1', 200, CONTENT, null],
    // Whoever asks for the same bytes again and again gets all of them once.
    [`bytes=${Array.from({ length: 9 }, () => '0-5').join(',')}`, 200, CONTENT, null],
  ] as const)('%s is answered with %i', async ([range, status, content, described]) => {
    const { storage, get } = serving()
    const cid = await storage.store(CONTENT)
    const response = await get(`/ipfs/${cid}`, { headers: { range } })
    expect([response.status, response.headers.get('content-range')]).toEqual([status, described])
    if (content !== undefined) expect(await response.text()).toBe(content)
  })

  it('several at once come as parts', async () => {
    const { storage, get } = serving()
    const cid = await storage.store(CONTENT, { mediaType: 'text/x-digits' })
    const response = await get(`/ipfs/${cid}`, { headers: { range: 'bytes=6-8, 0-1' } })
    const type = response.headers.get('content-type') ?? ''
    expect([response.status, type.startsWith('multipart/byteranges; boundary=')]).toEqual([206, true])
    const boundary = type.slice(type.indexOf('=') + 1)
    const body = await response.text()
    expect(body).toBe(
      `--${boundary}\r\nContent-Type: text/x-digits\r\nContent-Range: bytes 6-8/10\r\n\r\n678\r\n--${boundary}\r\n` +
        `Content-Type: text/x-digits\r\nContent-Range: bytes 0-1/10\r\n\r\n01\r\n--${boundary}--\r\n`,
    )
    expect(response.headers.get('content-length')).toBe(String(body.length))
  })

  it('hold only for the content that the client knows', async () => {
    const { storage, get } = serving()
    const cid = await storage.store(CONTENT)
    const status = async (condition: string): Promise<number> =>
      (await get(`/ipfs/${cid}`, { headers: { range: 'bytes=0-1', 'if-range': condition } })).status
    expect(await status(`"${cid}"`)).toBe(206)
    expect(await status('"other"')).toBe(200)
    expect(await status(`W/"${cid}"`)).toBe(200)
  })
})

describe('directories', () => {
  const FILES = [
    { path: 'page/index.html', data: '<h1>page</h1>' },
    { path: 'page/img.svg', data: '<svg xmlns="http://www.w3.org/2000/svg"/>' },
    { path: 'plain/a&<b>".txt', data: 'a' },
    { path: 'plain/100%.txt', data: 'percent' },
    { path: 'plain/sub dir/ü.txt', data: 'umlaut' },
  ]

  it('are named with a slash at the end', async () => {
    const { storage, get } = serving()
    const root = await storage.storeDirectory(FILES)
    for (const path of ['', '/page', '/plain/sub%20dir']) {
      const response = await get(`/ipfs/${root}${path}?x=1`)
      expect([response.status, response.headers.get('location')]).toEqual([301, `/ipfs/${root}${path}/?x=1`])
    }
  })

  it('answer their index.html', async () => {
    const { storage, get } = serving()
    const root = await storage.storeDirectory(FILES)
    const response = await get(`/ipfs/${root}/page/`)
    expect([response.status, response.headers.get('content-type'), await response.text()]).toEqual([
      200,
      'text/html; charset=utf-8',
      '<h1>page</h1>',
    ])
    const [page] = (await storage.listDirectory(root)) ?? []
    expect(response.headers.get('etag')).toBe(`"${page?.cid}"`)
  })

  it('without one are listed, names as text alone', async () => {
    const { storage, get } = serving()
    const root = await storage.storeDirectory(FILES)
    const response = await get(`/ipfs/${root}/plain/`)
    expect(response.headers.get('content-security-policy')).toContain("default-src 'none'")
    expect(response.headers.get('cache-control')).not.toContain('immutable')
    const page = new DOMParser().parseFromString(await response.text(), 'text/html')
    const links = [...page.querySelectorAll<HTMLAnchorElement>('td:first-child a')]
    expect(links.map((link) => link.textContent)).toEqual(['..', '100%.txt', 'a&<b>".txt', 'sub dir'])
    for (const link of links.slice(1)) {
      const answer = await get(new URL(link.getAttribute('href') ?? '', location.href).pathname)
      expect([link.textContent, answer.status === 200 || answer.status === 301]).toEqual([link.textContent, true])
    }
    const tag = response.headers.get('etag') ?? ''
    expect((await get(`/ipfs/${root}/plain/`, { headers: { 'if-none-match': tag } })).status).toBe(304)
  })

  it('of many names are looked up in their shards', async () => {
    const { storage, get } = serving()
    const root = await storage.storeDirectory(
      Array.from({ length: 6000 }, (_, index) => ({ path: `a-rather-long-name-of-file-${index}`, data: `content ${index}` })),
    )
    expect(await (await get(`/ipfs/${root}/a-rather-long-name-of-file-4321`)).text()).toBe('content 4321')
    expect((await get(`/ipfs/${root}/a-rather-long-name-of-file-6000`)).status).toBe(404)
    const page = await (await get(`/ipfs/${root}/`)).text()
    expect(page).toContain('>a-rather-long-name-of-file-5999<')
  })
})

describe('blocks and CARs', () => {
  it('the block of a root is answered by format and by Accept', async () => {
    const { storage, get } = serving()
    const root = await storage.storeDirectory([{ path: 'a.txt', data: 'a' }])
    const [byFormat, byAccept] = [
      await get(`/ipfs/${root}?format=raw`),
      await get(`/ipfs/${root}`, { headers: { accept: 'application/vnd.ipld.raw' } }),
    ]
    for (const response of [byFormat, byAccept]) {
      expect(response.status).toBe(200)
      expect(Object.fromEntries(response.headers)).toMatchObject({
        'content-type': 'application/vnd.ipld.raw',
        'content-disposition': `attachment; filename="${root}.bin"`,
        etag: `"${root}.raw"`,
      })
    }
    const block = await bytesOf(byFormat)
    const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', new Uint8Array(block)))
    expect(CID.parse(root).multihash.digest).toEqual(digest)
    const part = await get(`/ipfs/${root}?format=raw`, { headers: { range: 'bytes=2-5' } })
    expect([part.status, await bytesOf(part)]).toEqual([206, block.subarray(2, 6)])
  })

  it('a CAR that is answered holds what importCar() takes', async () => {
    const { storage, get } = serving()
    const root = await storage.storeDirectory([
      { path: 'a/b.txt', data: 'b' },
      { path: 'c.bin', data: randomBytes(3 * MIB) },
    ])
    const response = await get(`/ipfs/${root}?format=car`)
    expect(response.headers.get('content-type')).toBe('application/vnd.ipld.car; version=1; order=dfs; dups=n')
    const other = localStorageOf()
    expect(await other.importCar(response)).toEqual([root])
    expect(new TextDecoder().decode((await other.retrieve(`${root}/a/b.txt`)) ?? new Uint8Array())).toBe('b')
    expect(await other.exists(root)).toBe(true)
  })

  it('a CAR of what is not all here ends with an error', async () => {
    const { storage, get } = serving()
    const bytes = randomBytes(3 * MIB)
    const cid = await storage.store(bytes)
    const response = await get(`/ipfs/${cid}?format=car`)
    await storage.delete(cid)
    await expect(response.arrayBuffer()).rejects.toThrow()
  })

  it('forms that are not served are refused', async () => {
    const { storage, get } = serving()
    const cid = await storage.store('x')
    for (const query of ['format=tar', 'format=car&dag-scope=half', 'format=car&entity-bytes=5:1', 'format=car&car-version=2']) {
      const { status } = await get(`/ipfs/${cid}?${query}`)
      expect([query, status === 400 || status === 406]).toEqual([query, true])
    }
    expect((await get(`/ipfs/${cid}`, { headers: { accept: 'application/x-tar' } })).status).toBe(406)
  })
})

describe('what is not served', () => {
  it('is left to others outside the path', async () => {
    const { handle } = serving()
    for (const url of ['/', '/ipfs', '/ipfs/', '/ipfsx/abc', '/a/ipfs/bafkqaaa', 'https://example.com/ipfs/bafkqaaa']) {
      expect([url, await handle(new Request(new URL(url, location.href)))]).toEqual([url, undefined])
    }
  })

  it('has a status that tells why', async () => {
    const { storage, get } = serving()
    const root = await storage.storeDirectory([{ path: 'a/b.txt', data: 'b' }])
    const elsewhere = 'bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy'
    for (const [path, status] of [
      [`/ipfs/${elsewhere}`, 404],
      [`/ipfs/${root}/a/none.txt`, 404],
      [`/ipfs/${root}/a/b.txt/below`, 404],
      ['/ipfs/not-a-cid', 400],
      [`/ipfs/${root}/%ff`, 400],
      [`/ipfs/${root}/a%2fb.txt`, 400],
      [`/ipfs/${root}/${'x/'.repeat(300)}`, 414],
    ] as const) {
      const response = await get(path)
      expect([path, response.status]).toEqual([path, status])
      expect(response.headers.get('cache-control')).toBe('no-store')
    }
    for (const method of ['POST', 'PUT', 'DELETE']) {
      const response = await get(`/ipfs/${root}/`, { method })
      expect([response.status, response.headers.get('allow')]).toEqual([405, 'GET, HEAD, OPTIONS'])
    }
  })

  it('is what has no entry here, unless the application allows it', async () => {
    const { storage, get } = serving({ allow: (root) => root !== 'bafkqaaa' })
    const root = await storage.storeDirectory([{ path: 'a.txt', data: 'inside' }])
    const [file] = (await storage.listDirectory(root)) ?? []
    expect(await (await get(`/ipfs/${file?.cid}`)).text()).toBe('inside')
    const strict = createHandler({ storage })
    expect((await strict(new Request(new URL(`/ipfs/${file?.cid}`, location.href))))?.status).toBe(404)
  })

  it('is what was deleted', async () => {
    const { storage, get } = serving()
    const cid = await storage.store(randomBytes(5 * MIB))
    await (await get(`/ipfs/${cid}`)).arrayBuffer()
    expect((await get(`/ipfs/${cid}`, { headers: { range: 'bytes=0-5' } })).status).toBe(206)
    await storage.delete(cid)
    expect((await get(`/ipfs/${cid}`)).status).toBe(404)
  })

  it('is read by other origins only where they are allowed', async () => {
    const { storage, get } = serving()
    const cid = await storage.store('x')
    expect((await get(`/ipfs/${cid}`)).headers.get('access-control-allow-origin')).toBeNull()
    const handle = createHandler({ storage, allowOrigins: ['https://friend.example'] })
    const from = async (origin: string, method = 'GET'): Promise<Response | undefined> => {
      const request = new Request(new URL(`/ipfs/${cid}`, location.href), { method })
      // Scripts can't set Origin: a server that passes requests on can.
      const headers = new Headers({ 'x-origin': origin })
      return handle(
        new Proxy(request, {
          get: (target, key) => {
            if (key === 'headers') return { get: (name: string) => headers.get(name === 'origin' ? 'x-origin' : name) }
            const value: unknown = Reflect.get(target, key, target)
            return typeof value === 'function' ? (value.bind(target) as unknown) : value
          },
        }),
      )
    }
    expect((await from('https://foe.example'))?.status).toBe(403)
    const friend = await from('https://friend.example')
    expect([friend?.status, friend?.headers.get('access-control-allow-origin')]).toEqual([200, 'https://friend.example'])
    expect((await from('https://friend.example', 'OPTIONS'))?.status).toBe(204)
    const open = await createHandler({ storage, allowOrigins: '*' })(new Request(new URL(`/ipfs/${cid}`, location.href)))
    expect(open?.headers.get('access-control-allow-origin')).toBe('*')
    expect(open?.headers.get('cross-origin-resource-policy')).toBe('cross-origin')
  })
})

describe('damage', () => {
  it.for(['once', 'always'] as const)('is never answered where content is verified %s', async (verify) => {
    const cacheDir = freshName()
    const storage = localStorageOf({ cacheDir })
    const bytes = randomBytes(6 * MIB)
    const cid = await storage.store(bytes)
    await flip(cacheDir, await leafOf(storage, cid, 3))
    const handle = createHandler({ storage, verify })
    const get = async (range: string): Promise<Response | undefined> =>
      handle(new Request(new URL(`/ipfs/${cid}`, location.href), { headers: { range } }))
    const intact = await get(`bytes=0-${3 * MIB - 1}`)
    expect(same(await bytesOf(intact ?? Response.error()), bytes.subarray(0, 3 * MIB))).toBe(true)
    expect((await get(`bytes=${3 * MIB + 5}-${3 * MIB + 9}`))?.status).toBe(500)
    const whole = await get('bytes=0-')
    await expect(whole?.status === 206 ? whole.arrayBuffer() : Promise.reject(new Error('refused'))).rejects.toThrow()
  })

  it('ends what is under way', async () => {
    const cacheDir = freshName()
    const storage = localStorageOf({ cacheDir })
    const cid = await storage.store(randomBytes(36 * MIB), { mediaType: 'application/octet-stream' })
    await flip(cacheDir, await leafOf(storage, cid, 30))
    const { get } = serving({ storage })
    await expect(bytesOf(await get(`/ipfs/${cid}`))).rejects.toThrow()
  })
})

/** The CID of a file's leaf. */
async function leafOf(storage: IPFSKitStorage, cid: string, index: number): Promise<string> {
  const block = await bytesOf(
    (await createHandler({ storage })(new Request(new URL(`/ipfs/${cid}?format=raw`, location.href)))) ?? Response.error(),
  )
  return decode(block).Links[index]?.Hash.toString() ?? ''
}

describe('a few blocks that stand for a million leaves', () => {
  /** Of 1 TiB: nodes that link a thousand times to the next one, and one leaf of a file that is stored. */
  async function storeHuge(storage: IPFSKitStorage): Promise<{ cid: string; leaf: Uint8Array<ArrayBuffer> }> {
    const bytes = randomBytes(5 * MIB)
    const leaf = bytes.slice(0, MIB)
    await storage.store(bytes)
    const blocks = [{ cid: await cidOf(0x55, leaf), bytes: leaf }]
    for (let [level, size] = [0, MIB]; level < 2; level++, size *= 1024) {
      const [child] = blocks
      if (child === undefined) throw new Error('there is no child')
      const Data = new UnixFS({ type: 'file', blockSizes: Array.from({ length: 1024 }, () => BigInt(size)) }).marshal()
      const node = new Uint8Array(encode({ Data, Links: Array.from({ length: 1024 }, () => ({ Name: '', Hash: child.cid, Tsize: size })) }))
      blocks.unshift({ cid: await cidOf(0x70, node), bytes: node })
    }
    const [root] = blocks
    if (root === undefined) throw new Error('there is no root')
    const { writer, out } = CarWriter.create([root.cid])
    const imported = storage.importCar(out as AsyncIterable<Uint8Array<ArrayBuffer>>)
    for (const block of blocks) await writer.put(block)
    await writer.close()
    return { cid: (await imported)[0] ?? '', leaf }
  }

  async function cidOf(code: number, bytes: Uint8Array<ArrayBuffer>): Promise<CID> {
    return CID.createV1(code, await sha256.digest(bytes))
  }

  it('are answered at once', async () => {
    const { storage, get } = serving()
    const { cid, leaf } = await storeHuge(storage)
    const part = async (range: string): Promise<Uint8Array> => bytesOf(await get(`/ipfs/${cid}`, { headers: { range } }))
    expect(same(await part('bytes=0-9'), leaf.subarray(0, 10))).toBe(true)
    expect(same(await part(`bytes=${700_000 * MIB}-${700_000 * MIB + 9}`), leaf.subarray(0, 10))).toBe(true)
    const whole = await get(`/ipfs/${cid}`)
    expect(whole.headers.get('content-length')).toBe(String(2 ** 40))
    const reader = whole.body?.getReader()
    expect((await reader?.read())?.value?.[0]).toBe(leaf[0])
    await reader?.cancel()
  })
})

describe('the network', () => {
  const gateway = inject('gatewayBlocks')

  beforeEach(() => clearGateway(gateway))

  function online(address: string): IPFSKitStorage {
    return storageOf({ config: { ipfs: { gateways: [address], delegatedRouters: [], retrieveTimeoutMs: 3000 } } })
  }

  async function publish(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
    const cacheDir = freshName()
    const cid = await localStorageOf({ cacheDir }).store(bytes)
    await upload(gateway, cacheDir)
    return cid
  }

  it('is asked for what is allowed, and what it supplies is kept', async () => {
    const bytes = randomBytes(3 * MIB + 5)
    const cid = await publish(bytes)
    const storage = await online(gateway).ready()
    const { get } = serving({ storage, allow: () => true })
    expect((await get(`/ipfs/${cid}`, { headers: { 'cache-control': 'only-if-cached' } })).status).toBe(412)
    expect(same(await bytesOf(await get(`/ipfs/${cid}`, { headers: { range: 'bytes=5-9' } })), bytes.subarray(5, 10))).toBe(true)
    expect(await storage.listFiles()).toMatchObject([{ cid, state: 'partial' }])
    expect(same(await bytesOf(await get(`/ipfs/${cid}`)), bytes)).toBe(true)
    expect(await storage.listFiles()).toMatchObject([{ cid, state: 'whole' }])
    await clearGateway(gateway)
    expect((await get(`/ipfs/${cid}`, { headers: { 'cache-control': 'only-if-cached' } })).status).toBe(200)
  })

  it.for([6, 36])('repairs what is damaged here, of %i MiB', async (mebibytes) => {
    const cacheDir = freshName()
    const storage = await storageOf({
      cacheDir,
      config: { ipfs: { gateways: [gateway], delegatedRouters: [], retrieveTimeoutMs: 3000 } },
    }).ready()
    const bytes = randomBytes(mebibytes * MIB)
    const cid = await storage.store(bytes, { mediaType: 'application/octet-stream' })
    await upload(gateway, cacheDir)
    const { get } = serving({ storage })
    // So that what is remembered is of before.
    expect(same(await bytesOf(await get(`/ipfs/${cid}`, { headers: { range: 'bytes=0-9' } })), bytes.subarray(0, 10))).toBe(true)
    await flip(cacheDir, await leafOf(storage, cid, mebibytes - 2))
    for (let turn = 0; turn < 3; turn++) expect(same(await bytesOf(await get(`/ipfs/${cid}`)), bytes)).toBe(true)
  })

  it('is not asked for what is neither here nor allowed', async () => {
    const cid = await publish(randomBytes(100))
    const { get } = serving({ storage: await online(gateway).ready() })
    expect((await get(`/ipfs/${cid}`)).status).toBe(404)
  })

  it('tells content that nobody has from content that nobody could be asked for', async () => {
    const absent = 'bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e'
    const answering = serving({ storage: await online(gateway).ready(), allow: () => true })
    expect((await answering.get(`/ipfs/${absent}`)).status).toBe(404)
    const silent = serving({ storage: await online(inject('gatewayHang')).ready(), allow: () => true })
    expect((await silent.get(`/ipfs/${absent}`)).status).toBe(504)
  })
})

describe('options', () => {
  it.for([
    [{ nothing: 1 }, 'nothing'],
    [{ path: 'ipfs' }, 'path'],
    [{ path: '/' }, 'path'],
    [{ verify: 'sometimes' }, 'verify'],
    [{ trust: ['nothing'] }, 'trust'],
    [{ trust: 'bafkqaaa' }, 'trust'],
    [{ allow: ['bafkqaaa/path'] }, 'allow'],
    [{ allowOrigins: ['example.com'] }, 'allowOrigins'],
    [{ embedderPolicy: true }, 'embedderPolicy'],
    [{ openTimeoutMs: 0 }, 'openTimeoutMs'],
    [{ storage: 'models' }, 'storage'],
    [{ helia: {} }, 'helia'],
  ] as const)('%j is refused', ([options, option]) => {
    expect(() => createHandler(options as unknown as HandlerOptions)).toThrow(
      expect.objectContaining({ name: 'InvalidOptionsError', option }) as Error,
    )
  })
})
