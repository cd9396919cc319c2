// Writes src/packs/worker-code.ts: the pack worker as text, so that the library can start it without help from any bundler.
//
//   node scripts/pack-worker.mjs     after a change of src/packs/worker.ts or service.ts; a unit test says when it is due
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { build } from 'esbuild'
import { ROOT } from './tool.mjs'

/** @returns {Promise<string>} the source of src/packs/worker-code.ts */
export async function workerCode() {
  const { outputFiles } = await build({
    absWorkingDir: ROOT,
    stdin: { contents: `import { servePacks } from './src/packs/worker.ts'; servePacks()`, resolveDir: ROOT, sourcefile: 'entry.ts' },
    bundle: true,
    minify: true,
    write: false,
    format: 'iife',
    platform: 'browser',
    target: 'es2022',
    logLevel: 'error',
  })
  const code = outputFiles[0]?.text.trim() ?? ''
  const literal = code.replaceAll('\\', '\\\\').replaceAll('`', '\\`').replaceAll('${', '\\${')
  return `// Made by scripts/pack-worker.mjs from worker.ts: do not edit.\nexport const WORKER_CODE: string = \`${literal}\`\n`
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  await writeFile(join(ROOT, 'src/packs/worker-code.ts'), await workerCode())
}
