// The door: how clients find the storage, beside other traffic, early or late, and what they hear when there is none.
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { ClosedError, InvalidOptionsError, NotSupportedError } from '../../../src/errors.ts'
import { connect } from '../../../src/worker/connect.ts'
import { serveStorage } from '../../../src/worker/door.ts'
import { serve } from '../../../src/worker/serve.ts'
import type { ContentStorage } from '../../../src/types.ts'
import { connected, double, gate, rejection, settled } from './double.ts'

function channel(): { port1: MessagePort; port2: MessagePort } {
  const made = new MessageChannel()
  onTestFinished(() => made.port1.close())
  return made
}

function client(port: MessagePort | Worker): ContentStorage {
  const made = connect(port)
  onTestFinished(() => made.close())
  return made
}

describe('serving', () => {
  it('that begins after the hello was lost announces itself, and what was asked meanwhile is answered', async () => {
    const { port1, port2 } = channel()
    const lost = gate()
    const listener = (): void => lost.open()
    port2.addEventListener('message', listener)
    port2.start()
    const early = client(port1)
    const stored = early.store('x')
    await lost.passed
    port2.removeEventListener('message', listener)
    serveStorage(double({ store: async () => 'cid' }), port2)
    expect(await stored).toBe('cid')
  })

  it('that began long before answers the hello', async () => {
    const { port1, port2 } = channel()
    serveStorage(double({ store: async () => 'cid' }), port2)
    await settled(client(port1))
    expect(await client(port1).store('x')).toBe('cid')
  })

  it('leaves other traffic at the same door alone', async () => {
    const { port1, port2 } = channel()
    const seen: unknown[] = []
    const foreign: unknown[] = ['text', null, 5, { type: 'store' }, { type: 7 }, { type: 'ipfs-kit:unknown' }, { method: 'gc' }]
    port2.addEventListener('message', (event) => {
      if (event.data === 'question') port2.postMessage('answer')
    })
    const gc = vi.fn<() => void>()
    serveStorage(double({ gc, exists: async () => true }), port2)
    const one = client(port1)
    const answered = new Promise<void>((resolve) =>
      port1.addEventListener('message', (event) => {
        seen.push(event.data)
        if (event.data === 'answer') resolve()
      }),
    )
    for (const message of foreign) {
      port1.postMessage(message)
      port2.postMessage(message)
    }
    port1.postMessage('question')
    await answered
    expect(await one.exists('x')).toBe(true)
    expect(gc).not.toHaveBeenCalled()
    expect(seen).toEqual(expect.arrayContaining(['answer', 'text']))
  })

  it('takes a port that an application hands over as another door', async () => {
    const { port1, port2 } = channel()
    const handed = channel()
    serveStorage(double({ exists: async () => true }), port2)
    const one = client(port1)
    port1.postMessage({ type: 'ipfs-kit:port' }, [handed.port2])
    const two = client(handed.port1)
    expect(await two.exists('x')).toBe(true)
    await one.close()
    expect(await two.exists('x')).toBe(true)
  })

  it('that stops ends its clients in the worker', async () => {
    const { port1, port2 } = channel()
    const stop = serveStorage(double({}), port2)
    const one = client(port1)
    await settled(one)
    stop()
    expect(await rejection(one.gc())).toBeInstanceOf(ClosedError)
  })
})

describe('a worker without a storage', () => {
  it('tells every client why', async () => {
    const { port1, port2 } = channel()
    const failure = new InvalidOptionsError('no such option', 'config.nope')
    serveStorage(failure, port2)
    for (const one of [client(port1), client(port1)]) {
      const error = await rejection(one.ready())
      expect(error).toBeInstanceOf(InvalidOptionsError)
      expect(error).toMatchObject({ message: 'no such option', option: 'config.nope' })
      expect(await rejection(one.store('later'))).toBeInstanceOf(InvalidOptionsError)
    }
  })

  it('of another version is not supported', async () => {
    const { port1, port2 } = channel()
    port2.addEventListener('message', () => port2.postMessage({ type: 'ipfs-kit:ready', version: 99 }))
    port2.start()
    expect(await rejection(client(port1).ready())).toBeInstanceOf(NotSupportedError)
  })

  it('that can not be started rejects with NotSupportedError and the cause', async () => {
    const worker = Object.assign(new EventTarget(), { postMessage: () => undefined, terminate: () => undefined }) as unknown as Worker
    const one = client(worker)
    const ready = rejection(one.ready())
    worker.dispatchEvent(Object.assign(new Event('error'), { message: 'Uncaught ReferenceError: x', error: new ReferenceError('x') }))
    const error = await ready
    expect(error).toBeInstanceOf(NotSupportedError)
    expect(error).toMatchObject({ message: expect.stringContaining('Uncaught ReferenceError: x'), cause: new ReferenceError('x') })
    expect(await rejection(one.store('later'))).toBeInstanceOf(NotSupportedError)
  })

  it('an error once it serves ends nothing', async () => {
    const { port1, port2 } = channel()
    serveStorage(double({ exists: async () => true }), port2)
    const worker = Object.assign(port1, { terminate: () => undefined }) as unknown as Worker
    const one = client(worker)
    await settled(one)
    worker.dispatchEvent(new Event('error'))
    expect(await one.exists('x')).toBe(true)
  })
})

describe('a page newer than its worker', () => {
  it('hears NotSupportedError for a method the worker does not have', async () => {
    const { port1, port2 } = channel()
    const own = channel()
    serveStorage(double({}), port2)
    const answer = new Promise((resolve) => {
      own.port1.addEventListener('message', (event) => resolve(event.data))
    })
    own.port1.start()
    port1.postMessage({ type: 'ipfs-kit:connect' }, [own.port2])
    own.port1.postMessage({ type: 'call', id: 1, method: 'constructor', args: [] })
    expect(await answer).toMatchObject({ type: 'error', id: 1, error: { name: 'NotSupportedError' } })
  })
})

describe('serve', () => {
  it('is refused outside a worker', () => {
    expect(() => serve()).toThrow(NotSupportedError)
  })
})

describe('many clients', () => {
  it('share one storage and do not mix their calls', async () => {
    const { client: first, port } = connected({ exists: async (path: string) => path === 'yes' })
    const all = [first, client(port), client(port)]
    const answers = await Promise.all(all.flatMap((one) => ['yes', 'no', 'yes'].map((path) => one.exists(path))))
    expect(answers).toEqual([true, false, true, true, false, true, true, false, true])
  })
})
