// Hands stored content to the browser's downloads.
import type { ContentStorage } from 'ipfs-kit-web'
import { el } from './dom.ts'

const REVOKE_MS = 60_000

export async function downloadFile(storage: ContentStorage, path: string, name: string): Promise<void> {
  const blob = await storage.blob(path)
  if (!blob) throw new Error(`${name} is not on this device, and nobody could be asked for it.`)
  save(blob, name)
}

/** A directory leaves as a CAR: one file with every block, which any IPFS tool can read. */
export async function downloadCar(storage: ContentStorage, cid: string, name: string): Promise<void> {
  const stream = await storage.exportCar(cid)
  if (!stream) throw new Error(`${name} is not on this device, and nobody could be asked for it.`)
  save(await new Response(stream, { headers: { 'content-type': 'application/vnd.ipld.car' } }).blob(), `${name}.car`)
}

function save(blob: Blob, name: string): void {
  const url = URL.createObjectURL(blob)
  el('a', { href: url, download: name }).click()
  // There is no event for "the download has read it all".
  setTimeout(() => URL.revokeObjectURL(url), REVOKE_MS)
}

/** The part after the last slash, which is what a file is called on disk. */
export function baseName(filename: string): string {
  return filename.split('/').filter(Boolean).at(-1) ?? filename
}
