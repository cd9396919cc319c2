// What the Hub knows of a file before it is downloaded: the SHA-256 of those in Git LFS. https://huggingface.co/docs/hub/api
import { StorageError } from '../errors.ts'
import { withinTime } from '../files/abort.ts'
import { URL_ASK_TIMEOUT_MS } from '../limits.ts'
import { withoutFragment } from './rules.ts'

/** `https://<host>/[<kind>s/]<repository>/resolve/<revision>/<path>`; a mirror may lie at a path of its own. */
const RESOLVE = /^(?<base>.*?)\/(?:(?<kind>datasets|spaces)\/)?(?<repository>[\w.-]+\/[\w.-]+)\/resolve\/(?<revision>[^/]+)\/(?<path>.+)$/

interface PathInfo {
  path?: unknown
  lfs?: { oid?: unknown }
}

/**
 * In hex. undefined where the file is not in LFS.
 *
 * @throws StorageError where the URL is none of the Hub's, or it does not tell; what fetch() throws where it can't be asked, a TimeoutError where it takes too long
 */
export async function sha256OfHub(url: string, fetched: typeof fetch, signal: AbortSignal | undefined): Promise<string | undefined> {
  const { origin, pathname } = new URL(withoutFragment(url))
  const parts = RESOLVE.exec(pathname)?.groups
  if (parts === undefined) throw new StorageError(`${url} is no file of the Hub (…/resolve/…), whose SHA-256 could be learnt`)
  const { base = '', kind = 'models', repository = '', revision = '' } = parts
  const path = decodeURIComponent(parts['path'] ?? '')
  const infos = await withinTime(URL_ASK_TIMEOUT_MS, signal, async (limit) => {
    // A form, which needs no leave of the server beforehand.
    const response = await fetched(`${origin}${base}/api/${kind}/${repository}/paths-info/${revision}`, {
      method: 'POST',
      body: new URLSearchParams({ paths: path }),
      signal: limit,
    })
    if (!response.ok) throw new StorageError(`the Hub does not say what ${url} is: it answered ${response.status}`)
    return (await response.json()) as PathInfo[]
  })
  const oid = infos.find((info) => info.path === path)?.lfs?.oid
  return typeof oid === 'string' && isSha256(oid) ? oid.toLowerCase() : undefined
}

/** As some servers of the Hub's files say it of themselves. */
export function sha256OfHeaders(headers: Headers): string | undefined {
  const tag = headers.get('x-linked-etag')?.replaceAll('"', '')
  return tag !== undefined && isSha256(tag) ? tag.toLowerCase() : undefined
}

function isSha256(text: string): boolean {
  return /^[0-9a-f]{64}$/i.test(text)
}
