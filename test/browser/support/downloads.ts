// What the tests of downloads ask of the server of test/setup/download-server.ts.
import { inject } from 'vitest'
import { bytesOf } from '../../setup/download-bytes.ts'
import type { DownloadStats } from '../../setup/download-server.ts'

export const MIB = 1024 * 1024

let count = 0

export interface Remote {
  url: string
  bytes: Uint8Array<ArrayBuffer>
  stats(): Promise<DownloadStats>
  /** Lets answers that were to wait go. */
  go(): Promise<void>
  /** Gives the URL another content. */
  change(): Promise<void>
}

/** A file that behaves as `how` says, under a URL of its own. */
export function remote(size: number, how: Record<string, string | number> = {}, { elsewhere = false } = {}): Remote {
  const seed = 100_000 + count++ * 7
  const id = `${Date.now()}-${seed}`
  const base = inject(elsewhere ? 'downloadsElsewhere' : 'downloads')
  const query = new URLSearchParams({ size: String(size), seed: String(seed) })
  for (const [name, value] of Object.entries(how)) query.set(name, String(value))
  return {
    url: `${base}/${id}?${query.toString()}`,
    bytes: bytesOf(seed, 0, size),
    async stats() {
      return (await (await fetch(`${base}/${id}/stats`)).json()) as DownloadStats
    },
    async go() {
      await fetch(`${base}/${id}/go`)
    },
    async change() {
      await fetch(`${base}/${id}/change`)
    },
  }
}

/** The content of one that changed under its URL. */
export function changedBytes({ url, bytes }: Remote): Uint8Array<ArrayBuffer> {
  return bytesOf(Number(new URL(url).searchParams.get('seed')) + 1000, 0, bytes.byteLength)
}

export async function sha256Of(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes))
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, '0')).join('')
}
