// The memory tier: the same databases in script memory, for contexts that have no IndexedDB or refuse it. Loaded only there.
import { IDBFactory as MemoryFactory, IDBKeyRange as MemoryKeyRange } from 'fake-indexeddb'
import { memoryRanges } from './catalog/database.ts'

/** One a realm, so that two storages of one name share what they hold as they would on disk. */
const factory: IDBFactory = new MemoryFactory()

export function memoryFactory(): IDBFactory {
  memoryRanges.bound = MemoryKeyRange.bound.bind(MemoryKeyRange)
  return factory
}
