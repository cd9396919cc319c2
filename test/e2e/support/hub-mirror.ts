// A mirror of repositories of the Hugging Face Hub, as far as loaders of models ask it, which counts what it is asked and can be made to lie.
import { createHash } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { text } from 'node:stream/consumers'
import { startStoppable, type Stoppable } from './stoppable.ts'

export interface MirroredFile {
  bytes: Uint8Array
  /** Kept in Git LFS, so that the Hub knows its SHA-256. Elsewhere than the repository, to where it redirects. */
  lfs?: boolean
}

/**
 * What becomes of a file: a page of HTML in its place as 200, other bytes of the same length, an answer that says to be shorter, one that breaks off, or
 * none.
 */
export const POISONS = ['html', 'wrong', 'short', 'cut', '503'] as const
export type Poison = (typeof POISONS)[number]

export interface HubMirror extends Stoppable {
  /** Where a file is resolved. */
  resolve: (repository: string, path: string, revision?: string) => string
  /** By path of its repository, on top of which every file is as it was made. */
  poisons: Map<string, Poison>
  /** What was asked since the last call: method and path of each request, with its Range. What says nothing about a file is left out. */
  asked: () => string[]
}

const CORS = {
  'access-control-allow-origin': '*',
  'access-control-allow-methods': 'GET, HEAD, POST',
  'access-control-allow-headers': '*',
  'access-control-expose-headers': 'Content-Range, ETag, X-Linked-ETag, X-Linked-Size, X-Repo-Commit',
  // Isolated pages may have it.
  'cross-origin-resource-policy': 'cross-origin',
  // No HTTP cache may stand in for it without asking.
  'cache-control': 'no-cache',
}

/** Serves the files by their paths, the same ones under every repository and revision. */
export async function startMirror(files: Readonly<Record<string, MirroredFile>>): Promise<HubMirror> {
  const poisons = new Map<string, Poison>()
  const shas = new Map(Object.entries(files).map(([path, { bytes }]) => [path, createHash('sha256').update(bytes).digest('hex')]))
  let asked: string[] = []

  const tell = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const paths = new URLSearchParams(await text(request)).getAll('paths')
    const infos = paths.flatMap((path) => {
      const file = files[path]
      const sha256 = shas.get(path)
      if (file === undefined || sha256 === undefined) return []
      const size = file.bytes.length
      const oid = createHash('sha1').update(`blob ${size}\0`).update(file.bytes).digest('hex')
      return [{ type: 'file', path, size, oid, ...(file.lfs === true ? { lfs: { oid: sha256, size, pointerSize: 134 } } : {}) }]
    })
    response.writeHead(200, { ...CORS, 'content-type': 'application/json' }).end(JSON.stringify(infos))
  }

  const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const { pathname } = new URL(request.url ?? '/', 'http://localhost')
    const { method = 'GET' } = request
    if (method === 'OPTIONS') return void response.writeHead(204, CORS).end()
    if (method === 'POST' && /^\/api\/models\/[^/]+\/[^/]+\/paths-info\/[^/]+$/.test(pathname)) return tell(request, response)
    const { kind, path = '' } = /^\/[^/]+\/[^/]+\/(?<kind>resolve|raw|lfs)\/[^/]+\/(?<path>.+)$/.exec(pathname)?.groups ?? {}
    const file = files[path]
    const sha256 = shas.get(path)
    const { range = '' } = request.headers
    if (kind !== 'lfs') asked.push([method, pathname, range].filter((part) => part !== '').join(' '))
    if (file === undefined || sha256 === undefined) return void response.writeHead(404, CORS).end('Entry not found')
    if (kind === 'raw' && file.lfs === true) {
      const pointer = `version https://git-lfs.github.com/spec/v1\noid sha256:${sha256}\nsize ${file.bytes.length}\n`
      return void response.writeHead(200, { ...CORS, 'content-type': 'text/plain' }).end(pointer)
    }
    if (kind === 'resolve' && file.lfs === true) {
      const linked = { 'x-linked-etag': `"${sha256}"`, 'x-linked-size': file.bytes.length }
      return void response.writeHead(302, { ...CORS, ...linked, location: pathname.replace('/resolve/', '/lfs/') }).end()
    }
    send(request, response, file.bytes, `"${sha256}"`, poisons.get(path))
  }

  const server = await startStoppable((request, response) => {
    answer(request, response).catch((error: unknown) => response.destroy(error as Error))
  })
  return {
    ...server,
    poisons,
    resolve: (repository, path, revision = 'main') => `${server.url}${repository}/resolve/${revision}/${path}`,
    asked() {
      const before = asked
      asked = []
      return before
    },
  }
}

function send(request: IncomingMessage, response: ServerResponse, good: Uint8Array, etag: string, poison: Poison | undefined): void {
  if (poison === '503') return void response.writeHead(503, { ...CORS, 'retry-after': '1' }).end()
  if (poison === 'html') {
    return void response.writeHead(200, { ...CORS, 'content-type': 'text/html' }).end('<!doctype html><title>Sign in</title>')
  }
  const bytes = poison === 'short' ? good.subarray(0, good.length - 1000) : poison === 'wrong' ? flipped(good) : good
  const headers = { ...CORS, etag, 'content-type': 'application/octet-stream', 'accept-ranges': 'bytes' }
  const { from, to } = /^bytes=(?<from>\d+)-(?<to>\d*)$/.exec(request.headers.range ?? '')?.groups ?? {}
  const part = from === undefined ? bytes : bytes.subarray(Number(from), to === '' ? undefined : Number(to) + 1)
  if (from === undefined) response.writeHead(200, { ...headers, 'content-length': part.length })
  else {
    const said = `bytes ${from}-${Number(from) + part.length - 1}/${bytes.length}`
    response.writeHead(206, { ...headers, 'content-length': part.length, 'content-range': said })
  }
  if (request.method === 'HEAD') return void response.end()
  if (poison !== 'cut') return void response.end(part)
  response.write(part.subarray(0, part.length / 2), () => response.destroy())
}

/** With one byte of the middle changed, which a model does not notice when it is loaded. */
function flipped(bytes: Uint8Array): Uint8Array {
  const other = Uint8Array.from(bytes)
  const middle = other.length >> 1
  other[middle] = (other[middle] ?? 0) ^ 1
  return other
}
