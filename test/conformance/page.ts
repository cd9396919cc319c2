// The page that the proxy asks: puts the fixtures where an application that adopts a database of blocks has them, and replays requests.
import { CarReader } from '@ipld/car'
import { IDBBlockstore } from 'blockstore-idb'
import type { Answered, Asked } from './service-worker.ts'

export interface Replayed extends Answered {
  /** In base64. */
  body: string
}

export interface ConformancePage {
  ready: Promise<void>
  put: (car: string) => Promise<number>
  replay: (asked: Asked) => Promise<Replayed>
}

async function takeOver(): Promise<void> {
  await navigator.serviceWorker.register('/service-worker.js')
  await navigator.serviceWorker.ready
  if (navigator.serviceWorker.controller !== null) return
  await new Promise((resolve) => navigator.serviceWorker.addEventListener('controllerchange', resolve, { once: true }))
}

/** Some fixtures lack blocks on purpose, which importCar() refuses. */
async function put(car: string): Promise<number> {
  const store = new IDBBlockstore('conformance/blocks')
  await store.open()
  const reader = await CarReader.fromBytes(await bytesOf(car))
  let count = 0
  for await (const { cid, bytes } of reader.blocks()) {
    await store.put(cid, new Uint8Array(bytes))
    count++
  }
  await store.close()
  return count
}

async function replay(asked: Asked): Promise<Replayed> {
  const response = await fetch(asked.path, { ...asked.init, redirect: 'manual' })
  if (response.type === 'opaqueredirect') return { ...(await told(asked)), body: '' }
  return { status: response.status, headers: [...response.headers], body: await base64Of(await response.blob()) }
}

function told(asked: Asked): Promise<Answered> {
  const { port1, port2 } = new MessageChannel()
  return new Promise((resolve) => {
    port1.onmessage = ({ data }: MessageEvent<Answered>) => resolve(data)
    navigator.serviceWorker.controller?.postMessage(asked, [port2])
  })
}

async function bytesOf(base64: string): Promise<Uint8Array> {
  return new Uint8Array(await (await fetch(`data:;base64,${base64}`)).arrayBuffer())
}

function base64Of(blob: Blob): Promise<string> {
  const reader = new FileReader()
  return new Promise((resolve, reject) => {
    reader.onload = () => resolve((reader.result as string).split(',')[1] ?? '')
    reader.onerror = () => reject(reader.error ?? new Error('the body can not be read'))
    reader.readAsDataURL(blob)
  })
}

Object.assign(globalThis, { conformance: { ready: takeOver(), put, replay } satisfies ConformancePage })
