// Who may have what: content by CID has the application's origin, so that it may do nothing there unless the application trusts it.
import type { ResolvedHandlerOptions } from './options.ts'
import { RequestError } from './request.ts'

/** What a page runs, or lets draw in its place, in its own origin. A policy on such an answer stops nothing: it is the page's that counts. */
const ACTIVE: ReadonlySet<string> = new Set([
  'script',
  'style',
  'worker',
  'sharedworker',
  'serviceworker',
  'audioworklet',
  'paintworklet',
  'xslt',
  'manifest',
  'object',
  'embed',
])

/**
 * What SVG takes out of another document into its own (<use>, and url(#…) in some browsers): handlers of events in it run in the page's origin in Firefox.
 * No picture is asked for in this mode.
 */
function isGraft(destination: string, mode: string): boolean {
  return destination === 'image' && mode === 'same-origin'
}

export interface Access {
  /** Documents of this root act as the application's. */
  isTrusted: boolean
  /** For Access-Control-Allow-Origin. */
  allowOrigin: string | undefined
}

/**
 * @throws RequestError with 403, for a root as its CIDv1 that may not be used so
 */
export async function checkAccess(request: Request, root: string, options: ResolvedHandlerOptions): Promise<Access> {
  const allowOrigin = allowedOrigin(request, options)
  const isTrusted = await options.trusts(root)
  // A server that passes requests on makes them anew, and has the browser's destination and mode in headers, which scripts can't set.
  const destination = request.headers.get('sec-fetch-dest') ?? request.destination
  const mode = request.headers.get('sec-fetch-mode') ?? request.mode
  if (!isTrusted && (ACTIVE.has(destination) || isGraft(destination, mode))) {
    throw new RequestError(
      403,
      `${root} is not trusted, so nothing of it is answered as '${destination}': name it in the option 'trust' where it may act as this application`,
    )
  }
  return { isTrusted, allowOrigin }
}

function allowedOrigin(request: Request, { origins }: ResolvedHandlerOptions): string | undefined {
  if (origins === '*') return '*'
  // Browsers tell a service worker none: its clients have its own. What passes requests on to a handler does.
  const origin = request.headers.get('origin')
  if (origin === null || origin === globalThis.location?.origin) return undefined
  if (origins.has(origin)) return origin
  throw new RequestError(403, `the origin ${origin} may not read from here: name it in the option 'allowOrigins' where it may`)
}
