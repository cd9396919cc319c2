// What a worker reads of an answer, as leaves that stay there.
import { packError } from '../blocks/pack-errors.ts'
import { StorageError } from '../errors.ts'
import { CHUNK_SIZE_BYTES, DOWNLOAD_CHECKPOINT_BYTES, DOWNLOAD_STALL_MS } from '../limits.ts'
import { untilAborted } from '../network/abort.ts'
import type { Connection, HeldLeaf } from '../packs/connection.ts'
import type { Pulled } from '../packs/requests.ts'
import { Break, Restart } from './patience.ts'

/** Leaves asked of a worker at once, so that it reads on while what it has read is looked at. */
const PULLS = 3

export interface Stretch {
  /** Of the answer. */
  from: number
  to: number
  /** Where the first leaf of all begins and the last one ends. */
  begin: number
  limit: number
}

/**
 * The leaves of an answer, which may begin or end in the midst of one: what has come of it is kept for the next answer; and the bytes that came, though
 * they make none. Nothing is read beyond a checkpoint before that is over.
 *
 * @throws Break where it ends early or stalls, Restart where it does not end
 */
export async function* heldOf(
  connection: Connection,
  { from, to, begin, limit }: Stretch,
  signal: AbortSignal,
): AsyncGenerator<{ bytes: number; piece?: HeldLeaf }, void, undefined> {
  const pulls: { end: number; size: number; pulled: Promise<Pulled> }[] = []
  let [asked, come] = [from, from]
  const pull = (): void => {
    const first = Math.floor(asked / CHUNK_SIZE_BYTES) * CHUNK_SIZE_BYTES
    const size = Math.min(CHUNK_SIZE_BYTES, limit - first)
    asked = first + size
    const pulled = connection.pull(size, { last: asked === to, stallMs: DOWNLOAD_STALL_MS })
    pulled.catch(() => undefined)
    pulls.push({ end: asked, size, pulled })
  }
  for (;;) {
    const checkpoint = begin + (Math.floor((come - begin) / DOWNLOAD_CHECKPOINT_BYTES) + 1) * DOWNLOAD_CHECKPOINT_BYTES
    while (pulls.length < PULLS && asked < Math.min(to, checkpoint)) pull()
    const next = pulls.shift()
    if (next === undefined) return
    const { bytes, leaf, end, message } = await untilAborted(next.pulled, signal).catch((error: unknown) => {
      signal.throwIfAborted()
      throw packError(error, 'read')
    })
    if (end === 'longer') throw new Restart('a part was longer than was asked for', { whole: true })
    come += bytes
    if ((leaf !== undefined) !== (come === next.end)) throw new StorageError(`a leaf of a download came at byte ${come}: this cannot be`)
    yield { bytes, ...(leaf && { piece: { id: leaf.id, size: next.size, digest: new Uint8Array(leaf.digest) } }) }
    if (end === 'stalled') throw new Break(`nothing came for ${DOWNLOAD_STALL_MS} ms`)
    if (end === 'broken') throw new Break('the connection broke off', {}, { cause: new Error(message) })
    if (end === 'over') return
  }
}
