// The switches from outside, each place where they may stand, and which one wins. import.meta.env is tested from the packed tarball.
import { afterEach, describe, expect, it, vi } from 'vitest'
import { environmentSwitch, isDisabled } from '../../src/environment.ts'

afterEach(() => {
  vi.unstubAllGlobals()
  vi.unstubAllEnvs()
})

describe('environmentSwitch', () => {
  it('is absent where nobody sets it', () => {
    expect(environmentSwitch('IPFS_ACCELERATE_CACHE_DIR')).toBeUndefined()
    expect(isDisabled()).toBe(false)
  })

  it('reads globalThis before process.env before Deno.env', () => {
    vi.stubGlobal('Deno', { env: { get: (name: string) => `deno ${name}` } })
    expect(environmentSwitch('IPFS_ACCELERATE_CACHE_DIR')).toBe('deno IPFS_ACCELERATE_CACHE_DIR')
    vi.stubGlobal('process', { env: { IPFS_ACCELERATE_CACHE_DIR: 'process' } })
    expect(environmentSwitch('IPFS_ACCELERATE_CACHE_DIR')).toBe('process')
    vi.stubGlobal('IPFS_ACCELERATE_CACHE_DIR', 'global')
    expect(environmentSwitch('IPFS_ACCELERATE_CACHE_DIR')).toBe('global')
  })

  it('is absent where Deno does not allow to read it', () => {
    const get = (): never => {
      throw new Error('NotCapable')
    }
    vi.stubGlobal('Deno', { env: { get } })
    expect(environmentSwitch('IPFS_KIT_DISABLE')).toBeUndefined()
  })

  it.each([[''], [null], [{ id: 'IPFS_KIT_DISABLE' }], [() => true]])('takes %o for absent', (value) => {
    vi.stubGlobal('IPFS_KIT_DISABLE', value)
    expect(environmentSwitch('IPFS_KIT_DISABLE')).toBeUndefined()
  })
})

describe('isDisabled', () => {
  it.each(['1', 'true', 'yes', 'TRUE', 'Yes', ' yes ', 1, true])('is switched on by %o', (value) => {
    vi.stubGlobal('IPFS_KIT_DISABLE', value)
    expect(isDisabled()).toBe(true)
  })

  it.each(['0', 'false', 'no', 'on', 'y', '11', 0, false])('is not switched on by %o', (value) => {
    vi.stubGlobal('IPFS_KIT_DISABLE', value)
    expect(isDisabled()).toBe(false)
  })
})
