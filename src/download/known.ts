// What a download must be, and content that is here already under what was asked for.
import { CID } from 'multiformats/cid'
import { Writer } from '../blocks/writer.ts'
import type { KeptContent } from '../catalog/commit.ts'
import type { Resume, Wanted } from '../catalog/schema.ts'
import { IntegrityError, InvalidCidError, InvalidOptionsError } from '../errors.ts'
import { openFile, partsOf, fetchParts } from '../files/layout.ts'
import { MissingBlockError } from '../blocks/blocks.ts'
import { MAX_DOWNLOAD_CONNECTIONS } from '../limits.ts'
import { describeHere, nameHere } from '../naming.ts'
import type { Operation } from '../operation.ts'
import type { StoreUrlOptions } from '../types.ts'
import { createSha256 } from './sha256.ts'

/** What a download turned out to be. */
export type Facts = NonNullable<Resume['done']>

/** @throws InvalidOptionsError, InvalidCidError */
export function wantedOf(options: StoreUrlOptions): Wanted {
  const { filename, pin, holder, mediaType, sha256, cid, size, maxConnections } = options
  if (sha256 !== undefined && !/^[0-9a-f]{64}$/i.test(sha256)) {
    throw new InvalidOptionsError(`option 'sha256' must be 64 hexadecimal digits, not '${sha256}'`, 'sha256')
  }
  if (size !== undefined && (!Number.isSafeInteger(size) || size < 0)) {
    throw new InvalidOptionsError(`option 'size' must be a whole number of bytes, not ${String(size)}`, 'size')
  }
  if (
    maxConnections !== undefined &&
    !(Number.isInteger(maxConnections) && maxConnections >= 1 && maxConnections <= MAX_DOWNLOAD_CONNECTIONS)
  ) {
    throw new InvalidOptionsError(
      `option 'maxConnections' must be a whole number from 1 to ${MAX_DOWNLOAD_CONNECTIONS}, not ${String(maxConnections)}`,
      'maxConnections',
    )
  }
  const given = {
    filename,
    pin,
    holder,
    mediaType,
    size,
    maxConnections,
    sha256: sha256?.toLowerCase(),
    cid: cid === undefined ? cid : fileCid(cid),
  }
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)) as Wanted
}

/** The CID that a file would have here. Others can be of no download. */
export function fileCid(text: string): string {
  try {
    return CID.parse(text).toV1().toString()
  } catch (cause) {
    throw new InvalidCidError(`option 'cid' is '${text}', which is no CID: pass the one that store() answered`, { cause })
  }
}

/** @throws IntegrityError where it is not what was wanted */
export function checkFacts(url: string, wanted: Wanted, facts: Facts): void {
  const refuse = (what: string, is: string | number, expected: string | number): never => {
    throw new IntegrityError(
      `${url} has the ${what} ${is} where ${expected} was expected: nothing of it is kept; look whether the URL or the expectation is wrong`,
      facts.cid,
    )
  }
  if (wanted.size !== undefined && wanted.size !== facts.size) refuse('size', facts.size, wanted.size)
  if (wanted.sha256 !== undefined && wanted.sha256 !== facts.sha256) refuse('SHA-256', facts.sha256 ?? 'unknown', wanted.sha256)
  if (wanted.cid !== undefined && wanted.cid !== facts.cid) refuse('CID', facts.cid, wanted.cid)
}

/** The entry, and the pin, that were asked for. */
export function contentOf(wanted: Wanted, facts: Facts, references: KeptContent['references'], fallback: boolean): KeptContent {
  const { cid, size, sha256 } = facts
  const mediaType = wanted.mediaType ?? facts.mediaType
  return {
    cid,
    references,
    entry: {
      filename: wanted.filename ?? cid,
      cid,
      type: 'file',
      size,
      complete: true,
      fallback,
      ...(mediaType === undefined ? {} : { mediaType }),
      ...(sha256 === undefined ? {} : { sha256 }),
    },
    ...(wanted.pin === true ? { pin: { holder: wanted.holder ?? '', size } } : {}),
  }
}

/**
 * Makes an entry of content that is here: its CID, undefined where not all of it is. `sha256` and `mediaType` are what a download told.
 *
 * @throws IntegrityError where it is not what was wanted
 */
export async function keepKnown(
  { core, signal, fallback }: Operation,
  { url, cid, wanted, told = {} }: { url: string; cid: string; wanted: Wanted; told?: Pick<Facts, 'sha256' | 'mediaType'> },
): Promise<string | undefined> {
  const root = CID.parse(cid)
  const writer = await Writer.open(core.store, signal)
  try {
    if (!(await nameHere(writer, core.store.lenient, root, { signal }))) {
      await core.free([await writer.abort()])
      return undefined
    }
    await writer.flush()
    const { type, size } = await describeHere(core.store.lenient, root)
    // A directory is what no URL answers.
    if (type !== 'file') {
      await core.free([await writer.abort()])
      return undefined
    }
    const sha256 = told.sha256 ?? (wanted.sha256 === undefined ? undefined : await sha256Of(core.store.lenient, root, signal))
    const facts = { cid, size, ...told, ...(sha256 === undefined ? {} : { sha256 }) }
    checkFacts(url, wanted, facts)
    const { changes, leftover } = await writer.commit([contentOf(wanted, facts, writer.references(root), fallback)])
    core.announce(changes)
    await core.free([leftover])
    return cid
  } catch (error) {
    await core.free([await writer.abort()])
    // What was here is gone or damaged by now: it is to be downloaded.
    if (error instanceof MissingBlockError) return undefined
    throw error
  }
}

async function sha256Of(source: Operation['core']['store']['lenient'], root: CID, signal: AbortSignal): Promise<string> {
  const file = await openFile(source, root, { signal })
  const hasher = await createSha256(file.size)
  try {
    for await (const parts of partsOf(source, file, 0, file.size, { signal })) {
      for (const part of parts) for (const piece of await fetchParts(source, [part], { signal })) await hasher.update(piece)
    }
    return await hasher.hex()
  } finally {
    hasher.end()
  }
}
