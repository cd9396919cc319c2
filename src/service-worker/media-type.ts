// The media type of content: what its entry declares, what its name says, else what its first bytes look like.
import { lookup } from 'mrmime'
import type { Bytes } from '../types.ts'

/** Bytes that tell. */
export const SNIFFED_BYTES = 512

export const UNKNOWN_TYPE = 'application/octet-stream'

/** By the extension of a name. undefined where that says nothing. */
export function typeOfName(name: string): string | undefined {
  const known = name.includes('.') ? lookup(name) : undefined
  return known === undefined ? undefined : withCharset(known)
}

/** Signatures at the beginning, as https://mimesniff.spec.whatwg.org has them, and WebAssembly's. */
const SIGNATURES: readonly [type: string, signature: string, at?: number][] = [
  ['image/png', '\x89PNG\r\n\x1a\n'],
  ['image/jpeg', '\xff\xd8\xff'],
  ['image/gif', 'GIF8'],
  ['image/webp', 'WEBP', 8],
  ['image/avif', 'ftypavif', 4],
  ['image/bmp', 'BM'],
  ['image/x-icon', '\0\0\x01\0'],
  ['audio/wave', 'WAVE', 8],
  ['audio/mpeg', 'ID3'],
  ['audio/flac', 'fLaC'],
  ['application/ogg', 'OggS'],
  ['video/webm', '\x1a\x45\xdf\xa3'],
  ['video/mp4', 'ftyp', 4],
  ['application/wasm', '\0asm'],
  ['application/pdf', '%PDF-'],
  ['application/gzip', '\x1f\x8b\x08'],
  ['application/zip', 'PK\x03\x04'],
  ['font/woff2', 'wOF2'],
  ['font/woff', 'wOFF'],
]

const MARKUP: readonly [type: string, beginning: RegExp][] = [
  ['image/svg+xml', /^(?:<\?xml[^>]*>\s*)?(?:<!--[^]*?-->\s*)*(?:<!doctype svg[^>]*>\s*)?<svg[\s>]/i],
  [
    'text/html; charset=utf-8',
    /^(?:<!--[^]*?-->\s*)*<(?:!doctype html|html|head|body|script|iframe|h1|div|font|table|style|title|a|b|br|p)[\s>]/i,
  ],
  ['text/xml; charset=utf-8', /^<\?xml/],
]

/** By the first bytes. */
export function typeOfBytes(bytes: Bytes): string {
  const binary = String.fromCharCode(...bytes.subarray(0, SNIFFED_BYTES))
  for (const [type, signature, at = 0] of SIGNATURES) if (binary.startsWith(signature, at)) return type
  // Control characters that no text has.
  // eslint-disable-next-line no-control-regex -- that is what is looked for
  if (/[\0-\x08\x0b\x0e-\x1a\x1c-\x1f]/.test(binary)) return UNKNOWN_TYPE
  const text = new TextDecoder().decode(bytes.subarray(0, SNIFFED_BYTES)).trimStart()
  return MARKUP.find(([, beginning]) => beginning.test(text))?.[0] ?? 'text/plain; charset=utf-8'
}

/** Text is UTF-8, whatever the browser would guess. */
function withCharset(type: string): string {
  return type.startsWith('text/') ? `${type}; charset=utf-8` : type
}
