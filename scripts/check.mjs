// `npm run check`: what the package looks like from outside. Builds it, then publint, attw, knip and the size budgets.
import { ROOT, runNode, runTool } from './tool.mjs'

/** @type {[string, () => Promise<boolean>][]} */
const CHECKS = [
  ['vite', () => runTool('vite', ['build', '--logLevel', 'warn'])],
  ['declarations', () => runNode(['scripts/declarations.mjs'])],
  ['publint', () => runTool('publint', ['run', '--strict', ROOT])],
  ['attw', () => runTool('@arethetypeswrong/cli:attw', ['--pack', ROOT, '--profile', 'esm-only'])],
  ['knip', () => runTool('knip', [])],
  ['sizes', () => runNode(['scripts/sizes.mjs'])],
]

const failed = []
for (const [name, check] of CHECKS) {
  console.log(`\n== ${name}`)
  if (!(await check())) failed.push(name)
}
console.log(failed.length === 0 ? '\nall checks passed' : `\nfailed: ${failed.join(', ')}`)
process.exitCode = failed.length === 0 ? 0 : 1
