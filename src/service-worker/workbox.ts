// The entry `ipfs-kit-web/service-worker/workbox`: content by CID as a strategy of Workbox, and a plugin for its other strategies. Needs workbox-strategies.
import type { CacheWillUpdateCallbackParam, HandlerDidErrorCallbackParam, WorkboxPlugin } from 'workbox-core/types.js'
import { Strategy, type StrategyOptions } from 'workbox-strategies/Strategy.js'
import type { StrategyHandler } from 'workbox-strategies/StrategyHandler.js'
import { InvalidOptionsError } from '../errors.ts'
import { contentHandlerOf, type ContentHandler, type Handler } from './handler.ts'

/** What createHandler() made. Strategies and plugins that are given the same one share its storage. */
interface Handling {
  handle: Handler
}

export type IPFSStrategyOptions = StrategyOptions & Handling
export type IPFSPluginOptions = Handling

/**
 * Answers requests below the handler's path out of its storage, and others from the network.
 *
 * @example
 * import { createHandler } from 'ipfs-kit-web/service-worker'
 * import { IPFSStrategy } from 'ipfs-kit-web/service-worker/workbox'
 * import { registerRoute } from 'workbox-routing'
 *
 * const handle = createHandler()
 * registerRoute(({ url }) => url.pathname.startsWith('/ipfs/'), new IPFSStrategy({ handle }))
 */
export class IPFSStrategy extends Strategy {
  readonly #content: ContentHandler

  /** @throws InvalidOptionsError where `handle` is something else */
  constructor(options: IPFSStrategyOptions) {
    super(options)
    this.#content = contentOf(options)
  }

  override async _handle(request: Request, handler: StrategyHandler): Promise<Response | undefined> {
    return (await this.#content.answer(request)) ?? handler.fetch(request)
  }
}

/**
 * For any strategy of Workbox: where it fails, as without a network, content by CID is answered out of the storage; and what is whole there is not kept a
 * second time in a cache. Of all else answers with the status 200 are kept, as Workbox does by itself.
 *
 * @example
 * registerRoute(({ url }) => url.pathname.startsWith('/ipfs/'), new NetworkFirst({ plugins: [new IPFSPlugin({ handle })] }))
 */
export class IPFSPlugin implements WorkboxPlugin {
  readonly #content: ContentHandler

  /** @throws InvalidOptionsError where `handle` is something else */
  constructor(options: IPFSPluginOptions) {
    this.#content = contentOf(options)
  }

  // Workbox passes these around by themselves.
  readonly handlerDidError = async ({ request }: HandlerDidErrorCallbackParam): Promise<Response | undefined> => {
    const answer = await this.#content.answer(request)
    // Whatever else is wrong, the strategy failed before.
    return answer === undefined || answer.status >= 400 ? undefined : answer
  }

  readonly cacheWillUpdate = async ({ request, response }: CacheWillUpdateCallbackParam): Promise<Response | null> => {
    return response.status !== 200 || (await this.#content.holds(request)) ? null : response
  }
}

function contentOf(options: Handling | undefined): ContentHandler {
  const content = options === undefined ? undefined : contentHandlerOf(options.handle)
  if (content === undefined) throw new InvalidOptionsError("option 'handle' must be what createHandler() made", 'handle')
  return content
}
