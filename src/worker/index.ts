// The subpath `ipfs-kit-web/worker`: the storage in a worker, and the same front to it from a page.
export { connect } from './connect.ts'
export { serve } from './serve.ts'
