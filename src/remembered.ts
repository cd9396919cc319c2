// What is remembered of a storage where the browser does not look for space: by it an eviction is noticed at the next opening.

/**
 * Whether another catalog of this storage was here before that nobody destroyed; remembers this one. Chromium leaves localStorage when it takes the
 * databases and files of an origin. Where there is none (workers), and where it goes as well (Firefox, Safari), nothing is noticed. A worker that destroys
 * a storage leaves what pages remember of it, unless one that has it open hears: then the next page takes that for an eviction, once.
 */
export function wasAnother(cacheDir: string, catalog: string): boolean {
  try {
    const before = localStorage.getItem(keyOf(cacheDir))
    if (before !== catalog) localStorage.setItem(keyOf(cacheDir), catalog)
    return before !== null && before !== catalog
  } catch {
    return false
  }
}

/** `catalog`: only if that is the one which is remembered. */
export function forget(cacheDir: string, catalog?: string): void {
  try {
    if (catalog === undefined || localStorage.getItem(keyOf(cacheDir)) === catalog) localStorage.removeItem(keyOf(cacheDir))
  } catch {
    // Nothing was remembered here.
  }
}

function keyOf(cacheDir: string): string {
  return `ipfs-kit-web:${cacheDir}`
}
