// Stores and retrieves in the page and in a worker, and tells the test what it saw by the `report` that the test has exposed.
import { IPFSKitStorage } from 'ipfs-kit-web'
import { connect } from 'ipfs-kit-web/worker'
import { OPTIONS } from './options.js'

/** @param {import('ipfs-kit-web').ContentStorage} storage */
async function use(storage) {
  await storage.ready()
  const cid = await storage.store('hello world\n', { filename: 'hello.txt' })
  const bytes = await storage.retrieve(cid)
  const { ipfsKitAvailable, usingFallback, fallbackReason, fallbackDetail, cacheDir } = await storage.getBackendStatus()
  await storage.close()
  return { cid, text: new TextDecoder().decode(bytes), ipfsKitAvailable, usingFallback, fallbackReason, fallbackDetail, cacheDir }
}

async function inWorker() {
  // Literals twice, because Vite reads them at build time.
  const worker =
    location.search === '?disable'
      ? new Worker(new URL('./worker.js', import.meta.url), { type: 'module', name: 'disable' })
      : new Worker(new URL('./worker.js', import.meta.url), { type: 'module' })
  const broken = new Promise((_resolve, reject) => {
    worker.addEventListener('error', (event) => reject(new Error(`the worker broke: ${event.message}`)))
  })
  try {
    return await Promise.race([use(connect(worker)), broken])
  } finally {
    worker.terminate()
  }
}

const page = await use(new IPFSKitStorage(OPTIONS))
const worker = await inWorker()
await globalThis.report({ page, worker })
