// Writes dist's d.ts with tsc, then names their neighbours as they are called in dist: './x.js' for './x.ts'.
import { readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { ROOT, runTool } from './tool.mjs'

// Same length either way, so that the source maps stay true.
const RELATIVE_TS = /(from ['"]|import\(['"])(\.{1,2}\/[^'"]+)\.ts(['"])/g

if (await runTool('typescript:tsc', ['-p', 'tsconfig.build.json'])) {
  for (const file of await readdir(join(ROOT, 'dist'), { recursive: true })) {
    if (!file.endsWith('.d.ts')) continue
    const path = join(ROOT, 'dist', file)
    await writeFile(path, (await readFile(path, 'utf8')).replace(RELATIVE_TS, '$1$2.js$3'))
  }
} else {
  process.exitCode = 1
}
