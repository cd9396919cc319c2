// Writes the demo's service worker after the build, in one file, since service workers load nothing later: in front of it every built file by name, and a
// version that is the hash of them all.
import { createHash } from 'node:crypto'
import { readdir, readFile, writeFile } from 'node:fs/promises'
import { join, relative, resolve, sep } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import type { Plugin } from 'vite'

const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url))

/** The page's own files. What it stores is not among them: it lives in the store. */
const STORED = ['model/', 'voice/', 'media/']

async function listShellFiles(outDir: string): Promise<string[]> {
  const found = await readdir(outDir, { recursive: true, withFileTypes: true })
  return found
    .filter((entry) => entry.isFile())
    .map((entry) => relative(outDir, join(entry.parentPath, entry.name)).split(sep).join('/'))
    .filter((path) => !STORED.some((folder) => path.startsWith(folder)) && !path.endsWith('.map') && path !== 'sw.js')
    .sort()
}

async function bundle(): Promise<string> {
  const { outputFiles } = await build({
    entryPoints: [here('../src/service-worker.ts')],
    alias: {
      'ipfs-kit-web/fetch': here('../../src/url-cache/index.ts'),
      'ipfs-kit-web/service-worker': here('../../src/service-worker/index.ts'),
    },
    bundle: true,
    minify: true,
    write: false,
    format: 'iife',
    platform: 'browser',
    target: 'es2022',
    legalComments: 'none',
    logLevel: 'error',
  })
  return outputFiles[0]?.text ?? ''
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
      const [files, code] = await Promise.all([listShellFiles(outDir), bundle()])
      const hash = createHash('sha256').update(code)
      for (const file of files) hash.update(`\0${file}\0`).update(await readFile(join(outDir, file)))
      const shell = files.map((file) => (file === 'index.html' ? './' : `./${file}`))
      const head = [`const VERSION = ${JSON.stringify(hash.digest('hex').slice(0, 16))}`, `const FILES = ${JSON.stringify(shell, null, 2)}`]
      await writeFile(join(outDir, 'sw.js'), `${head.join('\n')}\n${code}`)
    },
  }
}
