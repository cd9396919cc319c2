// What a worker reads of an answer, as leaves that stay there.
import { CHUNK_SIZE_BYTES, DOWNLOAD_STALL_MS } from '../limits.ts'
import type { Connection, HeldLeaf } from '../packs/connection.ts'
import type { Pulled } from '../packs/requests.ts'
import { untilAborted } from '../network/abort.ts'
import { packError } from '../blocks/pack-errors.ts'
import { Break, Restart } from './patience.ts'

/** Leaves asked of a worker at once, so that it reads on while what it has read is looked at. */
const PULLS = 3

/**
 * The leaves of an answer to that range, which may begin or end in the midst of one: what has come of it is kept for the next answer; and the bytes that
 * came, though they make none. `limit`: where the last leaf of all ends.
 *
 * @throws Break where it ends early or stalls, Restart where it does not end
 */
export async function* heldOf(
  connection: Connection,
  { from, to, limit }: { from: number; to: number; limit: number },
  signal: AbortSignal,
): AsyncGenerator<{ bytes: number; piece?: HeldLeaf }, void, undefined> {
  const pulls: { size: number; pulled: Promise<Pulled> }[] = []
  let at = from
  const pull = (): void => {
    const begin = Math.floor(at / CHUNK_SIZE_BYTES) * CHUNK_SIZE_BYTES
    const size = Math.min(CHUNK_SIZE_BYTES, limit - begin)
    const pulled = connection.pull(size, { last: begin + size === to, stallMs: DOWNLOAD_STALL_MS })
    pulled.catch(() => undefined)
    pulls.push({ size, pulled })
    at = begin + size
  }
  for (;;) {
    while (pulls.length < PULLS && at < to) pull()
    const next = pulls.shift()
    if (next === undefined) return
    const { bytes, leaf, end, message } = await untilAborted(next.pulled, signal).catch((error: unknown) => {
      signal.throwIfAborted()
      throw packError(error, 'read')
    })
    if (end === 'longer') throw new Restart('a part was longer than was asked for', { whole: true })
    yield { bytes, ...(leaf && { piece: { id: leaf.id, size: next.size, digest: new Uint8Array(leaf.digest) } }) }
    if (end === 'stalled') throw new Break(`nothing came for ${DOWNLOAD_STALL_MS} ms`)
    if (end === 'broken') throw new Break('the connection broke off', {}, { cause: new Error(message) })
    if (end === 'over') return
  }
}
