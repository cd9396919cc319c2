// Destroying a storage, whether it is open somewhere or not, and finishing what another context held up.
import { Catalog } from './catalog/catalog.ts'
import { deleteDatabase } from './catalog/database.ts'
import { Locks } from './catalog/locks.ts'
import { channelName, type ChannelMessage } from './channel.ts'
import { DatabaseError } from './errors.ts'
import { load } from './lazy.ts'
import { DATABASE_BLOCKED_TIMEOUT_MS, PACK_RETRY_MS } from './limits.ts'
import { isRefusal, lockManager, nativeFactory } from './native.ts'
import { PackDirectory, packFolder } from './packs/directory.ts'
import { forget } from './remembered.ts'

/** Deletes a storage's own databases. An adopted one has another name and stays. */
export async function deleteDatabases(factory: IDBFactory, cacheDir: string): Promise<void> {
  if (typeof BroadcastChannel !== 'undefined') {
    const channel = new BroadcastChannel(channelName(cacheDir))
    channel.postMessage({ type: 'destroyed' } satisfies ChannelMessage)
    channel.close()
  }
  // The catalog goes last: while it is there, it says that the storage is destroyed.
  await Promise.all([destroyPacks(cacheDir), deleteDatabase(factory, `${cacheDir}/blocks`), deleteDatabase(factory, `${cacheDir}/data`)])
  await deleteDatabase(factory, `${cacheDir}/catalog`)
  forget(cacheDir)
}

/** Removes the packs as soon as nobody has one open: other tabs close theirs when they hear that the catalog is gone. */
async function destroyPacks(cacheDir: string): Promise<void> {
  if (!PackDirectory.isSupported) return
  const directory = new PackDirectory(packFolder(cacheDir))
  const deadline = Date.now() + DATABASE_BLOCKED_TIMEOUT_MS
  // A browser that refuses its private file system (a private window) has none there.
  const isGone = (): Promise<boolean> => directory.destroy().catch(() => true)
  while (!(await isGone())) {
    if (Date.now() > deadline) {
      throw new DatabaseError(
        `packs of storage '${cacheDir}' are held open by another tab: nobody can use them any more, and they go when that tab closes, or at the next opening`,
        cacheDir,
      )
    }
    await new Promise((resolve) => setTimeout(resolve, PACK_RETRY_MS))
  }
}

/** Under a lock, so that of two openings one does not delete what the other has just made anew. */
export async function finishDestruction(factory: IDBFactory, cacheDir: string): Promise<void> {
  const locks = new Locks(cacheDir, lockManager())
  await locks.exclusive(async () => {
    const catalog = new Catalog(`${cacheDir}/catalog`, factory, () => undefined)
    let isDestroyed = false
    try {
      isDestroyed = !(await catalog.open())
    } finally {
      await catalog.database.close()
    }
    if (isDestroyed) await deleteDatabases(factory, cacheDir)
  })
}

export function heldDestroyed(cacheDir: string): DatabaseError {
  return new DatabaseError(`storage '${cacheDir}' was destroyed again while it was opened: open it once more`, `${cacheDir}/catalog`)
}

/** Deletes a storage whether it is open somewhere or not. @throws DatabaseError where another tab holds it past the timeout */
export async function destroyStorage(cacheDir: string): Promise<void> {
  let factory: IDBFactory
  try {
    factory = nativeFactory()
    await destroyIn(factory, cacheDir)
  } catch (error) {
    if (!isRefusal(error)) throw error
    const { memoryFactory } = await load('memory')
    factory = memoryFactory()
    await destroyIn(factory, cacheDir)
  }
}

async function destroyIn(factory: IDBFactory, cacheDir: string): Promise<void> {
  const catalog = new Catalog(`${cacheDir}/catalog`, factory, () => undefined)
  try {
    await catalog.markDestroyed()
  } finally {
    await catalog.database.close()
  }
  await deleteDatabases(factory, cacheDir)
}
