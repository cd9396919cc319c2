// What `npm run bench` is asked: its options, checked, and their help.
import { parseArgs } from 'node:util'
import { CONTENDERS, SIZES } from './plan.mjs'

/**
 * @typedef {{
 *   words: string[],
 *   sizes: string[],
 *   kinds: string[],
 *   rounds: number,
 *   quick: boolean,
 *   check: boolean,
 *   from: string | undefined,
 *   folder: string,
 *   help: boolean,
 * }} Options
 */

const ROUNDS = 5
const QUICK_ROUNDS = 2
const QUICK_SIZES = ['16', '64']
const FOLDER = '.tmp/bench'
const KINDS = ['limits', 'buffer', 'stream', 'served', 'download', 'small', 'memory', 'kept', 'scale', 'firefox']

export const HELP = `npm run bench -- [options]

Measures this library beside what else keeps files in a browser: one page a contender in a fresh profile, contenders interleaved, ${ROUNDS} rounds
(the slowest in fewer, which the tables show). Prints tables and the targets; writes results.json, report.html and report.png.
A full run takes about half an hour on 2 cores with nothing else at work; docs/bench/README.md tells what is measured.

  --write folder   where the results are written, default ${FOLDER}; docs/bench is what the README shows
  --check          measure only what the targets need (about 15 minutes), print each with what is behind it, exit 1 where one is short
  --from folder    measure nothing: judge and draw again what a run wrote there, as in --check --from docs/bench
  --only words     only contenders whose names hold one of the words, as in --only ours,cache; with --check: words of the targets' names
                   contenders: ${CONTENDERS.join(' | ')}
  --sizes list     only these: ${SIZES.join(', ')} (MiB; 1024 is a stream, small is 10,000 items of 1 KiB)
                   leaves out memory and disk, unless --kinds asks for them
  --kinds list     only these: ${KINDS.join(', ')}
                   (kept: bytes on disk of two versions of a model, and the cold opening)
  --rounds n       default ${ROUNDS}
  --quick          ${QUICK_ROUNDS} rounds, ${QUICK_SIZES.join(' and ')} MiB: to see that all of it runs
  --help
`

/**
 * @param {string[]} args
 * @returns {Options}
 * @throws Error where an option is not one
 */
export function readOptions(args) {
  const { values } = parseArgs({
    args,
    options: {
      check: { type: 'boolean', default: false },
      only: { type: 'string', multiple: true, default: [] },
      sizes: { type: 'string', multiple: true, default: [] },
      kinds: { type: 'string', multiple: true, default: [] },
      rounds: { type: 'string' },
      quick: { type: 'boolean', default: false },
      from: { type: 'string' },
      write: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  })
  const { check, quick, from, help } = values
  const rounds = Number(values.rounds ?? (quick ? QUICK_ROUNDS : ROUNDS))
  if (!Number.isSafeInteger(rounds) || rounds < 1) throw new Error(`--rounds takes a whole number, not '${values.rounds}'`)
  const sizes = listed('--sizes', values.sizes, SIZES)
  return {
    words: values.only.flatMap((words) => words.split(',')).filter((word) => word !== ''),
    sizes: sizes.length === 0 && quick && !check ? QUICK_SIZES : sizes,
    kinds: listed('--kinds', values.kinds, KINDS),
    rounds,
    quick,
    check,
    from,
    folder: values.write ?? from ?? FOLDER,
    help,
  }
}

/**
 * @param {string} option
 * @param {string[]} given
 * @param {string[]} known
 * @returns {string[]}
 */
function listed(option, given, known) {
  const names = given.flatMap((list) => list.split(','))
  const wrong = names.find((name) => !known.includes(name))
  if (wrong !== undefined) throw new Error(`${option} takes ${known.join(', ')}, not '${wrong}'`)
  return names
}
