// The large file that this page downloads: where it lies, what is known of it, and what the server tells of it.
import { LARGE_FILE } from 'virtual:large-file'
import type { LargeFileState } from './large-file-state.ts'

export { LARGE_FILE }
export const LARGE_NAME: string = `downloads/${LARGE_FILE.name}`

const FOLDER = new URL('download/', document.baseURI).href
/** Where the address of the last download is kept, so that the server can be asked for its count after the end too. */
const LAST_KEY = 'ipfs-kit-web-demo:download'

/** An address that the server counts by itself: another one for each download. */
export function newAddress(): string {
  const key = Array.from(crypto.getRandomValues(new Uint8Array(8)), (byte) => byte.toString(16).padStart(2, '0')).join('')
  const address = `${FOLDER}${LARGE_FILE.name}?download=${key}`
  localStorage.setItem(LAST_KEY, address)
  return address
}

export function lastAddress(): string | undefined {
  return localStorage.getItem(LAST_KEY) ?? undefined
}

/** undefined where the server is gone, or is another one than that of `npm start`. */
export async function askServer(address: string | undefined): Promise<LargeFileState | undefined> {
  const key = address === undefined ? '' : (new URL(address).searchParams.get('download') ?? '')
  try {
    const response = await fetch(`${FOLDER}state?download=${key}`, { cache: 'no-store' })
    const isState = response.ok && response.headers.get('content-type') === 'application/json'
    return isState ? ((await response.json()) as LargeFileState) : undefined
  } catch {
    // The server is gone, which the panel says.
    return undefined
  }
}

/** What came of it, the server is asked. */
export async function switchNetwork(state: LargeFileState['network']): Promise<void> {
  await fetch(`${FOLDER}network`, { method: 'POST', body: state })
}
