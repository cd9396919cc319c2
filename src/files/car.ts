// CARs out and in.
export { exportCar, type CarOptions } from './car-export.ts'
export { importCarBlocks, type ImportedCar } from './car-import.ts'
