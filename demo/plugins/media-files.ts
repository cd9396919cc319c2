// Tells the page the names and sizes of the pictures and the video in public/media.
import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { Plugin } from 'vite'

const MODULE_ID = 'virtual:media-files'
const RESOLVED_ID = `\0${MODULE_ID}`

export function mediaFiles(): Plugin {
  let folder = ''
  return {
    name: 'demo:media-files',
    configResolved(config) {
      folder = join(config.publicDir, 'media')
    },
    resolveId(id) {
      return id === MODULE_ID ? RESOLVED_ID : undefined
    },
    async load(id) {
      if (id !== RESOLVED_ID) return undefined
      const names = (await readdir(folder)).sort()
      const files = await Promise.all(names.map(async (name) => ({ name, size: (await stat(join(folder, name))).size })))
      return `export const MEDIA_FILES = ${JSON.stringify(files)}`
    },
  }
}
