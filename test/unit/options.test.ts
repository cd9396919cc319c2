// Every option is honoured or refused by name.
import { afterEach, describe, expect, it, vi } from 'vitest'
import { InvalidOptionsError } from '../../src/errors.ts'
import { resolveOptions, sameOptions } from '../../src/options.ts'
import type { StorageOptions } from '../../src/types.ts'

afterEach(() => void vi.unstubAllGlobals())

/** What an application without types may pass. */
function resolve(options: unknown): ReturnType<typeof resolveOptions> {
  return resolveOptions(options as StorageOptions)
}

function refusal(options: unknown): InvalidOptionsError {
  try {
    resolve(options)
  } catch (error) {
    if (error instanceof InvalidOptionsError) return error
    throw error
  }
  throw new Error('the options were taken')
}

describe('resolveOptions', () => {
  it('fills in the defaults', () => {
    const defaults = {
      cacheDir: 'ipfs_accelerate',
      blocksDatabase: 'ipfs_accelerate/blocks',
      adopted: false,
      fallback: undefined,
      ipfs: { libp2p: false, startTimeoutMs: 10_000, retrieveTimeoutMs: 20_000 },
      tier: 'auto',
    }
    expect(resolve(undefined)).toEqual(defaults)
    expect(resolve({})).toEqual(defaults)
    expect(resolve({ cacheDir: undefined, config: { ipfs: { gateways: undefined }, enableS3: undefined, tier: undefined } })).toEqual(
      defaults,
    )
    expect('gateways' in resolve({}).ipfs).toBe(false)
  })

  it('takes the name from the options, else from the environment', () => {
    vi.stubGlobal('IPFS_ACCELERATE_CACHE_DIR', 'from-environment')
    expect(resolve({}).blocksDatabase).toBe('from-environment/blocks')
    expect(resolve({ cacheDir: 'mine' }).blocksDatabase).toBe('mine/blocks')
  })

  it('adopts a database', () => {
    expect(resolve({ cacheDir: 'a', config: { blocksDatabase: 'b' } })).toMatchObject({ cacheDir: 'a', blocksDatabase: 'b', adopted: true })
    expect(refusal({ cacheDir: 'a', config: { blocksDatabase: 'a/catalog' } }).option).toBe('config.blocksDatabase')
    expect(refusal({ cacheDir: 'a', config: { blocksDatabase: 'a/data' } }).option).toBe('config.blocksDatabase')
  })

  it.each([
    [{ forceFallback: true }, 'forced'],
    [{ forceFallback: true, enableIpfsKit: false }, 'forced'],
    [{ forceFallback: false, enableIpfsKit: true, config: { enableIpfs: true } }, undefined],
    [{ enableIpfsKit: false }, 'disabled'],
    [{ config: { enableIpfs: false } }, 'disabled'],
  ])('%o falls back for the reason %o', (options, reason) => {
    expect(resolve(options).fallback).toBe(reason)
  })

  it('is disabled by the environment, which makes no valid options invalid', () => {
    vi.stubGlobal('IPFS_KIT_DISABLE', '1')
    expect(resolve({ config: { ipfs: { gateways: ['https://a.example'] } } })).toMatchObject({ fallback: 'disabled' })
    expect(resolve({ forceFallback: true }).fallback).toBe('forced')
  })

  it('takes settings of IPFS', () => {
    const { ipfs } = resolve({
      config: {
        ipfs: {
          gateways: ['https://a.example', 'http://127.0.0.1:8080/', 'https://a.example/'],
          delegatedRouters: ['https://b.example', 'https://c.example/api'],
          startTimeoutMs: 1,
          retrieveTimeoutMs: 2,
        },
      },
    })
    expect(ipfs).toEqual({
      gateways: ['https://a.example', 'http://127.0.0.1:8080'],
      delegatedRouters: ['https://b.example/', 'https://c.example/api/'],
      libp2p: false,
      startTimeoutMs: 1,
      retrieveTimeoutMs: 2,
    })
    expect(resolve({ config: { ipfs: { gateways: [], libp2p: true } } }).ipfs).toMatchObject({ gateways: [], libp2p: {} })
    expect(resolve({ config: { ipfs: { libp2p: { start: false } } } }).ipfs.libp2p).toEqual({ start: false })
  })

  it.each([
    ['options', null],
    ['options', 'ipfs'],
    ['options', []],
    ['config', { config: 'x' }],
    ['config', { config: null }],
    ['config.ipfs', { config: { ipfs: [] } }],
    ['cachedir', { cachedir: 'x' }],
    ['config.gateways', { config: { gateways: [] } }],
    ['config.ipfs.gatewys', { config: { ipfs: { gatewys: [] } } }],
    ['config.primary_backend', { config: { primary_backend: undefined } }],
    ['enableIpfsKit', { enableIpfsKit: 1 }],
    ['forceFallback', { forceFallback: 'yes' }],
    ['config.enableIpfs', { config: { enableIpfs: null } }],
    ['cacheDir', { cacheDir: '' }],
    ['cacheDir', { cacheDir: 5 }],
    ['config.blocksDatabase', { config: { blocksDatabase: '' } }],
    ['config.tier', { config: { tier: 'opfs' } }],
    ['config.createWorker', { config: { createWorker: 'worker.js' } }],
    ['config.ipfs.gateways', { config: { ipfs: { gateways: 'https://a.example' } } }],
    ['config.ipfs.gateways', { config: { ipfs: { gateways: ['a.example'] } } }],
    ['config.ipfs.gateways', { config: { ipfs: { gateways: ['ftp://a.example'] } } }],
    ['config.ipfs.gateways', { config: { ipfs: { gateways: [undefined] } } }],
    // oxlint-disable-next-line no-sparse-arrays
    ['config.ipfs.gateways', { config: { ipfs: { gateways: [, 'https://a.example'] } } }],
    ['config.ipfs.gateways', { config: { ipfs: { gateways: ['https://a.example/ipfs/'] } } }],
    ['config.ipfs.gateways', { config: { ipfs: { gateways: ['https://user:secret@a.example'] } } }],
    ['config.ipfs.gateways', { config: { ipfs: { gateways: ['https://a.example?format=raw'] } } }],
    ['config.ipfs.delegatedRouters', { config: { ipfs: { delegatedRouters: ['nowhere'] } } }],
    ['config.ipfs.delegatedRouters', { config: { ipfs: { delegatedRouters: [new URL('https://a.example')] } } }],
    ['config.ipfs.libp2p', { config: { ipfs: { libp2p: 'yes' } } }],
    ['config.ipfs.libp2p', { config: { ipfs: { libp2p: [] } } }],
    ['config.ipfs.libp2p', { config: { ipfs: { libp2p: new EventTarget() } } }],
    ['config.ipfs.startTimeoutMs', { config: { ipfs: { startTimeoutMs: 0 } } }],
    ['config.ipfs.startTimeoutMs', { config: { ipfs: { startTimeoutMs: Infinity } } }],
    ['config.ipfs.startTimeoutMs', { config: { ipfs: { startTimeoutMs: '10' } } }],
    ['config.ipfs.retrieveTimeoutMs', { config: { ipfs: { retrieveTimeoutMs: Number.NaN } } }],
    ['config.ipfs.retrieveTimeoutMs', { config: { ipfs: { retrieveTimeoutMs: 1.5 } } }],
    ['config.ipfs.retrieveTimeoutMs', { config: { ipfs: { retrieveTimeoutMs: 2 ** 31 } } }],
  ])('names %s in refusing %o', (option, options) => {
    const error = refusal(options)
    expect(error.option).toBe(option)
    expect(error.code).toBe('invalid-options')
  })

  it('says which options there are, and what to write instead', () => {
    expect(refusal({ config: { ipfs: { gatewys: [] } } }).message).toContain('gateways, delegatedRouters')
    expect(refusal({ config: { ipfs: { gateways: ['https://a.example/ipfs/'] } } }).message).toContain(`write 'https://a.example'`)
  })

  it.each([
    ['forceFallback', { forceFallback: true }],
    ['enableIpfsKit', { enableIpfsKit: false }],
    ['enableIpfs', { config: { enableIpfs: false } }],
  ])('refuses settings of IPFS that %s would leave without effect', (name, options: StorageOptions) => {
    const error = refusal({ ...options, config: { ...options.config, ipfs: { retrieveTimeoutMs: 5 } } })
    expect(error.option).toBe('config.ipfs.retrieveTimeoutMs')
    expect(error.message).toContain(name)
    expect(resolve({ ...options, config: { ...options.config, ipfs: { retrieveTimeoutMs: undefined } } }).fallback).toBeDefined()
  })

  it.each([
    ['enableS3', true],
    ['s3', {}],
    ['enableFilecoin', true],
    ['filecoin', {}],
    ['backends', [{}]],
  ])('says that this release does not have config.%s', (key, value) => {
    const error = refusal({ config: { [key]: value } })
    expect(error.option).toBe(`config.${key}`)
    expect(error.message).toContain('this release')
  })

  it.each([
    [{ enableS3: false, enableFilecoin: false, backends: [] }],
    [{ tier: 'auto' }],
    [{ tier: 'records' }],
    [{ tier: 'packs' }],
    [{ maxBytes: 1 }],
  ])('takes %o', (config) => {
    expect(resolve({ config }).tier).toBe('tier' in config ? config.tier : 'auto')
  })
})

describe('sameOptions', () => {
  const url = 'https://a.example'
  it.each([
    [{}, { config: {} }, true],
    [{}, { cacheDir: 'ipfs_accelerate', config: { tier: 'auto' } }, true],
    [{ cacheDir: 'a' }, { cacheDir: 'b' }, false],
    [{}, { config: { tier: 'records' } }, false],
    [{}, { forceFallback: true }, false],
    [{}, { config: { ipfs: { gateways: [] } } }, false],
    [{ config: { ipfs: { gateways: [url] } } }, { config: { ipfs: { gateways: [`${url}/`] } } }, true],
    [{ config: { ipfs: { gateways: [url] } } }, { config: { ipfs: { gateways: [url, 'https://b.example'] } } }, false],
    [
      { config: { ipfs: { libp2p: { addresses: { listen: [] } } } } },
      { config: { ipfs: { libp2p: { addresses: { listen: [] } } } } },
      true,
    ],
    [{ config: { ipfs: { libp2p: { a: () => 1 } } } }, { config: { ipfs: { libp2p: { a: () => 1 } } } }, false],
    [{ config: { ipfs: { libp2p: {} } } }, { config: { ipfs: { libp2p: { a: undefined } } } }, true],
  ])('%j and %j: %o', (a, b, result) => {
    expect(sameOptions(resolve(a), resolve(b))).toBe(result)
    expect(sameOptions(resolve(b), resolve(a))).toBe(result)
  })
})
