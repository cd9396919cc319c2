// Downloads as the front has them: calls for one URL share one, and what was interrupted is listed, gone on with or cancelled.
import type { Core } from '../core.ts'
import { InvalidOptionsError } from '../errors.ts'
import type { Wanted } from '../catalog/schema.ts'
import { DOWNLOAD_CANCEL_TIMEOUT_MS } from '../limits.ts'
import { settlesWithin, untilAborted } from '../network/abort.ts'
import type { Operation } from '../operation.ts'
import type { Cancellable, DownloadInfo, StoreUrlOptions } from '../types.ts'
import { keepKnown, wantedOf } from './known.ts'
import { end, resumables } from './record.ts'
import type { Caller, Outcome } from './attempt.ts'
import { Run } from './run.ts'
import { targetOf, type Target } from './target.ts'

/** What this realm is at, by URL. */
const RUNS = new WeakMap<Core, Map<string, Run>>()

export async function storeUrl(operation: Operation, given: string | URL | Request, options: StoreUrlOptions): Promise<string> {
  const target = targetOf(given)
  const wanted = wantedOf(options)
  const { url } = target
  const known = wanted.cid === undefined ? undefined : await keepKnown(operation, { url, cid: wanted.cid, wanted })
  return known ?? (await download(operation, target, wanted, options.onProgress))
}

export async function listDownloads({ core }: Operation): Promise<DownloadInfo[]> {
  const rows = await resumables(core)
  const infos = await Promise.all(
    rows.map(async ({ id, lastUsed, resume }): Promise<DownloadInfo[]> => {
      if (resume === undefined) return []
      const run = runsOf(core).get(resume.url)
      const isMine = run?.id === id
      const [bytes, total] = isMine ? [Math.max(run.bytes, resume.bytes), run.total ?? resume.total] : [resume.bytes, resume.total]
      const { filename } = resume.wanted
      return [
        {
          id,
          url: resume.url,
          state: isMine || (await isHeld(core, id)) ? 'running' : 'interrupted',
          bytes,
          started: new Date(resume.started),
          modified: new Date(lastUsed),
          ...(filename === undefined ? {} : { filename }),
          ...(total === undefined ? {} : { total }),
        },
      ]
    }),
  )
  return infos.flat().toSorted((a, b) => a.started.getTime() - b.started.getTime())
}

/** @throws InvalidOptionsError where it is over */
export async function resumeDownload(operation: Operation, id: string, { onProgress }: Cancellable): Promise<string> {
  const resume = (await resumables(operation.core)).find((row) => row.id === id)?.resume
  if (resume === undefined) throw new InvalidOptionsError('this download is over, or was cancelled: ask downloads() again', 'id')
  return download(operation, targetOf(resume.url, resume.credentials), resume.wanted, onProgress)
}

export async function cancelDownload({ core }: Operation, id: string): Promise<boolean> {
  const run = [...runsOf(core).values()].find((one) => one.id === id)
  if (!(await end(core, id))) return false
  core.tellOfDownload({ type: 'download-cancelled', id })
  // Whoever works on it lets go of it; one that does not for long frees it later, or the next opening does.
  if (run === undefined) await settlesWithin(whenFree(core, id), DOWNLOAD_CANCEL_TIMEOUT_MS)
  else await run.cancel()
  await core.free([id])
  return true
}

async function download(operation: Operation, target: Target, wanted: Wanted, onProgress: Cancellable['onProgress']): Promise<string> {
  const { core, signal, fallback } = operation
  const { url } = target
  const runs = runsOf(core)
  for (;;) {
    signal.throwIfAborted()
    const before = runs.get(url)
    if (before?.isLeft === true) {
      await untilAborted(
        before.outcome.catch(() => undefined),
        signal,
      )
      continue
    }
    const { facts, kept, refused, caller } = await share(before, { wanted, fallback, onProgress }, signal, (first) => {
      const run = new Run(core, target, first, wanted)
      runs.set(url, run)
      const forget = (): void => void (runs.get(url) === run && runs.delete(url))
      run.outcome.then(forget, forget)
      return run
    })
    const refusal = refused.get(caller)
    if (refusal !== undefined) throw refusal
    if (kept.has(caller)) return facts.cid
    // Another tab did it, or this one came late: what is here gets this one's name.
    const known = await keepKnown(operation, { url, cid: facts.cid, wanted, told: facts })
    if (known !== undefined) return known
  }
}

/** Takes part in a download, or begins one, and leaves it when the signal aborts or the callback throws. */
async function share(
  running: Run | undefined,
  { onProgress, ...asked }: Caller,
  signal: AbortSignal,
  begin: (first: Caller) => Run,
): Promise<Outcome & { caller: Caller }> {
  let fail: (error: unknown) => void = () => undefined
  const failed = new Promise<never>((_, reject) => {
    fail = reject
  })
  const caller: Caller = {
    ...asked,
    onProgress(progress) {
      try {
        onProgress?.(progress)
      } catch (error) {
        fail(error)
      }
    },
  }
  const run = running ?? begin(caller)
  running?.join(caller)
  try {
    return { ...(await untilAborted(Promise.race([run.outcome, failed]), signal)), caller }
  } catch (error) {
    await run.leave(caller, error)
    throw error
  }
}

function runsOf(core: Core): Map<string, Run> {
  const runs = RUNS.get(core) ?? new Map<string, Run>()
  RUNS.set(core, runs)
  return runs
}

async function isHeld(core: Core, id: string): Promise<boolean> {
  const lock = await core.locks.own(id)
  await lock?.release()
  return lock === undefined
}

async function whenFree(core: Core, id: string): Promise<void> {
  const lock = await core.locks.ownWhenFree(id, AbortSignal.timeout(DOWNLOAD_CANCEL_TIMEOUT_MS))
  await lock.release()
}
