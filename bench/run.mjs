// `npm run bench`: measures this library beside what else keeps files in a browser. See --help, and docs/bench/README.md for what is what.
import { mkdir, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { findChromium } from '../scripts/chromium.mjs'
import { ROOT } from '../scripts/tool.mjs'
import { emptyProfileBytes } from './disk.mjs'
import { HELP, readOptions } from './options.mjs'
import { ordered, planned } from './plan.mjs'
import { Results } from './results.mjs'
import { servePages } from './serve.mjs'
import { runSession } from './sessions.mjs'
import { printed, tables } from './table.mjs'

async function main() {
  const options = readOptions(process.argv.slice(2))
  if (options.help) return console.log(HELP)

  const executablePath = await findChromium()
  const { url, close } = await servePages()
  const results = new Results()
  const began = new Date()
  try {
    const sessions = planned(options)
    const empty = await emptyProfileBytes({ executablePath, url })
    for (let round = 0; round < options.rounds; round++) {
      for (const session of ordered(sessions, round)) {
        if (results.isHopeless(session)) continue
        const seed = round * 1000 + 1
        const started = performance.now()
        const { samples, failure } = await runSession(session, { executablePath, url, seed, wants: () => true, emptyProfileBytes: empty })
        results.add(session, samples)
        if (failure !== undefined) results.fail(session, failure, round)
        const seconds = ((performance.now() - started) / 1000).toFixed(1)
        console.error(
          `round ${round + 1}/${options.rounds}  ${session.kind}  ${session.size}  ${session.contender}  ${seconds} s  ${failure ?? ''}`,
        )
      }
    }
  } finally {
    close()
  }
  console.log(`\n${printed(tables(results.series))}\n`)
  for (const { contender, kind, size, reason } of results.failures) console.log(`${contender}, ${kind}, ${size}: failed: ${reason}`)
  const folder = resolve(ROOT, options.out)
  await mkdir(folder, { recursive: true })
  await writeFile(join(folder, 'results.json'), JSON.stringify({ began, series: results.series, failures: results.failures }))
  console.log(join(options.out, 'results.json'))
}

await main()
