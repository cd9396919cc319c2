// What a request asks for: which root, which names below it, in which form.
import type { CID } from 'multiformats/cid'
import { parseContentPath } from '../cid.ts'
import { InvalidPathError } from '../errors.ts'
import type { ByteRange, CarScope } from '../files/car.ts'

export interface ContentRequest {
  url: URL
  /** As CIDv1. */
  root: CID
  /** As the path gives it. */
  named: string
  segments: string[]
  form: Form
  /** For the Content-Disposition. */
  filename: string | undefined
  download: boolean
  /** Nothing is asked of the network. */
  onlyHere: boolean
}

/** Content as it is, the block of its root, or a CAR. */
export type Form = { kind: 'content' } | { kind: 'raw' } | ({ kind: 'car' } & Pick<CarScope, 'dag' | 'bytes' | 'duplicates'>)

/** What is wrong with a request, with its status. */
export class RequestError extends Error {
  override readonly name = 'RequestError'
  readonly status: number

  constructor(status: number, message: string, options?: ErrorOptions) {
    super(message, options)
    this.status = status
  }
}

/** Whether a URL lies below the path that is served. */
export function isServed(url: URL, path: string): boolean {
  const { origin } = globalThis.location ?? {}
  return (origin === undefined || url.origin === origin) && url.pathname.startsWith(path) && url.pathname.length > path.length
}

/**
 * @throws RequestError, InvalidCidError, LimitError
 */
export function parseRequest(request: Request, url: URL, path: string): ContentRequest {
  const [named = '', ...names] = url.pathname.slice(path.length).split('/').map(decoded)
  // Names are those of UnixFS, which hold no slash; an empty one stands for nothing.
  const segments = names.filter((name) => name !== '')
  if ([named, ...segments].some((name) => name.includes('/'))) throw new RequestError(400, 'a name in the path holds an encoded slash')
  const { cid: root } = parsed(named, segments)
  const { searchParams: query } = url
  return {
    url,
    root,
    named,
    segments,
    form: formOf(request.headers.get('accept'), query),
    filename: query.get('filename') ?? undefined,
    download: query.get('download') === 'true',
    onlyHere: request.cache === 'only-if-cached' || /(?:^|[\s,])only-if-cached(?:$|[\s,])/.test(request.headers.get('cache-control') ?? ''),
  }
}

function parsed(named: string, segments: readonly string[]): { cid: CID } {
  try {
    return parseContentPath([named, ...segments].join('/'))
  } catch (cause) {
    // URLs have none of '.' and '..' but encoded twice.
    if (cause instanceof InvalidPathError) throw new RequestError(400, cause.message, { cause })
    throw cause
  }
}

function decoded(segment: string): string {
  try {
    return decodeURIComponent(segment)
  } catch (cause) {
    throw new RequestError(400, `the path holds '${segment.slice(0, 80)}', which is not percent-encoded UTF-8`, { cause })
  }
}

const RAW_TYPE = 'application/vnd.ipld.raw'
const CAR_TYPE = 'application/vnd.ipld.car'

interface MediaRange {
  type: string
  parameters: Map<string, string>
}

/** `format` goes before the header, and its parameters before those there. https://specs.ipfs.tech/ipips/ipip-0523/ */
function formOf(accept: string | null, query: URLSearchParams): Form {
  const accepted = mediaRanges(accept ?? '')
  const format = query.get('format')
  const carRange = accepted.find(({ type }) => type === CAR_TYPE)
  if (format === 'raw') return { kind: 'raw' }
  if (format === 'car') return carForm(carRange?.parameters ?? new Map(), query)
  if (format !== null) throw new RequestError(406, `format '${format.slice(0, 80)}' is not served: there are raw and car`)
  for (const { type, parameters } of accepted) {
    if (type === RAW_TYPE) return { kind: 'raw' }
    if (type === CAR_TYPE) return carForm(parameters, query)
    if (!isOther(type)) return { kind: 'content' }
  }
  if (accepted.length === 0) return { kind: 'content' }
  throw new RequestError(
    406,
    `none of the types that are accepted is served: there are ${RAW_TYPE} and ${CAR_TYPE} beside content as it is`,
  )
}

/** A form of IPFS content that is not served here. */
function isOther(type: string): boolean {
  return type.startsWith('application/vnd.ipld.') || type.startsWith('application/vnd.ipfs.') || type === 'application/x-tar'
}

function carForm(parameters: ReadonlyMap<string, string>, query: URLSearchParams): Form {
  const ask = (name: string): string | undefined => query.get(`car-${name}`) ?? parameters.get(name)
  const dag = query.get('dag-scope') ?? (query.has('entity-bytes') ? 'entity' : 'all')
  if (dag !== 'block' && dag !== 'entity' && dag !== 'all') throw new RequestError(400, "dag-scope must be 'block', 'entity' or 'all'")
  const version = ask('version') ?? '1'
  if (version !== '1') throw new RequestError(406, `CARs of version ${version.slice(0, 20)} are not served: there is 1`)
  const order = ask('order') ?? 'dfs'
  if (order !== 'dfs' && order !== 'unk') throw new RequestError(406, "CARs are ordered by 'dfs' alone")
  const duplicates = ask('dups') ?? 'n'
  if (duplicates !== 'y' && duplicates !== 'n') throw new RequestError(400, "dups must be 'y' or 'n'")
  return { kind: 'car', dag, bytes: entityBytes(query.get('entity-bytes')), duplicates: duplicates === 'y' }
}

function entityBytes(value: string | null): ByteRange | undefined {
  if (value === null) return undefined
  const [, from = '', to = ''] = /^(-?\d+):(-?\d+|\*)$/.exec(value) ?? []
  const range = { from: Number(from), to: to === '*' ? undefined : Number(to) }
  const isOrdered = range.to === undefined || range.to < 0 !== range.from < 0 || range.from <= range.to
  if (from === '' || ![range.from, range.to ?? 0].every(Number.isSafeInteger) || !isOrdered) {
    throw new RequestError(400, `entity-bytes '${value.slice(0, 80)}' is no range such as '0:1023', '512:*' or '-5:*'`)
  }
  return range
}

/** Media ranges by how much they are wanted; those that are not wanted at all are left out. */
function mediaRanges(accept: string): MediaRange[] {
  const ranges = accept.split(',').map((part) => {
    const [type = '', ...fields] = part.split(';').map((each) => each.trim().toLowerCase())
    const parameters = new Map(
      fields.map((field): [string, string] => [field.split('=')[0]?.trim() ?? '', field.split('=')[1]?.trim() ?? '']),
    )
    const weight = Number(parameters.get('q') ?? 1)
    return { type, parameters, weight: Number.isNaN(weight) ? 1 : weight }
  })
  return ranges.filter(({ type, weight }) => type !== '' && weight > 0).sort((a, b) => b.weight - a.weight)
}
