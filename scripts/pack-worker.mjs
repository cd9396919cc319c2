// Writes src/packs/worker-code.ts and src/download/hash-code.ts: workers as text, so that the library can start them without help from any bundler.
//
//   node scripts/pack-worker.mjs     after a change of src/packs/worker.ts, service.ts or src/download/hash-worker.ts, or of the package behind that; unit
//                                    tests say when it is due
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { build } from 'esbuild'
import { ROOT } from './tool.mjs'

/** @returns {Promise<string>} the source of src/packs/worker-code.ts */
export async function workerCode() {
  return `// Made by scripts/pack-worker.mjs from worker.ts: do not edit.\nexport const WORKER_CODE: string = \`${await textOf('packs/worker', 'servePacks')}\`\n`
}

/** @returns {Promise<string>} the source of src/download/hash-code.ts */
export async function hashCode() {
  return `// Made by scripts/pack-worker.mjs from hash-worker.ts: do not edit.\nexport const HASH_CODE: string = \`${await textOf('download/hash-worker', 'serveHash')}\`\n`
}

/**
 * @param {string} module below src/
 * @param {string} serve what it exports for the worker to call
 * @returns {Promise<string>} fit for a template literal
 */
async function textOf(module, serve) {
  const { outputFiles } = await build({
    absWorkingDir: ROOT,
    stdin: { contents: `import { ${serve} } from './src/${module}.ts'; ${serve}()`, resolveDir: ROOT, sourcefile: 'entry.ts' },
    bundle: true,
    minify: true,
    write: false,
    format: 'iife',
    platform: 'browser',
    target: 'es2022',
    logLevel: 'error',
  })
  const code = outputFiles[0]?.text.trim() ?? ''
  return code.replaceAll('\\', '\\\\').replaceAll('`', '\\`').replaceAll('${', '\\${')
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  await writeFile(join(ROOT, 'src/packs/worker-code.ts'), await workerCode())
  await writeFile(join(ROOT, 'src/download/hash-code.ts'), await hashCode())
}
