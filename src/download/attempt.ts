// One attempt at a download, from the first answer, or from what is on record, to the commit of what came.
import type { CID } from 'multiformats/cid'
import { Writer } from '../blocks/writer.ts'
import type { Validator, Wanted } from '../catalog/schema.ts'
import type { Core } from '../core.ts'
import { IntegrityError, StorageError } from '../errors.ts'
import { importFile, importLeaves } from '../files/import.ts'
import { CHUNK_SIZE_BYTES, DOWNLOAD_CHECKPOINT_BYTES, DOWNLOAD_CONNECTIONS } from '../limits.ts'
import type { Progress } from '../types.ts'
import { Digest } from './digest.ts'
import { checkFacts, contentOf, type Facts } from './known.ts'
import { Restart, type Gain } from './patience.ts'
import { Ranges, type RangesInit } from './ranges.ts'
import { goingOn, leavesOf, type Claimed } from './record.ts'
import { Remote, type Opened } from './remote.ts'
import type { Leaf } from './segment.ts'
import { createSha256, hashed } from './sha256.ts'
import type { Target } from './target.ts'

/** Somebody who asked for it. */
export interface Caller {
  wanted: Wanted
  fallback: boolean
  onProgress?: ((progress: Progress) => void) | undefined
}

/** What came of it: `kept` are those who have their entries, `refused` those who expected something else. */
export interface Outcome {
  facts: Facts
  kept: ReadonlySet<Caller>
  refused: ReadonlyMap<Caller, Error>
}

/** What all attempts at one download share. */
export interface Job {
  core: Core
  target: Target
  signal: AbortSignal
  /** Others may come, and go. */
  callers: ReadonlySet<Caller>
  gain: Gain
  onBytes: (bytes: number, total: number | undefined) => void
  /** Something of it is on record. */
  onCheckpoint: (total: number) => void
  /** Whether what has come is of use after this error. */
  isKept: (error: unknown) => boolean
}

/**
 * Downloads what is missing and makes it an entry of everybody who asked for it. `whole`: all of it at once, from a server whose parts make no sense.
 *
 * @throws Restart where all of it is to be asked for anew
 */
export async function attempt(job: Job, claimed: Claimed, whole: boolean): Promise<Outcome> {
  const { target, gain, signal } = job
  const { validator, total, mediaType, bytes } = claimed.resume
  const remote = new Remote(target, gain, validator)
  if (total !== undefined) checkSize(job, total)
  if (!whole && total !== undefined && isSafe(job, validator)) {
    return inParts(job, claimed, { remote, total, facts: mediaType === undefined ? {} : { mediaType } })
  }
  if (bytes > 0) throw new Restart('nothing tells whether it is the same', { whole })
  const opened = await remote.open({ whole, signal })
  job.onBytes(0, opened.total)
  try {
    checkSize(job, opened.total)
  } catch (error) {
    opened.answer.stop()
    throw error
  }
  const isOne = isSafe(job, opened.validator)
  if (!opened.ranges || (!isOne && opened.to === opened.total)) return atOnce(job, claimed, opened, remote.whole(opened, signal))
  if (!isOne || opened.total === undefined) {
    // Parts of what may change between them are of no use.
    opened.answer.stop()
    throw new Restart('nothing tells whether it stays the same', { whole: true })
  }
  remote.validator = opened.validator
  const { answer, to = opened.total, says } = opened
  if (opened.total <= DOWNLOAD_CHECKPOINT_BYTES) {
    return atOnce(job, claimed, opened, remote.pieces(0, opened.total, { signal, first: answer }))
  }
  const facts = {
    total: opened.total,
    ...(opened.validator === undefined ? {} : { validator: opened.validator }),
    ...(opened.mediaType === undefined ? {} : { mediaType: opened.mediaType }),
  }
  return inParts(job, claimed, { remote, total: opened.total, facts, first: { answer, to }, isSimple: !says })
}

/** Whether parts that were asked for one by one can be told to be of one content. */
function isSafe({ callers }: Job, validator: Validator | undefined): boolean {
  return validator !== undefined || [...callers].some(({ wanted }) => wanted.sha256 !== undefined || wanted.cid !== undefined)
}

/** @throws IntegrityError where everybody expects another size than the server tells */
function checkSize({ target, callers }: Job, total: number | undefined): void {
  const [first, ...others] = [...callers].map(({ wanted }) => wanted)
  if (total === undefined || first?.size === undefined || [first, ...others].some(({ size = total }) => size === total)) return
  const { url } = target
  throw new IntegrityError(
    `${url} has the size ${total} where ${first.size} was expected: nothing of it was downloaded; look whether the URL or the expectation is wrong`,
    first.cid ?? '',
  )
}

/** With checkpoints, by which it can be gone on with. */
async function inParts(
  job: Job,
  claimed: Claimed,
  parts: Pick<RangesInit, 'remote' | 'total' | 'facts' | 'first'> & { isSimple?: boolean },
): Promise<Outcome> {
  const { core, target, signal, callers } = job
  const leaves = claimed.resume.bytes > 0 ? await leavesOf(core, claimed.id, parts.total) : noLeaves(parts.total)
  let bytes = leaves.reduce((sum, leaf) => sum + (leaf?.size ?? 0), 0)
  job.onBytes(bytes, parts.total)
  let digest: Digest | undefined
  const hash = (): Digest | undefined => {
    const isWanted = [...callers].some(({ wanted }) => wanted.sha256 !== undefined)
    if (isWanted) digest ??= new Digest(core, leaves, signal)
    digest?.advance()
    return digest
  }
  try {
    hash()
    const wish = [...callers].map(({ wanted }) => wanted.maxConnections ?? DOWNLOAD_CONNECTIONS)
    await new Ranges({
      ...parts,
      isSimple: parts.isSimple ?? false,
      core,
      claimed,
      leaves,
      signal,
      connections: Math.min(...wish),
      onLeaf: (more) => {
        bytes += more
        job.onBytes(bytes, parts.total)
      },
      onCheckpoint: () => {
        job.onCheckpoint(parts.total)
        hash()
      },
      isKept: job.isKept,
    }).complete()
    const sha256 = await hash()?.hex()
    return await commit(job, claimed, async (writer) => {
      const { cid, size } = await importLeaves(
        leaves.flatMap((leaf) => leaf ?? []),
        writer,
      )
      if (size !== parts.total) throw new StorageError(`${size} of ${parts.total} bytes of ${target.url} came: this cannot be`)
      const mediaType = parts.facts.mediaType ?? claimed.resume.mediaType
      return { cid, size, mediaType, sha256 }
    })
  } finally {
    await digest?.end()
  }
}

/** As store() would, without a checkpoint: where it is short, or can't be gone on with anyhow. */
async function atOnce(job: Job, claimed: Claimed, { mediaType, total }: Opened, pieces: AsyncGenerator<Uint8Array>): Promise<Outcome> {
  const { signal } = job
  return commit(job, claimed, async (writer) => {
    const hasher = await createSha256(total)
    writer.expect(total ?? 0)
    const onProgress = (bytes: number): void => {
      job.onBytes(bytes, total)
    }
    try {
      const { cid, size } = await importFile(hashed(pieces, hasher), writer, { signal, onProgress })
      return { cid, size, mediaType, sha256: await hasher.hex() }
    } finally {
      hasher.end()
    }
  })
}

/** Makes what `write` answers the entry of everybody who expects nothing else, and the download one that is over. */
async function commit(
  job: Job,
  claimed: Claimed,
  write: (writer: Writer) => Promise<{ cid: CID; size: number; mediaType: string | undefined; sha256: string | undefined }>,
): Promise<Outcome> {
  const { core, target, callers, signal } = job
  const writer = await Writer.open(core.store, signal)
  try {
    const { cid, size, mediaType, sha256 } = await write(writer)
    const facts: Facts = {
      cid: cid.toString(),
      size,
      ...(mediaType === undefined ? {} : { mediaType }),
      ...(sha256 === undefined ? {} : { sha256 }),
    }
    const [kept, refused] = [new Set<Caller>(), new Map<Caller, Error>()]
    for (const caller of callers) {
      // One that came late: it is told by what is here.
      if (caller.wanted.sha256 !== undefined && sha256 === undefined) continue
      try {
        checkFacts(target.url, caller.wanted, facts)
        kept.add(caller)
      } catch (error) {
        refused.set(caller, error as Error)
      }
    }
    if (kept.size === 0) throw [...refused.values()][0] ?? new StorageError('nobody waits for the download any more')
    const references = writer.references(cid)
    const { changes, leftover } = await writer.commit(
      [...kept].map(({ wanted, fallback }) => contentOf(wanted, facts, references, fallback)),
      goingOn(claimed, (before) => ({ ...before, bytes: size, total: size, done: facts })),
    )
    core.announce(changes)
    await core.free([leftover])
    return { facts, kept, refused }
  } catch (error) {
    await core.free([await writer.abort()])
    throw error
  }
}

function noLeaves(total: number): (Leaf | undefined)[] {
  return Array.from({ length: Math.ceil(total / CHUNK_SIZE_BYTES) })
}
