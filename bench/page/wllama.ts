// The CacheManager of wllama: a file in OPFS written by a worker of its own, read as a Blob, unhashed.
import { CacheManager } from '@wllama/wllama'
import type { Bytes, Contender } from './contender.ts'
import { present, rangesOf, streamOfCopies } from './contender.ts'

const PIECE_BYTES = 1024 * 1024

export function openWllama(): Contender {
  const manager = new CacheManager()
  const open = async (name: string): Promise<Blob> => present(await manager.open(name), name)
  const write = async (name: string, stream: ReadableStream<Bytes>, size: number): Promise<string> => {
    const url = `https://models.example/${name}`
    const key = await manager.getNameFromURL(url)
    await manager.write(key, stream, { etag: name, originalSize: size, originalURL: url })
    return key
  }
  return {
    store: async (name, bytes) => write(name, streamOfCopies(bytes, PIECE_BYTES), bytes.byteLength),
    retrieve: async (key) => new Uint8Array(await (await open(key)).arrayBuffer()),
    storeStream: write,
    stream: async (key) => (await open(key)).stream(),
    ranges: async (key) => rangesOf(await open(key)),
    blob: open,
    delete: async (key) => manager.delete(key),
  }
}
