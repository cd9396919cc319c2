// One after the other, and another beside a silent one.
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { hedge } from '../../../src/network/hedge.ts'

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

const never = new Promise<never>(() => {})

/** Candidates by name, and what was asked of them. */
function scene(
  attempts: Record<string, (heard: () => void) => Promise<string>>,
  source: AsyncIterable<string> = each(Object.keys(attempts)),
) {
  const asked: string[] = []
  const end = new AbortController()
  const result = hedge(
    source,
    async (name, heard) => {
      asked.push(name)
      return (attempts[name] ?? (() => never))(heard)
    },
    { silenceMs: 1000, signal: end.signal },
  )
  result.catch(() => {})
  return { asked, end, result }
}

async function* each(names: string[]): AsyncGenerator<string> {
  yield* names
}

const fails = async (): Promise<string> => {
  throw new Error('no')
}

describe('hedge', () => {
  it('asks the next when one fails, and no more once one delivered', async () => {
    const { asked, result } = scene({ a: fails, b: async () => 'from b', c: async () => 'from c' })
    expect(await result).toBe('from b')
    expect(asked).toEqual(['a', 'b'])
  })

  it('asks another beside one that is silent, and takes whichever delivers', async () => {
    const { asked, result } = scene({ a: () => never, b: () => never, c: async () => 'from c' })
    await vi.advanceTimersByTimeAsync(999)
    expect(asked).toEqual(['a'])
    await vi.advanceTimersByTimeAsync(1)
    expect(asked).toEqual(['a', 'b'])
    await vi.advanceTimersByTimeAsync(1000)
    expect(await result).toBe('from c')
  })

  it('gives one that was heard of all the time it needs', async () => {
    let deliver: (result: string) => void = () => {}
    const slow = new Promise<string>((resolve) => {
      deliver = resolve
    })
    const { asked, result } = scene({
      a: (heard) => {
        heard()
        return slow
      },
      b: async () => 'from b',
    })
    await vi.advanceTimersByTimeAsync(60_000)
    expect(asked).toEqual(['a'])
    deliver('from a')
    expect(await result).toBe('from a')
  })

  it('waits for a silent one when all others failed', async () => {
    let deliver: (result: string) => void = () => {}
    const late = new Promise<string>((resolve) => {
      deliver = resolve
    })
    const { result } = scene({ a: () => late, b: fails })
    await vi.advanceTimersByTimeAsync(5000)
    deliver('from a')
    expect(await result).toBe('from a')
  })

  it('rejects with every failure once nobody is left', async () => {
    const { result } = scene({ a: fails, b: fails })
    await expect(result).rejects.toMatchObject({ errors: [{ message: 'no' }, { message: 'no' }] })
    await expect(scene({}).result).rejects.toMatchObject({ errors: [] })
  })

  it('takes a broken source for the end of the candidates', async () => {
    async function* broken(): AsyncGenerator<string> {
      yield 'a'
      throw new Error('source')
    }
    await expect(scene({ a: fails }, broken()).result).rejects.toMatchObject({ errors: [{ message: 'no' }, { message: 'source' }] })
    expect(await scene({ a: async () => 'from a' }, broken()).result).toBe('from a')
  })

  it('rejects with the reason of the signal, at once, even while the source hangs', async () => {
    async function* hanging(): AsyncGenerator<string> {
      yield await never
    }
    const { end, result } = scene({}, hanging())
    end.abort(new Error('enough'))
    await expect(result).rejects.toThrow('enough')
    await expect(hedge(each(['a']), () => never, { silenceMs: 1, signal: end.signal })).rejects.toThrow('enough')
  })

  it('lets go of the source once one delivered', async () => {
    let isEnded = false
    async function* source(): AsyncGenerator<string> {
      try {
        yield 'a'
        yield 'b'
      } finally {
        isEnded = true
      }
    }
    await scene({ a: async () => 'from a' }, source()).result
    await vi.advanceTimersByTimeAsync(0)
    expect(isEnded).toBe(true)
  })
})
