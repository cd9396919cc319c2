// Serves files that ship in an npm package below a folder of the page, puts them into the build, and tells the page their names and sizes.
import { createReadStream } from 'node:fs'
import { copyFile, mkdir, readdir, stat } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { dirname, join, resolve } from 'node:path'
import type { Plugin } from 'vite'

const require = createRequire(import.meta.url)

interface PackageFiles {
  /** The npm package; its files lie in its `dist`. */
  package: string
  /** Which of them. */
  isWanted: (name: string) => boolean
  /** Where the page finds them, without slashes. */
  folder: string
  /** The page imports `virtual:<folder>-files`, which exports this. */
  exported: string
}

export function packageFiles({ package: packageName, isWanted, folder, exported }: PackageFiles): Plugin {
  const moduleId = `virtual:${folder}-files`
  const resolvedId = `\0${moduleId}`
  const source = join(dirname(require.resolve(`${packageName}/package.json`)), 'dist')
  const list = async (): Promise<{ name: string; size: number }[]> => {
    const names = (await readdir(source)).filter(isWanted).sort()
    return Promise.all(names.map(async (name) => ({ name, size: (await stat(join(source, name))).size })))
  }
  let outDir = ''
  return {
    name: `demo:${folder}-files`,
    configResolved(config) {
      outDir = resolve(config.root, config.build.outDir)
    },
    resolveId(id) {
      return id === moduleId ? resolvedId : undefined
    },
    async load(id) {
      if (id !== resolvedId) return undefined
      return `export const ${exported} = ${JSON.stringify(await list())}`
    },
    async configureServer(server) {
      const known = new Map((await list()).map((file) => [`/${folder}/${file.name}`, file]))
      server.middlewares.use((request, response, next) => {
        const file = known.get((request.url ?? '').split('?')[0] ?? '')
        if (!file) return next()
        response.setHeader('content-length', file.size)
        response.setHeader('content-type', file.name.endsWith('.json') ? 'application/json' : 'application/octet-stream')
        createReadStream(join(source, file.name)).pipe(response)
      })
    },
    async writeBundle() {
      const target = join(outDir, folder)
      await mkdir(target, { recursive: true })
      for (const { name } of await list()) await copyFile(join(source, name), join(target, name))
    },
  }
}
