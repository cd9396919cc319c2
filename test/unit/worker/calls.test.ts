// Calls: abort, progress, events, and what closing a client ends.
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { ClosedError, QuotaError } from '../../../src/errors.ts'
import { serveStorage } from '../../../src/worker/door.ts'
import { connect } from '../../../src/worker/connect.ts'
import type { Cancellable, ContentStorage, Source, StorageEvents, StoreOptions } from '../../../src/types.ts'
import { collect, connected, double, gate, rejection, settled, waitForAbort } from './double.ts'

const METHODS_WITH_SIGNAL: [string, (s: ContentStorage, signal: AbortSignal) => Promise<unknown>][] = [
  ['store', (s, signal) => s.store('x', { signal })],
  ['storeMany', (s, signal) => s.storeMany([], { signal })],
  ['storeDirectory', (s, signal) => s.storeDirectory([], { signal })],
  ['retrieve', (s, signal) => s.retrieve('x', { signal })],
  ['stream', (s, signal) => s.stream('x', { signal })],
  ['blob', (s, signal) => s.blob('x', { signal })],
  ['stat', (s, signal) => s.stat('x', { signal })],
  ['listDirectory', (s, signal) => s.listDirectory('x', { signal })],
  ['pin', (s, signal) => s.pin('x', { signal })],
  ['verify', (s, signal) => s.verify('x', { signal })],
  ['gc', (s, signal) => s.gc({ signal })],
  ['exportCar', (s, signal) => s.exportCar('x', { signal })],
  ['importCar', (s, signal) => s.importCar('x', { signal })],
]

describe('abort', () => {
  it.each(METHODS_WITH_SIGNAL)('%s rejects with the very reason, after the worker has undone', async (name, call) => {
    const [begun, undo] = [gate(), gate()]
    const { client } = connected({
      [name]: async (...args: unknown[]) => {
        const { signal } = args.at(-1) as Cancellable
        begun.open()
        try {
          return await waitForAbort(signal)
        } finally {
          await undo.passed
        }
      },
    })
    const controller = new AbortController()
    const reason = { why: 'because' }
    const outcome = vi.fn<() => void>()
    const rejected = rejection(call(client, controller.signal))
    void rejected.then(outcome)
    await begun.passed
    controller.abort(reason)
    await settled(client)
    expect(outcome).not.toHaveBeenCalled()
    undo.open()
    expect(await rejected).toBe(reason)
  })

  it('before the call sends nothing and touches no source', async () => {
    const store = vi.fn<() => void>()
    const { client } = connected({ store })
    const reason = new Error('early')
    const stream = new ReadableStream<Uint8Array>()
    expect(await rejection(client.store(stream, { signal: AbortSignal.abort(reason) }))).toBe(reason)
    await settled(client)
    expect(store).not.toHaveBeenCalled()
    expect(stream.locked).toBe(false)
  })

  it('after the answer does nothing', async () => {
    const controller = new AbortController()
    const { client } = connected({ store: async () => 'cid' })
    expect(await client.store('x', { signal: controller.signal })).toBe('cid')
    controller.abort()
    await settled(client)
  })

  it('that comes too late leaves the answer', async () => {
    const [begun, go] = [gate(), gate()]
    const { client } = connected({
      store: async () => {
        begun.open()
        await go.passed
        return 'cid'
      },
    })
    const controller = new AbortController()
    const stored = client.store('x', { signal: controller.signal })
    await begun.passed
    controller.abort()
    go.open()
    expect(await stored).toBe('cid')
  })

  it('that meets another failure leaves that failure', async () => {
    const begun = gate()
    const { client } = connected({
      store: async (_: Source, { signal }: StoreOptions) => {
        begun.open()
        await waitForAbort(signal).catch(() => undefined)
        throw new QuotaError('full', { needed: 5 })
      },
    })
    const controller = new AbortController()
    const stored = rejection(client.store('x', { signal: controller.signal }))
    await begun.passed
    controller.abort()
    expect(await stored).toBeInstanceOf(QuotaError)
  })

  it('cancels a source that gives nothing', async () => {
    const [pulled, cancelled] = [gate(), gate()]
    const source = new ReadableStream<Uint8Array>(
      {
        pull() {
          pulled.open()
          return new Promise(() => undefined)
        },
        cancel: () => cancelled.open(),
      },
      { highWaterMark: 0 },
    )
    const { client } = connected({ store: (data: Source, { signal }: StoreOptions) => collect(data, signal) })
    const controller = new AbortController()
    const stored = rejection(client.store(source, { signal: controller.signal }))
    await pulled.passed
    controller.abort()
    expect(await stored).toBe(controller.signal.reason)
    await cancelled.passed
  })
})

describe('progress', () => {
  it('arrives in order, and before the answer', async () => {
    const seen: unknown[] = []
    const { client } = connected({
      store: async (_: Source, { onProgress }: StoreOptions) => {
        onProgress?.({ bytes: 1, total: 2, phase: 'store' })
        onProgress?.({ bytes: 2, total: 2, phase: 'store' })
        return 'cid'
      },
    })
    seen.push(await client.store('x', { onProgress: (progress) => void seen.push(progress) }))
    expect(seen).toEqual([{ bytes: 1, total: 2, phase: 'store' }, { bytes: 2, total: 2, phase: 'store' }, 'cid'])
  })

  it('is not asked for where nobody listens', async () => {
    const { client } = connected({ gc: async (options: Cancellable) => ({ blocks: options.onProgress === undefined ? 0 : 1, bytes: 0 }) })
    expect(await client.gc()).toEqual({ blocks: 0, bytes: 0 })
  })
})

describe('events', () => {
  it.each<keyof StorageEvents>(['change', 'evicted', 'damaged', 'repaired', 'status'])('%s reaches every client', async (name) => {
    const { client, storage, port } = connected({})
    const second = connect(port)
    onTestFinished(() => second.close())
    const detail = { cid: 'c', any: [1, 2] }
    const seen: unknown[] = []
    const both = [client, second].map(
      (one, index) =>
        new Promise<void>((resolve) =>
          one.addEventListener(name, (event) => {
            seen.push([index, event instanceof CustomEvent, event.detail])
            resolve()
          }),
        ),
    )
    await Promise.all([settled(client), settled(second)])
    storage.dispatchEvent(new CustomEvent(name, { detail }))
    await Promise.all(both)
    expect(seen).toHaveLength(2)
    expect(seen).toEqual(
      expect.arrayContaining([
        [0, true, detail],
        [1, true, detail],
      ]),
    )
  })
})

describe('close', () => {
  it('rejects what is under way with ClosedError and aborts it in the worker; other clients go on', async () => {
    const [begun, aborted, returned] = [gate(), gate(), gate()]
    const { client, port } = connected({
      store: async (data: Source, { signal }: StoreOptions) => {
        begun.open()
        signal?.addEventListener('abort', () => {
          expect(signal.reason).toBeInstanceOf(ClosedError)
          aborted.open()
        })
        await collect(data, signal)
      },
    })
    const other = connect(port)
    onTestFinished(() => other.close())
    await settled(other)
    const source = new ReadableStream<Uint8Array>({ pull: () => new Promise(() => undefined), cancel: () => returned.open() })
    const stored = rejection(client.store(source))
    await begun.passed
    await settled(client)
    await client.close()
    expect(await stored).toBeInstanceOf(ClosedError)
    await aborted.passed
    await returned.passed
    expect(await other.isAvailable()).toBe(false)
  })

  it('leaves the storage open, and may be called twice; later calls reject', async () => {
    const close = vi.fn<() => void>()
    const { client } = connected({ close, store: async () => 'cid' })
    await client.close()
    await client.close()
    const calls = [
      client.ready(),
      client.store('x'),
      client.storeMany([]),
      client.retrieve('x'),
      client.isAvailable(),
      client.getBackendStatus(),
      client.persist(),
      client.helia(),
    ]
    for (const call of calls) expect(await rejection(call)).toBeInstanceOf(ClosedError)
    expect(close).not.toHaveBeenCalled()
  })

  it('before the worker answered rejects what waits', async () => {
    const { port1 } = new MessageChannel()
    const client = connect(port1)
    const ready = rejection(client.ready())
    await client.close()
    expect(await ready).toBeInstanceOf(ClosedError)
    port1.close()
  })

  it('stops events', async () => {
    const { client, storage, port } = connected({})
    const other = connect(port)
    onTestFinished(() => other.close())
    const listener = vi.fn<() => void>()
    client.addEventListener('change', listener)
    await settled(client)
    await client.close()
    storage.dispatchEvent(new CustomEvent('change', { detail: {} }))
    await settled(other)
    expect(listener).not.toHaveBeenCalled()
  })
})

describe('an end that is noticed', () => {
  it('of the client: the port closes, and the worker aborts what it began', async () => {
    const [begun, aborted] = [gate(), gate()]
    const storage = double({
      gc: async ({ signal }: Cancellable) => {
        begun.open()
        await waitForAbort(signal).finally(aborted.open)
      },
    })
    // The client's own end of its channel, to be closed as the death of a page would.
    const ends: MessagePort[] = []
    const { port1, port2 } = new MessageChannel()
    const stop = serveStorage(storage, port2)
    const channel = globalThis.MessageChannel
    vi.stubGlobal('MessageChannel', function made() {
      const pair = new channel()
      ends.push(pair.port1)
      return pair
    })
    onTestFinished(() => {
      vi.unstubAllGlobals()
      stop()
      port1.close()
    })
    const client = connect(port1)
    const collected = rejection(client.gc())
    await begun.passed
    ends[0]?.close()
    await aborted.passed
    expect(await collected).toBeInstanceOf(ClosedError)
  })

  it.each(['client', 'worker'])('of the %s: its lock is let go of', async (who) => {
    // Grants a lock when it is free, as the browser does. Each side asks for one of its own first, and for the other's when it is told.
    const held = new Map<string, { release: () => void; wanted: Promise<void> }>()
    const names: string[] = []
    const request = async (name: string, _: object, granted: () => Promise<void>): Promise<void> => {
      const holder = held.get(name)
      if (holder === undefined) {
        names.push(name)
        const { passed, open } = gate()
        held.set(name, { release: open, wanted: passed })
      } else {
        await holder.wanted
      }
      return granted()
    }
    vi.stubGlobal('navigator', { locks: { request } })
    onTestFinished(() => void vi.unstubAllGlobals())
    const [begun, aborted] = [gate(), gate()]
    const { client } = connected({
      gc: async ({ signal }: Cancellable) => {
        begun.open()
        await waitForAbort(signal).finally(aborted.open)
      },
    })
    const collected = rejection(client.gc())
    await begun.passed
    await settled(client)
    expect(names).toEqual([expect.stringMatching(/^ipfs-kit:alive:/), expect.stringMatching(/^ipfs-kit:alive:/)])
    held.get(names[who === 'client' ? 0 : 1] ?? '')?.release()
    await aborted.passed
    await client.close()
    expect(await collected).toBeInstanceOf(ClosedError)
  })
})

describe('online and offline', () => {
  it('are told by a client in a page, until it closes', async () => {
    const page = new EventTarget()
    const network = { onLine: false }
    vi.stubGlobal('document', {})
    vi.stubGlobal('navigator', network)
    vi.stubGlobal('addEventListener', page.addEventListener.bind(page))
    vi.stubGlobal('removeEventListener', page.removeEventListener.bind(page))
    onTestFinished(() => void vi.unstubAllGlobals())
    const told: boolean[] = []
    const { client, port } = connected({ setOnline: (online: boolean) => void told.push(online) })
    await settled(client)
    expect(told).toEqual([false])
    network.onLine = true
    page.dispatchEvent(new Event('online'))
    await settled(client)
    expect(told).toEqual([false, true])
    await client.close()
    page.dispatchEvent(new Event('offline'))
    vi.unstubAllGlobals()
    const other = connect(port)
    onTestFinished(() => other.close())
    await settled(other)
    expect(told).toEqual([false, true])
  })
})
