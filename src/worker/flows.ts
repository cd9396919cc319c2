// The flows of one side of a port: sequences of values pulled with back-pressure, the same in both directions. Streams, sources, lists of items.
import { Inflow } from './inflow.ts'
import type { Receiving } from './inflow.ts'
import { Outflow } from './outflow.ts'
import type { PostFlow, Sending } from './outflow.ts'
import type { FlowMessage } from './protocol.ts'

export class Flows {
  readonly #post: PostFlow
  readonly #sent = new Map<number, Pick<Outflow<unknown>, 'pull' | 'stop'>>()
  readonly #received = new Map<number, Pick<Inflow<unknown>, 'chunk' | 'finish' | 'abandon'>>()
  #count = 0

  constructor(post: PostFlow) {
    this.#post = post
  }

  /** Offers a flow; answers its number, which the other side must be told. */
  send<T>(sending: Omit<Sending<T>, 'ended'>, ended?: () => void): number {
    const flow = this.#count++
    const forget = (): void => {
      this.#sent.delete(flow)
      ended?.()
    }
    this.#sent.set(flow, new Outflow(flow, { ...sending, ended: forget }, this.#post))
    return flow
  }

  /** Ends a flow that is sent, as if the other side had cancelled it. */
  stop(flow: number): void {
    this.#sent.get(flow)?.stop()
  }

  receive<T>(flow: number, receiving: Omit<Receiving<T>, 'ended'>, ended?: () => void): Inflow<T> {
    const forget = (): void => {
      this.#received.delete(flow)
      ended?.()
    }
    const inflow = new Inflow(flow, { ...receiving, ended: forget }, this.#post)
    this.#received.set(flow, inflow)
    return inflow
  }

  /** Lets a flow that is received fail, without telling the other side. */
  abandon(flow: number, error: unknown): void {
    this.#received.get(flow)?.abandon({ error })
  }

  /** Ends everything: what is sent stops, what is received fails. */
  end(error: unknown): void {
    for (const flow of this.#sent.values()) flow.stop()
    for (const flow of this.#received.values()) flow.abandon({ error })
  }

  /** A message about a flow that has ended meanwhile is late, not wrong. */
  handle(message: FlowMessage): void {
    const { type, flow } = message
    if (type === 'pull') this.#sent.get(flow)?.pull(message.count)
    else if (type === 'cancel') this.#sent.get(flow)?.stop()
    else if (type === 'chunk') this.#received.get(flow)?.chunk(message.value)
    else this.#received.get(flow)?.finish(type === 'fail' ? message.error : undefined)
  }
}
