// The code of CARs, loaded where one is asked for: most pages never do.
import { StorageError } from '../errors.ts'
import type * as Car from './car.ts'
import { load } from '../lazy.ts'

/** @throws StorageError where it can't be loaded */
export function loadCar(): Promise<typeof Car> {
  return load('car').catch((cause: unknown) => {
    throw new StorageError("the code that reads and writes CARs could not be loaded: go online, or keep it in the application's cache", {
      cause,
    })
  })
}
