// The rounds of a run: every session of every round, its samples and failures gathered.
import { emptyProfileBytes } from './disk.mjs'
import { ordered } from './plan.mjs'
import { Results } from './results.mjs'
import { servePages } from './serve.mjs'
import { runSession } from './sessions.mjs'

/** Rounds store bytes of their own; this much lies between their seeds. */
const SEED_STEP = 1000

/**
 * @typedef {import('./plan.mjs').Session} Session
 * @typedef {{
 *   executables: Record<import('./plan.mjs').BrowserName, string>,
 *   sessions: Session[],
 *   rounds: number,
 *   wants: (session: Session, measure: string) => boolean,
 *   log: (line: string) => void,
 * }} Run
 */

/**
 * @param {Run} run
 * @returns {Promise<Results>}
 */
export async function measure({ executables, sessions, rounds, wants, log }) {
  const results = new Results()
  if (sessions.length === 0) return results
  const { url, close } = await servePages()
  try {
    const emptyBytes = sessions.some(({ kind }) => kind === 'kept')
      ? await emptyProfileBytes({ executablePath: executables.chromium, url })
      : 0
    for (let round = 0; round < rounds; round++) {
      for (const session of ordered(sessions, round)) {
        if (results.isDone(session)) continue
        const began = performance.now()
        const { samples, failures } = await runSession(session, {
          executablePath: executables[session.browser],
          url,
          seed: (round + 1) * SEED_STEP,
          wants: (measure) => wants(session, measure),
          emptyProfileBytes: emptyBytes,
        })
        results.add(session, samples)
        for (const failure of failures) results.fail(session, failure, round)
        if (failures.every(({ measure }) => measure !== undefined)) results.finish(session)
        const seconds = Math.round((performance.now() - began) / 1000)
        const reasons = failures.map(({ measure, reason }) => `  ${measure ?? 'failed'}: ${reason}`).join('')
        log(`round ${round + 1} of ${rounds}, ${session.kind}, ${session.size}, ${session.contender}: ${seconds} s${reasons}`)
      }
    }
  } finally {
    close()
  }
  return results
}
