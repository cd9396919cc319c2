// Streams answered by the worker: pulled with back-pressure, cancelled and failed across the port.
import { describe, expect, it } from 'vitest'
import { ClosedError, IntegrityError } from '../../../src/errors.ts'
import { PORT_WINDOW_CHUNKS } from '../../../src/limits.ts'
import type { Bytes, ContentStorage, RetrieveOptions } from '../../../src/types.ts'
import { connected, rejection, settled } from './double.ts'

/** An endless stream that counts what it produced, and what became of it. */
function counted(): { stream: ReadableStream<Bytes>; produced: Bytes[]; cancelled: () => boolean; fail: (error: Error) => void } {
  const produced: Bytes[] = []
  let cancelled = false
  let control: ReadableStreamDefaultController<Bytes> | undefined
  const stream = new ReadableStream<Bytes>(
    {
      start(controller) {
        control = controller
      },
      pull(controller) {
        const chunk = new Uint8Array([produced.length, 1, 2])
        produced.push(chunk)
        controller.enqueue(chunk)
      },
      cancel() {
        cancelled = true
      },
    },
    { highWaterMark: 0 },
  )
  return { stream, produced, cancelled: () => cancelled, fail: (error) => control?.error(error) }
}

async function reading(stream: Promise<ReadableStream<Bytes> | null>): Promise<ReadableStreamDefaultReader<Bytes>> {
  const answer = await stream
  if (answer === null) throw new Error('no stream')
  return answer.getReader()
}

describe.each<['stream' | 'exportCar', (storage: ContentStorage, options?: RetrieveOptions) => Promise<ReadableStream<Bytes> | null>]>([
  ['stream', (storage, options) => storage.stream('x', options)],
  ['exportCar', (storage, options) => storage.exportCar('x', options)],
])('%s', (name, open) => {
  it('answers all chunks and ends', async () => {
    const parts = [[1], [2, 3], [], [4]].map((part) => new Uint8Array(part))
    const { client } = connected({ [name]: async () => new Response(new Blob(parts)).body })
    const stream = await open(client)
    expect(new Uint8Array(await new Response(stream).arrayBuffer())).toEqual(new Uint8Array([1, 2, 3, 4]))
  })

  it('produces nothing before it is read, and no more than the window ahead', async () => {
    const { stream, produced } = counted()
    const { client } = connected({ [name]: async () => stream })
    const reader = await reading(open(client))
    await settled(client)
    expect(produced).toHaveLength(0)
    expect((await reader.read()).value).toEqual(new Uint8Array([0, 1, 2]))
    await settled(client)
    expect(produced).toHaveLength(PORT_WINDOW_CHUNKS)
    for (let count = 1; count < 5; count++) expect((await reader.read()).value?.[0]).toBe(count)
    await settled(client)
    expect(produced).toHaveLength(4 + PORT_WINDOW_CHUNKS)
  })

  it('transfers its chunks', async () => {
    const { stream, produced } = counted()
    const { client } = connected({ [name]: async () => stream })
    await (await reading(open(client))).read()
    expect(produced[0]?.byteLength).toBe(0)
  })

  it.each(['before anything was read', 'later'])('cancels the stream in the worker: %s', async (when) => {
    const { stream, cancelled } = counted()
    const { client } = connected({ [name]: async () => stream })
    const reader = await reading(open(client))
    if (when === 'later') await reader.read()
    await reader.cancel()
    await settled(client)
    expect(cancelled()).toBe(true)
  })

  it('fails with the class of the error, after what came before it', async () => {
    const { stream, fail } = counted()
    const { client } = connected({ [name]: async () => stream })
    const reader = await reading(open(client))
    expect((await reader.read()).done).toBe(false)
    await settled(client)
    fail(new IntegrityError('flipped', 'bafy'))
    for (let ahead = 1; ahead < PORT_WINDOW_CHUNKS; ahead++) expect((await reader.read()).done).toBe(false)
    const error = await rejection(reader.read())
    expect(error).toBeInstanceOf(IntegrityError)
    expect(error).toMatchObject({ message: 'flipped', cid: 'bafy' })
  })

  it('its signal is in force until it ends', async () => {
    const controller = new AbortController()
    const reason = new Error('enough')
    const { client } = connected({
      [name]: async (_: string, { signal }: RetrieveOptions) => {
        const { stream, fail } = counted()
        signal?.addEventListener('abort', () => fail(signal.reason as Error))
        return stream
      },
    })
    const reader = await reading(open(client, { signal: controller.signal }))
    await reader.read()
    controller.abort(reason)
    expect(await rejection(drained(reader))).toBe(reason)
  })

  it('reports progress while it runs', async () => {
    const seen: number[] = []
    const { client } = connected({
      [name]: async (_: string, { onProgress }: RetrieveOptions) => {
        let bytes = 0
        return new ReadableStream<Bytes>({
          pull(controller) {
            onProgress?.({ bytes: ++bytes, phase: 'retrieve' })
            if (bytes === 3) controller.close()
            else controller.enqueue(new Uint8Array(1))
          },
        })
      },
    })
    await drained(await reading(open(client, { onProgress: ({ bytes }) => void seen.push(bytes) })))
    expect(seen).toEqual([1, 2, 3])
  })

  it('fails with ClosedError and is cancelled in the worker when the client closes', async () => {
    const { stream, cancelled, produced } = counted()
    const other = connected({})
    const { client } = connected({ [name]: async () => stream })
    const reader = await reading(open(client))
    await reader.read()
    await settled(client)
    const before = produced.length
    await client.close()
    expect(await rejection(reader.read())).toBeInstanceOf(ClosedError)
    await settled(other.client)
    expect(cancelled()).toBe(true)
    expect(produced).toHaveLength(before)
  })
})

async function drained(reader: ReadableStreamDefaultReader<Bytes>): Promise<void> {
  while (!(await reader.read()).done);
}
