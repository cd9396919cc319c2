// A dedicated worker with the library and the hammer in it, to be driven from outside as a page is.
import * as kit from '../../../src/index.ts'
import * as hammering from './hammer.ts'

Object.assign(globalThis, { kit, hammering })
