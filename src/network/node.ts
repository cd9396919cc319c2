// What the life of a node needs: the stores it runs over, how one is made, and the error that says there is none to be had.
import type { Blockstore } from 'interface-blockstore'
import type { Datastore } from 'interface-datastore'
import type { IpfsSettings } from '../options.ts'
import type { HeliaNode } from '../types.ts'
import { load } from '../lazy.ts'

/** Open stores for one node. `close` lets go of what a session holds. */
export interface NodeStores {
  blockstore: Blockstore
  datastore: Datastore
  close(): Promise<void>
  /** Called with each node made over them, before it starts. */
  prepare?(node: HeliaNode): void
}

/** A node that is made but not started. */
export interface StartableNode extends HeliaNode {
  start(): Promise<unknown>
  stop(): Promise<unknown>
}

/** Makes a node over the stores. `restartable`: it runs again as the same object after a stop. */
export type MakeNode = (stores: NodeStores, settings: IpfsSettings) => { node: StartableNode; restartable: boolean }

/** Loads what making a node needs, or throws HeliaMissingError. */
export type LoadNode = () => Promise<MakeNode>

/** Helia is not installed, or its chunk can't be loaded. */
export class HeliaMissingError extends Error {
  override readonly name = 'HeliaMissingError'
}

/** Loads Helia behind a chunk of its own, which nothing needs before. */
export async function loadNode(): Promise<MakeNode> {
  let module
  try {
    module = await load('heliaNode')
  } catch (cause) {
    throw new HeliaMissingError(`the part that runs Helia can't be loaded: ${messageOf(cause)}`, { cause })
  }
  return module.loadHelia()
}

export function messageOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause)
}
