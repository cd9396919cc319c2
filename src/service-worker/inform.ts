/** Tells whoever listens. One that fails is no reason to answer nothing. */
export function inform<T>(listener: ((told: T) => void) | undefined, told: T): void {
  try {
    listener?.(told)
  } catch (error) {
    reportError(error)
  }
}
