// Answers out of directories: index.html where there is one, else a page that lists the names.
import { inShards, linksIn } from '../files/shards.ts'
import type { CID } from 'multiformats/cid'
import { respondWithFile } from './file.ts'
import { contentHeaders, isMatched } from './headers.ts'
import { LISTING_POLICY, LISTING_VERSION, listingPage } from './listing.ts'
import { rootsOf, type Answering, type Made } from './respond.ts'

const INDEX = 'index.html'

export async function respondWithDirectory(answering: Answering): Promise<Made> {
  const { request, wanted, target, content, operation, options } = answering
  const { url } = wanted
  // What is in it is named by relative links.
  if (!url.pathname.endsWith('/')) {
    return { response: new Response(null, { status: 301, headers: { Location: `${url.pathname}/${url.search}` } }) }
  }
  const index = await indexOf(answering)
  if (index !== undefined) return respondWithFile(answering, { cid: index, name: INDEX })
  const cid = target.cid.toString()
  const etag = `"DirIndex-${LISTING_VERSION}_CID-${cid}"`
  const headers = contentHeaders(wanted, { type: 'text/html; charset=utf-8', etag, roots: rootsOf(wanted, target), isGenerated: true })
  headers.set('Content-Security-Policy', LISTING_POLICY)
  if (isMatched(request.headers.get('if-none-match'), etag)) return { response: new Response(null, { status: 304, headers }) }
  const { node } = target
  if (node.kind !== 'directory' && node.kind !== 'shard') throw new TypeError('a directory is listed: this cannot be')
  const links = await linksIn(content, target.cid, node, { signal: operation.signal })
  const page = new TextEncoder().encode(
    listingPage({ path: options.path, named: wanted.named, segments: wanted.segments, cid: target.cid, links }),
  )
  headers.set('Content-Length', String(page.byteLength))
  if (request.method === 'HEAD') return { response: new Response(null, { headers }) }
  return { response: new Response(page, { headers }), body: { body: page, by: 'worker', verified: true } }
}

async function indexOf({ target, content, operation }: Answering): Promise<CID | undefined> {
  const { node } = target
  if (node.kind === 'directory') return node.links.find((link) => link.name === INDEX)?.cid
  if (node.kind !== 'shard') return undefined
  return inShards(content, target.cid, node, INDEX, target.nodes, { signal: operation.signal })
}
