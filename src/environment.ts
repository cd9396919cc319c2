// Switches from outside the code: what IPFS_KIT_DISABLE and IPFS_ACCELERATE_CACHE_DIR say, wherever this runs.

export type Switch = 'IPFS_KIT_DISABLE' | 'IPFS_ACCELERATE_CACHE_DIR'

interface Surroundings {
  process?: { env?: Record<string, unknown> }
  Deno?: { env?: { get(name: string): string | undefined } }
}

/** What Vite puts in place of `import.meta.env`; elsewhere it is absent. */
type WithEnvironment = ImportMeta & { readonly env?: Record<string, string | boolean | undefined> }

/**
 * Answers what the first of globalThis, process.env, Deno.env and import.meta.env says under this name; the last also under
 * `VITE_…`, because Vite shows an application no other names. Read anew at every call. Empty counts as absent.
 */
export function environmentSwitch(name: Switch): string | undefined {
  const surroundings = globalThis as Surroundings
  return (
    text((globalThis as Record<string, unknown>)[name]) ??
    text(surroundings.process?.env?.[name]) ??
    text(fromDeno(name)) ??
    fromBundler(name)
  )
}

/** Whether IPFS_KIT_DISABLE asks for the fallback: 1, true or yes. */
export function isDisabled(): boolean {
  return ['1', 'true', 'yes'].includes(environmentSwitch('IPFS_KIT_DISABLE')?.trim().toLowerCase() ?? '')
}

/** A script may set a global to true or 1. Anything else, such as the element that bears this id, says nothing. */
function text(value: unknown): string | undefined {
  return (typeof value === 'string' && value !== '') || typeof value === 'boolean' || typeof value === 'number' ? String(value) : undefined
}

function fromDeno(name: Switch): string | undefined {
  try {
    return (globalThis as Surroundings).Deno?.env?.get(name)
  } catch {
    // Deno throws where it was not allowed to read the environment: there is none then.
    return undefined
  }
}

/** Each name must stand here in full: a build of Vite replaces `import.meta.env.NAME` as text, and knows no look-up. */
function fromBundler(name: Switch): string | undefined {
  switch (name) {
    case 'IPFS_KIT_DISABLE':
      return (
        text((import.meta as WithEnvironment).env?.IPFS_KIT_DISABLE) ?? text((import.meta as WithEnvironment).env?.VITE_IPFS_KIT_DISABLE)
      )
    case 'IPFS_ACCELERATE_CACHE_DIR':
      return (
        text((import.meta as WithEnvironment).env?.IPFS_ACCELERATE_CACHE_DIR) ??
        text((import.meta as WithEnvironment).env?.VITE_IPFS_ACCELERATE_CACHE_DIR)
      )
  }
}
