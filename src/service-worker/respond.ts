// From a request to its answer: who may have it, what it names, and in which form it is wanted.
import type { CID } from 'multiformats/cid'
import { answerStream } from '../answer-stream.ts'
import { MissingBlockError } from '../blocks/blocks.ts'
import { entriesOf } from '../catalog/entries.ts'
import type { EntryOwner } from '../catalog/schema.ts'
import type { Content } from '../content.ts'
import { loadCar } from '../files/load-car.ts'
import { readBlock } from '../files/node.ts'
import type { Operation } from '../operation.ts'
import type { Bytes } from '../types.ts'
import type { Body } from './body.ts'
import { respondWithDirectory } from './directory.ts'
import { respondWithBytes, respondWithFile, respondWithSymlink } from './file.ts'
import { contentHeaders, disposition, isMatched } from './headers.ts'
import type { Memory } from './memory.ts'
import type { ResolvedHandlerOptions } from './options.ts'
import { RequestError, type ContentRequest, type Form } from './request.ts'
import { resolve, type Target } from './resolve.ts'

export interface Asked {
  request: Request
  wanted: ContentRequest
  operation: Operation
  options: ResolvedHandlerOptions
  memory: Memory
  /** To be called when nothing of the answer is read by this worker any more. */
  end: () => void
}

/** What answering knows of content that was found. */
export interface Answering extends Asked {
  content: Content
  target: Target
  entries: readonly EntryOwner[]
}

/** A response, and where its bytes come from. */
export interface Made {
  response: Response
  body?: Body
}

export interface Answer extends Made {
  cid: CID
}

/** Codecs whose blocks are answered as they are. https://www.iana.org/assignments/media-types */
const TYPES_OF_CODECS: ReadonlyMap<number, string> = new Map([
  [0x51, 'application/cbor'],
  [0x70, 'application/vnd.ipld.dag-pb'],
  [0x71, 'application/vnd.ipld.dag-cbor'],
  [0x0129, 'application/vnd.ipld.dag-json'],
  [0x0200, 'application/json'],
])

/** @throws RequestError, MissingBlockError, and as reading does */
export async function respond(asked: Asked): Promise<Answer> {
  const { wanted, operation, options, end } = asked
  const root = wanted.root.toString()
  const entries = await entriesOf(operation.core.catalog, root)
  if (entries.length === 0 && !(await options.allows(root))) {
    throw new RequestError(
      wanted.onlyHere ? 412 : 404,
      `${root} is no entry of this storage: store or retrieve it first, or name it in the option 'allow' to have it fetched`,
    )
  }
  const content = operation.content(wanted.root, { localOnly: wanted.onlyHere })
  try {
    const target = await resolve(content, wanted.root, wanted.segments, { signal: operation.signal })
    if (target === null) throw new RequestError(404, `there is no '${wanted.segments.join('/')}' in ${root}`)
    operation.touch(wanted.root)
    const made = await inForm(wanted.form, { ...asked, content, target, entries })
    if (made.body?.isOpen !== true) {
      await content.keep(target.cid, target.nodes, false)
      end()
    }
    return { ...made, cid: target.cid }
  } catch (error) {
    await content.drop()
    if (error instanceof MissingBlockError && wanted.onlyHere)
      throw new RequestError(412, 'not all of it is on this machine', { cause: error })
    throw error
  }
}

function inForm(form: Form, answering: Answering): Promise<Made> | Made {
  const { target } = answering
  if (form.kind === 'car') return respondWithCar(form, answering)
  if (target.isInside) {
    throw new RequestError(404, `the path ends at a value inside ${target.cid.toString()}, which is answered as a block alone`)
  }
  if (form.kind === 'raw') return respondWithBlock(answering)
  switch (target.node.kind) {
    case 'file':
      return respondWithFile(answering)
    case 'symlink':
      return respondWithSymlink(answering)
    case 'dag':
      return respondWithData(answering)
    default:
      return respondWithDirectory(answering)
  }
}

async function respondWithBlock(answering: Answering): Promise<Made> {
  const { wanted, target, content, operation } = answering
  const cid = target.cid.toString()
  const headers = headersOf(answering, {
    type: 'application/vnd.ipld.raw',
    etag: `"${cid}.raw"`,
    disposition: disposition('attachment', wanted.filename ?? `${cid}.bin`),
  })
  return respondWithBytes(answering, headers, () => readBlock(content, target.cid, { signal: operation.signal }))
}

async function respondWithData(answering: Answering): Promise<Made> {
  const { wanted, target, content, operation } = answering
  const type = TYPES_OF_CODECS.get(target.cid.code) ?? 'application/octet-stream'
  const name = wanted.filename ?? target.cid.toString()
  const shown = wanted.download || wanted.filename !== undefined ? disposition(wanted.download ? 'attachment' : 'inline', name) : undefined
  const headers = headersOf(answering, { type, etag: `"${target.cid.toString()}"`, disposition: shown })
  return respondWithBytes(answering, headers, () => readBlock(content, target.cid, { signal: operation.signal }))
}

async function respondWithCar(form: Form & { kind: 'car' }, answering: Answering): Promise<Made> {
  const { request, wanted, target, content, operation, end } = answering
  const cid = target.cid.toString()
  const { dag, bytes, duplicates } = form
  const range = bytes === undefined ? '' : `.${bytes.from}:${bytes.to ?? '*'}`
  const etag = `W/"${wanted.root.toString()}.car.${cid}.${dag}${range}.${duplicates ? 'y' : 'n'}"`
  const headers = headersOf(answering, {
    type: `application/vnd.ipld.car; version=1; order=dfs; dups=${duplicates ? 'y' : 'n'}`,
    etag,
    disposition: disposition('attachment', wanted.filename ?? `${cid}.car`),
  })
  headers.set('Accept-Ranges', 'none')
  if (isMatched(request.headers.get('if-none-match'), etag)) return { response: new Response(null, { status: 304, headers }) }
  if (request.method === 'HEAD') return { response: new Response(null, { headers }) }
  const { exportCar } = await loadCar()
  // Blocks bear the CIDs by which they are linked, and the root's the one by which it was asked for.
  const asNamed = (block: CID): CID => (wanted.named.startsWith('Qm') && block.equals(wanted.root) ? block.toV0() : block)
  const scope = { path: target.nodes.map(asNamed), dag, bytes, duplicates }
  const reader = exportCar(content, asNamed(target.cid), { signal: operation.signal, scope }).getReader()
  // With the root before the answer, so that a CAR of what is nowhere is none.
  const ahead = await firstPieces(reader)
  const body = answerStream({
    operation,
    cid: wanted.root.toString(),
    content,
    next: async () => ahead.shift() ?? (await reader.read()).value,
    stop: () => reader.cancel(),
    keep: (finished) => content.keep(target.cid, target.nodes, finished && dag === 'all'),
    end,
  })
  return { response: new Response(body, { headers }), body: { body, by: 'worker', verified: true, isOpen: true } }
}

/** The header and the first block, if there is one. */
async function firstPieces(reader: ReadableStreamDefaultReader<Bytes>): Promise<Bytes[]> {
  const pieces: Bytes[] = []
  for (let piece = await reader.read(); piece.value !== undefined; piece = await reader.read()) {
    pieces.push(piece.value)
    if (pieces.length === 2) break
  }
  return pieces
}

function headersOf({ wanted, target }: Answering, fields: { type: string; etag: string; disposition?: string | undefined }): Headers {
  return contentHeaders(wanted, { ...fields, roots: rootsOf(wanted, target) })
}

/** The root as it was named, and the rest as they are linked. */
export function rootsOf(wanted: ContentRequest, target: Target): string[] {
  return [wanted.named, ...target.roots.slice(1).map((cid) => cid.toString())]
}
