// The library build: unminified ES modules with source maps, one entry a subpath of "exports". tsc adds the d.ts beside them.
import { isAbsolute } from 'node:path'
import { defineConfig } from 'vite'
import type { Plugin } from 'vite'

/**
 * Leaves `import.meta.env` as it is. Vite would turn it into the values of our own build, and an application's
 * VITE_IPFS_KIT_DISABLE could then never be seen.
 */
const keepImportMetaEnv: Plugin = {
  name: 'keep-import-meta-env',
  enforce: 'post',
  options(options) {
    const define = options.transform?.define ?? {}
    for (const key of Object.keys(define)) if (key.startsWith('import.meta.env')) delete define[key]
  },
}

export default defineConfig({
  plugins: [keepImportMetaEnv],
  publicDir: false,
  build: {
    target: 'es2022',
    sourcemap: true,
    minify: false,
    reportCompressedSize: false,
    lib: {
      entry: {
        index: 'src/index.ts',
        'worker/index': 'src/worker/index.ts',
        helia: 'src/helia.ts',
        'packs/worker': 'src/packs/worker.ts',
        'url-cache/index': 'src/url-cache/index.ts',
        'service-worker/index': 'src/service-worker/index.ts',
        'service-worker/helia': 'src/service-worker/helia.ts',
        'service-worker/workbox': 'src/service-worker/workbox.ts',
      },
      formats: ['es'],
    },
    rolldownOptions: {
      // Every package stays a bare import, static or dynamic, so that the application's bundler resolves it (or stubs an optional peer).
      external: (id) => !id.startsWith('.') && !isAbsolute(id),
      // One file a module, so that dist mirrors src and each d.ts lies beside its code.
      output: { preserveModules: true, preserveModulesRoot: 'src', entryFileNames: '[name].js' },
    },
  },
})
