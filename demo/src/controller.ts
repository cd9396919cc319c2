// The service worker that answers for this page: waiting for it, and asking it.

/** Resolves once one answers for this page; answers why none will. */
export async function whenControlled(): Promise<string | undefined> {
  if (!HAS_APP_SHELL) return 'Only in the built page: the service worker is written by the build.'
  if (!('serviceWorker' in navigator)) return 'Service workers need https or localhost.'
  if (navigator.serviceWorker.controller !== null) return undefined
  await new Promise((resolve) => navigator.serviceWorker.addEventListener('controllerchange', resolve, { once: true }))
  return undefined
}

/** What the page asks of its service worker. */
export type Question = { type: 'urls' } | { type: 'forget'; url: string }
export type Answer<T> = { value: T } | { error: string }

export async function askController<T>(question: Question): Promise<T> {
  const { port1, port2 } = new MessageChannel()
  const answer = new Promise<Answer<T>>((resolve) => {
    port1.addEventListener('message', ({ data }: MessageEvent<Answer<T>>) => resolve(data), { once: true })
    port1.start()
  })
  navigator.serviceWorker.controller?.postMessage(question, [port2])
  const told = await answer
  port1.close()
  if ('error' in told) throw new Error(told.error)
  return told.value
}
