// A worker that answers what it is sent, doubled: shows that tests can start module workers written in TypeScript.
import { CID } from 'multiformats/cid'

addEventListener('message', (event: MessageEvent<string>) => {
  postMessage(`${event.data} ${CID.parse(event.data).version}`)
})
