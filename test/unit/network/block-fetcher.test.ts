// What a fetch answers, how long it may take, and how many there are at once; with a node that answers on demand.
import { CID } from 'multiformats/cid'
import * as raw from 'multiformats/codecs/raw'
import { sha256 } from 'multiformats/hashes/sha2'
import { afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { ClosedError, UnavailableError, UnsupportedContentError } from '../../../src/errors.ts'
import { FETCHES_IN_FLIGHT, MAX_NETWORK_BLOCK_BYTES } from '../../../src/limits.ts'
import { createBlockFetcher } from '../../../src/network/block-fetcher.ts'
import { FETCHED } from '../../../src/network/fetch.ts'
import type { FetchOptions, FetchReceiver } from '../../../src/network/fetch.ts'
import { NodeReplacedError, type HeliaStatus } from '../../../src/network/helia.ts'
import type { HeliaNode } from '../../../src/types.ts'

const TIMEOUT_MS = 1000
const cids: CID[] = []

beforeAll(async () => {
  for (let i = 0; i < 20; i++) cids.push(CID.createV1(raw.code, await sha256.digest(Uint8Array.of(i))))
})
beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

const settle = (): Promise<unknown> => vi.advanceTimersByTimeAsync(0)
const at = (index: number): CID => cids[index] ?? expect.unreachable()

/** A question that the node was asked, to be answered by the test. */
interface Question {
  cid: CID
  receiver: FetchReceiver
  signal: AbortSignal
  answer(bytes: Uint8Array): void
  refuse(error?: Error): void
}

class Scene {
  readonly asked: Question[] = []
  readonly contacts: boolean[] = []
  status: HeliaStatus = { running: true }
  isClosed = false
  run = new AbortController()
  settle = (): void => {}
  readonly #settled = new Promise<void>((resolve) => {
    this.settle = resolve
  })
  readonly #node = {
    status: 'started',
    blockstore: { get: (cid: CID, options: FetchOptions) => this.#get(cid, options) },
  } as unknown as HeliaNode

  readonly fetcher = createBlockFetcher(
    {
      status: () => this.status,
      settled: () => this.#settled,
      session: () => (this.status.running ? { node: this.#node, signal: this.run.signal } : undefined),
      contact: (isOk) => this.contacts.push(isOk),
      isClosed: () => this.isClosed,
    },
    { timeoutMs: TIMEOUT_MS },
  )

  /** The question of that number. */
  question(index: number): Question {
    return this.asked[index] ?? expect.unreachable()
  }

  async *#get(cid: CID, options: FetchOptions): AsyncGenerator<Uint8Array> {
    const receiver = options[FETCHED] ?? expect.unreachable()
    const signal = options.signal ?? expect.unreachable()
    yield await new Promise<Uint8Array>((answer, refuse) => {
      const failure = Object.assign(new Error('nobody'), { name: 'LoadBlockFailedError', errors: [] })
      this.asked.push({ cid, receiver, signal, answer, refuse: (error = failure) => refuse(error) })
      signal.addEventListener('abort', () => refuse(new Error('aborted')))
    })
  }
}

/** The error a promise rejects with; to be called before it does. */
async function rejection(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => expect.unreachable(),
    (error: unknown) => error,
  )
}

describe('the answer', () => {
  it('comes from the node that took the place of the one that was asked', async () => {
    const scene = new Scene()
    const fetching = scene.fetcher.operation().fetch(at(0))
    await settle()
    const { run } = scene
    scene.run = new AbortController()
    run.abort(new NodeReplacedError('another'))
    await settle()
    scene.question(1).answer(Uint8Array.of(1))
    expect(await fetching).toEqual(Uint8Array.of(1))
  })

  it('is the block, in a buffer of its own', async () => {
    const scene = new Scene()
    const fetching = scene.fetcher.operation().fetch(at(0))
    await settle()
    scene.question(0).answer(new Uint8Array(100).subarray(10, 20))
    const bytes = await fetching
    expect(bytes?.byteLength).toBe(10)
    expect(bytes?.buffer.byteLength).toBe(10)
    expect(scene.contacts).toEqual([true])
  })

  it('is null where somebody lacks it and others failed', async () => {
    const scene = new Scene()
    const fetching = scene.fetcher.operation().fetch(at(0))
    await settle()
    scene.question(0).receiver.absent('gateway a')
    scene.question(0).receiver.failed('gateway b', new Error('500'))
    scene.question(0).refuse()
    expect(await fetching).toBeNull()
    expect(scene.contacts).toEqual([true])
  })

  it('is null where somebody lacks it and the time is up', async () => {
    const scene = new Scene()
    const fetching = scene.fetcher.operation().fetch(at(0))
    await settle()
    scene.question(0).receiver.absent('gateway a')
    scene.question(0).receiver.asking('gateway b')
    await vi.advanceTimersByTimeAsync(TIMEOUT_MS)
    expect(await fetching).toBeNull()
  })

  it('is null where nobody was there to be asked', async () => {
    const scene = new Scene()
    const fetching = scene.fetcher.operation().fetch(at(0))
    await settle()
    scene.question(0).receiver.asking('router')
    scene.question(0).receiver.answered('router')
    scene.question(0).refuse()
    expect(await fetching).toBeNull()
    expect(scene.contacts).toEqual([])
  })

  it('is UnavailableError with the causes where everybody failed', async () => {
    const scene = new Scene()
    const error = rejection(scene.fetcher.operation().fetch(at(0)))
    await settle()
    const cause = new Error('gateway a answered 500')
    scene.question(0).receiver.failed('gateway a', cause)
    scene.question(0).refuse()
    expect(await error).toBeInstanceOf(UnavailableError)
    expect(await error).toMatchObject({ cid: at(0).toString(), causes: [cause] })
    expect(scene.contacts).toEqual([false])
  })

  it('is UnavailableError for a block that is too large', async () => {
    const scene = new Scene()
    const error = rejection(scene.fetcher.operation().fetch(at(0)))
    await settle()
    scene.question(0).answer(new Uint8Array(MAX_NETWORK_BLOCK_BYTES + 1))
    expect(await error).toMatchObject({ code: 'unavailable', causes: [{ code: 'limit' }] })
  })

  it('is UnavailableError with what other brokers threw', async () => {
    const scene = new Scene()
    const error = rejection(scene.fetcher.operation().fetch(at(0)))
    await settle()
    const cause = new Error('bitswap')
    scene.question(0).refuse(Object.assign(new Error('none'), { name: 'LoadBlockFailedError', errors: [cause] }))
    expect(await error).toMatchObject({ causes: [cause] })
  })

  it('is UnsupportedContentError for a hash that nobody can check', async () => {
    const scene = new Scene()
    const error = rejection(scene.fetcher.operation().fetch(at(0)))
    await settle()
    scene.question(0).refuse(Object.assign(new Error('no hasher'), { name: 'UnknownHashAlgorithmError' }))
    expect(await error).toBeInstanceOf(UnsupportedContentError)
  })
})

describe('without a node', () => {
  it('is null where Helia is not installed', async () => {
    const scene = new Scene()
    scene.status = { running: false, fallbackReason: 'helia-unavailable' }
    expect(await scene.fetcher.operation().fetch(at(0))).toBeNull()
  })

  it.each([
    [{ running: false, fallbackReason: 'offline' }, 'offline'],
    [{ running: false, fallbackReason: 'helia-failed', fallbackDetail: 'no luck' }, 'no luck'],
  ] as [HeliaStatus, string][])('is UnavailableError at once for %o', async (status, message) => {
    const scene = new Scene()
    scene.status = status
    const error = await rejection(scene.fetcher.operation().fetch(at(0)))
    expect(error).toMatchObject({ code: 'unavailable', causes: [{ message: expect.stringContaining(message) as string }] })
    expect(scene.contacts).toEqual([])
  })

  it('waits while Helia starts, within the bound', async () => {
    const scene = new Scene()
    scene.status = { running: false, fallbackReason: 'starting' }
    const first = scene.fetcher.operation().fetch(at(0))
    const second = rejection(new Scene().fetcher.operation().fetch(at(0)))
    const third = new Scene()
    third.status = scene.status
    const waiting = rejection(third.fetcher.operation().fetch(at(0)))
    await settle()
    scene.status = { running: true }
    scene.settle()
    await settle()
    scene.question(0).answer(Uint8Array.of(1))
    expect(await first).toEqual(Uint8Array.of(1))
    await vi.advanceTimersByTimeAsync(TIMEOUT_MS)
    expect(await second).toBeInstanceOf(UnavailableError)
    expect(await waiting).toMatchObject({ causes: [{ message: expect.stringContaining('starting') as string }] })
    expect(third.contacts).toEqual([])
  })

  it('is ClosedError once closed', async () => {
    const scene = new Scene()
    scene.isClosed = true
    expect(await rejection(scene.fetcher.operation().fetch(at(0)))).toBeInstanceOf(ClosedError)
  })

  it.each([
    ['closed', new ClosedError('closed'), ClosedError],
    ['offline', new Error('this device is offline'), UnavailableError],
  ])('ends what is under way when it is %s', async (_, reason, type) => {
    const scene = new Scene()
    const error = rejection(scene.fetcher.operation().fetch(at(0)))
    await settle()
    scene.run.abort(reason)
    expect(await error).toBeInstanceOf(type)
    expect(scene.question(0).signal.aborted).toBe(true)
  })
})

describe('the bound', () => {
  it('runs from the first question to the first block, and ends all under way', async () => {
    const scene = new Scene()
    const operation = scene.fetcher.operation()
    const first = rejection(operation.fetch(at(0)))
    await vi.advanceTimersByTimeAsync(TIMEOUT_MS - 1)
    const second = rejection(operation.fetch(at(1)))
    await settle()
    scene.question(0).receiver.asking('gateway a')
    await vi.advanceTimersByTimeAsync(1)
    expect(await first).toMatchObject({ causes: [{ message: `gateway a: no answer within ${TIMEOUT_MS} ms` }] })
    expect(await second).toBeInstanceOf(UnavailableError)
    expect(scene.asked.every((question) => question.signal.aborted)).toBe(true)
    expect(scene.contacts).toEqual([false, false])
  })

  it('does not count the time between two fetches', async () => {
    const scene = new Scene()
    const operation = scene.fetcher.operation()
    const first = operation.fetch(at(0))
    await settle()
    scene.question(0).receiver.absent('gateway a')
    scene.question(0).refuse()
    expect(await first).toBeNull()
    await vi.advanceTimersByTimeAsync(10 * TIMEOUT_MS)
    const second = operation.fetch(at(1))
    await vi.advanceTimersByTimeAsync(TIMEOUT_MS - 1)
    scene.question(1).answer(Uint8Array.of(1))
    expect(await second).toEqual(Uint8Array.of(1))
  })

  it('begins anew for those under way when the first block arrives, and for each further one', async () => {
    const scene = new Scene()
    const operation = scene.fetcher.operation()
    const first = operation.fetch(at(0))
    const second = rejection(operation.fetch(at(1)))
    await vi.advanceTimersByTimeAsync(TIMEOUT_MS - 1)
    scene.question(0).answer(Uint8Array.of(1))
    await first
    await vi.advanceTimersByTimeAsync(TIMEOUT_MS - 1)
    const third = rejection(operation.fetch(at(2)))
    await settle()
    expect(scene.question(1).signal.aborted).toBe(false)
    await vi.advanceTimersByTimeAsync(1)
    expect(await second).toBeInstanceOf(UnavailableError)
    await vi.advanceTimersByTimeAsync(TIMEOUT_MS - 2)
    expect(scene.question(2).signal.aborted).toBe(false)
    await vi.advanceTimersByTimeAsync(1)
    expect(await third).toBeInstanceOf(UnavailableError)
  })

  it('is the signal where there is one, whose reason is thrown', async () => {
    const scene = new Scene()
    const end = new AbortController()
    const error = rejection(scene.fetcher.operation({ signal: end.signal }).fetch(at(0)))
    await vi.advanceTimersByTimeAsync(10 * TIMEOUT_MS)
    const reason = new Error('enough')
    end.abort(reason)
    expect(await error).toBe(reason)
    expect(scene.question(0).signal.aborted).toBe(true)
    expect(await rejection(scene.fetcher.operation({ signal: end.signal }).fetch(at(1)))).toBe(reason)
    expect(scene.contacts).toEqual([])
  })

  it('leaves no timer behind', async () => {
    const scene = new Scene()
    const fetching = scene.fetcher.operation().fetch(at(0))
    await settle()
    scene.question(0).answer(Uint8Array.of(1))
    await fetching
    expect(vi.getTimerCount()).toBe(0)
  })
})

describe('turns', () => {
  it('are given to a number at once and in order, and back after every end', async () => {
    const scene = new Scene()
    const operation = scene.fetcher.operation()
    const results = cids.map((cid) => operation.fetch(cid).catch(() => 'failed'))
    await settle()
    expect(scene.asked).toHaveLength(FETCHES_IN_FLIGHT)
    for (let index = 0; index < cids.length; index++) {
      if (index % 2 === 0) scene.question(index).answer(Uint8Array.of(index))
      else scene.question(index).refuse(new Error('no'))
      await settle()
    }
    expect(await Promise.all(results)).toEqual(cids.map((_, index) => (index % 2 === 0 ? Uint8Array.of(index) : 'failed')))
    expect(scene.asked.map(({ cid }) => cid)).toEqual(cids)
  })

  it('are passed on when one is aborted while it waits', async () => {
    const scene = new Scene()
    const end = new AbortController()
    const held = cids.slice(0, FETCHES_IN_FLIGHT).map((cid) => scene.fetcher.operation({ signal: new AbortController().signal }).fetch(cid))
    const given = rejection(scene.fetcher.operation({ signal: end.signal }).fetch(at(10)))
    const next = scene.fetcher.operation({ signal: new AbortController().signal }).fetch(at(11))
    await settle()
    // In one moment the turn comes and the wait for it ends.
    scene.question(0).answer(Uint8Array.of(1))
    await held[0]
    end.abort(new Error('enough'))
    await given
    await settle()
    const last = scene.question(scene.asked.length - 1)
    expect(last.cid).toBe(at(11))
    last.answer(Uint8Array.of(2))
    expect(await next).toEqual(Uint8Array.of(2))
  })

  it('are not kept by those who wait without bound', async () => {
    const scene = new Scene()
    for (const cid of cids.slice(0, FETCHES_IN_FLIGHT)) void scene.fetcher.operation({ signal: new AbortController().signal }).fetch(cid)
    const operation = scene.fetcher.operation()
    await settle()
    const error = rejection(operation.fetch(at(9)))
    await vi.advanceTimersByTimeAsync(TIMEOUT_MS)
    expect(await error).toBeInstanceOf(UnavailableError)
    const fetching = scene.fetcher.operation().fetch(at(10))
    await settle()
    scene.asked.at(-1)?.answer(Uint8Array.of(1))
    expect(await fetching).toEqual(Uint8Array.of(1))
  })
})
