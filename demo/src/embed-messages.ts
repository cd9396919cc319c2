// What the page and the embedding worker say to each other.
export type ToEmbedder =
  /** The port leads to the storage. */
  { type: 'load'; cid: string; port: MessagePort } | { type: 'embed'; sentences: string[] }

export type FromEmbedder =
  /** Bytes of weights read from the store so far. */
  | { type: 'progress'; bytes: number }
  | { type: 'loaded' }
  | { type: 'embedded'; vectors: Float32Array[] }
  | { type: 'failed'; error: { name: string; message: string; code: unknown } }
