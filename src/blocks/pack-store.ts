// Packs as the blocks see them: found by the index, read in large runs, kept open while they are read, removed when nothing needs them.
import type { Catalog } from '../catalog/catalog.ts'
import { addUsage } from '../catalog/owners.ts'
import { placesOf, placesOfFile } from '../catalog/pack-rows.ts'
import type { Stretch } from '../catalog/place-cache.ts'
import { result } from '../catalog/database.ts'
import { holdForLife, isHeldForLife } from '../catalog/lending.ts'
import type { HeldPack, Locks } from '../catalog/locks.ts'
import type { Place, PackRow } from '../catalog/schema.ts'
import { NotSupportedError } from '../errors.ts'
import { PACK_LINGER_MS, PACK_RELEASE_TIMEOUT_MS, PACK_RETRY_MS, PACK_RUN_BYTES } from '../limits.ts'
import { isNamed, type PackDirectory } from '../packs/directory.ts'
import type { Lanes } from '../packs/lanes.ts'
import type { ReadRun } from '../packs/service.ts'
import type { Bytes } from '../types.ts'
import type { BlockKey } from './blocks.ts'
import type { BufferPool } from './buffer-pool.ts'
import { equalBytes, type HashedBlock } from './hashing.ts'
import { packError } from './pack-errors.ts'

interface ReadingOptions {
  hash?: boolean
  pool?: BufferPool | undefined
  places?: ReadonlyMap<BlockKey, Place> | undefined
}

export interface PackFiles {
  /** @throws NotFoundError */
  get(pack: string): Promise<File>
  release(): void
}

/** Takes the bytes of a block in place of those that were given away. */
type Exchange = (block: BlockKey, bytes: Bytes) => void

interface Open {
  uses: number
  lock: Promise<HeldPack | undefined>
  timer?: ReturnType<typeof setTimeout> | undefined
}

/** Neighbours in one pack. */
interface Run {
  pack: string
  at: number
  rows: { index: number; length: number }[]
}

export class PackStore {
  readonly directory: PackDirectory
  readonly #catalog: Catalog
  readonly #locks: Locks
  readonly #startLanes: () => Promise<Lanes | undefined>
  #lanes: Promise<Lanes | undefined>
  #settled: Lanes | undefined
  #isSettled = false
  readonly #open = new Map<string, Open>()
  #closed = false
  #abandoned = false

  /** `startLanes` answers undefined where this context reads packs and writes none. */
  constructor(directory: PackDirectory, catalog: Catalog, locks: Locks, startLanes: () => Promise<Lanes | undefined>) {
    this.directory = directory
    this.#catalog = catalog
    this.#locks = locks
    this.#startLanes = startLanes
    this.#lanes = this.#start()
  }

  async #start(): Promise<Lanes | undefined> {
    this.#isSettled = false
    this.#settled = await this.#startLanes()
    this.#isSettled = true
    // What the first reading would wait for. Where it fails, that one says so.
    this.directory.prepare().catch(() => undefined)
    return this.#settled
  }

  /** Goes on with other workers where the browser took the packs away: in Chromium, closing a file that is gone never comes back. */
  async renew(reason: Error): Promise<void> {
    if (this.#closed) return
    const [lanes, open] = [this.#lanes, [...this.#open.values()]]
    this.#open.clear()
    this.#lanes = this.#start()
    ;(await lanes)?.close(reason)
    for (const { timer, lock } of open) {
      clearTimeout(timer)
      await (await lock)?.release()
    }
  }

  /** The workers, where this context has any: whoever writes asks here. */
  async lanes(): Promise<Lanes | undefined> {
    const lanes = await this.#lanes
    return lanes?.isAlive === true ? lanes : undefined
  }

  /** The same without waiting; 'starting' while it is not known. */
  get lanesNow(): Lanes | 'starting' | undefined {
    return this.#isSettled ? this.#settled : 'starting'
  }

  locate(keys: readonly BlockKey[]): Promise<(Place | undefined)[]> {
    return placesOf(this.#catalog, keys)
  }

  /**
   * Blocks by their keys, undefined where they are in no pack. Neighbours may share a buffer. A row whose pack is gone or short counts as none.
   */
  async get(keys: readonly BlockKey[], options: ReadingOptions): Promise<(HashedBlock | undefined)[]> {
    // Packs that are held stay as they are: where blocks lie in them need not be asked.
    const held = keys.flatMap((key) => options.places?.get(key) ?? [])
    const known = held.length === keys.length ? await this.#read(held, options) : []
    if (known.length > 0 && known.every((block) => block !== undefined)) return known
    const locate = async (blocks: readonly BlockKey[]): Promise<(Place | undefined)[]> =>
      (await this.locate(blocks)).map((row, index) => row ?? options.places?.get(blocks[index] ?? ''))
    // What is remembered is read while the catalog is asked whether it still holds.
    const guess = this.#catalog.places.guess(keys)
    const guessed = guess.length === keys.length ? this.#read(guess, options) : undefined
    guessed?.catch(() => undefined)
    const rows = await locate(keys)
    if (rows.every((row) => row === undefined)) return keys.map(() => undefined)
    const isRight = guess.every(({ pack, offset }, index) => pack === rows[index]?.pack && offset === rows[index].offset)
    const blocks = isRight && guessed !== undefined ? await guessed : await this.#read(rows, options)
    // A pack that is gone was removed or rewritten since the look-up: what is there now says another.
    const lost = keys.filter((_, index) => rows[index] !== undefined && blocks[index] === undefined)
    if (lost.length === 0) return blocks
    const again = await locate(lost)
    const moved = again.map((row, index) => (row?.pack === rows[keys.indexOf(lost[index] ?? '')]?.pack ? undefined : row))
    const found = await this.#read(moved, options)
    lost.forEach((key, index) => {
      blocks[keys.indexOf(key)] = found[index]
    })
    return blocks
  }

  /**
   * Which blocks lie byte for byte where their rows say. In a pack that is gone or short none do: the next sweep drops its rows, so whoever stores
   * must not rely on it. With `exchange` the bytes are given away and it takes those that come back.
   *
   * @throws DatabaseError where bytes were given away to a worker that ended
   */
  async compare(rows: readonly Place[], blocks: ReadonlyMap<BlockKey, Bytes>, exchange?: Exchange): Promise<Set<BlockKey>> {
    const whole = new Set<BlockKey>()
    const packs = packsIn(rows)
    const known = await this.#catalog.read(['packs'], (tx) =>
      Promise.all(packs.map((pack) => result<PackRow | undefined>(tx.objectStore('packs').get(pack)))),
    )
    await Promise.all(
      packs.map(async (pack, index) => {
        const there = rows.filter((row) => row.pack === pack)
        const same = await this.#compareWith(pack, known[index]?.bytes ?? 0, there, blocks, exchange)
        there.forEach(({ block }, at) => {
          if (same[at] === true) whole.add(block)
        })
      }),
    )
    return whole
  }

  async #compareWith(
    pack: string,
    packBytes: number,
    rows: readonly Place[],
    blocks: ReadonlyMap<BlockKey, Bytes>,
    exchange: Exchange | undefined,
  ): Promise<boolean[]> {
    const lanes = this.#settled
    if (lanes?.isAlive !== true || !lanes.sharedReading) return this.#compareHere(pack, packBytes, rows, blocks)
    const release = this.#use(pack)
    try {
      await this.#open.get(pack)?.lock
      const sent = rows.map(({ block }) => {
        const bytes = blocks.get(block) ?? new Uint8Array(0)
        return exchange !== undefined && isWhole(bytes) ? bytes.buffer : new Uint8Array(bytes).buffer
      })
      const places = rows.map((row) => row.offset)
      const { buffers, same } = await lanes.compare(pack, packBytes, places, sent)
      rows.forEach(({ block }, index) => {
        const buffer = buffers[index]
        if (buffer !== undefined) exchange?.(block, new Uint8Array(buffer))
      })
      return same
    } catch (error) {
      if (exchange !== undefined) throw packError(error, 'read')
      return await this.#compareHere(pack, packBytes, rows, blocks)
    } finally {
      release()
    }
  }

  async #compareHere(pack: string, packBytes: number, rows: readonly Place[], blocks: ReadonlyMap<BlockKey, Bytes>): Promise<boolean[]> {
    const bytes = await this.directory.file(pack).then(
      (file) => file.size,
      () => 0,
    )
    if (bytes < packBytes) return rows.map(() => false)
    const stored = await this.#read(rows, {})
    return rows.map(({ block }, at) => isSame(stored[at]?.bytes, blocks.get(block)))
  }

  /** Begins to open those packs in which blocks lie as far as is remembered, which may be over by now. */
  openGuessed(keys: readonly BlockKey[], files: PackFiles): void {
    for (const pack of packsIn(this.#catalog.places.guess(keys))) void files.get(pack)
  }

  /** Where all of a file lies, in its order, as far as that is remembered. Its packs are opened meanwhile. */
  async locateFile(root: BlockKey, files: PackFiles): Promise<readonly Stretch[] | undefined> {
    const guess = this.#catalog.places.guessFile(root)
    if (guess === undefined) return undefined
    for (const pack of packsIn(guess)) void files.get(pack)
    return placesOfFile(this.#catalog, root)
  }

  /** Remembers a file whose leaves, in its order, all lie in packs. */
  rememberFile(root: BlockKey, leaves: readonly BlockKey[]): void {
    this.#catalog.places.addFile(root, leaves)
  }

  /** Files of packs, each opened once and kept until `release` is called. */
  files(): PackFiles {
    const opened = new Map<string, Promise<File>>()
    const releases: (() => void)[] = []
    const open = async (pack: string): Promise<File> => {
      releases.push(this.#use(pack))
      await this.#open.get(pack)?.lock
      return this.directory.file(pack)
    }
    return {
      get(pack) {
        const file = opened.get(pack) ?? open(pack)
        opened.set(pack, file)
        file.catch(() => undefined)
        return file
      },
      release() {
        for (const release of releases) release()
      },
    }
  }

  /** Parts of a Blob, and the locks that keep them. @throws NotFoundError where a pack is gone */
  async slices(stretches: readonly Stretch[], files: PackFiles): Promise<{ parts: Blob[]; locks: string[] }> {
    const packs = packsIn(stretches)
    const locks = packs.map((pack) => this.#locks.packName(pack))
    const opening = Promise.all(packs.map(async (pack) => [pack, await files.get(pack)] as const))
    await Promise.all([opening, ...locks.map(holdForLife)])
    const opened = new Map(await opening)
    const parts = stretches.map(({ pack, at, end }) => {
      const file = opened.get(pack)
      if (file === undefined || file.size < end) throw new DOMException(`pack ${pack} is short`, 'NotFoundError')
      return file.slice(at, end)
    })
    return { parts, locks }
  }

  /** Closes packs that nobody reads just now. */
  async letGo(packs: readonly string[]): Promise<void> {
    await Promise.all(
      packs.map(async (pack) => {
        const open = this.#open.get(pack)
        if (open !== undefined && open.uses === 0) await this.#shut(pack, open)
      }),
    )
  }

  /** Keeps packs open for whoever reads them over and over, until the function answered is called. */
  async keepOpen(packs: readonly string[]): Promise<() => void> {
    const releases = packs.map((pack) => this.#use(pack))
    await Promise.all(packs.map(async (pack) => this.#open.get(pack)?.lock))
    return () => {
      for (const release of releases) release()
    }
  }

  /**
   * Removes packs that nothing points at. Those that somebody still reads are waited for behind everybody's back and then left to the next sweep;
   * they are answered.
   */
  async removeEmptied(packs: readonly string[]): Promise<string[]> {
    if (packs.length === 0) return []
    await this.letGo(packs)
    const gone = await Promise.all(packs.map((pack) => this.#withPack(pack, { ifAvailable: true }, () => this.#removeRow(pack))))
    const held = packs.filter((_, index) => gone[index] !== true)
    for (const pack of held) {
      if (isHeldForLife(this.#locks.packName(pack))) continue
      const waiting = new AbortController()
      const timer = setTimeout(() => waiting.abort(), PACK_RELEASE_TIMEOUT_MS)
      this.#withPack(pack, { signal: waiting.signal }, () => this.#removeRow(pack))
        // Not let go of in time, or the storage was closed: the next sweep removes it.
        .catch(() => undefined)
        .finally(() => clearTimeout(timer))
    }
    return held
  }

  /** Removes a file that no row of packs names. False where somebody has it open. */
  async removeFile(pack: string): Promise<boolean> {
    const remove = async (): Promise<boolean> => {
      // Nobody who lives has it open beside this lock: what holds it is a worker that was ended, until the browser has closed its files.
      const deadline = Date.now() + PACK_RELEASE_TIMEOUT_MS
      while (!(await this.directory.remove(pack))) {
        if (this.#closed || Date.now() > deadline) return false
        await new Promise((resolve) => setTimeout(resolve, PACK_RETRY_MS))
      }
      return true
    }
    return (await this.#withPack(pack, { ifAvailable: true }, remove)) === true
  }

  /** Lets go of everything at once: the storage is being destroyed. What is being read ends as missing. */
  async abandon(reason: Error): Promise<void> {
    this.#abandoned = true
    await this.close(reason)
  }

  async close(reason: Error): Promise<void> {
    this.#closed = true
    await Promise.all([...this.#open].map(([pack, open]) => this.#shut(pack, open)))
    // Blobs handed out outlive the storage: their locks stay with the context.
    ;(await this.#lanes)?.close(reason)
  }

  /** Runs `work` with the pack to itself; undefined where that could not be had at once. */
  async #withPack<T>(
    pack: string,
    options: { ifAvailable?: boolean; signal?: AbortSignal },
    work: () => Promise<T>,
  ): Promise<T | undefined> {
    const lock = await this.#locks.holdPack(pack, 'exclusive', options)
    if (lock === undefined) return undefined
    try {
      return await work()
    } finally {
      await lock.release()
    }
  }

  async #removeRow(pack: string): Promise<boolean> {
    const row = await this.#catalog.read(['packs'], (tx) => result<PackRow | undefined>(tx.objectStore('packs').get(pack)))
    if (row === undefined || row.live > 0) return true
    if (!(await this.directory.remove(pack))) return false
    await this.#catalog.writeToFree(['packs'], async (tx) => {
      const still = await result<PackRow | undefined>(tx.objectStore('packs').get(pack))
      if (still === undefined) return
      tx.objectStore('packs').delete(pack)
      await addUsage(tx, { bytes: 0, blocks: 0, files: 0, deadBytes: -still.bytes })
    })
    return true
  }

  async #read(rows: readonly (Place | undefined)[], options: ReadingOptions): Promise<(HashedBlock | undefined)[]> {
    const blocks: (HashedBlock | undefined)[] = Array.from({ length: rows.length }, () => undefined)
    await Promise.all(
      runsOf(rows).map(async (run) => {
        let from = 0
        const { buffer, digests, length } = await this.#readRun(run, options)
        run.rows.forEach((row, index) => {
          const bytes = new Uint8Array(buffer, from, row.length)
          from += row.length
          if (from > length) return
          const digest = digests[index]
          blocks[row.index] = { bytes, digest: digest === undefined ? undefined : new Uint8Array(digest) }
        })
      }),
    )
    return blocks
  }

  async #readRun(run: Run, { hash = false, pool }: ReadingOptions): Promise<ReadRun> {
    const lengths = run.rows.map(({ length }) => length)
    const size = total(lengths)
    if (this.#abandoned) return { buffer: new ArrayBuffer(size), digests: [], length: 0 }
    const lanes = this.#settled
    if (lanes?.isAlive === true && lanes.sharedReading && !this.#closed) {
      const release = this.#use(run.pack)
      try {
        await this.#open.get(run.pack)?.lock
        const buffer = size === pool?.bufferBytes ? pool.take().buffer : undefined
        return await lanes.read(run.pack, { at: run.at, lengths }, { hash, buffer })
      } catch (error) {
        if (isNamed(error, 'NotFoundError')) return { buffer: new ArrayBuffer(size), digests: [], length: 0 }
        // A worker that ended, or a pack that somebody holds for himself: the file can be read all the same.
        if (!(error instanceof NotSupportedError || error instanceof DOMException)) throw error
      } finally {
        release()
      }
    }
    return this.#readFile(run, size)
  }

  async #readFile(run: Run, size: number): Promise<ReadRun> {
    try {
      const file = await this.directory.file(run.pack)
      const buffer = await file.slice(run.at, run.at + size).arrayBuffer()
      if (buffer.byteLength === size) return { buffer, digests: [], length: size }
      const padded = new Uint8Array(size)
      padded.set(new Uint8Array(buffer))
      return { buffer: padded.buffer, digests: [], length: buffer.byteLength }
    } catch (error) {
      if (isNamed(error, 'NotFoundError') || isNamed(error, 'NotReadableError')) {
        return { buffer: new ArrayBuffer(size), digests: [], length: 0 }
      }
      throw error
    }
  }

  /** Holds the pack's lock while it is open in a worker, and a little longer. */
  #use(pack: string): () => void {
    const open = this.#open.get(pack) ?? { uses: 0, lock: this.#locks.holdPack(pack, 'shared') }
    this.#open.set(pack, open)
    clearTimeout(open.timer)
    open.uses++
    let used = true
    return () => {
      if (!used) return
      used = false
      open.uses--
      if (open.uses > 0 || this.#open.get(pack) !== open) return
      open.timer = setTimeout(() => void this.#shut(pack, open), PACK_LINGER_MS)
    }
  }

  async #shut(pack: string, open: Open): Promise<void> {
    clearTimeout(open.timer)
    if (this.#open.get(pack) === open) this.#open.delete(pack)
    if (this.#settled?.isAlive === true) await this.#settled.release(pack).catch(() => undefined)
    await (await open.lock)?.release()
  }
}

/** Neighbours in the order of their places. */
function runsOf(rows: readonly (Place | undefined)[]): Run[] {
  const known = rows.flatMap((row, index) => (row === undefined ? [] : [{ ...row, index }]))
  known.sort((a, b) => (a.pack === b.pack ? a.offset - b.offset : a.pack < b.pack ? -1 : 1))
  const runs: Run[] = []
  let last: (Run & { end: number }) | undefined
  for (const { pack, offset, length, index } of known) {
    if (last !== undefined && last.pack === pack && last.end === offset && last.end - last.at + length <= PACK_RUN_BYTES) {
      last.rows.push({ index, length })
      last.end += length
      continue
    }
    last = { pack, at: offset, rows: [{ index, length }], end: offset + length }
    runs.push(last)
  }
  return runs
}

function packsIn(places: readonly { pack: string }[]): string[] {
  return [...new Set(places.map(({ pack }) => pack))]
}

function isWhole(bytes: Bytes): boolean {
  return bytes.byteLength === bytes.buffer.byteLength
}

function isSame(there: Bytes | undefined, right: Bytes | undefined): boolean {
  return there !== undefined && right !== undefined && equalBytes(there, right)
}

function total(lengths: readonly number[]): number {
  return lengths.reduce((sum, length) => sum + length, 0)
}
