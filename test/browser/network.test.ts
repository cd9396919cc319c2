// Helia as it is, against gateways on loopback that answer, refuse, lie and hang.
import { unixfs } from '@helia/unixfs'
import { CID } from 'multiformats/cid'
import * as raw from 'multiformats/codecs/raw'
import * as Digest from 'multiformats/hashes/digest'
import { sha256, sha512 } from 'multiformats/hashes/sha2'
import type { Helia } from 'helia'
import { afterEach, beforeEach, describe, expect, inject, it, onTestFinished, vi } from 'vitest'
import { IntegrityError, UnavailableError, UnsupportedContentError } from '../../src/errors.ts'
import type { GatewayStats } from '../setup/servers.ts'
import type { ToWorker } from './network-worker.ts'
import { startMemoryNode } from './support/memory-node.ts'
import type { MemoryNode } from './support/memory-node.ts'

const gateway404 = inject('gateway404')
const gateway500 = inject('gateway500')
const gatewayHang = inject('gatewayHang')
const gatewayBlocks = inject('gatewayBlocks')
const gatewayCorrupt = inject('gatewayCorrupt')

/** Where nobody answers, it takes this long to say so. */
const IMPATIENT_MS = 300
/** Where some answer and others hang, those that answer must have the time. */
const MIXED_MS = 4_000
const PATIENT_MS = 20_000

let count = 0

beforeEach(async () => void (await fetch(`${gatewayBlocks}/blocks`, { method: 'DELETE' })))
afterEach(() => void vi.restoreAllMocks())

/** A block that nobody has. */
async function block(hasher: typeof sha256 | typeof sha512 = sha256): Promise<{ cid: CID; bytes: Uint8Array<ArrayBuffer> }> {
  const bytes = new TextEncoder().encode(`block ${Date.now()} ${count++}`)
  return { cid: CID.createV1(raw.code, await hasher.digest(bytes)), bytes }
}

async function publish(cid: CID, bytes: Uint8Array): Promise<void> {
  await fetch(`${gatewayBlocks}/block/${cid.toString()}`, { method: 'PUT', body: new Uint8Array(bytes) })
}

/** A block that gatewayBlocks has, and gatewayCorrupt has wrong. */
async function published(): Promise<{ cid: CID; bytes: Uint8Array<ArrayBuffer> }> {
  const made = await block()
  await publish(made.cid, made.bytes)
  return made
}

type Peer = Helia & { libp2p?: { status: string } }

/** A node of its own stores with libp2p, which goes nowhere; it does without where another one of this origin has it. */
const peerOf = (gateways: string[]): Promise<MemoryNode> =>
  memoryNode({
    gateways,
    delegatedRouters: [],
    retrieveTimeoutMs: PATIENT_MS,
    startTimeoutMs: 30_000,
    libp2p: { peerDiscovery: [], addresses: { listen: [] } },
  })

const talksToPeers = async ({ backend }: MemoryNode): Promise<Peer> => {
  await vi.waitFor(() => expect(backend.status()).toMatchObject({ running: true, libp2p: true }), { timeout: PATIENT_MS })
  return backend.node() as Peer
}

const urlOf = (input: RequestInfo | URL): string => new Request(input).url

async function stats(): Promise<GatewayStats> {
  return (await (await fetch(`${gatewayBlocks}/stats`)).json()) as GatewayStats
}

/** Starts a node, which ends with the test. */
async function memoryNode(...settings: Parameters<typeof startMemoryNode>): Promise<MemoryNode> {
  const node = await startMemoryNode(...settings)
  onTestFinished(() => node.backend.stop())
  return node
}

const nodeOf = (gateways: string[], retrieveTimeoutMs: number, delegatedRouters: string[] = []): Promise<MemoryNode> =>
  memoryNode({ gateways, delegatedRouters, retrieveTimeoutMs })

async function rejection(promise: Promise<unknown>): Promise<UnavailableError> {
  const error = await promise.then(
    () => undefined,
    (cause: unknown) => cause,
  )
  if (error instanceof UnavailableError) return error
  throw new Error('not UnavailableError', { cause: error })
}

describe('a fetch', () => {
  it('brings a block and leaves nothing in the store of the node', async () => {
    const { fetcher, store, backend } = await nodeOf([gatewayBlocks], PATIENT_MS)
    const { cid, bytes } = await published()
    const fetched = await fetcher.operation().fetch(cid)
    expect(fetched).toEqual(bytes)
    expect(fetched?.buffer.byteLength).toBe(bytes.byteLength)
    expect(store.blocks.size).toBe(0)
    expect(backend.status()).toEqual({ running: true, lastContactOk: true })
  })

  it('knows a local gateway by any name', async () => {
    const { fetcher } = await nodeOf([gatewayBlocks.replace('127.0.0.1', 'localhost')], PATIENT_MS)
    const { cid, bytes } = await published()
    expect(await fetcher.operation().fetch(cid)).toEqual(bytes)
  })

  it('asks again for what the node has, because whoever asks has not', async () => {
    const { fetcher, store } = await nodeOf([gatewayBlocks], PATIENT_MS)
    const { cid, bytes } = await published()
    await store.put(cid, bytes)
    expect(await fetcher.operation().fetch(cid)).toEqual(bytes)
    expect((await stats()).hits).toBe(1)
  })

  it('is null where the gateway answers 404', async () => {
    const { fetcher, backend } = await nodeOf([gateway404], PATIENT_MS)
    expect(await fetcher.operation().fetch((await block()).cid)).toBeNull()
    expect(backend.status().lastContactOk).toBe(true)
  })

  it('is null where nobody is to be asked', async () => {
    const { fetcher, backend } = await nodeOf([], PATIENT_MS)
    expect(await fetcher.operation().fetch((await block()).cid)).toBeNull()
    expect(backend.status()).toEqual({ running: true })
  })

  it('is null where one lacks it and others fail or hang', async () => {
    const { fetcher } = await nodeOf([gateway404, gateway500, gatewayHang], MIXED_MS)
    expect(await fetcher.operation().fetch((await block()).cid)).toBeNull()
  })

  it('is UnavailableError within the bound where the gateway never answers', async () => {
    const { fetcher, backend } = await nodeOf([gatewayHang], IMPATIENT_MS)
    const error = await rejection(fetcher.operation().fetch((await block()).cid))
    expect(error.causes.map(({ message }) => message)).toEqual([`gateway ${gatewayHang}: no answer within ${IMPATIENT_MS} ms`])
    expect(backend.status()).toEqual({ running: true, lastContactOk: false })
  })

  it.each([
    ['answers 500', gateway500, '500'],
    ['is not there', 'http://127.0.0.1:9', 'failed'],
    ['has a name that does not exist', 'https://nowhere.invalid', 'failed'],
  ])('is UnavailableError where the gateway %s', async (_, url, message) => {
    const { fetcher } = await nodeOf([url], PATIENT_MS)
    const error = await rejection(fetcher.operation().fetch((await block()).cid))
    expect(error.causes).toHaveLength(1)
    expect(error.causes[0]?.message).toContain(message)
    expect(error.causes[0]?.message).toContain(url)
  })

  it('is UnavailableError caused by IntegrityError where the gateway sends wrong bytes', async () => {
    const { fetcher } = await nodeOf([gatewayCorrupt], PATIENT_MS)
    const { cid } = await published()
    const error = await rejection(fetcher.operation().fetch(cid))
    expect(error.causes).toEqual([expect.any(IntegrityError)])
    expect(error.causes[0]).toMatchObject({ cid: cid.toString() })
  })

  it.each([
    ['sends wrong bytes', gatewayCorrupt],
    ['answers 404', gateway404],
    ['answers 500', gateway500],
    ['never answers', gatewayHang],
  ])('takes the block from another gateway where one %s', async (_, bad) => {
    const { fetcher } = await nodeOf([bad, gatewayBlocks], MIXED_MS)
    const operation = fetcher.operation()
    for (let i = 0; i < 8; i++) {
      const { cid, bytes } = await published()
      expect(await operation.fetch(cid)).toEqual(bytes)
    }
  })

  it('brings a block under sha2-512, and says what it can not check', async () => {
    const { fetcher } = await nodeOf([gatewayBlocks], PATIENT_MS)
    const { cid, bytes } = await block(sha512)
    await publish(cid, bytes)
    expect(await fetcher.operation().fetch(cid)).toEqual(bytes)
    const blake3 = Digest.create(0x1e, cid.multihash.digest.slice(0, 32))
    const unknown = CID.createV1(raw.code, blake3)
    await expect(fetcher.operation().fetch(unknown)).rejects.toBeInstanceOf(UnsupportedContentError)
  })

  it('refuses a block that is too large', async () => {
    const { fetcher } = await nodeOf([gatewayBlocks], PATIENT_MS)
    const bytes = new Uint8Array(2 * 1024 * 1024 + 1)
    const cid = CID.createV1(raw.code, await sha256.digest(bytes))
    await publish(cid, bytes)
    const error = await rejection(fetcher.operation().fetch(cid))
    expect(error.causes[0]?.message).toContain('limit')
  })

  it('ends with the signal of the caller, and lets go of everything', async () => {
    const { fetcher, backend } = await nodeOf([gatewayHang], IMPATIENT_MS)
    const end = new AbortController()
    const fetching = fetcher.operation({ signal: end.signal }).fetch((await block()).cid)
    const reason = new Error('enough')
    end.abort(reason)
    await expect(fetching).rejects.toBe(reason)
    // Must not hang: a get() that was left unfinished would hold the lock that this takes.
    await (backend.node() as Helia).gc()
  })

  it('keeps nobody from reading what is here, nor from collecting afterwards', async () => {
    const { fetcher, backend, store } = await nodeOf([gatewayHang], IMPATIENT_MS)
    const { cid, bytes } = await block()
    await store.put(cid, bytes)
    const fetching = rejection(fetcher.operation().fetch((await block()).cid))
    const node = backend.node() as Helia
    for await (const read of node.blockstore.get(cid)) expect(read).toEqual(bytes)
    await fetching
    await node.gc()
    expect(store.blocks.size).toBe(0)
  })
})

describe('delegated routers', () => {
  it.each([
    ['answers 404', gateway404],
    ['answers 500', gateway500],
    ['never answers', gatewayHang],
    ['is not there', 'https://nowhere.invalid'],
  ])('one that %s keeps no gateway from being asked', async (_, router) => {
    const { fetcher } = await nodeOf([gatewayBlocks], MIXED_MS, [router])
    const { cid, bytes } = await published()
    expect(await fetcher.operation().fetch(cid)).toEqual(bytes)
  })

  it('null where one knows nobody and there is no gateway', async () => {
    const { fetcher } = await nodeOf([], PATIENT_MS, [gateway404])
    expect(await fetcher.operation().fetch((await block()).cid)).toBeNull()
  })

  it.each([
    ['answers 500', gateway500, '500'],
    ['never answers', gatewayHang, 'no answer within'],
    ['is not there', 'https://nowhere.invalid', 'failed'],
  ])('UnavailableError where the only one %s and there is no gateway', async (_, router, message) => {
    const { fetcher } = await nodeOf([], MIXED_MS, [router])
    const error = await rejection(fetcher.operation().fetch((await block()).cid))
    expect(error.causes).toHaveLength(1)
    expect(error.causes[0]?.message).toContain(`router ${router}/`)
    expect(error.causes[0]?.message).toContain(message)
  })

  it('a gateway that one names is asked, and first from then on', async () => {
    const router = 'http://router.test'
    const real = globalThis.fetch.bind(globalThis)
    const asked = vi.spyOn(globalThis, 'fetch').mockImplementation(async (input, init) => {
      if (!urlOf(input).startsWith(router)) return real(input, init)
      const { port } = new URL(gatewayBlocks)
      const provider = {
        Schema: 'peer',
        ID: '12D3KooWKnDdG3iXw9eTFijk3EWSunZcFi54Zka4wmtqtt6rPxc8',
        Addrs: [`/ip4/127.0.0.1/tcp/${port}/http`],
        Protocols: ['transport-ipfs-gateway-http'],
      }
      return Response.json({ Providers: [provider] })
    })
    const { fetcher } = await nodeOf([], PATIENT_MS, [router])
    const operation = fetcher.operation()
    for (let i = 0; i < 3; i++) {
      const { cid, bytes } = await published()
      expect(await operation.fetch(cid)).toEqual(bytes)
    }
    expect(asked.mock.calls.filter(([input]) => urlOf(input).startsWith(router))).toHaveLength(1)
  })
})

describe('the node', () => {
  it('is Helia: it fetches what it is asked for by others, and keeps it', async () => {
    const bytes = crypto.getRandomValues(new Uint8Array(60_000))
    const source = await nodeOf([], PATIENT_MS)
    const cid = await unixfs(source.backend.node() as Helia).addBytes(bytes, { cidVersion: 1, rawLeaves: true })
    for (const [name, leaf] of source.store.blocks) await publish(CID.parse(name), leaf)
    const { backend, store } = await nodeOf([gateway404, gatewayBlocks], PATIENT_MS)
    const parts: Uint8Array[] = []
    for await (const part of unixfs(backend.node() as Helia).cat(cid)) parts.push(part)
    expect(new Uint8Array(await new Blob(parts as BlobPart[]).arrayBuffer())).toEqual(bytes)
    expect(store.blocks.size).toBe(source.store.blocks.size)
  })

  it('has sessions', async () => {
    const { backend } = await nodeOf([gatewayBlocks], PATIENT_MS)
    const { cid, bytes } = await published()
    const session = (backend.node() as Helia).blockstore.createSession(cid)
    for await (const read of session.get(cid)) expect(read).toEqual(bytes)
    session.close()
  })

  it('stops offline and comes back as the same node, which fetches as before', async () => {
    const { backend, fetcher } = await nodeOf([gatewayBlocks], PATIENT_MS, [gateway404])
    const node = backend.node()
    const { cid, bytes } = await published()
    backend.setOnline(false)
    expect((await rejection(fetcher.operation().fetch(cid))).causes[0]?.message).toContain('offline')
    backend.setOnline(true)
    await backend.settled()
    expect(backend.node()).toBe(node)
    expect(await fetcher.operation().fetch(cid)).toEqual(bytes)
  })

  it('lets go of a fetch when the device goes offline', async () => {
    const { backend, fetcher } = await nodeOf([gatewayHang], PATIENT_MS)
    const error = rejection(fetcher.operation().fetch((await block()).cid))
    backend.setOnline(false)
    expect((await error).causes[0]?.message).toContain('offline')
  })

  it('hears of the network from the window', async () => {
    const { backend } = await nodeOf([], PATIENT_MS)
    dispatchEvent(new Event('offline'))
    expect(backend.status()).toMatchObject({ running: false, fallbackReason: 'offline' })
    dispatchEvent(new Event('online'))
    await backend.settled()
    expect(backend.status().running).toBe(true)
  })

  it('runs libp2p and bitswap where asked, and asks gateways too; offline and back it is a new one', async () => {
    const libp2p = { peerDiscovery: [], addresses: { listen: [] } }
    const { backend, fetcher } = await memoryNode({ gateways: [gatewayBlocks], delegatedRouters: [], libp2p, startTimeoutMs: 30_000 })
    expect(backend.status()).toEqual({ running: true, libp2p: true })
    const first = backend.node() as Peer
    expect(first.libp2p?.status).toBe('started')
    expect(first.hasBlockBroker('bitswap')).toBe(true)
    const { cid, bytes } = await published()
    expect(await fetcher.operation().fetch(cid)).toEqual(bytes)
    expect(Object.keys(libp2p)).toEqual(['peerDiscovery', 'addresses'])
    backend.setOnline(false)
    backend.setOnline(true)
    await backend.settled()
    expect(backend.node()).not.toBe(first)
    const next = await published()
    expect(await fetcher.operation().fetch(next.cid)).toEqual(next.bytes)
  })
})

describe('of several nodes of one origin with libp2p', () => {
  it('one has it; when that ends another takes over, and what it is being asked goes on', async () => {
    const [first, second, third] = [await peerOf([]), await peerOf([gatewayHang, gatewayBlocks]), await peerOf([])]
    expect((await talksToPeers(first)).libp2p?.status).toBe('started')
    for (const { backend } of [second, third]) {
      expect(backend.status()).toMatchObject({ running: true, libp2p: false })
      expect((backend.node() as Peer).libp2p).toBeUndefined()
    }
    const before = second.backend.node() as Peer
    const { cid, bytes } = await block()
    // Nobody has it yet.
    const fetching = second.fetcher.operation({ signal: new AbortController().signal }).fetch(cid)
    await vi.waitFor(async () => expect((await stats()).requests).toBeGreaterThan(0), { timeout: PATIENT_MS })
    await publish(cid, bytes)
    await first.backend.stop()
    const after = await talksToPeers(second)
    expect(after).not.toBe(before)
    expect(after.libp2p?.status).toBe('started')
    expect(await fetching).toEqual(bytes)
    await vi.waitFor(() => expect(before.status).toBe('stopped'), { timeout: PATIENT_MS })
    expect(third.backend.status()).toMatchObject({ running: true, libp2p: false })
    await second.backend.stop()
    await talksToPeers(third)
  })

  it('one that goes offline gives it up, and does without when it comes back', async () => {
    const [first, second] = [await peerOf([]), await peerOf([gatewayBlocks])]
    await talksToPeers(first)
    first.backend.setOnline(false)
    await talksToPeers(second)
    first.backend.setOnline(true)
    await first.backend.settled()
    expect(first.backend.status()).toEqual({ running: true, libp2p: false })
    await second.backend.stop()
    await talksToPeers(first)
  })

  it('one that takes over while it is offline has it when it comes back', async () => {
    const [first, second] = [await peerOf([]), await peerOf([])]
    await talksToPeers(first)
    second.backend.setOnline(false)
    await first.backend.stop()
    second.backend.setOnline(true)
    expect((await talksToPeers(second)).libp2p?.status).toBe('started')
  })

  it('one that can not start with it goes on without, and leaves it to the next', async () => {
    const first = await peerOf([])
    await talksToPeers(first)
    const second = await memoryNode({ gateways: [], delegatedRouters: [], libp2p: { addresses: { listen: ['no address'] } } })
    const third = await peerOf([])
    await first.backend.stop()
    await talksToPeers(third)
    expect(second.backend.status()).toEqual({ running: true, libp2p: false })
  })
})

describe('in a worker', () => {
  it('runs, and hears of the network from its page', async () => {
    const worker = new Worker(new URL('./network-worker.ts', import.meta.url), { type: 'module' })
    onTestFinished(() => worker.terminate())
    const ask = (message: ToWorker): Promise<unknown> => {
      const answered = new Promise((resolve, reject) => {
        worker.addEventListener('message', (event) => resolve((event.data as { result?: unknown; error?: string }).result), { once: true })
        worker.addEventListener('error', (event) => reject(new Error(event.message)), { once: true })
      })
      worker.postMessage(message)
      return answered
    }
    expect(await ask({ gateways: [gatewayBlocks] })).toEqual({ running: true })
    const { cid, bytes } = await published()
    expect(await ask({ fetch: cid.toString() })).toEqual(bytes)
    expect(await ask({ isOnline: false })).toMatchObject({ running: false, fallbackReason: 'offline' })
    expect(await ask({ isOnline: true })).toMatchObject({ running: true })
  })
})
