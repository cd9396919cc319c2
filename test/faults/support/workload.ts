// What a page does to a storage until it is killed, as a seed has it, told step by step to whoever keeps count outside; and how it looks afterwards.
import { blockKey } from '../../../src/blocks/records.ts'
import { parseContentPath } from '../../../src/cid.ts'
import { isRaw } from '../../../src/catalog/raw-blocks.ts'
import type { ContentStorage } from '../../../src/index.ts'
import { audit, type Audit } from './audit.ts'
import { seededBytes } from './contents.ts'
import { randomOf, type Random } from './random.ts'

/** Contents that are looked at together. */
const READ_AT_ONCE = 16

const MIB = 1024 * 1024

/** Parts that contents are made of, so that they share blocks and leave packs half needed. */
const PARTS = 6
const PART_BYTES = 2 * MIB
const PARTS_A_FILE = 3

/** Small files that are stored together: few, or as many as make a pack. */
const FEW = 20
const MANY = 520
const SMALL_BYTES = 700

/** Entries that one worker keeps at most, groups of small ones counted as one. */
const ENTRIES = 6

/** One that begins or is over. `entries`: their names and CIDs, where those are known. */
export interface Step {
  id: number
  kind: 'store' | 'delete' | 'pin' | 'unpin' | 'gc'
  /** Names that it makes or takes away, all of them or none. */
  names: string[]
  /** The content that it is about; of a store, once it is over. */
  cids?: string[]
  pin?: boolean
  holder?: string
  over?: boolean
  /** Nothing came of it: another one holds the content. */
  refused?: boolean
}

export interface Look {
  files: { filename: string; cid: string; state: string }[]
  damaged: string[]
  /** Contents that are there and can't be read. */
  unread: string[]
  audit: Audit
  usage: { bytes: number; blocks: number; files: number; deadBytes: number }
}

type Tell = (step: Step) => Promise<void>

interface Kept {
  names: string[]
  cids: string[]
  isPinned: boolean
}

/** Goes on until the page is no more. Each worker has names and a holder of its own; contents they share. */
export async function work(storage: ContentStorage, seed: number, round: number, tell: Tell): Promise<void> {
  await Promise.all(
    Array.from({ length: 2 }, (_, index) => workOf(storage, `w${index}`, randomOf(seed * 7919 + round * 104_729 + index), round, tell)),
  )
}

async function workOf(storage: ContentStorage, holder: string, random: Random, round: number, tell: Tell): Promise<never> {
  const kept = await mine(storage, holder)
  let count = 0
  const prefix = `${holder}/${round}`
  const step = async (about: Omit<Step, 'id'>, action: () => Promise<Partial<Step> | undefined>): Promise<Partial<Step> | undefined> => {
    const id = round * 1_000_000 + Number(holder.slice(1)) * 500_000 + count++
    await tell({ id, ...about })
    const answer = await action()
    await tell({ id, ...about, ...answer, over: true })
    return answer
  }
  for (;;) {
    const one = kept.length === 0 ? undefined : kept[random.below(kept.length)]
    const dice = random.below(100)
    if (one === undefined || (dice < 45 && kept.length < ENTRIES)) {
      const made = random.below(4) === 0 ? smallFiles(prefix, count, random) : [largeFile(prefix, count, random)]
      const pin = random.below(3) === 0
      const answer = await step({ kind: 'store', names: made.map(({ filename }) => filename), pin, holder }, async () => {
        const options = pin ? { pin, holder } : {}
        const [first] = made
        const cids =
          made.length === 1 && first !== undefined
            ? [await storage.store(first.data, { filename: first.filename, ...options })]
            : await storage.storeMany(made.map((item) => ({ ...item, ...options })))
        return { cids }
      })
      kept.push({ names: made.map(({ filename }) => filename), cids: answer?.cids ?? [], isPinned: pin })
    } else if (dice < 55) {
      for (const cid of one.cids.slice(0, 3)) {
        if (one.isPinned || new Set(one.cids).size > 3) break
        await step({ kind: 'pin', names: [], cids: [cid], holder }, async () => ({ refused: !(await storage.pin(cid, { holder })) }))
        one.isPinned = true
        if (one.cids.length > 1) break
      }
    } else if (dice < 62) {
      await step({ kind: 'gc', names: [] }, async () => void (await storage.gc()))
    } else {
      if (one.isPinned) {
        for (const cid of new Set(one.cids)) {
          await step({ kind: 'unpin', names: [], cids: [cid], holder }, async () => void (await storage.unpin(cid, { holder })))
        }
        one.isPinned = false
      }
      let isHeld = false
      for (const [index, filename] of one.names.entries()) {
        const cid = one.cids[index] ?? ''
        await step({ kind: 'delete', names: [filename], cids: [cid], holder }, async () => {
          try {
            await storage.delete(cid, { filename })
            return undefined
          } catch (error) {
            // The other one pinned it, and this is its last entry.
            if ((error as Error).name !== 'PinnedError') throw error
            isHeld = true
            return { refused: true }
          }
        })
      }
      if (!isHeld) kept.splice(kept.indexOf(one), 1)
    }
  }
}

/** What a worker of that name left when it was killed. */
async function mine(storage: ContentStorage, holder: string): Promise<Kept[]> {
  const files = (await storage.listFiles(holder)).filter(({ cid }) => cid !== '')
  const groups = new Map<string, Kept>()
  for (const { filename, cid } of files) {
    const group = filename.split('/').slice(0, 3).join('/')
    const kept = groups.get(group) ?? { names: [], cids: [], isPinned: true }
    kept.names.push(filename)
    kept.cids.push(cid)
    groups.set(group, kept)
  }
  return [...groups.values()]
}

function largeFile(prefix: string, count: number, random: Random): { filename: string; data: Blob | Uint8Array<ArrayBuffer> } {
  const filename = `${prefix}/${count}`
  if (random.below(5) === 0) return { filename, data: seededBytes(random.below(200_000) + 1, random.below(1_000_000)) }
  const parts = Array.from({ length: random.below(PARTS_A_FILE) + 1 }, () => seededBytes(PART_BYTES, random.below(PARTS)))
  return { filename, data: new Blob(parts) }
}

function smallFiles(prefix: string, count: number, random: Random): { filename: string; data: Uint8Array<ArrayBuffer> }[] {
  const many = random.below(6) === 0 ? MANY : FEW
  return Array.from({ length: many }, (_, index) => ({
    filename: `${prefix}/${count}/${index}`,
    data: seededBytes(SMALL_BYTES, random.below(1_000_000)),
  }))
}

/** Everything there is, as it is after one gc(). */
export async function look(storage: ContentStorage, cacheDir: string): Promise<Look> {
  const listed = await storage.listFiles()
  const files = listed.map(({ filename, cid, state }) => ({ filename, cid, state }))
  const { damaged } = await storage.verify()
  const unread: string[] = []
  const read = async ([cid, type]: readonly [string, string]): Promise<void> => {
    const reading = type === 'directory' ? storage.listDirectory(cid, { localOnly: true }) : storage.retrieve(cid, { localOnly: true })
    if ((await reading) === null || !(await storage.exists(cid))) unread.push(cid)
  }
  const contents = [...new Map(listed.map((file) => [file.cid, file.type]))]
  for (let from = 0; from < contents.length; from += READ_AT_ONCE) await Promise.all(contents.slice(from, from + READ_AT_ONCE).map(read))
  await storage.gc()
  const found = await audit(cacheDir, (cid) => (isRaw(cid) ? blockKey(parseContentPath(cid).cid) : undefined))
  const { usage } = await storage.getBackendStatus()
  const { bytes, blocks, files: count, deadBytes } = usage as typeof usage & { deadBytes: number }
  return {
    files,
    damaged: damaged.map(({ cid, block }) => `${block} of ${cid}`),
    unread,
    audit: found,
    usage: { bytes, blocks, files: count, deadBytes },
  }
}
