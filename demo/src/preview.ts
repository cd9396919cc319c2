// A look into a file: JSON laid out, text as it is, anything else in hex.
import type { ContentStorage } from 'ipfs-kit-web'
import { el } from './dom.ts'
import { formatBytes } from './format.ts'

const PREVIEW_BYTES = 2_048
const HEX_BYTES = 256
const JSON_MAX_BYTES = 1_000_000
const LINES = 60

/** Offset, bytes and their ASCII characters, as hex dumps have them. */
export function hexDump(bytes: Uint8Array, columns: number): string {
  const lines: string[] = []
  for (let at = 0; at < bytes.length; at += columns) {
    const row = [...bytes.subarray(at, at + columns)]
    const hex = row
      .map((byte) => byte.toString(16).padStart(2, '0'))
      .join(' ')
      .padEnd(columns * 3 - 1)
    const ascii = row.map((byte) => (byte >= 32 && byte < 127 ? String.fromCharCode(byte) : '·')).join('')
    lines.push(`${at.toString(16).padStart(6, '0')}  ${hex}  ${ascii}`)
  }
  return lines.join('\n')
}

function layOutJson(bytes: Uint8Array): string | undefined {
  try {
    return JSON.stringify(JSON.parse(new TextDecoder().decode(bytes)), null, 2)
  } catch (error) {
    if (error instanceof SyntaxError) return undefined
    throw error
  }
}

/** undefined where the bytes are no UTF-8 or hold control characters: nothing to read as text. */
function asText(bytes: Uint8Array): string | undefined {
  try {
    // `stream` forgives a character cut in half at the end.
    const text = new TextDecoder('utf-8', { fatal: true }).decode(bytes, { stream: true })
    return /[\0-\x08\x0e-\x1f]/.test(text) ? undefined : text
  } catch (error) {
    if (error instanceof TypeError) return undefined
    throw error
  }
}

/** The path is `<cid>` or `<cid>/path`; its name decides whether JSON is tried. */
export async function previewElement(storage: ContentStorage, path: string, name: string, size: number): Promise<HTMLElement> {
  const isJson = name.endsWith('.json') && size <= JSON_MAX_BYTES
  const bytes = await storage.retrieve(path, isJson ? {} : { offset: 0, length: PREVIEW_BYTES })
  if (!bytes) return el('p', { class: 'muted' }, 'This file is not on this device, and nobody could be asked for it.')
  if (bytes.length === 0) return el('p', { class: 'muted' }, 'This file is empty.')
  const text = isJson ? (layOutJson(bytes) ?? asText(bytes)) : asText(bytes)
  const columns = matchMedia('(width < 40rem)').matches ? 8 : 16
  const shown = text === undefined ? hexDump(bytes.subarray(0, HEX_BYTES), columns) : text.split('\n').slice(0, LINES).join('\n')
  const note =
    text === undefined
      ? `The first ${formatBytes(Math.min(HEX_BYTES, size))} of ${formatBytes(size)}, in hex.`
      : text.split('\n').length > LINES || size > bytes.length
        ? `The beginning of ${formatBytes(size)}.`
        : `All ${formatBytes(size)}.`
  // Can be scrolled, so it must be reachable by keyboard.
  return el(
    'div',
    {},
    el(
      'pre',
      { class: text === undefined ? 'preview hex' : 'preview', tabindex: 0, role: 'region', 'aria-label': `Preview of ${name}` },
      shown,
    ),
    el('p', { class: 'muted small-text' }, `${note} Read from the store and checked against its CID.`),
  )
}
