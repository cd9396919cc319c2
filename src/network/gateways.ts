// Asks gateways for a block: those that delivered before first, another beside one that stays silent, and tells what each answered.
import type { BlockBroker, CreateSessionOptions, Provider, Router, Routing, SessionBlockBroker } from 'helia'
import type { CID } from 'multiformats/cid'
import { IntegrityError } from '../errors.ts'
import { MAX_NETWORK_BLOCK_BYTES, RELIABLE_GATEWAYS } from '../limits.ts'
import { FETCHED, NoGatewayError } from './fetch.ts'
import type { FetchOptions, FetchReceiver } from './fetch.ts'
import { hedge } from './hedge.ts'

/** The code of a CID whose identity digest is the URL of a gateway. */
const GATEWAY_CODE = 0x0920

type RetrieveOptions = NonNullable<Parameters<NonNullable<BlockBroker['retrieve']>>[1]>

export interface GatewayBrokerInit {
  routing: Routing
  /** Helia's own broker over that routing, strict or not as the one provider to be found there asks for; without one, for sessions. */
  brokerFor(routing: Routing, provider?: Provider): BlockBroker
  /** How long a gateway may stay silent before another is asked beside it. */
  silenceMs: number
}

/**
 * A block broker in place of Helia's, which asks one gateway after the other for as long as the caller lives: with it, one gateway that
 * accepts and never answers is the end of every fetch, and answers that don't match the CID are passed over in silence. The requests
 * themselves are made by Helia's.
 */
export class GatewayBroker implements BlockBroker {
  /** Must be the name of Helia's, so that withHTTP adds none beside it. */
  readonly name = 'trustless-gateway'
  readonly #init: GatewayBrokerInit
  readonly #reliable = new Map<string, Provider>()

  constructor(init: GatewayBrokerInit) {
    this.#init = init
  }

  async retrieve(cid: CID, options: RetrieveOptions = {}): Promise<Uint8Array> {
    const end = new AbortController()
    const signal = options.signal === undefined ? end.signal : AbortSignal.any([options.signal, end.signal])
    try {
      return await hedge(
        this.#providers(cid, { ...options, signal }),
        (provider, heard) => this.#ask(provider, cid, { ...options, signal }, heard),
        { silenceMs: this.#init.silenceMs, signal },
      )
    } catch (cause) {
      throw new NoGatewayError(`no gateway supplied block ${cid.toString()}`, { cause })
    } finally {
      end.abort()
    }
  }

  createSession(options?: CreateSessionOptions): SessionBlockBroker {
    const session = this.#init.brokerFor(this.#init.routing).createSession?.(options)
    if (session === undefined) throw new Error('this version of @helia/http has no sessions')
    return session
  }

  async *#providers(cid: CID, options: RetrieveOptions): AsyncGenerator<Provider> {
    const reliable = [...this.#reliable]
    yield* reliable.map(([, provider]) => provider)
    const asked = new Set(reliable.map(([who]) => who))
    for await (const provider of this.#init.routing.findProviders(cid, options)) {
      const who = nameOf(provider)
      if (asked.has(who)) continue
      asked.add(who)
      yield provider
    }
  }

  async #ask(provider: Provider, cid: CID, options: RetrieveOptions, heard: () => void): Promise<Uint8Array> {
    const who = nameOf(provider)
    const receiver = receiverOf(options)
    let isAsked = false
    let isHeard = false
    let mismatch: unknown
    try {
      const broker = this.#init.brokerFor(onlyOne(provider, this.#init.routing), provider)
      const retrieving = broker.retrieve?.(cid, {
        ...options,
        maxSize: options.maxSize ?? MAX_NETWORK_BLOCK_BYTES,
        validateFn: (block) =>
          options.validateFn?.(block).catch((cause: unknown) => {
            mismatch = cause
            throw cause
          }) ?? Promise.resolve(),
        onProgress: (event) => {
          if (event.type === 'helia:block-broker:connect') {
            isAsked = true
            receiver?.asking(who)
          }
          if (event.type === 'helia:block-broker:connected') {
            isHeard = true
            heard()
          }
          options.onProgress?.(event)
        },
      })
      if (retrieving === undefined) throw new Error('this version of @helia/http retrieves nothing')
      const block = await retrieving
      this.#keep(who, provider)
      return block
    } catch (cause) {
      const lost = options.signal?.aborted === true
      if (!lost || !isHeard) this.#reliable.delete(who)
      if (!lost) report(receiver, who, cid, { cause, isAsked, mismatch })
      throw cause
    }
  }

  #keep(who: string, provider: Provider): void {
    this.#reliable.set(who, provider)
    const [oldest] = this.#reliable.keys()
    if (this.#reliable.size > RELIABLE_GATEWAYS && oldest !== undefined) this.#reliable.delete(oldest)
  }
}

/**
 * The router under a name, which says in the fetch when it failed, where Helia only logs it, and which is given up after that time of
 * silence, because Helia asks no gateway before it is done.
 */
export function observed(router: Router, who: string, silenceMs: number): Router {
  const findProviders = router.findProviders?.bind(router)
  if (findProviders === undefined) return router
  router.findProviders = async function* (cid, options) {
    const receiver = receiverOf(options)
    const silence = new AbortController()
    const listen = (): ReturnType<typeof setTimeout> =>
      setTimeout(() => silence.abort(new Error(`no answer within ${silenceMs} ms`)), silenceMs)
    const signal = options?.signal === undefined ? silence.signal : AbortSignal.any([options.signal, silence.signal])
    let timer = listen()
    receiver?.asking(who)
    try {
      for await (const provider of findProviders(cid, { ...options, signal })) {
        clearTimeout(timer)
        yield provider
        timer = listen()
      }
      receiver?.answered(who)
    } catch (cause) {
      if (options?.signal?.aborted !== true) {
        const error = silence.signal.aborted ? (silence.signal.reason as Error) : cause
        receiver?.failed(who, new Error(`${who} failed: ${messageOf(error)}`, { cause: error }))
      }
      throw cause
    } finally {
      clearTimeout(timer)
    }
  }
  return router
}

function report(
  receiver: FetchReceiver | undefined,
  who: string,
  cid: CID,
  met: { cause: unknown; isAsked: boolean; mismatch: unknown },
): void {
  if (receiver === undefined) return
  const message = messageOf(met.cause)
  // Helia tells the status in the message alone.
  const status = /, received (\d{3})\b/.exec(message)?.[1]
  if (met.mismatch !== undefined) {
    const options = { cause: met.mismatch }
    receiver.failed(who, new IntegrityError(`${who} sent bytes that do not match ${cid.toString()}`, cid.toString(), options))
  } else if (!met.isAsked) {
    receiver.failed(who, new Error(`${who} has no address that may be asked over HTTP`, { cause: met.cause }))
  } else if (status === '404' || status === '410') {
    receiver.absent(who)
  } else {
    receiver.failed(who, new Error(status === undefined ? `${who} failed: ${message}` : `${who} answered ${status}`, { cause: met.cause }))
  }
}

function receiverOf(options: FetchOptions | undefined): FetchReceiver | undefined {
  return options?.[FETCHED]
}

/** Helia's broker gathers what went wrong; with one gateway there is one of them at most. */
function messageOf(cause: unknown): string {
  if (cause instanceof AggregateError && cause.errors.length > 0) return messageOf(cause.errors[0])
  // Who was asked for what is said already.
  return cause instanceof Error ? cause.message.replace(/^Unable to fetch raw block for CID \S+ - /, '') : String(cause)
}

function nameOf(provider: Provider): string {
  if (provider.id.code === GATEWAY_CODE) return `gateway ${new TextDecoder().decode(provider.id.multihash.digest)}`
  return `provider ${provider.multiaddrs[0]?.toString() ?? provider.id.toString()}`
}

/** The routing with one provider to be found. */
function onlyOne(provider: Provider, routing: Routing): Routing {
  return Object.create(routing, {
    findProviders: {
      value: async function* () {
        yield provider
      },
    },
  }) as Routing
}
