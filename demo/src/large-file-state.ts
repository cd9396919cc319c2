// What the demo's server tells of the large file that it serves.
export interface LargeFileState {
  /** Whether it serves the file just now. */
  network: 'on' | 'off'
  bytesASecond: number
  /** Bytes of bodies that it sent for one download since it was started, and in how many answers. */
  sent: number
  answers: number
}
