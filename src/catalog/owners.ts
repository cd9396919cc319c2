// Rows of owners within a transaction: their references, their end, and the usage that goes with it.
import type { BlockKey } from '../blocks/blocks.ts'
import { DatabaseError } from '../errors.ts'
import { keyRange, result } from './database.ts'
import { DOWNLOAD_EXPIRY_MS, LINKS_A_ROW, SESSION_EXPIRY_MS } from '../limits.ts'
import { SIZE_IN_RECORD, type Owner, type PendingOwner, type Reference, type Usage } from './schema.ts'

/**
 * A name for an owner that nobody else makes: the time in milliseconds, then random. Rows of what was stored together lie together by that:
 * measured, listing a folder among 100,000 entries takes a third of the time that it takes with random names.
 */
export function newOwnerId(): string {
  const [high = 0, low = 0] = crypto.getRandomValues(new Uint32Array(2))
  return `${hex(Date.now(), 12)}${hex(high, 8)}${hex(low, 8)}`
}

function hex(number: number, digits: number): string {
  return number.toString(16).padStart(digits, '0')
}

/** A removal that took this owner's place means that its blocks are being freed: whoever works for it must stop. */
export async function mustLive(tx: IDBTransaction, owner: Pick<PendingOwner, 'id' | 'kind'>): Promise<PendingOwner> {
  const row = await result<Owner | undefined>(tx.objectStore('owners').get(owner.id))
  if (row === undefined || !('pending' in row) || row.kind !== owner.kind) {
    throw new DatabaseError('another tab took this one for dead and ended what it was writing: try again', tx.db.name)
  }
  return row
}

/** Whether an owner whose lock is free has ended: what nobody goes on with is kept for a while, and what is over is not. */
export function isOver({ kind, lastUsed, resume }: PendingOwner, now: number): boolean {
  switch (kind) {
    case 'writer':
      return true
    case 'session':
      return now - lastUsed >= SESSION_EXPIRY_MS
    case 'resumable':
      return resume?.done !== undefined || now - lastUsed >= DOWNLOAD_EXPIRY_MS
    case 'removal':
      return false
  }
}

/** Every reference of an owner. */
export function ownedBy(tx: IDBTransaction, owner: string): IDBKeyRange {
  return keyRange(tx, [owner], [owner, []])
}

/** Puts what an owner says of one node, in several rows where it names many blocks. */
export function putReference(tx: IDBTransaction, { blocks, sizes, own, ...rest }: Reference): void {
  const references = tx.objectStore('references')
  const parts = Math.ceil(blocks.length / LINKS_A_ROW) - 1
  for (let part = 0; part <= Math.max(0, parts); part++) {
    const [from, to] = [part * LINKS_A_ROW, (part + 1) * LINKS_A_ROW]
    references.put({
      ...rest,
      ...(part === 0 && parts > 0 ? { parts } : {}),
      node: partName(rest.node, part),
      blocks: blocks.slice(from, to),
      sizes: sizes.slice(from, to),
      own: part === 0 ? own : 0,
    } satisfies Reference)
  }
}

function partName(node: string, part: number): string {
  return part === 0 ? node : `${node}#${part}`
}

/** False where a row of a DAG is missing, or one of a child that may have links of its own: what lies below is not known. */
export function reachesAll(references: readonly Reference[], root: BlockKey): boolean {
  const nodes = new Set(references.map(({ node }) => node))
  const isWhole = ({ node, blocks, sizes, parts = 0 }: Reference): boolean =>
    blocks.every((key, index) => sizes[index] !== SIZE_IN_RECORD || nodes.has(key)) &&
    Array.from({ length: parts }, (_, part) => partName(node, part + 1)).every((part) => nodes.has(part))
  return nodes.has(root) && references.every(isWhole)
}

/** Ends an owner: as a removal that keeps its references where it leaves something behind, else at once. */
export async function endPending(tx: IDBTransaction, id: string, leftovers: boolean): Promise<void> {
  const owners = tx.objectStore('owners')
  const row = await result<Owner | undefined>(owners.get(id))
  if (row === undefined) return
  if (leftovers) {
    putRemoval(tx, id)
  } else {
    owners.delete(id)
    tx.objectStore('references').delete(ownedBy(tx, id))
  }
}

/** What names a removal's blocks is there, or is put beside. */
export function putRemoval(tx: IDBTransaction, id: string): void {
  tx.objectStore('owners').put({ id, kind: 'removal', pending: 'removal', lastUsed: Date.now() } satisfies PendingOwner)
}

export async function addUsage(tx: IDBTransaction, delta: Usage): Promise<void> {
  const { deadBytes = 0 } = delta
  if (delta.bytes === 0 && delta.blocks === 0 && delta.files === 0 && deadBytes === 0) return
  const usage = await usageIn(tx)
  const isCounted = delta.recounts !== undefined && delta.recounts !== (usage.recounts ?? 0)
  tx.objectStore('meta').put(
    {
      ...usage,
      bytes: Math.max(0, usage.bytes + (isCounted ? 0 : delta.bytes)),
      blocks: Math.max(0, usage.blocks + (isCounted ? 0 : delta.blocks)),
      files: Math.max(0, usage.files + delta.files),
      deadBytes: Math.max(0, (usage.deadBytes ?? 0) + deadBytes),
    } satisfies Usage,
    'usage',
  )
}

export async function usageIn(tx: IDBTransaction): Promise<Usage> {
  return (await result<Usage | undefined>(tx.objectStore('meta').get('usage'))) ?? { bytes: 0, blocks: 0, files: 0 }
}
