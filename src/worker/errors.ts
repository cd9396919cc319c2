// Errors on their way through a port: class, fields, cause and stack are kept, and one that comes home is the very object that left.
import * as classes from '../errors.ts'

/** How deep causes of causes are followed. */
const MAX_CAUSE_DEPTH = 8

/** Fields of an error that are errors themselves. `cause` and an AggregateError's `errors` are not enumerable. */
const HIDDEN_ERROR_FIELDS = ['cause', 'errors']

export interface WireError {
  name: string
  message: string
  stack?: string
  domException?: boolean
  /** Own fields that are plain values, or lists of such. */
  fields: Record<string, unknown>
  /** Own fields that are errors, or lists of such. */
  errors: Record<string, WireError | WireError[]>
  /** The number under which the client keeps the original. */
  mark?: number
}

/** Every class of errors.ts takes its message first and keeps its facts in own fields, so that they can be set afterwards. */
type ErrorClass = new (message: string) => Error

const KNOWN = new Map<string, ErrorClass>(
  Object.entries({
    TypeError,
    RangeError,
    SyntaxError,
    ReferenceError,
    EvalError,
    URIError,
    ...(classes as unknown as Record<string, ErrorClass>),
  }),
)

/** Takes an error apart. `markOf` says under which number the other side knows it. What is no error becomes one. */
export function encodeError(thrown: unknown, markOf?: (error: object) => number | undefined, depth = 0): WireError {
  if (!isError(thrown)) {
    const message = isPlain(thrown) || thrown === undefined ? String(thrown) : Object.prototype.toString.call(thrown)
    return { name: 'Error', message, fields: {}, errors: {} }
  }
  const wire: WireError = { name: thrown.name, message: thrown.message, fields: {}, errors: {} }
  const mark = markOf?.(thrown)
  if (mark !== undefined) wire.mark = mark
  if (typeof thrown.stack === 'string') wire.stack = thrown.stack
  if (isDomException(thrown)) wire.domException = true
  for (const key of new Set([...Object.keys(thrown), ...HIDDEN_ERROR_FIELDS])) {
    const value: unknown = Reflect.get(thrown, key)
    const encode = (error: unknown): WireError => encodeError(error, markOf, depth + 1)
    if (isPlain(value) || (Array.isArray(value) && value.every(isPlain))) wire.fields[key] = value
    else if (depth >= MAX_CAUSE_DEPTH) continue
    else if (isError(value)) wire.errors[key] = encode(value)
    else if (Array.isArray(value) && value.every(isError)) wire.errors[key] = value.map(encode)
  }
  return wire
}

/** Puts an error together again. `original` answers what left under a mark, undefined where it is not known here. */
export function decodeError(wire: WireError, original?: (mark: number) => { error: unknown } | undefined): unknown {
  const kept = wire.mark === undefined ? undefined : original?.(wire.mark)
  if (kept !== undefined) return kept.error
  const error = construct(wire)
  const decode = (nested: WireError): unknown => decodeError(nested, original)
  for (const [key, value] of Object.entries(wire.fields)) define(error, key, value)
  for (const [key, value] of Object.entries(wire.errors)) define(error, key, Array.isArray(value) ? value.map(decode) : decode(value))
  if (error.name !== wire.name) define(error, 'name', wire.name)
  if (wire.stack !== undefined) define(error, 'stack', wire.stack)
  return error
}

function construct(wire: WireError): Error {
  if (wire.domException === true) return new DOMException(wire.message, wire.name)
  if (wire.name === 'AggregateError') return new AggregateError([], wire.message)
  return new (KNOWN.get(wire.name) ?? Error)(wire.message)
}

function define(error: Error, key: string, value: unknown): void {
  const enumerable = Object.getOwnPropertyDescriptor(error, key)?.enumerable ?? !(HIDDEN_ERROR_FIELDS.includes(key) || key === 'stack')
  Object.defineProperty(error, key, { value, enumerable, writable: true, configurable: true })
}

type Plain = string | number | boolean | bigint | null

function isPlain(value: unknown): value is Plain {
  return value === null || ['string', 'number', 'boolean', 'bigint'].includes(typeof value)
}

function isError(value: unknown): value is Error {
  return value instanceof Error || isDomException(value)
}

function isDomException(value: unknown): value is DOMException {
  return value instanceof DOMException
}
