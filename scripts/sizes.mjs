// Measures each entry with its static dependencies: bundled and minified by esbuild, then brotli 11. Dynamic imports stay outside.
import { pathToFileURL } from 'node:url'
import { brotliCompressSync, constants } from 'node:zlib'
import { build } from 'esbuild'
import { ROOT } from './tool.mjs'

/** Each entry's source and its budget in bytes, brotli 11. */
export const ENTRIES = [
  { name: '.', source: 'src/index.ts', budgetBytes: 75_000 },
  { name: './worker', source: 'src/worker/index.ts', budgetBytes: 80_000 },
  { name: './service-worker', source: 'src/service-worker/index.ts', budgetBytes: 120_000 },
  { name: './fetch', source: 'src/url-cache/index.ts', budgetBytes: 85_000 },
  { name: './service-worker/workbox', source: 'src/service-worker/workbox.ts', budgetBytes: 4_000 },
  { name: './helia', source: 'src/helia.ts', budgetBytes: 1_000 },
]

const HELIA = /node_modules\/(?:helia|@helia|libp2p|@libp2p|@chainsafe)\//

/**
 * @param {string} source path of the entry, relative to the project
 * @returns {Promise<{ minifiedBytes: number, brotliBytes: number, heliaModules: string[] }>}
 */
export async function measure(source) {
  const { outputFiles, metafile } = await build({
    absWorkingDir: ROOT,
    entryPoints: [source],
    bundle: true,
    minify: true,
    write: false,
    metafile: true,
    format: 'esm',
    platform: 'browser',
    target: 'es2022',
    logLevel: 'error',
    plugins: [
      {
        name: 'dynamic imports stay outside',
        setup(plugin) {
          plugin.onResolve({ filter: /.*/ }, ({ kind, path }) => (kind === 'dynamic-import' ? { path, external: true } : undefined))
        },
      },
    ],
  })
  const code = outputFiles[0]?.contents ?? new Uint8Array()
  const compressed = brotliCompressSync(code, {
    params: { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_SIZE_HINT]: code.length },
  })
  return {
    minifiedBytes: code.length,
    brotliBytes: compressed.length,
    heliaModules: Object.keys(metafile.inputs).filter((path) => HELIA.test(path)),
  }
}

/** Prints a table and answers what is wrong: one line a broken budget or an entry that loads Helia. */
async function main() {
  for (const { name, source, budgetBytes } of ENTRIES) {
    const { minifiedBytes, brotliBytes, heliaModules } = await measure(source)
    console.log(`${name.padEnd(10)} ${kB(minifiedBytes)} minified  ${kB(brotliBytes)} brotli  of ${kB(budgetBytes)}`)
    if (brotliBytes > budgetBytes) fail(`${name} is ${brotliBytes} bytes, more than its budget of ${budgetBytes}`)
    if (heliaModules.length > 0) fail(`${name} loads Helia by itself: ${heliaModules.join(', ')}`)
  }
}

/** @param {number} bytes */
const kB = (bytes) => `${(bytes / 1000).toFixed(1)} kB`.padStart(9)

/** @param {string} message */
function fail(message) {
  console.error(message)
  process.exitCode = 1
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) await main()
