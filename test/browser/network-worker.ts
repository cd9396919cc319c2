// A worker that runs a node, is told by its page of the network, and fetches what it is asked for.
import '../setup/later.ts'
import { CID } from 'multiformats/cid'
import { startMemoryNode } from './support/memory-node.ts'

export type ToWorker = { gateways: string[] } | { isOnline: boolean } | { fetch: string }

let node: ReturnType<typeof startMemoryNode> | undefined

async function answer(message: ToWorker): Promise<unknown> {
  if ('gateways' in message) node = startMemoryNode({ gateways: message.gateways, delegatedRouters: [] })
  if (node === undefined) throw new Error('not started')
  const { backend, fetcher } = await node
  if ('fetch' in message) return fetcher.operation().fetch(CID.parse(message.fetch))
  if ('isOnline' in message) backend.setOnline(message.isOnline)
  await backend.settled()
  return backend.status()
}

globalThis.addEventListener('message', (event: MessageEvent<ToWorker>) => {
  answer(event.data).then(
    (result) => postMessage({ result }),
    (error: unknown) => postMessage({ error: String(error) }),
  )
})
