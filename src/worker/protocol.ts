// The messages between a client and the storage in a worker, and the little that is asked of a port.
//
// At the door (the worker itself, a shared worker's port, a port handed over) only the messages marked 'ipfs-kit:…' are ours. A client says
// hello; whoever serves answers ready, and says so unasked when serve() is called, so that a hello which came too early is not lost. Then the
// client sends one end of a channel of its own, and everything else goes through that: in order, and apart from other traffic.
import type { ContentStorage, Progress, StorageEvents } from '../types.ts'
import type { WireError } from './errors.ts'

/** Goes up with every change that an older client or server would misunderstand. A shared worker outlives a deploy. */
export const PROTOCOL_VERSION = 1

export type DoorMessage =
  | { type: 'ipfs-kit:hello' }
  | { type: 'ipfs-kit:ready'; version: number; error?: WireError }
  /** With the client's end of the channel. */
  | { type: 'ipfs-kit:connect' }
  /** Sent by an application, with a port that becomes another door. */
  | { type: 'ipfs-kit:port' }

/** What is answered by the worker; the rest is the client's own. Objects with methods can't be cloned: downloads are told apart by their ids. */
export type Method =
  | Exclude<keyof ContentStorage, keyof EventTarget | 'persist' | 'helia' | 'close' | 'downloads'>
  | 'listDownloads'
  | 'resumeDownload'
  | 'cancelDownload'

/** A record, so that none can be forgotten. */
export const METHODS: Record<Method, true> = {
  ready: true,
  store: true,
  storeUrl: true,
  listDownloads: true,
  resumeDownload: true,
  cancelDownload: true,
  storeMany: true,
  storeDirectory: true,
  retrieve: true,
  stream: true,
  blob: true,
  stat: true,
  listDirectory: true,
  listFiles: true,
  exists: true,
  delete: true,
  pin: true,
  unpin: true,
  verify: true,
  gc: true,
  exportCar: true,
  importCar: true,
  isAvailable: true,
  getBackendStatus: true,
}

export type EventName = keyof StorageEvents
export const EVENTS: readonly EventName[] = ['change', 'evicted', 'damaged', 'repaired', 'status']

/** Options without their signal and onProgress, which stay with the client under the number `hook`. */
export interface WireOptions {
  values: Record<string, unknown>
  hook?: number
  signal?: boolean
  progress?: boolean
}

/** A source as it is, or a flow of its bytes; `headers` where it was a Response or its size is known. */
export type WireSource = { value: unknown } | { flow: number; headers?: [string, string][] }

/** An item of storeMany or an entry of storeDirectory. */
export interface WireItem {
  data: WireSource
  rest: WireOptions
}

export type WireArgument =
  | { kind: 'value'; value: unknown }
  | { kind: 'options'; options: WireOptions }
  | { kind: 'source'; source: WireSource }
  | { kind: 'items'; flow: number }
  | { kind: 'request'; url: string; init: WireRequest }

/** A Request without what stays with the client or makes no difference to a download. */
export interface WireRequest {
  method: string
  headers: [string, string][]
  credentials: RequestCredentials
  redirect: RequestRedirect
  referrerPolicy: ReferrerPolicy
  integrity: string
}

/** What either side says about a flow. `pull` and `cancel` go to the side that sends it, the others to the side that receives it. */
export type FlowMessage =
  | { type: 'pull'; flow: number; count: number }
  | { type: 'cancel'; flow: number }
  | { type: 'chunk'; flow: number; value: unknown }
  | { type: 'done'; flow: number }
  | { type: 'fail'; flow: number; error: WireError }

/** Whoever sends this holds that Web Lock as long as it lives. */
export interface AliveMessage {
  type: 'alive'
  lock: string
}

export type ClientMessage =
  | FlowMessage
  | { type: 'call'; id: number; method: string; args: WireArgument[] }
  | { type: 'abort'; hook: number; reason: WireError }
  | { type: 'online'; online: boolean }
  | AliveMessage
  | { type: 'close' }

export type ServerMessage =
  | FlowMessage
  | AliveMessage
  /** `locks`: whoever gets the value holds them for its life. */
  | { type: 'result'; id: number; value: unknown; locks?: readonly string[] }
  | { type: 'stream'; id: number; flow: number }
  | { type: 'error'; id: number; error: WireError }
  | { type: 'progress'; hook: number; progress: Progress }
  | { type: 'event'; name: EventName; detail: unknown }

/** What a Worker, a MessagePort and a worker's global scope have in common, whichever of TypeScript's conflicting libs describes them. */
export interface PortLike {
  postMessage(message: unknown, transfer: Transferable[]): void
  addEventListener(type: string, listener: (event: Event) => void): void
  removeEventListener(type: string, listener: (event: Event) => void): void
  start?(): void
  close?(): void
}

/** Reads a message at the door; undefined: not ours. */
export function doorMessage(event: Event): { message: DoorMessage; port: PortLike | undefined } | undefined {
  const { data, ports } = event as MessageEvent<unknown>
  if (typeof data !== 'object' || data === null || !('type' in data)) return undefined
  if (typeof data.type !== 'string' || !data.type.startsWith('ipfs-kit:')) return undefined
  return { message: data as DoorMessage, port: ports[0] }
}
