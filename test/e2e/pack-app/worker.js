// The storage's worker.
import { serve } from 'ipfs-kit-web/worker'
import { OPTIONS } from './options.js'

if (self.name === 'disable') globalThis.IPFS_KIT_DISABLE = 'true'
serve(OPTIONS)
