// Whether what is kept of a URL is still what its server has.
import type { UrlSource, Validator } from '../catalog/schema.ts'
import { validatorOf } from '../download/answers.ts'
import { withinTime } from '../files/abort.ts'
import { URL_ASK_TIMEOUT_MS } from '../limits.ts'

/**
 * Asks by HEAD, with the headers of the request that is to be answered. 'same': by the validator of what is kept. 'other': or the server does not say, so
 * that a GET must tell. 'unknown': it can't be asked, or not now, or takes too long.
 */
export async function askServer(
  request: Request,
  url: string,
  { validator }: UrlSource,
  ask: (request: Request) => Promise<Response>,
): Promise<'same' | 'other' | 'unknown'> {
  let response: Response
  try {
    response = await withinTime(URL_ASK_TIMEOUT_MS, request.signal, (signal) =>
      ask(
        new Request(url, { method: 'HEAD', headers: headersToAsk(request), credentials: request.credentials, cache: 'no-store', signal }),
      ),
    )
  } catch {
    request.signal.throwIfAborted()
    return 'unknown'
  }
  if (isUnable(response)) return 'unknown'
  return response.ok && isSame(validator, validatorOf(response.headers)) ? 'same' : 'other'
}

/** Whether a server says that it can't answer now. */
export function isUnable({ status }: Response): boolean {
  return status === 429 || status >= 500
}

/** Those of a part or of a version are about the GET; those that browsers add by themselves would need the server's leave, given by this code. */
const NOT_ASKED = /^(?:range|if-.*|cache-control|pragma|user-agent)$/

function headersToAsk(request: Request): Headers {
  return new Headers([...request.headers].filter(([name]) => !NOT_ASKED.test(name)))
}

function isSame(kept: Validator | undefined, now: Validator | undefined): boolean {
  if (kept === undefined || now === undefined) return false
  return kept.etag === now.etag && kept.lastModified === now.lastModified
}
