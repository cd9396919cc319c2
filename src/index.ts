// The main entry. Loading it touches neither network nor storage.
export { getStorage, IPFSKitStorage, resetStorage } from './storage.ts'
export * from './errors.ts'
export type * from './types.ts'
