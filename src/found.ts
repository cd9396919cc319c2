// From a content path to what it names, and what is kept or let go of around it.
import type { CID } from 'multiformats/cid'
import { MissingBlockError } from './blocks/blocks.ts'
import { parseContentPath, type ParsedPath } from './cid.ts'
import type { Content } from './content.ts'
import { IntegrityError } from './errors.ts'
import { resolvePath } from './files/directory.ts'
import type { Operation } from './operation.ts'
import type { ContentPath, LookupOptions } from './types.ts'

/** What a path names. */
export interface Found {
  content: Content
  parsed: ParsedPath
  cid: CID
  /** Directory nodes on the way, the root among them. */
  nodes: CID[]
}

/** Runs `work` on what the path names. null where that is nowhere, or a block is missing on the way; what was fetched is let go of then. */
export async function withFound<T>(
  operation: Operation,
  path: ContentPath,
  options: LookupOptions,
  work: (found: Found) => Promise<T | null>,
): Promise<T | null> {
  const parsed = parseContentPath(path)
  const content = operation.content(parsed.cid, options)
  try {
    const resolved = await resolvePath(content, parsed.cid, parsed.segments, { signal: operation.signal })
    const answer = resolved === null ? null : await work({ content, parsed, ...resolved })
    if (answer === null) await content.drop()
    return answer
  } catch (error) {
    await content.drop()
    if (error instanceof MissingBlockError) return null
    throw error
  }
}

/** What a path names as far as this machine knows, without asking anybody. */
export async function foundHere(operation: Operation, path: ContentPath): Promise<CID | null> {
  const parsed = parseContentPath(path)
  if (parsed.segments.length === 0) return parsed.cid
  try {
    const resolved = await resolvePath(operation.core.store, parsed.cid, parsed.segments, { signal: operation.signal })
    return resolved?.cid ?? null
  } catch (error) {
    if (error instanceof MissingBlockError || error instanceof IntegrityError) return null
    throw error
  }
}
