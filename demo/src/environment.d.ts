// What the build provides beside the sources.
declare module 'virtual:model-files' {
  export const MODEL_FILES: readonly { name: string; size: number }[]
}

declare module 'virtual:media-files' {
  export const MEDIA_FILES: readonly { name: string; size: number }[]
}

/** The build wrote a service worker beside the page. */
declare const HAS_APP_SHELL: boolean
