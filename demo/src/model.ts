// The model this demo stores: where its files come from and the name it is kept under.
import { MODEL_FILES } from 'virtual:model-files'

export const MODEL_NAME = 'models/universal-sentence-encoder-lite'
export const MODEL_BYTES: number = MODEL_FILES.reduce((sum, file) => sum + file.size, 0)
export const MODEL_FILE_COUNT: number = MODEL_FILES.length

/** One file after another, each as the stream it arrives in: nothing is fetched before the storage asks for it. */
export async function* fetchModel(signal: AbortSignal): AsyncGenerator<{ path: string; data: ReadableStream<Uint8Array> }> {
  for (const { name } of MODEL_FILES) {
    const response = await fetch(new URL(`model/${name}`, document.baseURI), { signal }).catch((cause: unknown) => {
      signal.throwIfAborted()
      throw new DownloadError(`${name} could not be fetched from this page’s server.`, { cause })
    })
    if (!response.ok || !response.body) throw new DownloadError(`This page’s server answered ${response.status} for ${name}.`)
    yield { path: name, data: response.body }
  }
}

/** The page's server could not be reached, or did not have the file. */
export class DownloadError extends Error {
  override readonly name = 'DownloadError'
  readonly code = 'download'
}
