// The entry `ipfs-kit-web/service-worker/helia`: Helia for a service worker, which can load nothing later. Needs helia and @helia/http.
import * as http from '@helia/http'
import * as heliaPackage from 'helia'
import * as guestStores from '../network/guest-stores.ts'
import * as heliaNode from '../network/helia-node.ts'
import type { HeliaCode } from './worker-storage.ts'

/**
 * Lets a service worker fetch what is missing.
 *
 * @example
 * import { install } from 'ipfs-kit-web/service-worker'
 * import { helia } from 'ipfs-kit-web/service-worker/helia'
 * install(self, { helia, allow: () => true })
 */
export const helia: HeliaCode = {
  guestStores: async () => guestStores,
  heliaModules: async () => [heliaPackage, http],
  heliaNode: async () => heliaNode,
}
