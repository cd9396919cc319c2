// Three models that tell speech from noise, under `voice/`: what the page fetches by URL, and its service worker keeps by a rule.
import type { Plugin } from 'vite'
import { packageFiles } from './package-files.ts'

export function voiceFiles(): Plugin {
  return packageFiles({
    package: '@ricky0123/vad-web',
    isWanted: (name) => name.endsWith('.onnx'),
    folder: 'voice',
    exported: 'VOICE_FILES',
  })
}
