// The catalog's object stores and rows. One database; changes are additive (see CATALOG_FORMAT).
import type { BlockKey } from '../blocks/blocks.ts'

/** The format this code writes. A row `format` in `meta` says which formats may read and which may write the database as it is. */
export const CATALOG_FORMAT = 1

/** Shared by all owners. `id` is random and never used again. */
interface OwnerBase {
  id: string
}

/** One name for one content. `id` is that of its row, which entries of one raw block may share. */
export interface EntryOwner extends OwnerBase {
  kind: 'entry'
  filename: string
  cid: string
  type: 'file' | 'directory' | 'dag'
  size: number
  /** Milliseconds since the epoch. */
  modified: number
  lastUsed: number
  fallback: boolean
  /** Every block was here when the entry was made: one that is missing later is damage, not a part that was never fetched. */
  complete: boolean
  /** Made by a pin of something that had no entry; goes in gc() when no pin is left. */
  implicit?: typeof HELD | typeof UNHELD
  mediaType?: string
  sha256?: string
  replicas: string[]
  /** Stored under tier 'records': its blocks stay records. */
  records?: true
  /** What its URL answered, which is its filename: see src/url-cache. */
  source?: UrlSource
}

/** Of a URL whose answer is kept. */
export interface UrlSource {
  /** When it was last known to be what the server has, in milliseconds since the epoch. */
  checked: number
  validator?: Validator
  /** How often it was answered from here. */
  hits: number
  /** What its server said of how it may be used, which is said again. Names in lower case. */
  headers?: Record<string, string>
  /** Whose pin was made for it. Absent where none was. */
  holder?: string
}

/**
 * Entries as they are kept: one, or many of one raw block each that were stored together (see PlacesRow for why). What `names` says, `entries` tells
 * the rest of, in the same order; `contents` are the CIDs of those with another name.
 */
export interface EntryRow extends OwnerBase {
  kind: 'entry'
  names: [filename: string, cid: string][]
  contents: string[]
  entries: EntryDetails[]
  /** Of an entry that is alone, as the next one. */
  implicit?: typeof HELD | typeof UNHELD
  /** A large file whose leaves went into records, and may go into packs where somebody can write them. */
  movable?: typeof MOVABLE
}

export type EntryDetails = Omit<EntryOwner, 'id' | 'kind' | 'filename' | 'cid' | 'implicit'>

/** In `implicit`: a pin holds the entry. Code that kept no sum of pins wrote this one alone. */
export const HELD = 1 as const
export const MOVABLE = 1 as const

/** In `implicit`: its last pin went, so that gc() finds it without looking at all that are held. */
export const UNHELD = 2 as const

/** A holder's wish to keep every block of a content here. */
export interface PinOwner extends OwnerBase {
  kind: 'pin'
  holder: string
  pinned: string
  /** Bytes of the content, which is whole where it is pinned: the same in all pins of one content. */
  size?: number
}

/** Somebody at work. Alive while its lock is held; `pending` puts it into the index that recovery reads. */
export interface PendingOwner extends OwnerBase {
  kind: 'writer' | 'resumable' | 'session' | 'removal'
  pending: 'writer' | 'resumable' | 'session' | 'removal'
  /** Milliseconds since the epoch. */
  lastUsed: number
  /** A removal that came to its end, but for what Helia's pins hold. */
  held?: true
  /** A resumable download's own record. Its references name the leaves that have come, each under the index of the first one. */
  resume?: Resume
}

/** What distinguishes versions of what a URL answers: a strong ETag, else when it was last changed. */
export interface Validator {
  etag?: string
  lastModified?: string
}

/** Where a download comes from, how far it is, and what is to come of it. */
export interface Resume {
  url: string
  credentials?: RequestCredentials
  /** Whoever went on with it last: where locks can't tell, two of them are told apart by this. */
  run: string
  /** Milliseconds since the epoch. */
  started: number
  /** Bytes that its references name. */
  bytes: number
  total?: number
  validator?: Validator
  mediaType?: string
  wanted: Wanted
  /** It is over. The row stays until those who waited for it in other tabs have seen it. */
  done?: { cid: string; size: number; sha256?: string; mediaType?: string }
}

/** What whoever began a download asked for. */
export interface Wanted {
  filename?: string
  pin?: boolean
  holder?: string
  mediaType?: string
  /** In hex. */
  sha256?: string
  cid?: string
  size?: number
  maxConnections?: number
}

/** Rows of the store `owners`. */
export type Owner = EntryRow | PinOwner | PendingOwner

/**
 * What an owner says of one node (or of one batch of a writer): the node's block and those it links to. An entry of one raw block has none: its CID
 * names that block. `sizes` are bytes of each block in `blocks`,
 * or one of the two marks below. `own` is bytes of file content inside the node itself.
 */
export interface Reference {
  owner: string
  node: string
  blocks: BlockKey[]
  sizes: number[]
  own: number
  /** Rows that go on with this one: see putReference. */
  parts?: number
}

/** A file of leaves. `live`: bytes of it that rows of `places` point at; where none is left the file goes, and then this row. */
export interface PackRow {
  id: string
  bytes: number
  live: number
}

/** Where in which pack a block lies. */
export interface Place {
  block: BlockKey
  pack: string
  offset: number
  length: number
}

/**
 * Places in one pack, one row for many: measured, a request takes IndexedDB about 100 µs whatever it brings, and a key of an index a tenth of that.
 * `at`: the offset of the first of them when the pack was sealed, which makes the row's key with `pack`.
 */
export interface PlacesRow {
  pack: string
  at: number
  blocks: BlockKey[]
  offsets: number[]
  lengths: number[]
}

/** A pack that was written and flushed, and that nothing points at yet. */
export interface SealedPack {
  id: string
  bytes: number
  places: Omit<Place, 'pack'>[]
}

/** In `sizes`: a child that may link on, whose own record tells. */
export const SIZE_IN_RECORD = -1
/** In `sizes`: a leaf whose length its parent does not say. */
export const SIZE_UNKNOWN = -2

/** Kept in step with the rows in the same transactions. Bytes and blocks are unique ones that this storage wrote. */
export interface Usage {
  bytes: number
  blocks: number
  files: number
  /** Bytes in packs that nobody needs. */
  deadBytes?: number
  /** How often it was counted anew. */
  recounts?: number
  /** Bytes of the contents that are pinned, each content once. Absent where code that kept no sum wrote the catalog: see addPinnedBytes. */
  pinnedBytes?: number
}

/** What an owner wrote and the usage does not tell yet. Nothing is added where it was counted anew since then: that told it. */
export interface Added {
  bytes: number
  blocks: number
  recounts: number
}

export interface Format {
  readableBy: number
  writableBy: number
  destroyed?: true
}

/** `packs` holds PackRow and `places` PlacesRow, the index of OPFS packs. */
export const STORES = ['meta', 'owners', 'references', 'damaged', 'foreign', 'packs', 'places'] as const
export type StoreName = (typeof STORES)[number]

/** Creates what is not there yet, so that the same function serves a new database and one of an earlier release. */
export function upgradeCatalog(db: IDBDatabase): void {
  const missing = new Set<StoreName>(STORES.filter((name) => !db.objectStoreNames.contains(name)))
  if (missing.has('meta')) {
    const meta = db.createObjectStore('meta')
    meta.put({ readableBy: CATALOG_FORMAT, writableBy: CATALOG_FORMAT } satisfies Format, 'format')
    meta.put({ bytes: 0, blocks: 0, files: 0, pinnedBytes: 0 } satisfies Usage, 'usage')
  }
  if (missing.has('owners')) {
    const owners = db.createObjectStore('owners', { keyPath: 'id' })
    owners.createIndex('names', 'names', { multiEntry: true, unique: true })
    owners.createIndex('contents', 'contents', { multiEntry: true })
    owners.createIndex('pin', ['pinned', 'holder'], { unique: true })
    owners.createIndex('pending', 'pending')
    owners.createIndex('implicit', 'implicit')
    owners.createIndex('movable', 'movable')
  }
  if (missing.has('references')) {
    const references = db.createObjectStore('references', { keyPath: ['owner', 'node'] })
    references.createIndex('blocks', 'blocks', { multiEntry: true })
  }
  if (missing.has('damaged')) db.createObjectStore('damaged')
  if (missing.has('foreign')) db.createObjectStore('foreign')
  if (missing.has('packs')) db.createObjectStore('packs', { keyPath: 'id' })
  if (missing.has('places')) {
    const places = db.createObjectStore('places', { keyPath: ['pack', 'at'] })
    places.createIndex('blocks', 'blocks', { multiEntry: true, unique: true })
  }
}

export function lacksStores(db: IDBDatabase): boolean {
  return STORES.some((name) => !db.objectStoreNames.contains(name))
}
