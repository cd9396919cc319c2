// Builds and serves the demo: library sources by their public names, the models' files beside the page, the pictures and the video, a large file that comes
// slowly, and the service worker.
import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vite'
import { appShell } from './plugins/app-shell.ts'
import { largeFile } from './plugins/large-file.ts'
import { mediaFiles } from './plugins/media-files.ts'
import { modelFiles } from './plugins/model-files.ts'
import { voiceFiles } from './plugins/voice-files.ts'

const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url))

export default defineConfig({
  root: here('.'),
  // Relative, so that the built page also works below a path.
  base: './',
  plugins: [modelFiles(), voiceFiles(), mediaFiles(), largeFile(), appShell()],
  resolve: {
    alias: [
      { find: /^ipfs-kit-web$/, replacement: here('../src/index.ts') },
      { find: /^ipfs-kit-web\/fetch$/, replacement: here('../src/url-cache/index.ts') },
      { find: /^ipfs-kit-web\/worker$/, replacement: here('../src/worker/index.ts') },
      { find: /^ipfs-kit-web\/service-worker$/, replacement: here('../src/service-worker/index.ts') },
    ],
  },
  // Must be 'es': Helia is a dynamic chunk of the storage's worker.
  worker: { format: 'es' },
  optimizeDeps: { entries: ['index.html', 'src/*-worker.ts'] },
  build: { outDir: here('./dist'), emptyOutDir: true, target: 'es2022', sourcemap: true, chunkSizeWarningLimit: 2048 },
})
