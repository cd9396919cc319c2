// Answers what a dedicated worker can do.
import { ANYWHERE, IN_WORKER, probeAll } from './probes.ts'
import type { Told } from './worker-probes.ts'

postMessage({ both: await probeAll(ANYWHERE), worker: await probeAll(IN_WORKER) } satisfies Told)
