// The model this demo stores: where its files come from and the name it is kept under.
import { MODEL_FILES } from 'virtual:model-files'
import { fetchFiles, type FetchedFile } from './fetch-files.ts'

export const MODEL_NAME = 'models/universal-sentence-encoder-lite'
export const MODEL_BYTES: number = MODEL_FILES.reduce((sum, file) => sum + file.size, 0)
export const MODEL_FILE_COUNT: number = MODEL_FILES.length
export const MODEL_FILE_NAMES: readonly string[] = MODEL_FILES.map(({ name }) => name)

export function fetchModel(signal: AbortSignal): AsyncGenerator<FetchedFile> {
  return fetchFiles('model', MODEL_FILES, signal)
}
