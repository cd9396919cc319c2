// Asks a dedicated worker what it can do.

export interface Told {
  /** What pages may have as well. */
  both: Record<string, string>
  worker: Record<string, string>
}

export async function probeInWorker(): Promise<Told> {
  const worker = new Worker(new URL('./probe-worker.ts', import.meta.url), { type: 'module' })
  try {
    return await new Promise((resolve, reject) => {
      worker.onmessage = ({ data }) => resolve(data as Told)
      worker.onerror = ({ message }) => reject(new Error(`the probing worker failed: ${message}`))
    })
  } finally {
    worker.terminate()
  }
}
