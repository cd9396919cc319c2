// Which requests and answers are for keeping, and what of an answer's headers is kept.

/** They run by headers of their own answer (Content-Security-Policy, Cross-Origin-Embedder-Policy), which are their server's to say each time. */
const RUN_BY_HEADERS: ReadonlySet<string> = new Set(
  'document iframe frame fencedframe object embed worker sharedworker serviceworker'.split(' '),
)

/** Whether it may be answered from what is kept, and its answer be kept. */
export function isForKeeping({ method, url, mode, destination }: Request): boolean {
  if ((method !== 'GET' && method !== 'HEAD') || !/^https?:/.test(url)) return false
  return mode !== 'navigate' && !RUN_BY_HEADERS.has(destination)
}

/** A page of a server that has something else at this URL than what it names: logins, errors and redirects of proxies come as 200. */
const HTML_NAMES = /\.(?:html?|xhtml|php|aspx?|jsp)$/i

/** In Vary: headers by which the same content is asked for. An answer that depends on others is one of several, which a URL does not tell apart. */
const SAME_FOR_ALL = /^(?:|origin|accept-encoding|range|access-control-request-[a-z-]+)$/i

export function isKeepable({ status, type, headers }: Response, url: string): boolean {
  if (status !== 200 || type === 'opaque' || type === 'opaqueredirect' || type === 'error') return false
  const name = new URL(url).pathname.split('/').at(-1) ?? ''
  if (!(headers.get('vary') ?? '').split(',').every((each) => SAME_FOR_ALL.test(each.trim()))) return false
  if (/(?:^|[\s,])(?:no-store|private)(?:$|[\s,=])/i.test(headers.get('cache-control') ?? '')) return false
  const isPage = /^(?:text\/html|application\/xhtml\+xml)\b/i.test(headers.get('content-type') ?? '')
  return !isPage || !/\.[a-z0-9_-]{1,16}$/i.test(name) || HTML_NAMES.test(name)
}

/** A script or picture without its Cross-Origin-Resource-Policy is refused in isolated pages; without `nosniff` it may be taken for something else. */
const KEPT_HEADERS = ['cross-origin-resource-policy', 'x-content-type-options', 'content-disposition', 'content-language']

/** undefined where the server said none of them, or not to this origin. */
export function headersToKeep(headers: Headers): Record<string, string> | undefined {
  const said = KEPT_HEADERS.flatMap((name) => {
    const value = headers.get(name)
    return value === null ? [] : [[name, value] as const]
  })
  return said.length === 0 ? undefined : Object.fromEntries(said)
}
