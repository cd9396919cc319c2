// Runs the sentence encoder with tfjs, in a worker so that the page stays responsive. It is a client of the storage's worker: weights come
// straight from the store, verified, as a stream that tfjs pulls, so that they are never in memory as whole files.
import '@tensorflow/tfjs-backend-cpu'
import { loadGraphModel } from '@tensorflow/tfjs-converter'
import type { GraphModel } from '@tensorflow/tfjs-converter'
import { setBackend, tensor1d, tensor2d } from '@tensorflow/tfjs-core'
import type { io, Tensor } from '@tensorflow/tfjs-core'
import type { Bytes, ContentStorage } from 'ipfs-kit-web'
import { connect } from 'ipfs-kit-web/worker'
import type { FromEmbedder, ToEmbedder } from './embed-messages.ts'
import { Tokenizer } from './tokenizer.ts'
import type { Vocabulary } from './tokenizer.ts'

/** model.json of a tfjs graph model. */
interface ModelJson {
  modelTopology: object
  weightsManifest: { paths: string[]; weights: io.WeightsManifestEntry[] }[]
}

interface Encoder {
  model: GraphModel
  tokenizer: Tokenizer
}

let encoder: Encoder | undefined

function say(message: FromEmbedder): void {
  postMessage(message)
}

async function readJson<T>(storage: ContentStorage, path: string): Promise<T> {
  const bytes = await storage.retrieve(path)
  if (!bytes) throw new Error(`${path} is not in the store.`)
  return JSON.parse(new TextDecoder().decode(bytes)) as T
}

/** The shards, one after another, as the store reads them. */
async function* readShards(storage: ContentStorage, paths: string[]): AsyncGenerator<Bytes> {
  let bytes = 0
  for (const path of paths) {
    const stream = await storage.stream(path)
    if (!stream) throw new Error(`${path} is not in the store.`)
    const reader = stream.getReader()
    try {
      for (let next = await reader.read(); !next.done; next = await reader.read()) {
        bytes += next.value.byteLength
        say({ type: 'progress', bytes })
        yield next.value
      }
    } finally {
      await reader.cancel()
    }
  }
}

/** tfjs takes whole buffers, where the store may answer a view of a larger one. */
function toBuffers(chunks: AsyncGenerator<Bytes>): ReadableStream<ArrayBuffer> {
  return new ReadableStream<ArrayBuffer>(
    {
      async pull(controller) {
        const next = await chunks.next()
        if (next.done) return controller.close()
        const chunk = next.value
        controller.enqueue(chunk.byteLength === chunk.buffer.byteLength ? chunk.buffer : chunk.slice().buffer)
      },
      async cancel() {
        await chunks.return(undefined)
      },
    },
    { highWaterMark: 0 },
  )
}

async function load(storage: ContentStorage, cid: string): Promise<Encoder> {
  await setBackend('cpu')
  const { modelTopology, weightsManifest } = await readJson<ModelJson>(storage, `${cid}/model.json`)
  const tokenizer = new Tokenizer(await readJson<Vocabulary>(storage, `${cid}/vocab.json`))
  const paths = weightsManifest.flatMap((group) => group.paths.map((path) => `${cid}/${path}`))
  const handler: io.IOHandler = {
    load: async () => ({
      modelTopology,
      weightSpecs: weightsManifest.flatMap((group) => group.weights),
      format: 'graph-model',
      getWeightStream: () => toBuffers(readShards(storage, paths)),
    }),
  }
  return { model: await loadGraphModel(handler, { streamWeights: true }), tokenizer }
}

/** The encoder takes all sentences at once: the ids of their pieces, and for each its [sentence, place]. */
async function embed({ model, tokenizer }: Encoder, sentences: string[]): Promise<Float32Array[]> {
  const ids: number[] = []
  const places: [number, number][] = []
  for (const [row, sentence] of sentences.entries()) {
    for (const [column, id] of tokenizer.encode(sentence).entries()) {
      ids.push(id)
      places.push([row, column])
    }
  }
  const indices = tensor2d(places, [places.length, 2], 'int32')
  const values = tensor1d(ids, 'int32')
  const output = (await model.executeAsync({ indices, values })) as Tensor
  const flat = await output.data<'float32'>()
  for (const tensor of [indices, values, output]) tensor.dispose()
  const width = flat.length / sentences.length
  return sentences.map((_, row) => flat.slice(row * width, (row + 1) * width))
}

async function handle(message: ToEmbedder): Promise<void> {
  if (message.type === 'embed') {
    if (!encoder) throw new Error('The model is not loaded yet.')
    return say({ type: 'embedded', vectors: await embed(encoder, message.sentences) })
  }
  const storage = connect(message.port)
  try {
    encoder = await load(storage, message.cid)
  } finally {
    await storage.close()
  }
  say({ type: 'loaded' })
}

function describe(error: unknown): { name: string; message: string; code: unknown } {
  if (!(error instanceof Error)) return { name: 'Error', message: String(error), code: undefined }
  return { name: error.name, message: error.message, code: 'code' in error ? error.code : undefined }
}

addEventListener('message', (event: MessageEvent<ToEmbedder>) => {
  handle(event.data).catch((error: unknown) => say({ type: 'failed', error: describe(error) }))
})
