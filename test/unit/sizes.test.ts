// The size budget of every entry, and that none of them loads Helia by itself.
import { describe, expect, it } from 'vitest'
import { ENTRIES, measure } from '../../scripts/sizes.mjs'

describe.each(ENTRIES)('entry $name', ({ source, budgetBytes }) => {
  it(`keeps to ${budgetBytes} bytes and loads no Helia`, async () => {
    const { brotliBytes, heliaModules } = await measure(source)
    expect(heliaModules).toEqual([])
    expect(brotliBytes).toBeLessThanOrEqual(budgetBytes)
  })
})
