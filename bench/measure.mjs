// The rounds of a run in Chromium: every session of every round, its samples and failures gathered.
import { emptyProfileBytes } from './disk.mjs'
import { ordered } from './plan.mjs'
import { Results } from './results.mjs'
import { servePages } from './serve.mjs'
import { runSession } from './sessions.mjs'

/** Rounds store bytes of their own; this much lies between their seeds. */
const SEED_STEP = 1000

/**
 * @typedef {import('./plan.mjs').Session} Session
 * @typedef {{ executablePath: string, sessions: Session[], rounds: number, wants: (session: Session, measure: string) => boolean, log: (line: string) => void }} Run
 */

/**
 * @param {Run} run
 * @returns {Promise<Results>}
 */
export async function measure({ executablePath, sessions, rounds, wants, log }) {
  const results = new Results()
  if (sessions.length === 0) return results
  const { url, close } = await servePages()
  try {
    const emptyBytes = sessions.some(({ kind }) => kind === 'kept') ? await emptyProfileBytes({ executablePath, url }) : 0
    for (let round = 0; round < rounds; round++) {
      for (const session of ordered(sessions, round)) {
        if (results.isHopeless(session)) continue
        const began = performance.now()
        const { samples, failures } = await runSession(session, {
          executablePath,
          url,
          seed: (round + 1) * SEED_STEP,
          wants: (measure) => wants(session, measure),
          emptyProfileBytes: emptyBytes,
        })
        results.add(session, samples)
        for (const failure of failures) results.fail(session, failure, round)
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
