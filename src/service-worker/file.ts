// Answers out of files: whole, in ranges, or none where the client has it.
import type { CID } from 'multiformats/cid'
import { MissingBlockError } from '../blocks/blocks.ts'
import { decodePb, unixfsOf } from '../blocks/links.ts'
import { UnavailableError } from '../errors.ts'
import { readBlock } from '../files/node.ts'
import { openFile, readInto, type FileLayout } from '../files/read.ts'
import type { Bytes } from '../types.ts'
import { bodyOf, bodyOfSpans, type Reading } from './body.ts'
import { contentHeaders, disposition, isMatched } from './headers.ts'
import { SNIFFED_BYTES, typeOfBytes, typeOfName, UNKNOWN_TYPE } from './media-type.ts'
import { contentRange, parseRange, type ByteSpan } from './range.ts'
import { rootsOf, type Answering, type Made } from './respond.ts'

/** The file that the path names, or `index` for the directory there. */
export async function respondWithFile(answering: Answering, index?: { cid: CID; name: string }): Promise<Made> {
  const { request, wanted, operation, content, target, memory, options, end } = answering
  const cid = index?.cid ?? target.cid
  const etag = `"${target.cid.toString()}"`
  const roots = rootsOf(wanted, target)
  // Known by its CID alone: no leaf is read, or fetched, for that.
  if (isMatched(request.headers.get('if-none-match'), etag)) {
    return { response: new Response(null, { status: 304, headers: contentHeaders(wanted, { etag, roots }) }) }
  }
  const file = await openFile(content, cid, { signal: operation.signal, cache: operation.core.layouts })
  const remembered = memory.of(cid, operation.core.catalog.id)
  const keep = (whole: boolean): Promise<void> => content.keep(target.cid, target.nodes, whole && index === undefined)
  const reading: Reading = { operation, content, file, memory: remembered, verify: options.verify, keep }
  const name = index?.name ?? wanted.segments.at(-1)
  const headers = contentHeaders(wanted, {
    type: await typeOf(answering, reading, index === undefined ? name : index.name),
    etag,
    roots,
    disposition:
      wanted.download || wanted.filename !== undefined
        ? disposition(wanted.download ? 'attachment' : 'inline', wanted.filename ?? name ?? target.cid.toString())
        : undefined,
  })
  headers.set('Accept-Ranges', 'bytes')
  return respondWithSpan(request, reading, headers, end)
}

/** All of a file, or the ranges of it that are asked for, with its ETag and type in `headers`. */
export async function respondWithSpan(request: Request, reading: Reading, headers: Headers, end: () => void): Promise<Made> {
  const { file } = reading
  const spans = rangesOf(request, headers.get('etag') ?? '', file.size)
  if (spans?.length === 0) return unsatisfiable(headers, file.size)
  if (spans !== undefined && spans.length > 1) return respondWithSpans(reading, spans, headers, end)
  const span = spans?.[0] ?? { from: 0, to: file.size }
  const status = describeSpan(headers, spans?.[0], file.size)
  if (request.method === 'HEAD') return { response: new Response(null, { status, headers }) }
  const body = await bodyOf(reading, span, end)
  return { response: new Response(body.body, { status, headers }), body }
}

/** Bytes at hand, or parts of them. */
export async function respondWithBytes({ request }: Answering, headers: Headers, read: () => Promise<Bytes>): Promise<Made> {
  headers.set('Accept-Ranges', 'bytes')
  const etag = headers.get('etag') ?? ''
  if (isMatched(request.headers.get('if-none-match'), etag)) return { response: new Response(null, { status: 304, headers }) }
  const bytes = await read()
  const spans = rangesOf(request, etag, bytes.byteLength)
  if (spans?.length === 0) return unsatisfiable(headers, bytes.byteLength)
  // Of several the first alone, which a server may answer.
  const span = spans?.[0]
  const status = describeSpan(headers, span, bytes.byteLength)
  if (request.method === 'HEAD') return { response: new Response(null, { status, headers }) }
  const body = span === undefined ? bytes : bytes.slice(span.from, span.to)
  return { response: new Response(body, { status, headers }), body: { body, by: 'worker', verified: true } }
}

/** Where a symlink points: it is not followed. */
export async function respondWithSymlink(answering: Answering): Promise<Made> {
  const { wanted, target, content, operation } = answering
  const headers = contentHeaders(wanted, { type: 'inode/symlink', etag: `"${target.cid.toString()}"`, roots: rootsOf(wanted, target) })
  return respondWithBytes(answering, headers, async () => {
    const node = decodePb(target.cid, await readBlock(content, target.cid, { signal: operation.signal }))
    return new Uint8Array(unixfsOf(node)?.data ?? [])
  })
}

function rangesOf(request: Request, etag: string, size: number): ByteSpan[] | undefined {
  // Ranges are of GET alone: https://www.rfc-editor.org/rfc/rfc9110#section-14.2
  if (request.method !== 'GET') return undefined
  const condition = request.headers.get('if-range')
  // A date says nothing of content that never changes, and a weak tag may not be used so.
  if (condition !== null && condition.trim() !== etag) return undefined
  return parseRange(request.headers.get('range'), size)
}

function describeSpan(headers: Headers, span: ByteSpan | undefined, size: number): 200 | 206 {
  headers.set('Content-Length', String(span === undefined ? size : span.to - span.from))
  if (span === undefined) return 200
  headers.set('Content-Range', contentRange(span, size))
  return 206
}

function unsatisfiable(headers: Headers, size: number): Made {
  const kept = new Headers({ 'Accept-Ranges': 'bytes', 'Content-Range': `bytes */${size}`, 'Content-Type': 'text/plain; charset=utf-8' })
  for (const name of ['X-Ipfs-Path', 'X-Ipfs-Roots']) kept.set(name, headers.get(name) ?? '')
  return { response: new Response(`there are ${size} bytes`, { status: 416, headers: kept }) }
}

/** https://www.rfc-editor.org/rfc/rfc9110#name-media-type-multipart-bytera */
function respondWithSpans(reading: Reading, spans: readonly ByteSpan[], headers: Headers, end: () => void): Made {
  const { size } = reading.file
  const boundary = crypto.getRandomValues(new Uint32Array(4)).join('-')
  const encoder = new TextEncoder()
  const type = headers.get('content-type') ?? UNKNOWN_TYPE
  const before = spans.map((span, index) =>
    encoder.encode(
      `${index === 0 ? '' : '\r\n'}--${boundary}\r\nContent-Type: ${type}\r\nContent-Range: ${contentRange(span, size)}\r\n\r\n`,
    ),
  )
  const after = encoder.encode(`\r\n--${boundary}--\r\n`)
  const length =
    [...before, after].reduce((sum, part) => sum + part.byteLength, 0) + spans.reduce((sum, { from, to }) => sum + to - from, 0)
  headers.set('Content-Type', `multipart/byteranges; boundary=${boundary}`)
  headers.set('Content-Length', String(length))
  const body = bodyOfSpans(reading, spans, before, after, end)
  return { response: new Response(body.body, { status: 206, headers }), body }
}

/** Types of what runs or styles. */
const ACTIVE_TYPES = /html|xml|svg|script|css|wasm|pdf/

/** What the entry declares, what a name says, else what the first bytes look like. */
async function typeOf(
  { request, wanted, entries }: Answering,
  { operation, content, file, memory, verify }: Reading,
  name?: string,
): Promise<string> {
  const isRoot = wanted.segments.length === 0 && name === undefined
  const declared = isRoot ? entries.find((entry) => entry.mediaType !== undefined)?.mediaType : undefined
  if (declared !== undefined) return declared
  // Whoever makes a link may call it what they like, but may not make a page of what is none: a trusted root's pages run in this origin.
  const called = wanted.filename === undefined ? undefined : typeOfName(wanted.filename)
  if (called !== undefined && !ACTIVE_TYPES.test(called)) return called
  for (const each of [name, ...(isRoot ? entries.map((entry) => entry.filename) : [])]) {
    const type = each === undefined ? undefined : typeOfName(each)
    if (type !== undefined) return type
  }
  try {
    memory.sniffedType ??= await sniff(operation.signal, content, file, verify !== 'never')
    return memory.sniffedType
  } catch (error) {
    // A range needs its own bytes alone.
    const isPart = request.headers.has('range') && (error instanceof MissingBlockError || error instanceof UnavailableError)
    if (isPart) return UNKNOWN_TYPE
    throw error
  }
}

async function sniff(signal: AbortSignal, content: Reading['content'], file: FileLayout, verify: boolean): Promise<string> {
  if (file.size === 0) return 'text/plain; charset=utf-8'
  return typeOfBytes(await readInto(content, file, 0, SNIFFED_BYTES, { signal, verify }))
}
