// A double of the front for tests of the protocol alone, and a client connected to it over a channel.
import { onTestFinished } from 'vitest'
import { chunks } from '../../../src/files/source.ts'
import { connect } from '../../../src/worker/connect.ts'
import { serveStorage } from '../../../src/worker/door.ts'
import type { ServedStorage } from '../../../src/worker/session.ts'
import type { ContentStorage, Source } from '../../../src/types.ts'

/** The methods a test needs, with whatever arguments arrive: the point is to see them. */
export type Methods = Partial<Record<keyof ContentStorage | 'setOnline', (...args: never[]) => unknown>>

export function double(methods: Methods): ServedStorage {
  return Object.assign(new EventTarget(), { isAvailable: async () => false }, methods) as unknown as ServedStorage
}

/** Everything is closed when the test ends. */
export function connected(methods: Methods): { client: ContentStorage; storage: ServedStorage; port: MessagePort } {
  const storage = double(methods)
  const { port1, port2 } = new MessageChannel()
  const stop = serveStorage(storage, port2)
  const client = connect(port1)
  onTestFinished(async () => {
    await client.close()
    stop()
    port1.close()
  })
  return { client, storage, port: port1 }
}

/** The bytes of a source as the store reads them. */
export async function collect(source: Source, signal?: AbortSignal): Promise<Uint8Array> {
  const parts: Uint8Array[] = []
  for await (const chunk of chunks(source, { signal })) parts.push(chunk)
  return Buffer.concat(parts)
}

/** Lets all messages under way arrive, and what they cause: each trip goes through both sides of the one port. */
export async function settled(client: ContentStorage): Promise<void> {
  for (let trip = 0; trip < 5; trip++) await client.isAvailable()
}

/** What a promise rejects with. */
export async function rejection(promise: Promise<unknown>): Promise<unknown> {
  try {
    await promise
  } catch (error) {
    return error
  }
  throw new Error('did not reject')
}

/** A promise and how to resolve it. */
export function gate(): { passed: Promise<void>; open: () => void } {
  let open = (): void => undefined
  const passed = new Promise<void>((resolve) => {
    open = resolve
  })
  return { passed, open }
}

export function waitForAbort(signal: AbortSignal | undefined): Promise<never> {
  return new Promise((_, reject) => signal?.addEventListener('abort', () => reject(signal.reason as Error)))
}
