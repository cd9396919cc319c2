// A vitest provider that opens the tests in any engine of scripts/engines.mjs. It drives nothing else there: our tests ask for no clicks.
import { defineBrowserProvider } from '@vitest/browser'
import type { BrowserProvider, BrowserProviderOption } from 'vitest/node'
import { openIn } from '../../scripts/engines.mjs'
import type { Driven, EngineName, Mode } from '../../scripts/engines.mjs'

export function driven(engine: EngineName, mode: Mode): BrowserProviderOption {
  return defineBrowserProvider({
    name: 'driven',
    options: mode,
    providerFactory: () => new DrivenProvider(engine, mode),
  })
}

class DrivenProvider implements BrowserProvider {
  readonly name = 'driven'
  readonly supportsParallelism = false
  readonly #engine: EngineName
  readonly #mode: Mode
  readonly #open = new Map<string, Driven>()

  constructor(engine: EngineName, mode: Mode) {
    this.#engine = engine
    this.#mode = mode
  }

  getCommandsContext(): Record<string, unknown> {
    return {}
  }

  async openPage(sessionId: string, url: string): Promise<void> {
    await this.#open.get(sessionId)?.close()
    this.#open.set(sessionId, await openIn(this.#engine, url, this.#mode))
  }

  async close(): Promise<void> {
    const open = [...this.#open.values()]
    this.#open.clear()
    await Promise.all(open.map((each) => each.close()))
  }
}
