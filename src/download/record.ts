// Downloads on record: one owner of kind 'resumable' a URL, whose lock is held by whoever works on it.
import { blockKey } from '../blocks/records.ts'
import type { Resumed } from '../catalog/commit.ts'
import { result } from '../catalog/database.ts'
import type { Held } from '../catalog/locks.ts'
import { endPending, newOwnerId, ownedBy } from '../catalog/owners.ts'
import { rawCid } from '../catalog/raw-blocks.ts'
import type { Owner, PendingOwner, Reference, Resume } from '../catalog/schema.ts'
import type { Core } from '../core.ts'
import { DatabaseError } from '../errors.ts'
import { CHUNK_SIZE_BYTES } from '../limits.ts'
import type { Leaf } from './segment.ts'

/** How the index of a run's first leaf is written in the name of its reference. */
const NODE = /^leaves-(\d+)$/

/** A download that this context works on: it holds its lock. */
export interface Claimed {
  id: string
  lock: Held
  resume: Resume
}

export interface Claiming {
  signal: AbortSignal
  /** One that is on record, at which another context may be that is waited for. */
  onWaiting: (id: string) => void
}

export async function resumables(core: Core): Promise<PendingOwner[]> {
  const rows = await core.catalog.read(['owners'], (tx) =>
    result<PendingOwner[]>(tx.objectStore('owners').index('pending').getAll('resumable')),
  )
  return rows.filter(({ resume }) => resume !== undefined && resume.done === undefined)
}

/** The download of a URL: one that is on record, once nobody else works on it, else a new one. It may be over by then, which its record says. */
export async function claim(core: Core, draft: Resume, claiming: Claiming): Promise<Claimed> {
  for (;;) {
    claiming.signal.throwIfAborted()
    const id = newOwnerId()
    const lock = await core.locks.own(id)
    const other = await begin(core, id, draft, claiming.signal).catch(async (error: unknown) => {
      await lock?.release()
      throw error
    })
    if (lock !== undefined && other === undefined) return { id, lock, resume: draft }
    await lock?.release()
    const taken = other === undefined ? undefined : await takeOver(core, other, draft, claiming)
    if (taken !== undefined) return taken
  }
}

/** Puts a new one on record, or answers the id of the one that is. */
async function begin(core: Core, id: string, draft: Resume, signal: AbortSignal): Promise<string | undefined> {
  const work = (): Promise<string | undefined> =>
    core.catalog.write(['owners'], async (tx) => {
      const owners = tx.objectStore('owners')
      const rows = await result<PendingOwner[]>(owners.index('pending').getAll('resumable'))
      const other = rows.find(({ resume }) => resume?.url === draft.url)
      if (other !== undefined) return other.id
      owners.put({ id, kind: 'resumable', pending: 'resumable', lastUsed: Date.now(), resume: draft } satisfies PendingOwner)
      return undefined
    })
  return core.store.withRoom(0, work, signal)
}

/** undefined where it is gone. */
async function takeOver(
  core: Core,
  id: string,
  { run, wanted, credentials }: Resume,
  { signal, onWaiting }: Claiming,
): Promise<Claimed | undefined> {
  onWaiting(id)
  let lock = await core.locks.own(id)
  const isWaited = lock === undefined
  lock ??= await core.locks.ownWhenFree(id, signal)
  try {
    const resume = await core.catalog.write(['owners'], async (tx) => {
      const owners = tx.objectStore('owners')
      const row = await result<Owner | undefined>(owners.get(id))
      if (row?.kind !== 'resumable' || row.resume === undefined) return undefined
      // What was over when it was asked for is none of this call's.
      if (row.resume.done !== undefined && !isWaited) {
        owners.delete(id)
        return undefined
      }
      const { credentials: _credentials, ...before } = row.resume
      const after: Resume = { ...before, run, wanted, ...(credentials === undefined ? {} : { credentials }) }
      owners.put({ ...row, lastUsed: Date.now(), resume: after } satisfies PendingOwner)
      return after
    })
    if (resume !== undefined) return { id, lock, resume }
  } catch (error) {
    await lock.release()
    throw error
  }
  await lock.release()
  return undefined
}

/** Takes away the record of one that is over, unless somebody waits to see it. */
export async function forget(core: Core, id: string): Promise<void> {
  const lock = await core.locks.own(id)
  if (lock === undefined) return
  try {
    await core.catalog.write(['owners', 'references'], async (tx) => {
      const row = await result<Owner | undefined>(tx.objectStore('owners').get(id))
      if (row?.kind === 'resumable' && row.resume?.done !== undefined) await endPending(tx, id, false)
    })
  } finally {
    await lock.release()
  }
}

/** Turns a download into a removal. false where it is none, or over, or another `run` than that goes on with it. */
export function end(core: Core, id: string, run?: string): Promise<boolean> {
  return core.catalog.writeToFree(['owners', 'references'], async (tx) => {
    const row = await result<Owner | undefined>(tx.objectStore('owners').get(id))
    if (row?.kind !== 'resumable' || row.resume?.done !== undefined) return false
    if (run !== undefined && row.resume?.run !== run) return false
    const named = await result(tx.objectStore('references').count(ownedBy(tx, id)))
    await endPending(tx, id, named > 0)
    return true
  })
}

export async function isRemoval(core: Core, id: string): Promise<boolean> {
  const row = await core.catalog.read(['owners'], (tx) => result<Owner | undefined>(tx.objectStore('owners').get(id)))
  return row?.kind === 'removal'
}

/** Begins anew: what came becomes a removal, and another owner, whose lock is held, takes its place. */
export async function replace(core: Core, { id, resume }: Claimed): Promise<Claimed> {
  const fresh = newOwnerId()
  const lock = await core.locks.own(fresh)
  if (lock === undefined) throw new DatabaseError('lock of a new owner is taken: this cannot be', core.catalog.database.name)
  const { url, credentials, run, started, wanted } = resume
  const after: Resume = { url, run, started, wanted, bytes: 0, ...(credentials === undefined ? {} : { credentials }) }
  const work = async (tx: IDBTransaction): Promise<void> => {
    const owners = tx.objectStore('owners')
    const row = await result<Owner | undefined>(owners.get(id))
    if (row?.kind !== 'resumable' || row.resume?.run !== run) throw lost(core)
    await endPending(tx, id, true)
    owners.put({ id: fresh, kind: 'resumable', pending: 'resumable', lastUsed: Date.now(), resume: after } satisfies PendingOwner)
  }
  try {
    await core.catalog.writeToFree(['owners', 'references'], work)
  } catch (error) {
    await lock.release()
    throw error
  }
  return { id: fresh, lock, resume: after }
}

/** Cancelled, or gone on with by another context that can't see locks. */
export function lost(core: Core): DatabaseError {
  return new DatabaseError('the download was ended by another tab or worker: try again', core.catalog.database.name)
}

/** How a commit goes on with a download. */
export function goingOn({ id, resume }: Claimed, update: Resumed['update']): Resumed {
  return { id, run: resume.run, update }
}

/** What a checkpoint says of leaves that follow each other. */
export function leavesReference(first: number, leaves: readonly Leaf[]): Omit<Reference, 'owner'> {
  return { node: `leaves-${first}`, blocks: leaves.map(({ cid }) => blockKey(cid)), sizes: leaves.map(({ size }) => size), own: 0 }
}

/** The leaves that have come and are here, each at its place; the others are to be downloaded. */
export async function leavesOf(core: Core, id: string, total: number): Promise<(Leaf | undefined)[]> {
  const leaves: (Leaf | undefined)[] = Array.from({ length: Math.ceil(total / CHUNK_SIZE_BYTES) })
  for (const { node, blocks, sizes } of await core.catalog.referencesOf(id)) {
    const first = Number(NODE.exec(node)?.[1] ?? Number.NaN)
    const here = await core.store.hasKeys(blocks)
    blocks.forEach((key, at) => {
      const index = first + at
      const size = Math.min(CHUNK_SIZE_BYTES, total - index * CHUNK_SIZE_BYTES)
      if (here[at] === true && sizes[at] === size && index < leaves.length) leaves[index] = { cid: rawCid(key), size }
    })
  }
  return leaves
}
