// What a worker reads of an answer, as leaves that stay there.
import { packError } from '../blocks/pack-errors.ts'
import { StorageError } from '../errors.ts'
import { CHUNK_SIZE_BYTES, DOWNLOAD_CHECKPOINT_BYTES, DOWNLOAD_STALL_MS } from '../limits.ts'
import { untilAborted } from '../network/abort.ts'
import type { Connection, HeldLeaf } from '../packs/connection.ts'
import type { Pulled, Stretch } from '../packs/requests.ts'
import { Break, Restart } from './patience.ts'

/** Leaves asked of a worker by one message, and messages at once, so that it reads on while what it has read is looked at. */
const LEAVES_A_PULL = 4
const PULLS = 2

/**
 * The leaves of an answer, which may begin or end in the midst of one: what has come of it is kept for the next answer; and the bytes that came, though
 * they make none. `begin`: where the first leaf of all is, from which checkpoints are counted: nothing is read beyond one before that is over.
 *
 * @throws Break where it ends early or stalls, Restart where it does not end
 */
export async function* heldOf(
  connection: Connection,
  { from, to, begin, limit }: Stretch & { begin: number },
  signal: AbortSignal,
): AsyncGenerator<{ bytes: number; piece?: HeldLeaf }, void, undefined> {
  const pulls: { most: number; pulled: Promise<Pulled> }[] = []
  let [come, pulled] = [from, 0]
  const leafOf = (at: number): { first: number; end: number } => {
    const first = Math.floor(at / CHUNK_SIZE_BYTES) * CHUNK_SIZE_BYTES
    return { first, end: Math.min(first + CHUNK_SIZE_BYTES, limit) }
  }
  for (;;) {
    const checkpoint = begin + (Math.floor((come - begin) / DOWNLOAD_CHECKPOINT_BYTES) + 1) * DOWNLOAD_CHECKPOINT_BYTES
    const left = Math.ceil((Math.min(to, checkpoint) - leafOf(come).first) / CHUNK_SIZE_BYTES)
    while (pulls.length < PULLS && pulled < left) {
      const most = Math.min(LEAVES_A_PULL, left - pulled)
      const pull = connection.pull(most, DOWNLOAD_STALL_MS)
      pull.catch(() => undefined)
      pulls.push({ most, pulled: pull })
      pulled += most
    }
    const next = pulls.shift()
    if (next === undefined) return
    pulled -= next.most
    const { bytes, leaves, end, message } = await untilAborted(next.pulled, signal).catch((error: unknown) => {
      signal.throwIfAborted()
      throw packError(error, 'read')
    })
    if (end === 'longer') throw new Restart('a part was longer than was asked for', { whole: true })
    const now = come + bytes
    for (const { id, digest } of leaves) {
      const leaf = leafOf(come)
      const before = come
      come = leaf.end
      yield { bytes: come - before, piece: { id, size: leaf.end - leaf.first, digest: new Uint8Array(digest) } }
    }
    if (come > now || (now < limit && leafOf(come).end <= now))
      throw new StorageError(`leaves of a download come at byte ${come} of ${now}: this cannot be`)
    if (now > come) yield { bytes: now - come }
    come = now
    if (end === 'stalled') throw new Break(`nothing came for ${DOWNLOAD_STALL_MS} ms`)
    if (end === 'broken') throw new Break('the connection broke off', {}, { cause: new Error(message) })
    if (end === 'over') return
  }
}
