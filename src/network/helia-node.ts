// Makes a Helia node over given stores. The only file that names helia and @helia/http, which are optional peers.
import * as dagCbor from '@ipld/dag-cbor'
import * as dagJson from '@ipld/dag-json'
import type * as HttpPackage from '@helia/http'
import type * as HeliaPackage from 'helia'
import type { BlockBroker, Helia, Provider, Router, Routing } from 'helia'
import * as json from 'multiformats/codecs/json'
import { sha512 } from 'multiformats/hashes/sha2'
import { isProvided, load as loadPart } from '../lazy.ts'
import { MAX_SILENCE_MS } from '../limits.ts'
import { GatewayBroker, observed } from './gateways.ts'
import { HeliaMissingError, messageOf } from './node.ts'
import type { MakeNode } from './node.ts'

/** Of `retrieveTimeoutMs`, the part that a silent gateway or router has before the next is asked. */
const SILENCE_PART = 0.25

interface Components {
  routing: Routing
}
type Make<T> = (components: Components) => T

/** What withHTTP adds to a node. */
interface HttpParts {
  routers: (Router | Make<Router>)[]
  broker: Make<BlockBroker>
}

/**
 * Loads Helia. The node it then makes is not started.
 *
 * @throws HeliaMissingError where it is not installed or can't be loaded
 */
export async function loadHelia(): Promise<MakeNode> {
  const { createHelia, createHeliaLight, withHTTP } = await load()

  return (stores, settings) => {
    const { gateways, delegatedRouters, libp2p } = settings
    const silenceMs = Math.min(settings.retrieveTimeoutMs * SILENCE_PART, MAX_SILENCE_MS)
    const open = { allowInsecure: true, allowLocal: true }
    const strict = collect(withHTTP, {
      ...(gateways === undefined ? {} : { recursiveGateways: [...gateways] }),
      ...(delegatedRouters === undefined ? {} : { delegatedRouters: [...delegatedRouters] }),
    })
    const lenient = collect(withHTTP, { ...open, delegatedRouters: [], recursiveGateways: [] })
    // Insecure and local gateways are asked only where the user named them, or a router of that kind which found them.
    const trustsLocal = (delegatedRouters ?? []).some(isInsecureOrLocal)
    const trustsNamed = gateways !== undefined && gateways.some(isInsecureOrLocal)
    const isLenient = (provider?: Provider): boolean => trustsLocal || (trustsNamed && provider?.fallback !== false)

    const init = {
      blockstore: stores.blockstore,
      datastore: stores.datastore,
      routers: [
        noRouter,
        ...strict.routers.map((router, index) => named(router, delegatedRouters?.[index] ?? "of Helia's defaults", silenceMs)),
      ],
      blockBrokers: [
        (components: Components) =>
          new GatewayBroker({
            routing: components.routing,
            brokerFor: (routing, provider) => (isLenient(provider) ? lenient : strict).broker({ ...components, routing }),
            silenceMs,
          }),
      ],
    }
    // What the DAGs that may be pinned here are made of. createHelia brings them itself.
    if (libp2p === false)
      return { node: createHeliaLight({ ...init, codecs: [dagCbor, dagJson, json], hashers: [sha512] }), restartable: true }
    const http = { delegatedRouters: [], recursiveGateways: [] }
    // Services of libp2p can't be used again after a stop.
    return { node: createHelia({ ...init, http, libp2p: { ...libp2p } }), restartable: false }
  }
}

/**
 * Must stand first: with gateways alone Helia looks for providers in an empty list of routers, and never comes back (reference/helia.md 1.10).
 */
const noRouter: Router = {
  name: 'ipfs-kit-web-none',
  async *findProviders() {},
}

function named(router: Router | Make<Router>, url: string, silenceMs: number): Router | Make<Router> {
  // An object is the fallback router, which answers at once.
  if (typeof router !== 'function') return router
  return (components) => observed(router(components), `router ${url}`, silenceMs)
}

/** Takes what withHTTP would add to a node, to put it together differently. */
function collect(withHTTP: typeof HttpPackage.withHTTP, options: HttpPackage.HTTPOptions): HttpParts {
  const routers: HttpParts['routers'] = []
  let broker: BlockBroker | Make<BlockBroker> | undefined
  const collector: Pick<Helia, 'addRouter' | 'hasBlockBroker' | 'addBlockBroker'> = {
    addRouter: (router) => void routers.push(router),
    hasBlockBroker: () => false,
    addBlockBroker: (added) => {
      broker = added
    },
  }
  withHTTP(collector as Helia, options)
  if (typeof broker !== 'function') throw new Error('this version of @helia/http has no block broker for gateways')
  return { routers, broker }
}

async function load(): Promise<typeof HeliaPackage & typeof HttpPackage> {
  let modules
  try {
    // Both must stand here as they are, inside a try: bundlers then let an optional peer be absent.
    modules = await (isProvided('heliaModules') ? loadPart('heliaModules') : Promise.all([import('helia'), import('@helia/http')]))
  } catch (cause) {
    throw new HeliaMissingError(`helia and @helia/http can't be loaded (${messageOf(cause)}): install both to reach the IPFS network`, {
      cause,
    })
  }
  // A bundler's stub for an absent package exports nothing.
  const [helia, http] = modules
  if (typeof helia.createHeliaLight !== 'function' || typeof http.withHTTP !== 'function') {
    throw new HeliaMissingError('helia and @helia/http are not both installed: install both to reach the IPFS network')
  }
  return { ...helia, ...http }
}

function isInsecureOrLocal(address: string): boolean {
  const { protocol, hostname } = new URL(address)
  return protocol === 'http:' || hostname === 'localhost' || hostname.endsWith('.localhost') || /^[\d.]+$|^\[/.test(hostname)
}
