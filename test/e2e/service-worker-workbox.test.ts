// Workbox itself, with the strategy and the plugin of `ipfs-kit-web/service-worker/workbox`.
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { register, startSite, visit, type Own, type Site, type Visit } from './support/site.ts'

let site: Site
let here: Visit
/** Of 'hello world', which nobody stores here. */
const ABSENT = 'bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e'

let stored = ''

beforeAll(async () => {
  site = await startSite({ workers: { workbox: 'test/e2e/fixtures/workbox.ts' } })
})

afterAll(async () => {
  await site?.close()
})

beforeEach(async () => {
  here = await visit(site)
  stored = await here.page.evaluate(() => (globalThis as unknown as Own).storage.store('from the store', { filename: 'stored.txt' }))
  await register(here.page, {}, 'workbox.js')
})

afterEach(async () => {
  await here.context.close()
  await site.start()
  site.texts.clear()
  if (here.errors.length > 0) throw new Error(here.errors.join('\n'))
})

/** Status and text of each. */
function ask(paths: readonly string[]): Promise<string[]> {
  return here.page.evaluate(
    (paths) =>
      Promise.all(
        paths.map(async (path) => {
          const response = await fetch(path).catch(() => undefined)
          return response === undefined ? 'failed' : `${response.status} ${response.ok ? await response.text() : ''}`.trim()
        }),
      ),
    paths,
  )
}

/** Paths that a cache holds. */
const cached = (name: string): Promise<string[]> =>
  here.page.evaluate(async (name) => {
    const cache = await caches.open(name)
    return (await cache.keys()).map(({ url }) => new URL(url).pathname)
  }, name)

it('the strategy answers by CID out of the store, and all else from the network', async () => {
  const paths = [`/ipfs/${stored}`, `/ipfs/${ABSENT}`, '/else/where', '/else/nowhere']
  site.texts.set('/else/where', 'from the network')
  expect(await ask(paths)).toEqual(['200 from the store', '404', '200 from the network', '404'])
  await site.stop()
  await here.killWorkers()
  expect(await ask(paths)).toEqual(['200 from the store', '404', 'failed', 'failed'])
  const part = await here.page.evaluate(async (cid) => {
    const response = await fetch(`/ipfs/${cid}`, { headers: { range: 'bytes=5-7' } })
    return [response.status, await response.text()]
  }, stored)
  expect(part).toEqual([206, 'the'])
  expect(site.requests.filter((path) => path.startsWith('/ipfs/'))).toEqual([])
})

describe.each(['NetworkFirst', 'CacheFirst', 'StaleWhileRevalidate'])('the plugin in %s', (name) => {
  it('answers out of the store where the network fails, and keeps nothing twice', async () => {
    const paths = [`/${name}/ipfs/${stored}`, `/${name}/ipfs/${ABSENT}`, `/${name}/page`, `/${name}/nowhere`, `/${name}/ipfs/not-a-cid`]
    for (const path of paths.slice(0, 3)) site.texts.set(path, 'from the network')
    expect(await ask(paths)).toEqual(['200 from the network', '200 from the network', '200 from the network', '404', '404'])
    await expect.poll(() => cached(name)).toHaveLength(2)
    expect((await cached(name)).toSorted()).toEqual([`/${name}/ipfs/${ABSENT}`, `/${name}/page`].toSorted())
    await site.stop()
    expect(await ask(paths)).toEqual(['200 from the store', '200 from the network', '200 from the network', 'failed', 'failed'])
  })
})
