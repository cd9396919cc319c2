// The worker in which this library's storage runs for the contenders named "worker".
import { serve } from '../../src/worker/index.ts'
import type { Tier } from './ours.ts'

serve({
  cacheDir: 'ours',
  forceFallback: true,
  config: { tier: (new URL(location.href).searchParams.get('tier') ?? 'auto') as Tier },
})
