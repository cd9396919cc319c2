// The main entry. Loading it touches neither network nor storage.
export { getStorage, IPFSKitStorage } from './ipfs-kit-storage.ts'
export { resetStorage } from './storage.ts'
export * from './errors.ts'
export type * from './types.ts'
