// The entry `ipfs-kit-web/fetch`.
export { createFetch, type CachedUrl, type CachingFetch, type CreateFetchOptions } from './caching-fetch.ts'
export type { FetchRule } from './rules.ts'
