// What this engine can do in these circumstances: the table that `npm run test:browsers` prints.
import { expect, it } from 'vitest'
import { ANYWHERE, IN_PAGE, probeAll } from './probes.ts'
import { probeInWorker } from './worker-probes.ts'

declare module 'vitest' {
  interface TaskMeta {
    capabilities?: Record<string, string>
  }
}

it('tells what it can do', async ({ task }) => {
  const [page, both] = [await probeAll(IN_PAGE), await probeAll(ANYWHERE)]
  const told = await probeInWorker()
  const differs = Object.entries(told.both).filter(([name, found]) => (found === 'yes') !== (both[name] === 'yes') && found !== both[name])
  task.meta.capabilities = {
    ...page,
    ...both,
    ...Object.fromEntries(differs.map(([name, found]) => [`${name}, in a worker`, found])),
    ...told.worker,
  }
  // The least that the library asks of anyone.
  expect(both).toMatchObject({ IndexedDB: 'yes', BroadcastChannel: 'yes' })
  expect(page).toMatchObject({ 'module workers': 'yes' })
})
