// A tar of the WebAssembly builds that ship in onnxruntime-web: a real file of 86 MB that lies nowhere whole, and of which any part can be read.
// The format: https://pubs.opengroup.org/onlinepubs/9799919799/utilities/pax.html#tag_20_94_13_06 (ustar)
import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { readdir, readFile, stat } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'

const RECORD_BYTES = 512
/** So that it is the same file whenever the package was installed. */
const MODIFIED_SECONDS = 1_767_225_600

export interface Archive {
  name: string
  size: number
  /** In hex. */
  sha256: string
  /** The bytes from `from` to `to`. */
  read: (from: number, to: number) => AsyncGenerator<Buffer, void, undefined>
}

/** Bytes at hand, or a file's. */
interface Part {
  at: number
  size: number
  source: Buffer | string
}

export async function openArchive(): Promise<Archive> {
  // The package lets its package.json not be resolved: what can be lies in the same folder.
  const folder = dirname(createRequire(import.meta.url).resolve('onnxruntime-web'))
  const { version } = JSON.parse(await readFile(join(folder, '../package.json'), 'utf8')) as { version: string }
  const parts: Part[] = []
  let size = 0
  const add = (bytes: number, source: Buffer | string): void => {
    parts.push({ at: size, size: bytes, source })
    size += bytes
  }
  for (const name of (await readdir(folder)).filter((file) => file.endsWith('.wasm')).sort()) {
    const bytes = (await stat(join(folder, name))).size
    add(RECORD_BYTES, headerOf(`onnxruntime-web-${version}/${name}`, bytes))
    add(bytes, join(folder, name))
    const padding = (RECORD_BYTES - (bytes % RECORD_BYTES)) % RECORD_BYTES
    if (padding > 0) add(padding, Buffer.alloc(padding))
  }
  add(2 * RECORD_BYTES, Buffer.alloc(2 * RECORD_BYTES))

  async function* read(from: number, to: number): AsyncGenerator<Buffer, void, undefined> {
    for (const { at, size: length, source } of parts) {
      const [start, end] = [Math.max(from, at) - at, Math.min(to, at + length) - at]
      if (start >= end) continue
      if (typeof source === 'string') yield* createReadStream(source, { start, end: end - 1 }) as AsyncIterable<Buffer>
      else yield source.subarray(start, end)
    }
  }
  const hash = createHash('sha256')
  for await (const piece of read(0, size)) hash.update(piece)
  return { name: `onnxruntime-web-${version.split('-')[0]}-wasm.tar`, size, sha256: hash.digest('hex'), read }
}

function headerOf(path: string, bytes: number): Buffer {
  const header = Buffer.alloc(RECORD_BYTES)
  const octal = (value: number, digits: number): string => `${value.toString(8).padStart(digits, '0')}\0`
  const fields: readonly [at: number, value: string][] = [
    [0, path],
    [100, octal(0o644, 7)],
    [108, octal(0, 7)],
    [116, octal(0, 7)],
    [124, octal(bytes, 11)],
    [136, octal(MODIFIED_SECONDS, 11)],
    // The sum is made as if it were blank itself.
    [148, ' '.repeat(8)],
    [156, '0'],
    [257, 'ustar\u000000'],
  ]
  for (const [at, value] of fields) header.write(value, at, 'latin1')
  const sum = header.reduce((total, byte) => total + byte, 0)
  header.write(`${octal(sum, 6)} `, 148, 'latin1')
  return header
}
