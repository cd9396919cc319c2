// The code of CARs, loaded where one is asked for: most pages never do, and its codecs are a tenth of the whole.
import { StorageError } from '../errors.ts'

/** @throws StorageError where it can't be loaded */
export function loadCar(): Promise<typeof import('./car.ts')> {
  return import('./car.ts').catch((cause: unknown) => {
    throw new StorageError(
      "the code that reads and writes CARs could not be loaded: go online, or make it part of the application's cache",
      {
        cause,
      },
    )
  })
}
