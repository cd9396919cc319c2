// The pictures and the video that this demo shows by their CIDs: where they come from and the name they are kept under.
import { MEDIA_FILES } from 'virtual:media-files'
import { fetchFiles, type FetchedFile } from './fetch-files.ts'

export const MEDIA_NAME = 'media/pictures-and-a-video'
export const MEDIA_BYTES: number = MEDIA_FILES.reduce((sum, file) => sum + file.size, 0)

/** In the order in which they are shown, with what stands below them and what they show. */
export const PICTURES = [
  { name: 'dunes.webp', caption: 'Dunes', description: 'Violet dunes before a low sun' },
  { name: 'contours.webp', caption: 'Contours', description: 'Layers of green paper, cut like the contour lines of a map' },
  { name: 'weave.webp', caption: 'Weave', description: 'Coloured bands that cross each other in arcs' },
] as const
export const VIDEO = {
  name: 'dusk.webm',
  caption: 'Dusk',
  description: 'The dunes again, while the sun goes round: eight seconds, without sound',
} as const

export function fetchMedia(signal: AbortSignal): AsyncGenerator<FetchedFile> {
  return fetchFiles('media', MEDIA_FILES, signal)
}
