// What the handler of `ipfs-kit-web/service-worker` answers: content by CID as a path gateway does, out of a storage and nothing else.
import { afterEach, describe, expect, it } from 'vitest'
import type { IPFSKitStorage } from '../../src/index.ts'
import { createHandler, type Handler, type HandlerOptions, type Served } from '../../src/service-worker/index.ts'
import { Keystream } from './support/keystream.ts'
import { closeAll, localStorageOf, TIER } from './support/stores.ts'

const MIB = 1024 * 1024

afterEach(closeAll)

interface Serving {
  storage: IPFSKitStorage
  handle: Handler
  served: Served[]
  get: (path: string, init?: RequestInit) => Promise<Response>
}

function serving(options: HandlerOptions = {}): Serving {
  const storage = localStorageOf()
  const served: Served[] = []
  const handle = createHandler({ storage, onServed: (each) => void served.push(each), ...options })
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
    const bytes = new Keystream('handler').take(9 * MIB + 123)
    const cid = await storage.store(bytes, { mediaType: 'application/octet-stream' })
    const read = async (range?: string): Promise<Uint8Array> => bytesOf(await get(`/ipfs/${cid}`, range === undefined ? {} : { headers: { range } }))
    const direct = TIER === 'packs' ? 'browser' : 'worker'
    for (const [range, from, to] of [
      ['bytes=1048570-5242890', 1_048_570, 5_242_891],
      ['bytes=0-0', 0, 1],
      ['bytes=-7', bytes.length - 7, bytes.length],
      ['bytes=9437184-', 9 * MIB, bytes.length],
    ] as const) {
      expect(await read(range)).toEqual(bytes.subarray(from, to))
      expect(await read(range)).toEqual(bytes.subarray(from, to))
      expect(served.map(({ by }) => by)).toEqual(['worker', direct])
      served.length = 0
    }
    expect(await read()).toEqual(bytes)
    expect(await read()).toEqual(bytes)
    expect(served.map(({ by, verified }) => [by, verified])).toEqual([
      ['worker', true],
      [direct, true],
    ])
  })
})
