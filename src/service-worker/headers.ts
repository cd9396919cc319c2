// Headers of answers: https://specs.ipfs.tech/http-gateways/path-gateway/#http-response
import type { Access } from './access.ts'
import type { ContentRequest } from './request.ts'

const IMMUTABLE = 'public, max-age=29030400, immutable'
/** What is made of content may be made otherwise by a later version. */
const GENERATED = 'public, max-age=604800, stale-while-revalidate=2678400'

const EXPOSED = 'Content-Length, Content-Range, ETag, X-Chunked-Output, X-Content-Type-Options, X-Ipfs-Path, X-Ipfs-Roots, X-Stream-Output'

export interface HeaderFields {
  /** Absent where there is no content with it. */
  type?: string | undefined
  etag: string
  /** CIDs of the root and of what each name leads to. */
  roots: readonly string[]
  /** Made from content, not content itself. */
  isGenerated?: boolean
  disposition?: string | undefined
}

/** Headers of an answer with content, or of one to a client that has it. */
export function contentHeaders(request: ContentRequest, fields: HeaderFields): Headers {
  const headers = new Headers({
    'Cache-Control': fields.isGenerated === true ? GENERATED : IMMUTABLE,
    ETag: fields.etag,
    'X-Ipfs-Path': ipfsPath(request),
    'X-Ipfs-Roots': fields.roots.join(','),
  })
  if (fields.type !== undefined) headers.set('Content-Type', fields.type)
  headers.set('Vary', 'Accept')
  if (fields.disposition !== undefined) headers.set('Content-Disposition', fields.disposition)
  return headers
}

/** Adds what every answer has. `policy` is the Content-Security-Policy. */
export function guard(headers: Headers, access: Partial<Access>, embedderPolicy: string | undefined): void {
  const { isTrusted = false, allowOrigin } = access
  headers.set('X-Content-Type-Options', 'nosniff')
  headers.set('Cross-Origin-Resource-Policy', allowOrigin === undefined ? 'same-origin' : 'cross-origin')
  if (embedderPolicy !== undefined) headers.set('Cross-Origin-Embedder-Policy', embedderPolicy)
  if (!isTrusted && !headers.has('Content-Security-Policy')) headers.set('Content-Security-Policy', 'sandbox')
  // What a sandboxed page opens must not hold a window of the application, nor the other way round.
  if (!isTrusted || embedderPolicy !== undefined) headers.set('Cross-Origin-Opener-Policy', 'same-origin')
  if (allowOrigin === undefined) return
  headers.set('Access-Control-Allow-Origin', allowOrigin)
  headers.set('Access-Control-Allow-Methods', 'GET, HEAD, OPTIONS')
  headers.set('Access-Control-Allow-Headers', 'Content-Type, If-None-Match, Range, User-Agent, X-Requested-With')
  headers.set('Access-Control-Expose-Headers', EXPOSED)
  if (allowOrigin !== '*') headers.append('Vary', 'Origin')
}

/** Whether a client has this already. Weak ones match too. https://www.rfc-editor.org/rfc/rfc9110#name-if-none-match */
export function isMatched(header: string | null, etag: string): boolean {
  if (header === null) return false
  const strong = etag.replace(/^W\//, '')
  return header.split(',').some((each) => ['*', strong].includes(each.trim().replace(/^W\//, '')))
}

/** A Content-Disposition; names beyond ASCII as RFC 6266 has them. */
export function disposition(kind: 'inline' | 'attachment', filename: string): string {
  const ascii = filename.replaceAll(/[^\x20-\x7e]|["\\%]/g, '_')
  const encoded = encodeURIComponent(filename).replaceAll(/['()*]/g, (character) => `%${character.charCodeAt(0).toString(16)}`)
  return `${kind}; filename="${ascii}"${ascii === filename ? '' : `; filename*=UTF-8''${encoded}`}`
}

/** The content path, of ASCII alone as headers are. */
function ipfsPath({ url, named, segments }: ContentRequest): string {
  const path = ['/ipfs', named, ...segments.map((name) => encodeURIComponent(name))].join('/')
  return url.pathname.endsWith('/') ? `${path}/` : path
}
