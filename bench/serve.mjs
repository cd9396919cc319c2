// Bundles the pages of the benchmark and serves them from loopback.
import { createHash, randomBytes } from 'node:crypto'
import { createServer } from 'node:http'
import { readdir } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { Readable } from 'node:stream'
import { build } from 'esbuild'
import { ROOT } from '../scripts/tool.mjs'

const PAGE =
  '<!doctype html><meta charset="utf-8"><title>bench</title><link rel="icon" href="data:,"><script type="module" src="/index.js"></script>'

/** Cross-origin isolated, so that performance.now() counts in 5 µs instead of 100. */
const HEADERS = { 'cross-origin-opener-policy': 'same-origin', 'cross-origin-embedder-policy': 'require-corp', 'cache-control': 'no-store' }

/**
 * Serves the pages until `close` is called.
 *
 * @returns {Promise<{ url: string, close: () => void }>}
 */
export async function servePages() {
  const scripts = await bundle()
  const server = createServer((request, response) => {
    const { bytes, file } = /^\/files\/(?<bytes>\d+)\/(?<file>[\w-]+)$/.exec(request.url ?? '')?.groups ?? {}
    if (file !== undefined) return sendFile(request, response, Number(bytes), file)
    const name = basename(new URL(request.url ?? '/', 'http://page').pathname).replace(/\.[jt]s$/, '')
    const script = scripts.get(name)
    if (name !== '' && script === undefined) {
      response.writeHead(404).end()
      return
    }
    response.writeHead(200, { ...HEADERS, 'content-type': script === undefined ? 'text/html' : 'text/javascript' })
    response.end(script ?? PAGE)
  })
  await new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(undefined)))
  const { port } = /** @type {import('node:net').AddressInfo} */ (server.address())
  return {
    url: `http://127.0.0.1:${port}/`,
    close() {
      server.closeAllConnections()
      server.close()
    },
  }
}

/** What every file is made of. */
const RANDOM = randomBytes(64 * 1024 * 1024)
const PIECE_BYTES = 1024 * 1024

/**
 * A file that nobody has: it begins anywhere in what they are made of, and no mebibyte of it comes twice. Whole, or a range of it.
 *
 * @param {import('node:http').IncomingMessage} request
 * @param {import('node:http').ServerResponse} response
 * @param {number} bytes
 * @param {string} file
 */
function sendFile(request, response, bytes, file) {
  const range = /^bytes=(?<from>\d+)-(?<to>\d*)$/.exec(request.headers.range ?? '')?.groups
  const { from = '0', to = '' } = range ?? {}
  const end = Math.min(to === '' ? bytes : Number(to) + 1, bytes)
  response.writeHead(range === undefined ? 200 : 206, {
    ...HEADERS,
    ...(range === undefined ? {} : { 'content-range': `bytes ${from}-${end - 1}/${bytes}` }),
    etag: `"${file}"`,
    'accept-ranges': 'bytes',
    'content-type': 'application/octet-stream',
    'content-length': end - Number(from),
  })
  Readable.from(piecesOf(file, Number(from), end)).pipe(response)
}

/**
 * @param {string} file
 * @param {number} from
 * @param {number} end
 */
function* piecesOf(file, from, end) {
  const seed = createHash('sha256').update(file).digest().readUInt32LE()
  for (let at = from; at < end;) {
    // The next ring is shifted, so that no piece of it is one of those before.
    const start = (seed + at + Math.floor(at / RANDOM.length) * 4099) % RANDOM.length
    const length = Math.min(PIECE_BYTES - (at % PIECE_BYTES), end - at, RANDOM.length - start)
    yield RANDOM.subarray(start, start + length)
    at += length
  }
}

/**
 * Scripts by name without extension: the page, its workers, and workers that the library itself starts beside its own script.
 *
 * @returns {Promise<Map<string, Uint8Array>>}
 */
async function bundle() {
  const pages = ['index', 'storage-worker', 'limits-worker', 'serving-worker'].map((name) => join(ROOT, 'bench/page', `${name}.ts`))
  const { outputFiles } = await build({
    entryPoints: [...pages, ...(await libraryWorkers())],
    entryNames: '[name]',
    outdir: '/',
    bundle: true,
    write: false,
    format: 'esm',
    platform: 'browser',
    target: 'es2022',
    logLevel: 'error',
  })
  return new Map(outputFiles.map(({ path, contents }) => [basename(path, '.js'), contents]))
}

/** @returns {Promise<string[]>} */
async function libraryWorkers() {
  const files = await readdir(join(ROOT, 'src'), { recursive: true })
  return files.filter((file) => /[\w]-worker\.ts$/.test(file)).map((file) => join(ROOT, 'src', file))
}
