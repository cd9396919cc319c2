// The codecs of DAGs that are no files. Loaded where one is met: most pages never do, and they are an eighth of the code.
import * as dagCbor from '@ipld/dag-cbor'
import * as dagJson from '@ipld/dag-json'

export const decoders: Record<number, (bytes: Uint8Array) => unknown> = {
  [dagCbor.code]: (bytes) => dagCbor.decode(bytes),
  [dagJson.code]: (bytes) => dagJson.decode(bytes),
}
