// Files beside this page, as the server that it came from has them.

export interface FetchedFile {
  path: string
  data: ReadableStream<Uint8Array>
}

/** One file after another, each as the stream it arrives in: nothing is fetched before the storage asks for it. */
export async function* fetchFiles(folder: string, files: readonly { name: string }[], signal: AbortSignal): AsyncGenerator<FetchedFile> {
  for (const { name } of files) {
    const response = await fetch(new URL(`${folder}/${name}`, document.baseURI), { signal }).catch((cause: unknown) => {
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
