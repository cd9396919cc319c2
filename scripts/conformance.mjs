// The cases of ipfs/gateway-conformance, asked of the service worker in a Chromium.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { CarBlockIterator } from '@ipld/car'
import { startGateway } from '../test/conformance/harness.mjs'
import { startProxy } from '../test/conformance/proxy.mjs'
import { extractFixtures, findTool, NoToolError, runCases } from './gateway-conformance.mjs'

const SPECS = [
  'trustless-block-gateway',
  'trustless-car-gateway',
  'trustless-car-gateway-optional',
  'path-raw-gateway',
  'path-unixfs-gateway',
  'path-range-gateway',
]

/**
 * Prints how many of the cases of each specification pass, and each that fails with its reason. Where the tool can't be had that is said, and nothing fails.
 *
 * @returns {Promise<{ passed: number, failed: number, skipped: number }>}
 */
export async function testConformance() {
  const folder = await mkdtemp(join(tmpdir(), 'ipfs-kit-web-conformance-'))
  try {
    const cases = await askAll(folder)
    for (const spec of new Set(cases.map((each) => each.spec))) {
      const ofSpec = cases.filter((each) => each.spec === spec)
      console.log(`${spec}: ${rate(ofSpec)}`)
      for (const { name, reason } of ofSpec.filter(({ passed }) => !passed)) console.log(`  fails: ${name}\n    ${reason}`)
    }
    console.log(`all: ${rate(cases)}`)
    const passed = cases.filter((each) => each.passed).length
    return { passed, failed: cases.length - passed, skipped: 0 }
  } catch (error) {
    if (!(error instanceof NoToolError) || process.env['GATEWAY_CONFORMANCE']) throw error
    console.log(`gateway-conformance is skipped, since it can't be had here: ${error.message}`)
    return { passed: 0, failed: 0, skipped: 1 }
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

/** @param {string} folder */
async function askAll(folder) {
  const tool = await findTool(folder)
  const cars = await extractFixtures(tool, join(folder, 'fixtures'))
  const blocks = []
  for (const car of cars) for await (const block of await CarBlockIterator.fromBytes(car)) blocks.push(block)
  const gateway = await startGateway(blocks)
  const proxy = await startProxy(gateway)
  try {
    return await runCases(tool, { url: proxy.url, specs: SPECS, folder })
  } finally {
    await proxy.close()
    await gateway.close()
  }
}

/** @param {readonly { passed: boolean }[]} cases */
function rate(cases) {
  const passed = cases.filter((each) => each.passed).length
  return `${passed} of ${cases.length} cases pass (${((100 * passed) / cases.length).toFixed(1)} %)`
}
