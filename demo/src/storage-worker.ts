// The storage lives in this worker: hashing and databases never hold up the page.
import { serve } from 'ipfs-kit-web/worker'

serve({ forceFallback: self.name === 'storage-fallback' })
