// The entry `ipfs-kit-web/service-worker`.
export { createHandler, type Handler } from './handler.ts'
export { install, type Installed, type InstallOptions, type ServedMessage } from './install.ts'
export { getStorage, type HeliaCode } from './worker-storage.ts'
export type { CachedUrl } from '../url-cache/caching-fetch.ts'
export type { FetchRule } from '../url-cache/rules.ts'
export type { HandlerOptions, Roots, Served } from './options.ts'
export { resetStorage } from '../storage.ts'
