// The life of a node, with a node of our own that starts, fails and hangs on demand.
import { afterEach, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest'
import { ClosedError } from '../../../src/errors.ts'
import { STOP_TIMEOUT_MS } from '../../../src/limits.ts'
import { HeliaBackend } from '../../../src/network/helia.ts'
import { HeliaMissingError } from '../../../src/network/node.ts'
import type { MakeNode, NodeStores, StartableNode } from '../../../src/network/node.ts'

const START_TIMEOUT_MS = 10_000

beforeEach(() => void vi.useFakeTimers())
afterEach(() => {
  vi.useRealTimers()
  vi.unstubAllGlobals()
})

type Step = 'load' | 'open' | 'start' | 'stop' | 'close'

/** A node as Helia's, on which any step can be made to hang or fail; `log` holds what happened. */
class Scene {
  readonly log: string[] = []
  readonly nodes: StartableNode[] = []
  readonly statuses: string[] = []
  readonly backend: HeliaBackend
  restartable = true
  #hooks: Partial<Record<Step, () => Promise<void>>> = {}

  constructor() {
    this.backend = new HeliaBackend({
      settings: { libp2p: false, startTimeoutMs: START_TIMEOUT_MS, retrieveTimeoutMs: 20_000 },
      openStores: async () => {
        await this.#step('open')
        return this.#stores()
      },
      onChange: () => {
        const { running, fallbackReason } = this.backend.status()
        this.statuses.push(running ? 'running' : (fallbackReason ?? 'none'))
      },
      loadNode: async () => {
        await this.#step('load')
        return this.#make
      },
    })
    onTestFinished(() => this.backend.stop())
  }

  /** Makes a step do this from now on. */
  on(step: Step, hook: () => Promise<void>): void {
    this.#hooks[step] = hook
  }

  fail(step: Step, error: Error): void {
    this.on(step, async () => {
      throw error
    })
  }

  /** Makes a step wait; the function answered lets it go on, or fail. */
  hold(step: Step, error?: Error): () => void {
    let go = (): void => {}
    const wait = new Promise<void>((resolve, reject) => {
      go = () => (error === undefined ? resolve() : reject(error))
    })
    this.on(step, () => wait)
    return go
  }

  heal(step: Step): void {
    delete this.#hooks[step]
  }

  async #step(step: Step): Promise<void> {
    this.log.push(step)
    await this.#hooks[step]?.()
  }

  #stores(): NodeStores {
    return { blockstore: {}, datastore: {}, close: () => this.#step('close') } as NodeStores
  }

  readonly #make: MakeNode = (stores) => {
    const node = {
      ...stores,
      status: 'stopped',
      start: async () => {
        node.status = 'starting'
        await this.#step('start')
        node.status = 'started'
      },
      stop: async () => {
        node.status = 'stopping'
        await this.#step('stop')
        node.status = 'stopped'
      },
    }
    this.nodes.push(node)
    return { node, restartable: this.restartable }
  }
}

/** Lets everything happen that waits for nothing but promises. */
const settle = (): Promise<unknown> => vi.advanceTimersByTimeAsync(0)

describe('starting', () => {
  it('is under way at once and then runs', async () => {
    const { backend, log, statuses } = new Scene()
    expect(backend.status()).toEqual({ running: false, fallbackReason: 'starting' })
    expect(backend.node()).toBeNull()
    backend.start()
    await backend.settled()
    expect(backend.status()).toEqual({ running: true })
    expect(backend.node()?.status).toBe('started')
    expect(log).toEqual(['load', 'open', 'start'])
    expect(statuses).toEqual(['running'])
  })

  it('begins once, however often it is asked for', async () => {
    const { backend, log } = new Scene()
    backend.start()
    backend.start()
    backend.setOnline(true)
    await backend.settled()
    backend.start()
    await settle()
    expect(log).toEqual(['load', 'open', 'start'])
  })

  it('falls back where Helia is missing, opens nothing, and tries again when the network comes', async () => {
    const scene = new Scene()
    scene.fail('load', new HeliaMissingError('helia is not installed'))
    scene.backend.start()
    await scene.backend.settled()
    expect(scene.backend.status()).toEqual({
      running: false,
      fallbackReason: 'helia-unavailable',
      fallbackDetail: 'helia is not installed',
    })
    expect(scene.log).toEqual(['load'])
    scene.heal('load')
    scene.backend.setOnline(true)
    expect(scene.backend.status().fallbackReason).toBe('starting')
    await scene.backend.settled()
    expect(scene.backend.status().running).toBe(true)
    expect(scene.statuses).toEqual(['helia-unavailable', 'starting', 'running'])
  })

  it.each([
    ['load', ['load']],
    ['open', ['load', 'open']],
    ['start', ['load', 'open', 'start', 'stop', 'close']],
  ] as const)('falls back where %s fails, says why, and leaves nothing open', async (step, log) => {
    const scene = new Scene()
    scene.fail(step, new Error('no luck'))
    scene.backend.start()
    await scene.backend.settled()
    expect(scene.backend.status()).toEqual({
      running: false,
      fallbackReason: 'helia-failed',
      fallbackDetail: 'Helia did not start: no luck',
    })
    expect(scene.log).toEqual(log)
    scene.heal(step)
    scene.backend.start()
    await scene.backend.settled()
    expect(scene.backend.status()).toEqual({ running: true })
  })

  it.each(['load', 'open', 'start'] as const)(
    'settles on the fallback where %s takes too long, and takes the node when it comes',
    async (step) => {
      const scene = new Scene()
      const go = scene.hold(step)
      scene.backend.start()
      let isSettled = false
      void scene.backend.settled().then(() => (isSettled = true))
      await vi.advanceTimersByTimeAsync(START_TIMEOUT_MS - 1)
      expect(isSettled).toBe(false)
      await vi.advanceTimersByTimeAsync(1)
      expect(isSettled).toBe(true)
      expect(scene.backend.status()).toMatchObject({ running: false, fallbackReason: 'helia-failed' })
      expect(scene.backend.status().fallbackDetail).toContain(`${START_TIMEOUT_MS} ms`)
      go()
      await settle()
      expect(scene.backend.status()).toEqual({ running: true })
      expect(scene.statuses).toEqual(['helia-failed', 'running'])
    },
  )

  it('says why when it fails after the time was up', async () => {
    const scene = new Scene()
    const go = scene.hold('open')
    scene.backend.start()
    await vi.advanceTimersByTimeAsync(START_TIMEOUT_MS)
    scene.fail('start', new Error('no luck'))
    go()
    await settle()
    expect(scene.backend.status().fallbackDetail).toContain('no luck')
  })
})

describe('offline', () => {
  it('loads nothing where the device starts offline, and starts when it comes online', async () => {
    vi.stubGlobal('navigator', { onLine: false })
    const { backend, log } = new Scene()
    backend.start()
    await backend.settled()
    expect(backend.status()).toEqual({ running: false, fallbackReason: 'offline' })
    expect(log).toEqual([])
    backend.setOnline(true)
    await backend.settled()
    expect(backend.status()).toEqual({ running: true })
  })

  it('stops the node at once, and starts the same one over the same stores again', async () => {
    const scene = new Scene()
    scene.backend.start()
    await scene.backend.settled()
    const node = scene.backend.node()
    const session = scene.backend.session()
    scene.backend.setOnline(false)
    expect(scene.backend.status()).toEqual({ running: false, fallbackReason: 'offline' })
    expect(scene.backend.node()).toBeNull()
    expect(session?.signal.aborted).toBe(true)
    await settle()
    expect(node?.status).toBe('stopped')
    scene.backend.setOnline(true)
    await scene.backend.settled()
    expect(scene.backend.node()).toBe(node)
    expect(scene.log).toEqual(['load', 'open', 'start', 'stop', 'start'])
    expect(scene.statuses).toEqual(['running', 'offline', 'starting', 'running'])
  })

  it('makes a new node where one can run only once', async () => {
    const scene = new Scene()
    scene.restartable = false
    scene.backend.start()
    await scene.backend.settled()
    const node = scene.backend.node()
    scene.backend.setOnline(false)
    scene.backend.setOnline(true)
    await scene.backend.settled()
    expect(scene.backend.node()).not.toBe(node)
    expect(scene.log).toEqual(['load', 'open', 'start', 'stop', 'load', 'start'])
  })

  it('makes a new node where the old one does not stop in time', async () => {
    const scene = new Scene()
    scene.backend.start()
    await scene.backend.settled()
    scene.hold('stop')
    scene.backend.setOnline(false)
    scene.backend.setOnline(true)
    await vi.advanceTimersByTimeAsync(STOP_TIMEOUT_MS)
    expect(scene.backend.status()).toEqual({ running: true })
    expect(scene.nodes).toHaveLength(2)
    scene.heal('stop')
  })

  it.each(['load', 'open', 'start'] as const)('while %s is under way: stops again, or runs where the network came back', async (step) => {
    for (const isBack of [false, true]) {
      const scene = new Scene()
      const go = scene.hold(step)
      scene.backend.start()
      await settle()
      scene.backend.setOnline(false)
      await scene.backend.settled()
      if (isBack) scene.backend.setOnline(true)
      go()
      await settle()
      expect(scene.backend.status()).toEqual(isBack ? { running: true } : { running: false, fallbackReason: 'offline' })
      expect(scene.nodes.filter((node) => node.status === 'started')).toHaveLength(isBack ? 1 : 0)
    }
  })

  it('says nothing about Helia: an attempt that the network left is made again', async () => {
    const scene = new Scene()
    const fail = scene.hold('load', new HeliaMissingError('chunk'))
    scene.backend.start()
    scene.heal('load')
    scene.backend.setOnline(false)
    scene.backend.setOnline(true)
    fail()
    await settle()
    expect(scene.backend.status()).toEqual({ running: true })
  })

  it('listens to the events of its window or worker until it is stopped', async () => {
    const target = new EventTarget()
    vi.stubGlobal('addEventListener', target.addEventListener.bind(target))
    vi.stubGlobal('removeEventListener', target.removeEventListener.bind(target))
    const { backend, log } = new Scene()
    backend.start()
    await backend.settled()
    target.dispatchEvent(new Event('offline'))
    expect(backend.status().fallbackReason).toBe('offline')
    target.dispatchEvent(new Event('online'))
    await backend.settled()
    expect(backend.status().running).toBe(true)
    await backend.stop()
    target.dispatchEvent(new Event('online'))
    await settle()
    expect(log.filter((step) => step === 'start')).toHaveLength(2)
  })

  it('survives any order of events', async () => {
    const scene = new Scene()
    scene.backend.start()
    for (const isOnline of [false, true, false, false, true, true, false, true]) scene.backend.setOnline(isOnline)
    await scene.backend.settled()
    await settle()
    expect(scene.backend.status()).toEqual({ running: true })
    expect(scene.nodes.filter((node) => node.status === 'started')).toHaveLength(1)
    expect(scene.log.filter((step) => step === 'open')).toHaveLength(1)
  })
})

describe('a node stopped by whoever holds it', () => {
  it('is not called running, and start() starts it again', async () => {
    const { backend, nodes } = new Scene()
    backend.start()
    await backend.settled()
    await nodes[0]?.stop()
    expect(backend.status()).toMatchObject({ running: false, fallbackReason: 'helia-failed' })
    expect(backend.session()).toBeUndefined()
    backend.start()
    await backend.settled()
    expect(backend.status()).toEqual({ running: true })
  })
})

describe('stop', () => {
  it('stops the node, closes the stores and ends what is under way with ClosedError; twice is once', async () => {
    const { backend, log } = new Scene()
    backend.start()
    await backend.settled()
    const session = backend.session()
    await Promise.all([backend.stop(), backend.stop()])
    await backend.stop()
    expect(session?.signal.reason).toBeInstanceOf(ClosedError)
    expect(log).toEqual(['load', 'open', 'start', 'stop', 'close'])
    expect(backend.node()).toBeNull()
    backend.start()
    backend.setOnline(true)
    await settle()
    expect(log).toHaveLength(5)
  })

  it('before anything began, does nothing and lets nobody wait', async () => {
    const { backend, log } = new Scene()
    const settled = backend.settled()
    await backend.stop()
    await settled
    await backend.settled()
    expect(log).toEqual([])
  })

  it.each(['load', 'open', 'start'] as const)(
    'does not wait longer than its bound while %s hangs, and undoes it when it comes',
    async (step) => {
      const scene = new Scene()
      const go = scene.hold(step)
      scene.backend.start()
      await settle()
      const stopped = scene.backend.stop()
      await vi.advanceTimersByTimeAsync(STOP_TIMEOUT_MS)
      await stopped
      go()
      await settle()
      expect(scene.nodes.every((node) => node.status === 'stopped')).toBe(true)
      expect(scene.log.filter((entry) => entry === 'close')).toHaveLength(scene.log.includes('open') ? 1 : 0)
    },
  )

  it('throws what closing the stores throws', async () => {
    const scene = new Scene()
    scene.backend.start()
    await scene.backend.settled()
    scene.fail('close', new Error('stuck'))
    await expect(scene.backend.stop()).rejects.toThrow('stuck')
    scene.heal('close')
  })
})

describe('contact', () => {
  it('is part of the status once there was one', async () => {
    const { backend, statuses } = new Scene()
    backend.start()
    await backend.settled()
    backend.contact(true)
    backend.contact(true)
    expect(backend.status()).toEqual({ running: true, lastContactOk: true })
    backend.contact(false)
    expect(backend.status()).toEqual({ running: true, lastContactOk: false })
    expect(statuses).toHaveLength(3)
  })
})
