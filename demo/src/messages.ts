// Errors and states in the words of people who are not programmers: what happened and what to do.
import type { BackendStatus } from 'ipfs-kit-web'
import { formatBytes } from './format.ts'

export interface Explanation {
  title: string
  advice: string
  detail?: string
}

const field = (error: unknown, name: string): unknown =>
  typeof error === 'object' && error !== null ? (error as Record<string, unknown>)[name] : undefined

function quotaAdvice(error: unknown): string {
  const needed = field(error, 'needed')
  const available = field(error, 'available')
  const figures =
    typeof needed === 'number' && typeof available === 'number'
      ? ` It needs ${formatBytes(needed)} and there are ${formatBytes(available)}.`
      : ''
  return `Delete something from the list below, or free space on this device, then try again.${figures}`
}

const EXPLANATIONS: Record<string, (error: unknown) => Explanation> = {
  quota: (error) => ({ title: 'There is no room left', advice: quotaAdvice(error) }),
  unavailable: () => ({
    title: 'Not here, and it could not be fetched',
    advice: 'Nobody who might have this content answered in time. Check the connection and try again, or store the file again.',
  }),
  integrity: () => ({
    title: 'This content is damaged',
    advice: 'Its bytes no longer match its CID, so they are withheld. Store the same file again: that repairs it.',
  }),
  database: () => ({
    title: 'The browser’s storage can’t be used',
    advice: 'Close other tabs of this page and reload. In private windows, or with site data blocked, nothing can be kept.',
  }),
  download: (error) => ({
    title: 'The download failed',
    advice: `Is the server that serves this page still running? Start it with “npm start” and try again. ${
      // Only the library's own can be gone on with.
      field(error, 'url') === undefined ? 'Nothing more was kept.' : 'What came stays, for when it is resumed.'
    }`,
  }),
  'not-supported': () => ({ title: 'This browser can’t do that', advice: 'Try a current version of Chrome, Edge, Firefox or Safari.' }),
  closed: () => ({ title: 'The storage was closed', advice: 'Another tab may have deleted or upgraded it. Reload this page.' }),
  limit: () => ({ title: 'That is more than the storage takes', advice: 'Try fewer or smaller files at a time.' }),
  'invalid-source': () => ({
    title: 'That can’t be read',
    advice: 'The file may have been moved or changed since you chose it. Choose it again.',
  }),
  'invalid-path': () => ({ title: 'A name in that folder can’t be kept', advice: 'Rename the file and add the folder again.' }),
  pinned: () => ({ title: 'It is pinned', advice: 'Unpin it first, then delete it.' }),
}

export function explainError(error: unknown): Explanation {
  const detail = error instanceof Error ? error.message : String(error)
  const known = EXPLANATIONS[String(field(error, 'code'))]
  if (known) return { ...known(error), detail }
  if (field(error, 'name') === 'NotReadableError') return { ...EXPLANATIONS['invalid-source']!(error), detail }
  return { title: 'Something went wrong', advice: 'Reload the page and try again; what is stored stays stored.', detail }
}

export function isAbort(error: unknown): boolean {
  return field(error, 'name') === 'AbortError'
}

const FALLBACK: Record<NonNullable<BackendStatus['fallbackReason']>, string> = {
  starting: 'You can already store and open files.',
  forced: 'This page was asked not to use the network at all (?fallback in its address).',
  disabled: 'Helia is switched off by this page’s settings or environment.',
  'helia-unavailable': 'Helia could not be loaded, so the browser’s own storage does the work.',
  'helia-failed': 'Helia could not start, so the browser’s own storage does the work.',
  offline: 'This device is offline. Helia starts by itself when the connection is back.',
}

export function explainNetwork(status: BackendStatus): { tone: 'good' | 'busy' | 'quiet' | 'warn'; title: string; text: string } {
  if (status.ipfsKitAvailable) {
    const text = 'What is missing here can be fetched from the IPFS network.'
    return { tone: 'good', title: 'Helia is running', text }
  }
  const reason = status.fallbackReason ?? 'starting'
  const detail = status.fallbackDetail ? ` (${status.fallbackDetail})` : ''
  const title = reason === 'starting' ? 'Helia is starting' : 'Browser storage only'
  const tone = reason === 'starting' ? 'busy' : reason.startsWith('helia-') ? 'warn' : 'quiet'
  return { tone, title, text: FALLBACK[reason] + detail }
}

export const TIERS: Record<BackendStatus['tier'], string> = {
  packs: 'Pack files (OPFS) and IndexedDB',
  records: 'IndexedDB',
  memory: 'Memory only – gone when this page closes',
}
