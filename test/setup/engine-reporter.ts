// Writes for scripts/test-browsers.mjs what became of the tests of one project: vitest's JSON knows no reasons of skips.
import { writeFileSync } from 'node:fs'
import type { Reporter, SerializedError, TestModule, TestRunEndReason } from 'vitest/node'
import type { RunReport } from '../../scripts/test-browsers.mjs'

/** Where the report goes, by this variable of the environment; none is written without it. */
const REPORT_VARIABLE = 'BROWSERS_REPORT'

export class EngineReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], errors: readonly SerializedError[], reason: TestRunEndReason): void {
    const path = process.env[REPORT_VARIABLE]
    if (path === undefined) return
    const report: RunReport = { passed: 0, failed: [], skipped: [], capabilities: {}, ended: reason }
    for (const module of modules) {
      for (const { message } of module.errors()) report.failed.push(`${module.relativeModuleId}: ${message}`)
      for (const suite of module.children.allSuites()) {
        for (const { message } of suite.errors()) report.failed.push(`${module.relativeModuleId} > ${suite.fullName}: ${message}`)
      }
      for (const test of module.children.allTests()) {
        const name = `${module.relativeModuleId} > ${test.fullName}`
        const result = test.result()
        Object.assign(report.capabilities, test.meta().capabilities)
        if (result.state === 'passed') report.passed++
        else if (result.state === 'skipped') report.skipped.push({ name, reason: result.note ?? 'skipped in its source' })
        else report.failed.push(name)
      }
    }
    for (const { message } of errors) report.failed.push(message)
    writeFileSync(path, JSON.stringify(report))
  }
}
