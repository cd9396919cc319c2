// CARs out and in.
export { exportCar } from './car-export.ts'
export { importCarBlocks } from './car-import.ts'
