// Helia over the blocks of a storage: what one wrote the other reads, and nothing needed is freed.
import { unixfs } from '@helia/unixfs'
import type { Helia } from 'helia'
import { CID } from 'multiformats/cid'
import { afterEach, describe, expect, it } from 'vitest'
import type { IPFSKitStorage } from '../../src/index.ts'
import { closeAll, countAll, freshName, localStorageOf, randomBytes, same, storageOf } from './support/stores.ts'

const MIB = 1024 * 1024
const QUIET = { config: { ipfs: { gateways: [], delegatedRouters: [] } } }

afterEach(closeAll)

async function running(cacheDir: string): Promise<{ storage: IPFSKitStorage; node: Helia }> {
  const storage = await storageOf({ cacheDir, ...QUIET }).ready()
  return { storage, node: (await storage.helia()) as Helia }
}

describe('Helia as a guest', () => {
  it('runs, and reads what the storage wrote', async () => {
    const { storage, node } = await running(freshName())
    const status = await storage.getBackendStatus()
    expect(status).toMatchObject({ ipfsKitAvailable: true, usingFallback: false, backends: { ipfs: true, local: true } })
    const bytes = randomBytes(5 * MIB)
    const cid = await storage.store(bytes)
    expect((await storage.listFiles())[0]?.fallback).toBe(false)
    const parts: BlobPart[] = []
    for await (const part of unixfs(node).cat(CID.parse(cid))) parts.push(new Uint8Array(part))
    expect(same(new Uint8Array(await new Blob(parts).arrayBuffer()), bytes)).toBe(true)
  })

  it('keeps what it added while it runs, and what it pinned after that', async () => {
    const name = freshName()
    const { storage, node } = await running(name)
    const mine = await storage.store(randomBytes(5 * MIB, 7), { filename: 'mine' })
    const added = await unixfs(node).addBytes(randomBytes(2 * MIB, 8), { profile: 'unixfs-v1-2025' })
    expect(await storage.gc()).toEqual({ blocks: 0, bytes: 0 })
    expect(await storage.exists(added)).toBe(true)
    for await (const _ of node.pins.add(added)) void _
    await node.gc()
    expect(await storage.exists(added)).toBe(true)
    expect(await storage.exists(mine)).toBe(true)
    for await (const _ of node.pins.rm(added)) void _
    await node.gc()
    expect(await storage.exists(added)).toBe(false)
    expect(await storage.exists(mine)).toBe(true)
    expect((await countAll(name)).blocks).toBe(6)
  })

  it('takes turns with the fallback over one set of blocks', async () => {
    const name = freshName()
    const fallback = localStorageOf({ cacheDir: name })
    const cid = await fallback.store('from the fallback')
    await fallback.close()
    const { storage, node } = await running(name)
    const parts: Uint8Array[] = []
    for await (const part of unixfs(node).cat(CID.parse(cid), { offline: true })) parts.push(part)
    expect(new TextDecoder().decode(parts[0])).toBe('from the fallback')
    const other = await unixfs(node).addBytes(new TextEncoder().encode('from Helia'))
    await storage.close()
    const again = localStorageOf({ cacheDir: name })
    expect(new TextDecoder().decode((await again.retrieve(other)) ?? undefined)).toBe('from Helia')
  })
})
