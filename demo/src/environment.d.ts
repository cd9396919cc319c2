// What the build provides beside the sources.
declare module 'virtual:model-files' {
  export const MODEL_FILES: readonly { name: string; size: number }[]
}

declare module 'virtual:media-files' {
  export const MEDIA_FILES: readonly { name: string; size: number }[]
}

declare module 'virtual:voice-files' {
  export const VOICE_FILES: readonly { name: string; size: number }[]
}

declare module 'virtual:large-file' {
  export const LARGE_FILE: { readonly name: string; readonly size: number; readonly sha256: string }
}

/** The build wrote a service worker beside the page. */
declare const HAS_APP_SHELL: boolean
