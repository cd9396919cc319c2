// CARs out and in.
export { exportCar, type ByteRange, type CarScope } from './car-export.ts'
export { importCarBlocks } from './car-import.ts'
