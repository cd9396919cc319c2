// Errors keep class, fields and cause on their way through a port.
import { describe, expect, it } from 'vitest'
import * as errors from '../../../src/errors.ts'
import { decodeError, encodeError } from '../../../src/worker/errors.ts'
import { connected, rejection } from './double.ts'

const CAUSE = new RangeError('inner', { cause: new DOMException('innermost', 'AbortError') })
const OPTIONS = { cause: CAUSE }

const EVERY: Error[] = [
  new errors.StorageError('m', OPTIONS),
  new errors.InvalidCidError('m', OPTIONS),
  new errors.InvalidPathError('m', 'a/../b', OPTIONS),
  new errors.InvalidSourceError('m', OPTIONS),
  new errors.InvalidOptionsError('m', 'config.x', OPTIONS),
  new errors.IntegrityError('m', 'bafy', OPTIONS),
  new errors.UnsupportedContentError('m', 'bafy', OPTIONS),
  new errors.LimitError('m', 'MAX', 12, OPTIONS),
  new errors.UnavailableError('m', 'bafy', [new Error('one'), new errors.NotSupportedError('two')]),
  new errors.UnavailableError('m', 'bafy'),
  new errors.NotAFileError('m'),
  new errors.NotADirectoryError('m'),
  new errors.PinnedError('m', 'bafy', ['', 'me'], OPTIONS),
  new errors.QuotaError('m', { needed: 5, available: 3 }, OPTIONS),
  new errors.QuotaError('m'),
  new errors.DownloadError('m', 'https://a.example/b', { status: 429, retryAfterMs: 1000 }),
  new errors.CarError('m', OPTIONS),
  new errors.ClosedError('m'),
  new errors.NotSupportedError('m'),
  new errors.DatabaseError('m', 'name/blocks', OPTIONS),
  new Error('m', OPTIONS),
  new RangeError('m'),
  new TypeError('m'),
  new SyntaxError('m'),
  new AggregateError([new Error('one'), new TypeError('two')], 'm'),
]

describe('errors of every class', () => {
  it('include all of errors.ts', () => {
    const tested = new Set(EVERY.map((error) => error.constructor))
    for (const exported of Object.values(errors)) expect(tested).toContain(exported)
  })

  it.each(EVERY.map((error) => [error.name, error] as const))('%s', async (_, error) => {
    const { client } = connected({ gc: () => Promise.reject(error) })
    const arrived = await rejection(client.gc())
    expect(arrived).not.toBe(error)
    expect(arrived).toBeInstanceOf(error.constructor)
    expect(described(arrived)).toEqual(described(error))
    expect((arrived as Error).stack).toBe(error.stack)
  })

  it.each(['AbortError', 'QuotaExceededError', 'TimeoutError', 'NotFoundError'])('DOMException %s', async (name) => {
    const { client } = connected({ gc: () => Promise.reject(new DOMException('m', name)) })
    const arrived = await rejection(client.gc())
    expect(arrived).toBeInstanceOf(DOMException)
    expect(arrived).toMatchObject({ name, message: 'm' })
  })

  it('an unknown class becomes an Error of that name with its plain fields', async () => {
    class OddError extends Error {
      override readonly name = 'OddError'
      readonly code = 'ERR_ODD'
      readonly list = [1, 'two', null]
      readonly callback = (): void => undefined
      readonly nested = new errors.CarError('nested')
    }
    const { client } = connected({ gc: () => Promise.reject(new OddError('m')) })
    const arrived = await rejection(client.gc())
    expect(arrived).toBeInstanceOf(Error)
    expect(arrived).toMatchObject({ name: 'OddError', message: 'm', code: 'ERR_ODD', list: [1, 'two', null] })
    expect(arrived).not.toHaveProperty('callback')
    expect((arrived as OddError).nested).toBeInstanceOf(errors.CarError)
  })

  it.each(['text', 5, undefined, null, { a: 1 }, Object.create(null)])('%s becomes an Error', (thrown) => {
    expect(decodeError(structuredClone(encodeError(thrown)))).toBeInstanceOf(Error)
  })

  it('a circle of causes ends', () => {
    const error = new Error('round')
    error.cause = error
    expect(decodeError(structuredClone(encodeError(error)))).toMatchObject({ message: 'round', cause: { message: 'round' } })
  })

  it('a name that every object has is no class', () => {
    const error = Object.assign(new Error('m'), { name: 'constructor' })
    expect(decodeError(encodeError(error))).toMatchObject({ name: 'constructor', message: 'm' })
  })
})

/** Everything about an error that is not its identity. */
function described(error: unknown): unknown {
  if (!(error instanceof Error)) return error
  const { name, message, cause } = error
  const lists = Object.fromEntries(
    ['causes', 'errors'].map((key) => [key, (Reflect.get(error, key) as Error[] | undefined)?.map(described)]),
  )
  return { class: error.constructor.name, ...error, name, message, cause: described(cause), keys: Object.keys(error).sort(), ...lists }
}
