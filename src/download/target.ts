// What is to be downloaded: a URL, and how it is asked for.
import { InvalidOptionsError, InvalidSourceError } from '../errors.ts'
import type { RequestInWords } from '../packs/requests.ts'

/** What a Request says of its referrer where that is whoever makes it. */
const CLIENT = 'about:client'

export interface Target {
  /** Without a fragment: what makes two calls ask for the same. */
  url: string
  credentials?: RequestCredentials
  /** Whether this context sees every header of its answers. */
  isSameOrigin: boolean
  /** Asks for it by a GET that no cache answers or keeps: large bodies would push everything else out, and are kept here. */
  request(headers: Record<string, string>, signal: AbortSignal): Promise<Response>
  /** The same for a worker to ask. */
  words(headers: Record<string, string>): RequestInWords
  /** Whether its server answers at all, seen or not. */
  answers(signal: AbortSignal): Promise<boolean>
}

/** @throws InvalidSourceError for what is no http or https URL, and for a Request that is more than a question */
export function targetOf(given: string | URL | Request, credentials?: RequestCredentials): Target {
  const request = isRequest(given) ? given : undefined
  const url = urlOf(isRequest(given) ? given.url : given)
  if (request !== undefined) checkRequest(request)
  const chosen = request?.credentials ?? credentials
  const asked = chosen === undefined ? {} : { credentials: chosen }
  const origin = (globalThis as { location?: { origin: string } }).location?.origin
  return {
    url: url.href,
    ...asked,
    isSameOrigin: url.origin === origin,
    request: (headers, signal) =>
      fetch(request ?? url, { ...asked, headers: merged(request?.headers, headers), signal, cache: 'no-store' }),
    words(headers) {
      const { mode, redirect, referrer = CLIENT, referrerPolicy = '' } = request ?? {}
      const init: RequestInit = { ...asked, headers: [...merged(request?.headers, headers)], cache: 'no-store', referrerPolicy }
      if (mode !== undefined) init.mode = mode
      if (redirect !== undefined) init.redirect = redirect
      if (referrer !== CLIENT) init.referrer = referrer
      return { url: url.href, init }
    },
    async answers(signal) {
      try {
        await fetch(url, { method: 'HEAD', mode: 'no-cors', cache: 'no-store', signal })
        return true
      } catch {
        return false
      }
    },
  }
}

/** Whether fetch() is the one of the browser: what an application put in its place, wrapped or bound, is what it wants to be asked by. */
export function fetchIsNative(): boolean {
  return /^function fetch\(\)\s*\{\s*\[native code\]\s*\}$/.test(Function.prototype.toString.call(fetch).trim())
}

function merged(before: Headers | undefined, more: Record<string, string>): Headers {
  const headers = new Headers(before)
  for (const [name, value] of Object.entries(more)) headers.set(name, value)
  return headers
}

/** By its members, so that one of another realm (an iframe) counts too. */
export function isRequest(given: unknown): given is Request {
  return typeof given === 'object' && given !== null && 'url' in given && 'headers' in given && 'method' in given
}

function urlOf(given: string | URL): URL {
  const text: unknown = typeof given === 'string' ? given : (given as URL | null | undefined)?.href
  if (typeof text !== 'string')
    throw new InvalidSourceError('what is to be downloaded must be a URL, as a string or an object, or a Request')
  const scope = globalThis as { document?: { baseURI: string }; location?: { href: string } }
  const base = scope.document?.baseURI ?? scope.location?.href
  if (!URL.canParse(text, base)) throw new InvalidSourceError(`'${text}' is no URL: pass an absolute one`)
  const url = new URL(text, base)
  if (url.protocol !== 'http:' && url.protocol !== 'https:') {
    throw new InvalidSourceError(
      `${url.protocol} URLs can't be downloaded: pass an http or https one, or fetch it and store() the Response`,
    )
  }
  if (url.username !== '' || url.password !== '') {
    throw new InvalidSourceError(`browsers refuse URLs with a user and a password: pass a Request with an Authorization header`)
  }
  url.hash = ''
  return url
}

function checkRequest(request: Request): void {
  if (request.method !== 'GET') throw new InvalidSourceError(`a ${request.method} request can't be downloaded: pass one that is a GET`)
  if (request.mode === 'no-cors') throw new InvalidSourceError(`${request.url} is asked for with mode 'no-cors': its bytes can't be seen`)
  if (request.headers.has('range')) throw new InvalidSourceError(`request for ${request.url} has a Range of its own: leave it out`)
  if (request.integrity !== '') {
    throw new InvalidOptionsError("integrity of a Request is of one answer, not of its parts: give option 'sha256' instead", 'integrity')
  }
  if (request.redirect === 'manual') throw new InvalidSourceError(`request for ${request.url} must follow redirects to be downloaded`)
}
