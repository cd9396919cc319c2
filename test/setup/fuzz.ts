// How much the properties of test/unit/fuzz are tried.

/** Black-box tests of the storage that run in Node, over memory, and once in Chromium. */
export const FUZZ_TESTS = 'test/unit/fuzz/*.test.ts'

/** FUZZ_RUNS is how many runs each property gets; FUZZ_SEED repeats what a failure printed. */
export const FUZZ: { runs: number | undefined; seed: number | undefined } = { runs: numberIn('FUZZ_RUNS'), seed: numberIn('FUZZ_SEED') }

function numberIn(name: string): number | undefined {
  const value = process.env[name]
  return value === undefined || value === '' ? undefined : Number(value)
}
