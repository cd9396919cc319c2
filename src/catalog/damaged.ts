// Blocks noted damaged, within a transaction.
import type { BlockKey } from '../blocks/blocks.ts'
import { DAMAGED_READ_WHOLE } from '../limits.ts'
import { result } from './database.ts'

/** Which of the blocks are noted damaged. Mostly none is, which one request tells; where many are, each is looked up. */
export async function damagedIn(tx: IDBTransaction, blocks: readonly BlockKey[]): Promise<Set<BlockKey>> {
  const store = tx.objectStore('damaged')
  const first = (await result(store.getAllKeys(null, DAMAGED_READ_WHOLE + 1))) as BlockKey[]
  if (first.length === 0) return new Set()
  if (first.length <= DAMAGED_READ_WHOLE) {
    const few = new Set(first)
    return new Set(blocks.filter((block) => few.has(block)))
  }
  const noted = await Promise.all(blocks.map(async (block) => (await result(store.getKey(block))) !== undefined))
  return new Set(blocks.filter((_, index) => noted[index] === true))
}
