// Serves one large file at the pace of a slow line, with ranges and a strong ETag, and a switch that cuts its connections.
//
// GET  /download/<name>?download=<key>    the file; what is sent is counted by that key
// GET  /download/state?download=<key>     LargeFileState, as JSON
// POST /download/network                  `on` or `off`: cuts the file's connections that are under way, and refuses others until it is on again
import type { IncomingMessage, ServerResponse } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Connect, Plugin } from 'vite'
import type { LargeFileState } from '../src/large-file-state.ts'
import { openArchive, type Archive } from './archive.ts'

const MODULE_ID = 'virtual:large-file'
const RESOLVED_ID = `\0${MODULE_ID}`
const FOLDER = '/download/'
/** Slow enough to be interrupted by hand. All connections share it. */
const BYTES_A_SECOND = 4 * 1024 * 1024
const PIECE_BYTES = 32 * 1024
/** Counts that are kept: one a download. The oldest go first. */
const MAX_COUNTS = 1000

interface Count {
  sent: number
  answers: number
}

class LargeFile {
  readonly #archive: Archive
  readonly #counts = new Map<string, Count>()
  readonly #underWay = new Set<ServerResponse>()
  #isOn = true
  /** When the line is free again. */
  #free = 0

  constructor(archive: Archive) {
    this.#archive = archive
  }

  /** Answers false where it is not about this file. */
  async handle(request: IncomingMessage, response: ServerResponse): Promise<boolean> {
    const { pathname, searchParams } = new URL(request.url ?? '/', 'http://localhost')
    const key = searchParams.get('download') ?? ''
    if (pathname === `${FOLDER}state` && request.method === 'GET') this.#tell(response, key)
    else if (pathname === `${FOLDER}network` && request.method === 'POST') await this.#switch(request, response)
    else if (pathname === FOLDER + this.#archive.name) await this.#serve(request, response, key)
    else return false
    return true
  }

  #tell(response: ServerResponse, key: string): void {
    const { sent, answers } = this.#countOf(key)
    const state: LargeFileState = { network: this.#isOn ? 'on' : 'off', bytesASecond: BYTES_A_SECOND, sent, answers }
    response.writeHead(200, { 'content-type': 'application/json', 'cache-control': 'no-store' }).end(JSON.stringify(state))
  }

  async #switch(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { origin, host } = request.headers
    // Pages of other origins could switch it too, without asking.
    if (origin !== undefined && !['http', 'https'].some((scheme) => origin === `${scheme}://${host}`)) {
      response.writeHead(403).end('only from this page')
      return
    }
    let wanted = ''
    for await (const piece of request) if (wanted.length < 8) wanted += String(piece)
    if (wanted !== 'on' && wanted !== 'off') {
      response.writeHead(400).end('on or off')
      return
    }
    this.#isOn = wanted === 'on'
    if (!this.#isOn) for (const each of this.#underWay) each.destroy()
    response.writeHead(204).end()
  }

  async #serve(request: IncomingMessage, response: ServerResponse, key: string): Promise<void> {
    if (!this.#isOn) {
      request.socket.destroy()
      return
    }
    const { size, sha256, read } = this.#archive
    const etag = `"${sha256.slice(0, 32)}"`
    const condition = request.headers['if-range']
    const range = condition === undefined || condition === etag ? rangeOf(request.headers.range, size) : undefined
    const headers = { etag, 'accept-ranges': 'bytes', 'content-type': 'application/x-tar', 'cache-control': 'no-cache' }
    if (range === null) {
      response.writeHead(416, { ...headers, 'content-range': `bytes */${size}` }).end()
      return
    }
    const { from, to } = range ?? { from: 0, to: size }
    response.writeHead(range === undefined ? 200 : 206, {
      ...headers,
      'content-length': to - from,
      ...(range === undefined ? {} : { 'content-range': `bytes ${from}-${to - 1}/${size}` }),
    })
    if (request.method === 'HEAD') {
      response.end()
      return
    }
    this.#underWay.add(response)
    try {
      await this.#send(response, read(from, to), this.#countOf(key, true))
    } finally {
      this.#underWay.delete(response)
    }
  }

  async #send(response: ServerResponse, pieces: AsyncIterable<Buffer>, count: Count): Promise<void> {
    count.answers++
    const over = new Promise((resolve) => response.once('close', resolve))
    for await (const piece of pieces) {
      for (let at = 0; at < piece.byteLength; at += PIECE_BYTES) {
        const part = piece.subarray(at, at + PIECE_BYTES)
        await this.#pace(part.byteLength)
        if (response.destroyed) return
        count.sent += part.byteLength
        if (!response.write(part)) await Promise.race([new Promise((resolve) => response.once('drain', resolve)), over])
      }
    }
    response.end()
  }

  /** Waits until the line has carried so many bytes more. */
  async #pace(bytes: number): Promise<void> {
    const now = performance.now()
    const start = Math.max(now, this.#free)
    this.#free = start + (bytes / BYTES_A_SECOND) * 1000
    await sleep(this.#free - now)
  }

  #countOf(key: string, isKept = false): Count {
    const count = this.#counts.get(key) ?? { sent: 0, answers: 0 }
    if (isKept) this.#counts.set(key, count)
    for (const oldest of this.#counts.keys()) {
      if (this.#counts.size <= MAX_COUNTS) break
      this.#counts.delete(oldest)
    }
    return count
  }
}

/** undefined where all of it is wanted, null where nothing is there. */
function rangeOf(header: string | undefined, size: number): { from: number; to: number } | undefined | null {
  const [, first, last] = /^bytes=(\d*)-(\d*)$/.exec(header ?? '') ?? []
  if (first === undefined || last === undefined || first + last === '') return undefined
  const from = first === '' ? Math.max(0, size - Number(last)) : Number(first)
  const to = first === '' || last === '' ? size : Math.min(size, Number(last) + 1)
  return from < to ? { from, to } : null
}

export function largeFile(): Plugin {
  // Its hash is made once, when it is first wanted.
  let opened: Promise<Archive> | undefined
  const open = (): Promise<Archive> => (opened ??= openArchive())
  const serve = (middlewares: Connect.Server): void => {
    let file: Promise<LargeFile> | undefined
    middlewares.use((request, response, next) => {
      if (request.url?.startsWith(FOLDER) !== true) return next()
      file ??= open().then((archive) => new LargeFile(archive))
      file
        .then(async (served) => served.handle(request, response))
        .then(
          (isHandled) => {
            if (!isHandled) response.writeHead(404).end()
          },
          () => response.destroy(),
        )
    })
  }
  return {
    name: 'demo:large-file',
    resolveId(id) {
      return id === MODULE_ID ? RESOLVED_ID : undefined
    },
    async load(id) {
      if (id !== RESOLVED_ID) return undefined
      const { name, size, sha256 } = await open()
      return `export const LARGE_FILE = ${JSON.stringify({ name, size, sha256 })}`
    },
    configureServer: (server) => serve(server.middlewares),
    configurePreviewServer: (server) => serve(server.middlewares),
  }
}
