// Writes the demo's service worker after the build: every built file by name, and a version that is the hash of them all.
import { createHash } from 'node:crypto'
import { readdir, readFile, writeFile } from 'node:fs/promises'
import { join, relative, resolve, sep } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Plugin } from 'vite'

const TEMPLATE = fileURLToPath(new URL('./service-worker.js', import.meta.url))

/** The page's own files. The model's are not among them: they live in the store. */
async function listShellFiles(outDir: string): Promise<string[]> {
  const found = await readdir(outDir, { recursive: true, withFileTypes: true })
  return found
    .filter((entry) => entry.isFile())
    .map((entry) => relative(outDir, join(entry.parentPath, entry.name)).split(sep).join('/'))
    .filter((path) => !path.startsWith('model/') && !path.endsWith('.map') && path !== 'sw.js')
    .sort()
}

export function appShell(): Plugin {
  let outDir = ''
  return {
    name: 'demo:app-shell',
    // Not import.meta.env.PROD, which a NODE_ENV of the caller's would change.
    config(_, { command }) {
      return { define: { HAS_APP_SHELL: JSON.stringify(command === 'build') } }
    },
    configResolved(config) {
      outDir = resolve(config.root, config.build.outDir)
    },
    async writeBundle() {
      const files = await listShellFiles(outDir)
      const template = await readFile(TEMPLATE, 'utf8')
      const hash = createHash('sha256').update(template)
      for (const file of files) hash.update(`\0${file}\0`).update(await readFile(join(outDir, file)))
      const shell = files.map((file) => (file === 'index.html' ? './' : `./${file}`))
      const script = template
        .replace("'__VERSION__'", JSON.stringify(hash.digest('hex').slice(0, 16)))
        .replace("['__FILES__']", JSON.stringify(shell, null, 2))
      await writeFile(join(outDir, 'sw.js'), script)
    },
  }
}
