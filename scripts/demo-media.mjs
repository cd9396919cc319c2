// Draws the pictures and the video that the demo serves by CID, in Chromium, into demo/public/media. Run by hand: `node scripts/demo-media.mjs`.
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { chromium } from 'playwright'
import { CHROMIUM_ARGS, findChromium } from './chromium.mjs'
import { ROOT } from './tool.mjs'

const FOLDER = join(ROOT, 'demo/public/media')
const TIMEOUT_MS = 120_000

const browser = await chromium.launch({ executablePath: await findChromium(), args: CHROMIUM_ARGS, timeout: TIMEOUT_MS })
try {
  const page = await browser.newPage()
  // VideoEncoder is for secure contexts alone.
  await page.route('http://localhost/**', (route) => route.fulfill({ contentType: 'text/html', body: '<!doctype html>' }))
  await page.goto('http://localhost/')
  const files = await page.evaluate(draw)
  await mkdir(FOLDER, { recursive: true })
  for (const [name, base64] of Object.entries(files)) {
    const bytes = Buffer.from(base64, 'base64')
    await writeFile(join(FOLDER, name), bytes)
    console.log(`${name}: ${bytes.length} bytes`)
  }
} finally {
  await browser.close()
}

/**
 * Runs in the page, and so may use nothing from outside.
 *
 * @returns {Promise<Record<string, string>>} files in base64 by their names
 */
async function draw() {
  const [WIDTH, HEIGHT, FRAMES_PER_SECOND, SECONDS] = [960, 640, 15, 8]
  const VIDEO = { width: 480, height: 320 }

  /** @param {number} width @param {number} height */
  function canvasOf(width, height) {
    const canvas = new OffscreenCanvas(width, height)
    const context = canvas.getContext('2d')
    if (context === null) throw new Error('there is no canvas')
    return { canvas, context }
  }

  /** The same numbers for the same seed. @param {number} seed */
  function random(seed) {
    let state = seed
    return () => {
      state = (Math.imul(state ^ (state >>> 15), 0x2c1b3c6d) + 0x9e3779b9) | 0
      return ((state ^ (state >>> 13)) >>> 0) / 2 ** 32
    }
  }

  /** Smooth noise from -1 to 1 as a sum of waves. @param {number} seed @param {number} count */
  function waves(seed, count) {
    const next = random(seed)
    const all = Array.from({ length: count }, (_, index) => {
      const [angle, frequency] = [next() * Math.PI * 2, 0.0022 * 1.38 ** index]
      return { x: Math.cos(angle) * frequency, y: Math.sin(angle) * frequency, phase: next() * 7, size: 1.25 ** -index }
    })
    const sum = all.reduce((total, { size }) => total + size, 0)
    return (/** @type {number} */ x, /** @type {number} */ y) =>
      all.reduce((total, wave) => total + wave.size * Math.sin(Math.PI * 2 * (x * wave.x + y * wave.y) + wave.phase), 0) / sum
  }

  /** @param {OffscreenCanvasRenderingContext2D} context @param {number} width @param {number} height @param {number} time from 0 to 1, and round again */
  function dunes(context, width, height, time) {
    const sky = context.createLinearGradient(0, 0, 0, height * 0.75)
    for (const [at, colour] of /** @type {const} */ ([
      [0, '#1b2a5c'],
      [0.45, '#7a4f93'],
      [0.75, '#e58b7b'],
      [1, '#ffd9a0'],
    ]))
      sky.addColorStop(at, colour)
    context.fillStyle = sky
    context.fillRect(0, 0, width, height)
    const turn = time * Math.PI * 2
    const [sunX, sunY] = [width * (0.64 + 0.08 * Math.cos(turn)), height * (0.42 + 0.05 * Math.sin(turn))]
    const glow = context.createRadialGradient(sunX, sunY, 0, sunX, sunY, width * 0.3)
    glow.addColorStop(0, 'rgb(255 240 205 / 90%)')
    glow.addColorStop(0.16, 'rgb(255 230 180 / 55%)')
    glow.addColorStop(1, 'rgb(255 210 160 / 0%)')
    context.fillStyle = glow
    context.fillRect(0, 0, width, height)
    context.fillStyle = '#fff4d8'
    context.beginPath()
    context.arc(sunX, sunY, width * 0.045, 0, Math.PI * 2)
    context.fill()
    const colours = ['#b86a83', '#8f4f7c', '#683c70', '#452c5e', '#2a1f49', '#151432']
    for (const [layer, colour] of colours.entries()) {
      const base = height * (0.56 + layer * 0.075)
      context.fillStyle = colour
      context.beginPath()
      context.moveTo(0, height)
      for (let x = 0; x <= width; x += 2) {
        const u = (x / width) * Math.PI * 2
        // Whole turns in one round, so that the end meets the beginning.
        const swell =
          Math.sin(u * (0.7 + layer * 0.23) + layer * 1.9 + turn * (layer % 2 === 0 ? 1 : -1)) +
          0.45 * Math.sin(u * 2.3 + layer * 4.1 + turn)
        context.lineTo(x, base + swell * height * (0.022 + layer * 0.006))
      }
      context.lineTo(width, height)
      context.fill()
    }
  }

  /** @param {OffscreenCanvasRenderingContext2D} context */
  function contours(context) {
    const field = waves(11, 7)
    const palette = ['#0d3b4c', '#14596a', '#1f7a80', '#3f9c8f', '#74bb9b', '#acd4a6', '#dde7b6', '#f6f1d3'].map((colour) =>
      [1, 3, 5].map((at) => Number.parseInt(colour.slice(at, at + 2), 16)),
    )
    const image = context.createImageData(WIDTH, HEIGHT)
    for (let y = 0; y < HEIGHT; y++) {
      for (let x = 0; x < WIDTH; x++) {
        const level = (field(x, y) * 0.5 + 0.5) * palette.length * 1.15 - 0.6
        const band = palette[Math.max(0, Math.min(palette.length - 1, Math.floor(level)))] ?? []
        // Darker towards the lower neighbour, which looks like paper cut in layers.
        const shade = 0.86 + 0.14 * Math.min(1, (level - Math.floor(level)) * 3)
        band.forEach((value, channel) => (image.data[(y * WIDTH + x) * 4 + channel] = value * shade))
        image.data[(y * WIDTH + x) * 4 + 3] = 255
      }
    }
    context.putImageData(image, 0, 0)
  }

  /** @param {OffscreenCanvasRenderingContext2D} context */
  function weave(context) {
    const next = random(5)
    const size = 80
    context.fillStyle = '#f3ead9'
    context.fillRect(0, 0, WIDTH, HEIGHT)
    const colours = ['#c8553d', '#e0a458', '#3d5a80', '#588b8b', '#29335c']
    for (const [width, pick] of /** @type {const} */ ([
      [38, () => '#f3ead9'],
      [26, () => colours[Math.floor(next() * colours.length)] ?? ''],
    ])) {
      const turns = random(23)
      context.lineWidth = width
      for (let y = 0; y < HEIGHT; y += size) {
        for (let x = 0; x < WIDTH; x += size) {
          const turned = turns() < 0.5
          for (const [cx, cy, from] of turned
            ? [
                [x, y, 0],
                [x + size, y + size, Math.PI],
              ]
            : [
                [x + size, y, Math.PI / 2],
                [x, y + size, -Math.PI / 2],
              ]) {
            context.strokeStyle = pick()
            context.beginPath()
            context.arc(cx ?? 0, cy ?? 0, size / 2, from ?? 0, (from ?? 0) + Math.PI / 2)
            context.stroke()
          }
        }
      }
    }
  }

  /** @param {(context: OffscreenCanvasRenderingContext2D) => void} paint */
  async function picture(paint) {
    const { canvas, context } = canvasOf(WIDTH, HEIGHT)
    paint(context)
    return new Uint8Array(await (await canvas.convertToBlob({ type: 'image/webp', quality: 0.8 })).arrayBuffer())
  }

  async function frames() {
    /** @type {{ bytes: Uint8Array, isKey: boolean }[]} */
    const encoded = []
    const { canvas, context } = canvasOf(VIDEO.width, VIDEO.height)
    await new Promise((resolve, reject) => {
      const encoder = new VideoEncoder({
        output: (chunk) => {
          const bytes = new Uint8Array(chunk.byteLength)
          chunk.copyTo(bytes)
          encoded.push({ bytes, isKey: chunk.type === 'key' })
        },
        error: reject,
      })
      encoder.configure({ codec: 'vp09.00.10.08', ...VIDEO, bitrate: 170_000, framerate: FRAMES_PER_SECOND, latencyMode: 'quality' })
      for (let index = 0; index < SECONDS * FRAMES_PER_SECOND; index++) {
        dunes(context, VIDEO.width, VIDEO.height, index / (SECONDS * FRAMES_PER_SECOND))
        const frame = new VideoFrame(canvas, { timestamp: (index * 1_000_000) / FRAMES_PER_SECOND })
        encoder.encode(frame, { keyFrame: index % (2 * FRAMES_PER_SECOND) === 0 })
        frame.close()
      }
      encoder.flush().then(resolve, reject)
    })
    return encoded
  }

  /** An element of EBML: https://www.rfc-editor.org/rfc/rfc8794 @param {number} id @param {ArrayLike<number>[]} content */
  function element(id, ...content) {
    const size = content.reduce((sum, { length }) => sum + length, 0)
    return Uint8Array.from([...uint(id, Math.ceil(Math.log2(id) / 8)), 1, ...uint(size, 7), ...content.flatMap((part) => Array.from(part))])
  }
  /** @param {number} value @param {number} length */
  function uint(value, length) {
    return Array.from({ length }, (_, index) => Math.floor(value / 256 ** (length - 1 - index)) % 256)
  }
  /** @param {string} value */
  const text = (value) => new TextEncoder().encode(value)

  /** WebM with an index, so that it can be sought in: https://www.webmproject.org/docs/container */
  async function video() {
    const encoded = await frames()
    const perCluster = 2 * FRAMES_PER_SECOND
    const clusters = Array.from({ length: Math.ceil(encoded.length / perCluster) }, (_, cluster) => {
      const blocks = encoded
        .slice(cluster * perCluster, (cluster + 1) * perCluster)
        .map(({ bytes, isKey }, index) =>
          element(0xa3, [0x81, ...uint(Math.round((index * 1000) / FRAMES_PER_SECOND), 2), isKey ? 0x80 : 0], bytes),
        )
      return element(0x1f43b675, element(0xe7, uint(cluster * 2000, 8)), ...blocks)
    })
    const duration = new DataView(new ArrayBuffer(8))
    duration.setFloat64(0, SECONDS * 1000)
    const info = element(0x1549a966, element(0x2ad7b1, uint(1_000_000, 4)), element(0x4489, new Uint8Array(duration.buffer)))
    const size = element(0xe0, element(0xb0, uint(VIDEO.width, 2)), element(0xba, uint(VIDEO.height, 2)))
    const tracks = element(
      0x1654ae6b,
      element(0xae, element(0xd7, [1]), element(0x73c5, [1]), element(0x83, [1]), element(0x86, text('V_VP9')), size),
    )
    /** @param {number} from */
    const indexAt = (from) => {
      let at = from
      const points = clusters.map(({ length }, cluster) => {
        const position = element(0xb7, element(0xf7, [1]), element(0xf1, uint(at, 8)))
        at += length
        return element(0xbb, element(0xb3, uint(cluster * 2000, 8)), position)
      })
      return element(0x1c53bb6b, ...points)
    }
    const before = info.length + tracks.length
    const index = indexAt(before + indexAt(0).length)
    const head = element(
      0x1a45dfa3,
      element(0x4286, [1]),
      element(0x42f7, [1]),
      element(0x42f2, [4]),
      element(0x42f3, [8]),
      element(0x4282, text('webm')),
      element(0x4287, [2]),
      element(0x4285, [2]),
    )
    return Uint8Array.from([...head, ...element(0x18538067, info, tracks, index, ...clusters)])
  }

  /** @param {Uint8Array} bytes */
  const base64 = (bytes) => btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(''))
  return {
    'dunes.webp': base64(await picture((context) => dunes(context, WIDTH, HEIGHT, 0.1))),
    'contours.webp': base64(await picture(contours)),
    'weave.webp': base64(await picture(weave)),
    'dusk.webm': base64(await video()),
  }
}
