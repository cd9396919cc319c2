// Tests of parts that load others later, without the front that says where from.
import { LATER } from '../../src/later.ts'
import { provideLater } from '../../src/lazy.ts'

provideLater(LATER)
