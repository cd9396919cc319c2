// Builds of a later release, for which the source of the catalog's schema is changed as it may be one day.
import { readFile } from 'node:fs/promises'
import type { Plugin } from 'esbuild'

/** Adds a store to the catalog. `format`: of a build after which today's may read and not write. */
export function newer(format: 1 | 2): Plugin {
  const changes: [from: string, to: string][] = [
    ['CATALOG_FORMAT = 1', `CATALOG_FORMAT = ${format}`],
    ["'packs', 'places'] as const", "'packs', 'places', 'notes'] as const"],
    ['upgradeCatalog(db: IDBDatabase)', 'upgradeCatalog(db: IDBDatabase, transaction: IDBTransaction)'],
    [
      "  if (missing.has('damaged'))",
      `  if (missing.has('notes')) {
        db.createObjectStore('notes')
        transaction.objectStore('meta').put({ readableBy: 1, writableBy: ${format} }, 'format')
      }
      if (missing.has('damaged'))`,
    ],
  ]
  return {
    name: 'newer',
    setup(build) {
      build.onLoad({ filter: /catalog\/schema\.ts$/ }, async ({ path }) => {
        let contents = await readFile(path, 'utf8')
        for (const [from, to] of changes) {
          if (contents.split(from).length !== 2) throw new Error(`schema.ts has no '${from}' any more: this test must follow it`)
          contents = contents.replace(from, to)
        }
        return { contents, loader: 'ts' }
      })
    },
  }
}
