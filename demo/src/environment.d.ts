/// <reference types="vite/client" />
// What the build provides beside the sources.
declare module 'virtual:model-files' {
  export const MODEL_FILES: readonly { name: string; size: number }[]
}
