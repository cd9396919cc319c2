// Which gateways are asked, in which order, and what is told of their answers; with brokers and routers of our own.
import type { BlockBroker, Provider, Router, Routing } from 'helia'
import { CID } from 'multiformats/cid'
import { identity } from 'multiformats/hashes/identity'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { IntegrityError } from '../../../src/errors.ts'
import { Answers } from '../../../src/network/answers.ts'
import { FETCHED, NoGatewayError } from '../../../src/network/fetch.ts'
import { GatewayBroker, observed } from '../../../src/network/gateways.ts'

const SILENCE_MS = 100
const BLOCK = CID.parse('bafkreifjjcie6lypi6ny7amxnfftagclbuxndqonfipmb64f2km2devei4')

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

type Retrieve = NonNullable<BlockBroker['retrieve']>
type RetrieveOptions = NonNullable<Parameters<Retrieve>[1]>
type Behaviour = (options: RetrieveOptions) => Promise<Uint8Array>

function provider(url: string): Provider {
  const id = CID.createV1(0x0920, identity.digest(new TextEncoder().encode(url)))
  return { id, multiaddrs: [], router: 'test', fallback: true }
}

function event(type: string): Parameters<NonNullable<RetrieveOptions['onProgress']>>[0] {
  return Object.assign(new Event(type), { detail: {} }) as never
}

const delivers: Behaviour = async (options) => {
  options.onProgress?.(event('helia:block-broker:connect'))
  options.onProgress?.(event('helia:block-broker:connected'))
  await options.validateFn?.(Uint8Array.of(1))
  return Uint8Array.of(1)
}
const answers =
  (status: string): Behaviour =>
  async ({ onProgress }) => {
    onProgress?.(event('helia:block-broker:connect'))
    throw new AggregateError([new Error(`Unable to fetch raw block for CID x - from gateway http://a/, received ${status}`)], 'any gateway')
  }
const isSilent: Behaviour = async ({ onProgress, signal }) => {
  onProgress?.(event('helia:block-broker:connect'))
  return new Promise((_, reject) => signal?.addEventListener('abort', () => reject(new Error('was aborted'))))
}
const isUnreachable: Behaviour = async () => {
  throw new Error('Unable to fetch raw block for CID x from any gateway')
}

/** A broker over gateways by name, that the routing finds in this order. */
function scene(gateways: Record<string, Behaviour>, order: string[] = Object.keys(gateways)) {
  const asked: string[] = []
  const found = { order, behaviour: gateways }
  const routing = {
    async *findProviders() {
      yield* found.order.map(provider)
    },
  } as unknown as Routing
  const broker = new GatewayBroker({
    routing,
    silenceMs: SILENCE_MS,
    brokerFor: (one) => ({
      name: 'one',
      async retrieve(_, options = {}) {
        for await (const { id } of one.findProviders(BLOCK)) {
          const name = new TextDecoder().decode(id.multihash.digest)
          asked.push(name)
          return (found.behaviour[name] ?? isUnreachable)(options)
        }
        return expect.unreachable()
      },
    }),
  })
  const receiver = new Answers(BLOCK)
  const retrieve = (options: RetrieveOptions = {}): Promise<Uint8Array> => {
    const marked = { ...options, [FETCHED]: receiver }
    return broker.retrieve(BLOCK, marked)
  }
  return { asked, found, broker, receiver, retrieve }
}

describe('GatewayBroker', () => {
  it('takes the first block that is right, and asks no more', async () => {
    const { asked, retrieve } = scene({ a: answers('404 Not Found'), b: delivers, c: delivers })
    expect(await retrieve()).toEqual(Uint8Array.of(1))
    expect(asked).toEqual(['a', 'b'])
  })

  it('asks another beside one that is silent', async () => {
    const { retrieve } = scene({ a: isSilent, b: delivers })
    const retrieving = retrieve()
    await vi.advanceTimersByTimeAsync(SILENCE_MS)
    expect(await retrieving).toEqual(Uint8Array.of(1))
  })

  it('asks those first that delivered before, and silent or failed ones no more than the others', async () => {
    const { asked, found, retrieve } = scene({ a: isSilent, b: delivers })
    const retrieving = retrieve()
    await vi.advanceTimersByTimeAsync(SILENCE_MS)
    await retrieving
    await retrieve()
    expect(asked).toEqual(['a', 'b', 'b'])
    found.behaviour = { a: delivers, b: answers('500 Internal Server Error') }
    await retrieve()
    await retrieve()
    expect(asked).toEqual(['a', 'b', 'b', 'b', 'a', 'a'])
  })

  it.each(['404 Not Found', '410 Gone'])('tells that a gateway lacks the block: %s', async (status) => {
    const { receiver, retrieve } = scene({ a: answers(status) })
    await expect(retrieve()).rejects.toBeInstanceOf(NoGatewayError)
    expect(receiver.result()).toBeNull()
    expect(receiver.isContact).toBe(true)
  })

  it.each([
    ['500 Internal Server Error', 'gateway a answered 500'],
    ['429 Too Many Requests', 'gateway a answered 429'],
  ])('tells that a gateway could not answer: %s', async (status, message) => {
    const { receiver, retrieve } = scene({ a: answers(status) })
    await expect(retrieve()).rejects.toBeInstanceOf(NoGatewayError)
    expect(() => receiver.result()).toThrow(expect.objectContaining({ causes: [expect.objectContaining({ message })] }))
  })

  it('tells who sent wrong bytes, and goes on', async () => {
    const validateFn = vi.fn<(block: Uint8Array) => Promise<void>>().mockRejectedValueOnce(new Error('hash')).mockResolvedValue()
    const { asked, receiver, retrieve } = scene({ a: delivers, b: delivers })
    await retrieve({ validateFn })
    expect(asked).toEqual(['a', 'b'])
    expect(() => receiver.result()).toThrow(expect.objectContaining({ causes: [expect.any(IntegrityError)] }))
  })

  it('tells of a provider that has no way over HTTP', async () => {
    const { receiver, retrieve } = scene({ a: isUnreachable })
    await expect(retrieve()).rejects.toBeInstanceOf(NoGatewayError)
    expect(() => receiver.result()).toThrow('no address')
  })

  it('rejects where nobody is found, and says nothing of anybody', async () => {
    const { receiver, retrieve } = scene({})
    await expect(retrieve()).rejects.toBeInstanceOf(NoGatewayError)
    expect(receiver.result()).toBeNull()
    expect(receiver.isContact).toBe(false)
  })

  it('ends at once with its signal, and calls nobody absent or failed for that', async () => {
    const { receiver, retrieve } = scene({ a: isSilent })
    const end = new AbortController()
    const retrieving = retrieve({ signal: end.signal })
    await vi.advanceTimersByTimeAsync(0)
    end.abort(new Error('enough'))
    await expect(retrieving).rejects.toBeInstanceOf(NoGatewayError)
    await vi.advanceTimersByTimeAsync(0)
    expect(receiver.result()).toBeNull()
    expect(receiver.isContact).toBe(false)
  })
})

async function* failing(): AsyncGenerator<Provider> {
  yield* []
  throw new Error('DNS')
}

describe('observed', () => {
  const router = (
    findProviders: NonNullable<Router['findProviders']>,
  ): { found: (signal?: AbortSignal) => Promise<Provider[]>; receiver: Answers } => {
    const receiver = new Answers(BLOCK)
    const watched = observed({ name: 'test', findProviders }, 'router r', SILENCE_MS)
    const found = async (signal?: AbortSignal): Promise<Provider[]> => {
      const options = { ...(signal === undefined ? {} : { signal }), [FETCHED]: receiver }
      const providers: Provider[] = []
      for await (const one of watched.findProviders?.(BLOCK, options) ?? []) providers.push(one)
      return providers
    }
    return { found, receiver }
  }

  it('lets providers through, and says nothing of a router that knows nobody', async () => {
    const full = router(async function* () {
      yield provider('a')
    })
    expect(await full.found()).toEqual([provider('a')])
    const empty = router(async function* () {})
    expect(await empty.found()).toEqual([])
    expect(empty.receiver.result()).toBeNull()
  })

  it('says that a router failed', async () => {
    const { found, receiver } = router(() => failing())
    await expect(found()).rejects.toThrow('DNS')
    expect(() => receiver.result()).toThrow('router r failed: DNS')
  })

  it('gives up a silent router, and not one whose providers are being asked', async () => {
    const hanging = (signal?: AbortSignal | null): Promise<never> =>
      new Promise((_, reject) => signal?.addEventListener('abort', () => reject(signal.reason as Error)))
    const { found, receiver } = router(async function* (_, options) {
      yield provider('a')
      await hanging(options?.signal)
    })
    await Promise.all([expect(found()).rejects.toThrow(`no answer within ${SILENCE_MS} ms`), vi.advanceTimersByTimeAsync(SILENCE_MS)])
    expect(() => receiver.result()).toThrow('router r failed')
    const patient = observed(
      {
        name: 'test',
        async *findProviders(_, options) {
          yield provider('a')
          options?.signal?.throwIfAborted()
          yield provider('b')
        },
      },
      'router r',
      SILENCE_MS,
    )
    const names: Provider[] = []
    for await (const one of patient.findProviders?.(BLOCK) ?? []) {
      names.push(one)
      await vi.advanceTimersByTimeAsync(10 * SILENCE_MS)
    }
    expect(names).toEqual([provider('a'), provider('b')])
  })
})
