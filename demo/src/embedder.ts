// The page's side of the embedding worker.
import type { FromEmbedder, ToEmbedder } from './embed-messages.ts'

export class Embedder {
  readonly cid: string
  /** Bytes of weights that came from the store. */
  weightBytes = 0
  #worker = new Worker(new URL('./embed-worker.ts', import.meta.url), { type: 'module', name: 'embedder' })

  constructor(cid: string) {
    this.cid = cid
  }

  /** `port` leads to the storage; the worker reads the model through it. */
  async load(port: MessagePort, onProgress: (bytes: number) => void): Promise<void> {
    const onBytes = (bytes: number): void => {
      this.weightBytes = bytes
      onProgress(bytes)
    }
    await this.#ask({ type: 'load', cid: this.cid, port }, 'loaded', onBytes)
  }

  /** One vector of 512 numbers a sentence. */
  async embed(sentences: string[]): Promise<Float32Array[]> {
    return (await this.#ask({ type: 'embed', sentences }, 'embedded')).vectors
  }

  close(): void {
    this.#worker.terminate()
  }

  #ask<T extends FromEmbedder['type']>(
    message: ToEmbedder,
    answer: T,
    onBytes?: (bytes: number) => void,
  ): Promise<Extract<FromEmbedder, { type: T }>> {
    const listening = new AbortController()
    const { signal } = listening
    const answered = new Promise<Extract<FromEmbedder, { type: T }>>((resolve, reject) => {
      this.#worker.addEventListener(
        'message',
        ({ data }: MessageEvent<FromEmbedder>) => {
          if (data.type === 'progress') onBytes?.(data.bytes)
          else if (data.type === 'failed') reject(Object.assign(new Error(data.error.message), data.error))
          else if (data.type === answer) resolve(data as Extract<FromEmbedder, { type: T }>)
        },
        { signal },
      )
      this.#worker.addEventListener('error', (event) => reject(new Error(event.message || 'The embedding worker could not be loaded.')), {
        signal,
      })
    })
    this.#worker.postMessage(message, { transfer: message.type === 'load' ? [message.port] : [] })
    return answered.finally(() => listening.abort())
  }
}
