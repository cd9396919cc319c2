// `npm start`: builds the demo and serves it.
//
//   npm start -- --port 5000 --host 0.0.0.0   a port of your own (else the first free one from 4173), and from other machines
//   npm start -- --no-open                    don't open a browser (one is opened only from a terminal on a desktop)
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { parseArgs } from 'node:util'
import { build, preview } from 'vite'
import { ROOT } from './tool.mjs'

const DEMO = join(ROOT, 'demo')
const FIRST_PORT = 4173

/**
 * Builds the demo and serves it until `close()`, which also ends the connections under way.
 *
 * @param {object} [options]
 * @param {number} [options.port] this one or none; default: the first free one from 4173
 * @param {string} [options.host] default 'localhost'
 * @param {boolean} [options.open] open a browser; default false
 * @param {boolean} [options.build] `false` serves what was built before; default true
 * @param {string} [options.outDir] where the build goes, so that two can run at once; default demo/dist
 * @returns {Promise<{ url: string, close: () => Promise<void> }>}
 * @throws Error where the port is taken or the build fails
 */
export async function startDemo({ port, host = 'localhost', open = false, build: wanted = true, outDir = join(DEMO, 'dist') } = {}) {
  if (!existsSync(join(DEMO, 'index.html'))) throw new Error('demo/index.html is missing: is this a whole checkout?')
  if (wanted)
    await build({
      root: DEMO,
      logLevel: 'warn',
      build: { outDir, emptyOutDir: true, rolldownOptions: { checks: { pluginTimings: false } } },
    })
  const server = await preview({
    root: DEMO,
    logLevel: 'warn',
    build: { outDir },
    preview: { port: port ?? FIRST_PORT, strictPort: port !== undefined, host, open },
  })
  const url = server.resolvedUrls?.local[0] ?? server.resolvedUrls?.network[0]
  if (url === undefined) throw new Error('the demo is served, but nowhere: give another --host')
  return { url, close: () => server.close() }
}

/** Whether someone sits before this terminal and could see a browser. */
function hasDisplay() {
  if (!process.stdout.isTTY || process.env['CI'] !== undefined) return false
  return process.platform !== 'linux' || process.env['DISPLAY'] !== undefined || process.env['WAYLAND_DISPLAY'] !== undefined
}

async function main() {
  const { values } = parseArgs({
    options: { port: { type: 'string' }, host: { type: 'string' }, open: { type: 'boolean' } },
    allowNegative: true,
  })
  const port = values.port === undefined ? undefined : Number(values.port)
  if (port !== undefined && !(Number.isInteger(port) && port > 0 && port < 65_536))
    throw new Error(`--port takes 1 to 65535, not '${values.port}'`)
  console.log('Building the demo …')
  const demo = await startDemo({
    open: values.open ?? hasDisplay(),
    ...(port === undefined ? {} : { port }),
    ...(values.host === undefined ? {} : { host: values.host }),
  })
  console.log(`\n  The demo is at ${demo.url}\n\n  Ctrl+C ends it.`)
  for (const signal of ['SIGINT', 'SIGTERM']) {
    process.once(signal, () => void demo.close().then(() => process.exit(0)))
  }
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  try {
    await main()
  } catch (error) {
    console.error(error instanceof Error ? error.message : error)
    process.exitCode = 1
  }
}
