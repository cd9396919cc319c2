// The paths of a directory under construction: which may stand beside each other, and what lies at each.
import { InvalidPathError, LimitError } from '../errors.ts'
import { MAX_DIRECTORY_ENTRIES, MAX_NAME_BYTES, MAX_PATH_SEGMENTS } from '../limits.ts'

/** A directory by names: what was placed there, or a directory again. */
export type Folder<T extends object> = Map<string, T | Folder<T>>

/** Taken by a path whose file is still being read. */
const RESERVED = {}

export class Tree<T extends object> {
  readonly root: Folder<T> = new Map()

  /**
   * Reserves a path and answers a function that puts the file there.
   *
   * @throws InvalidPathError for a path that is empty, repeated or escaping, or both a file and a directory
   * @throws LimitError beyond MAX_NAME_BYTES, MAX_PATH_SEGMENTS or MAX_DIRECTORY_ENTRIES
   */
  place(path: string): (file: T) => void {
    const names = checkPath(path)
    const last = names.pop() ?? ''
    let folder = this.root
    for (const name of names) {
      const next = folder.get(name) ?? new Map<string, T | Folder<T>>()
      if (!(next instanceof Map)) throw new InvalidPathError(`path '${path}' lies below '${name}', which is a file`, path)
      add(folder, name, next)
      folder = next
    }
    const there = folder.get(last)
    if (there instanceof Map) throw new InvalidPathError(`path '${path}' is a directory already`, path)
    if (there !== undefined) throw new InvalidPathError(`path '${path}' is given twice`, path)
    add(folder, last, RESERVED as T)
    return (file) => folder.set(last, file)
  }
}

function add<T extends object>(folder: Folder<T>, name: string, child: T | Folder<T>): void {
  folder.set(name, child)
  if (folder.size > MAX_DIRECTORY_ENTRIES) {
    throw new LimitError(`directory has more than ${MAX_DIRECTORY_ENTRIES} names`, 'MAX_DIRECTORY_ENTRIES', folder.size)
  }
}

function checkPath(path: unknown): string[] {
  if (typeof path !== 'string') {
    throw new InvalidPathError(`path is ${path === null ? 'null' : `of type ${typeof path}`}: give a string such as 'a/b.txt'`, '')
  }
  const names = path.split('/')
  if (names.length > MAX_PATH_SEGMENTS) {
    throw new LimitError(`path has ${names.length} segments, more than ${MAX_PATH_SEGMENTS}`, 'MAX_PATH_SEGMENTS', names.length)
  }
  for (const name of names) checkName(name, path)
  return names
}

function checkName(name: string, path: string): void {
  if (name === '')
    throw new InvalidPathError(path === '' ? 'path is empty' : `path '${path}' holds an empty name: '/' stands only between names`, path)
  if (name === '.' || name === '..') throw new InvalidPathError(`path '${path}' holds '${name}': name what is meant directly`, path)
  if (name.includes('\0')) throw new InvalidPathError(`path ${JSON.stringify(path)} holds a NUL character`, path)
  // Names are stored as UTF-8, where every lone surrogate would become the same U+FFFD.
  if (/\p{Surrogate}/u.test(name)) throw new InvalidPathError(`path ${JSON.stringify(path)} holds half a surrogate pair`, path)
  const bytes = new TextEncoder().encode(name).byteLength
  if (bytes > MAX_NAME_BYTES)
    throw new LimitError(`name '${name.slice(0, 40)}…' has ${bytes} bytes, more than ${MAX_NAME_BYTES}`, 'MAX_NAME_BYTES', bytes)
}
