// One block from a node's network, handed to whoever asked and kept out of the node's own session.
import type { CID } from 'multiformats/cid'
import { UnsupportedContentError } from '../errors.ts'
import type { HeliaNode } from '../types.ts'
import { untilAborted } from './abort.ts'
import type { Answers } from './answers.ts'

/**
 * Key of the option that marks a fetch of ours. Helia hands the options of `blockstore.get` on to `has` and `put` of the store it runs
 * over. Where this one is there, that store must answer false to `has`, and at `put` give the bytes to `deliver` and keep nothing: who
 * asked stores the block for an owner of its own.
 */
export const FETCHED: unique symbol = Symbol('ipfs-kit-web fetched')

/** Takes what a fetch brings: the block, and what those who were asked answered instead. `who` names them as a person would. */
export interface FetchReceiver {
  deliver(bytes: Uint8Array): void
  asking(who: string): void
  /** It answered and is no reason for anything: a router that knows nobody. */
  answered(who: string): void
  /** It answered that it does not have the block. */
  absent(who: string): void
  /** It could not be asked, or its answer is none. */
  failed(who: string, error: Error): void
}

/** What our block broker throws once no gateway supplied a block. */
export class NoGatewayError extends Error {
  override readonly name = 'NoGatewayError'
}

export interface FetchOptions {
  signal?: AbortSignal
  [FETCHED]?: FetchReceiver
}

/**
 * Asks the node's network for one block; what came of it is in `answers` when this resolves. The signal must abort some time, since Helia
 * waits without bound.
 *
 * @throws UnsupportedContentError for a hash that Helia can't check
 * @throws the signal's reason, at once
 */
export async function fetchBlock(node: HeliaNode, cid: CID, answers: Answers, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted()
  // Must not wait for Helia alone: get() first takes a lock that Helia's gc() may hold, and that wait knows no signal.
  await untilAborted(drain(node, cid, answers, signal), signal)
}

/** Must read to the end: a get() that is left unfinished holds Helia's lock for ever. */
async function drain(node: HeliaNode, cid: CID, answers: Answers, signal: AbortSignal): Promise<void> {
  const options: FetchOptions = { signal, [FETCHED]: answers }
  try {
    for await (const bytes of node.blockstore.get(cid, options)) answers.deliver(bytes)
  } catch (cause) {
    // Nobody listens any more, and what an abort makes of each question is no answer.
    if (signal.aborted) return
    if (cause instanceof Error && cause.name === 'UnknownHashAlgorithmError') {
      throw new UnsupportedContentError(`block ${cid.toString()} has a hash that can't be checked here`, cid.toString(), { cause })
    }
    for (const error of failures(cause)) answers.failed('the node', error)
  }
}

/** LoadBlockFailedError holds what each block broker threw. Gateways have told the receiver one by one, and more precisely. */
function failures(cause: unknown): Error[] {
  if (!(cause instanceof Error)) return [new Error(String(cause))]
  const each =
    cause.name === 'LoadBlockFailedError' && 'errors' in cause && Array.isArray(cause.errors) ? (cause.errors as unknown[]) : [cause]
  return each.filter((error): error is Error => error instanceof Error && !(error instanceof NoGatewayError))
}
