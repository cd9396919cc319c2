// Starts the loopback gateways that tests talk to, on free ports, for the length of a run. Tests get their URLs by vitest's `inject`.
import { createServer } from 'node:http'
import type { IncomingMessage, RequestListener, Server, ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { CID } from 'multiformats/cid'
import type { TestProject } from 'vitest/node'
import { downloadServer } from './download-server.ts'

declare module 'vitest' {
  /** URLs are bases without a slash at the end. */
  interface ProvidedContext {
    /** Where the storages of this run keep the leaves of large files: vitest.config.ts says so for each project in a browser. */
    tier: 'records' | 'packs'
    /** How the tests of test/unit/fuzz run: FUZZ_RUNS and FUZZ_SEED. */
    fuzz: { runs: number | undefined; seed: number | undefined }
    /** Answers 404 to everything. */
    gateway404: string
    /** Answers 500 to everything. */
    gateway500: string
    /** Accepts and never answers. */
    gatewayHang: string
    /**
     * A trustless gateway: `GET /ipfs/<cid>?format=raw` answers a block that `PUT /block/<cid>` brought before, by multihash.
     * `GET /stats` answers GatewayStats; `DELETE /blocks` clears blocks and stats.
     */
    gatewayBlocks: string
    /** Answers the blocks of gatewayBlocks with one byte flipped. */
    gatewayCorrupt: string
    /** Files that come as their URLs say: see download-server.ts. */
    downloads: string
    /** The same on another origin. */
    downloadsElsewhere: string
  }
}

/** What `GET /stats` of gatewayBlocks and gatewayCorrupt answers. `cids` are those asked for, in order. */
export interface GatewayStats {
  requests: number
  hits: number
  misses: number
  cids: string[]
}

const CORS = {
  'access-control-allow-origin': '*',
  'access-control-allow-methods': '*',
  'access-control-allow-headers': '*',
  'access-control-expose-headers': '*',
}

/** Starts the servers and provides their URLs; the function answered ends them. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const blocks = new Map<string, Buffer>()
  const servers: Server[] = []
  const start = async (listener: RequestListener): Promise<string> => {
    const server = createServer(listener)
    servers.push(server)
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen(0, '127.0.0.1', resolve)
    })
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  }
  project.provide('gateway404', await start(answerAll(404)))
  project.provide('gateway500', await start(answerAll(500)))
  project.provide('gatewayHang', await start(() => undefined))
  project.provide('gatewayBlocks', await start(blockGateway(blocks, (block) => block)))
  project.provide('gatewayCorrupt', await start(blockGateway(blocks, flipFirstByte)))
  project.provide('downloads', await start(downloadServer()))
  project.provide('downloadsElsewhere', await start(downloadServer()))
  return async () => {
    await Promise.all(
      servers.map((server) => {
        const closed = new Promise((resolve) => server.close(resolve))
        server.closeAllConnections()
        return closed
      }),
    )
  }
}

function answerAll(status: number): RequestListener {
  return (request, response) => {
    answer(response, request.method === 'OPTIONS' ? 204 : status)
  }
}

/** A gateway over `blocks`, keyed by multihash in hex, that answers each as `alter` makes it. */
function blockGateway(blocks: Map<string, Buffer>, alter: (block: Buffer) => Buffer): RequestListener {
  const cids: string[] = []
  let hits = 0
  let misses = 0

  async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { pathname } = new URL(request.url ?? '/', 'http://localhost')
    const [room, cid] = pathname.slice(1).split('/')
    if (request.method === 'OPTIONS') return answer(response, 204)
    if (request.method === 'GET' && room === 'stats') {
      const stats: GatewayStats = { requests: cids.length, hits, misses, cids }
      return answer(response, 200, JSON.stringify(stats), 'application/json')
    }
    if (request.method === 'DELETE' && room === 'blocks') {
      blocks.clear()
      cids.length = hits = misses = 0
      return answer(response, 204)
    }
    if (request.method === 'PUT' && room === 'block' && cid !== undefined) {
      blocks.set(multihashOf(cid), await bodyOf(request))
      return answer(response, 204)
    }
    if ((request.method === 'GET' || request.method === 'HEAD') && room === 'ipfs' && cid !== undefined) {
      cids.push(cid)
      const block = blocks.get(multihashOf(cid))
      if (block === undefined) {
        misses++
        return answer(response, 404)
      }
      hits++
      return answer(response, 200, alter(block), 'application/vnd.ipld.raw')
    }
    answer(response, 404)
  }

  return (request, response) => {
    handle(request, response).catch((error: unknown) => answer(response, 400, String(error), 'text/plain'))
  }
}

function answer(response: ServerResponse, status: number, body?: string | Buffer, type = 'application/octet-stream'): void {
  response.writeHead(status, { ...CORS, 'cache-control': 'no-store', ...(body === undefined ? {} : { 'content-type': type }) })
  response.end(body)
}

function multihashOf(cid: string): string {
  return Buffer.from(CID.parse(cid).multihash.bytes).toString('hex')
}

function flipFirstByte(block: Buffer): Buffer {
  const flipped = Buffer.from(block)
  flipped[0] = (flipped[0] ?? 0) ^ 1
  return flipped
}

async function bodyOf(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk)
  return Buffer.concat(chunks)
}
