// A download that a pack worker makes: what it asks for, and the leaves that come, which stay in the worker.
import type { Lane } from './lanes.ts'
import type { Head, Pulled, RequestInWords, Stretch } from './requests.ts'

/** A leaf that lies in a worker, until it is written to a pack of that worker's, taken or let go of. */
export interface HeldLeaf {
  id: number
  size: number
  digest: Uint8Array<ArrayBuffer>
}

let next = 0

export class Connection {
  readonly lane: Lane
  readonly #id = next++
  #isOver = false

  constructor(lane: Lane) {
    this.lane = lane
    lane.connections++
  }

  /** Asks, in place of what it asked before. Rejects as fetch() does, and where the worker has ended. */
  ask(request: RequestInWords, stretch: Stretch): Promise<Head> {
    return this.lane.call('ask', [this.#id, request, stretch])
  }

  /** The next leaves, so many at most. It may be called while others are waited for, and comes after them. */
  pull(most: number, stallMs: number): Promise<Pulled> {
    return this.lane.call('pull', [this.#id, most, stallMs])
  }

  /** Ends what was asked for. What has come of a leaf is kept for what is asked next. */
  hang(): void {
    this.lane.call('hang', [this.#id]).catch(() => undefined)
  }

  /** The bytes of a leaf, which the worker forgets. */
  async take({ id }: HeldLeaf): Promise<Uint8Array<ArrayBuffer>> {
    const { buffer } = await this.lane.call('take', [id])
    return new Uint8Array(buffer)
  }

  letGo(leaves: readonly HeldLeaf[]): void {
    if (leaves.length === 0) return
    this.lane.call('letGo', [leaves.map(({ id }) => id)]).catch(() => undefined)
  }

  /** Ends it: leaves that were not written are let go of. */
  end(): void {
    if (this.#isOver) return
    this.#isOver = true
    this.lane.connections--
    this.lane.call('disconnect', [this.#id]).catch(() => undefined)
  }
}
