// What headers say of an answer, right and wrong.
import { describe, expect, it } from 'vitest'
import { isEncoded, isOf, lengthOf, rangeOf, retryAfterMs, validatorOf } from '../../../src/download/answers.ts'

const headers = (init: Record<string, string>): Headers => new Headers(init)
const JANUARY = 'Wed, 01 Jan 2025 00:00:00 GMT'
const NEXT_SECOND = 'Wed, 01 Jan 2025 00:00:01 GMT'

describe('validatorOf', () => {
  it.each([
    [{ etag: '"a"' }, { etag: '"a"' }],
    [{ etag: '"a"', 'last-modified': JANUARY }, { etag: '"a"' }],
    [{ etag: 'W/"a"' }, undefined],
    [{ etag: 'a' }, undefined],
    [{ etag: 'W/"a"', 'last-modified': JANUARY }, { lastModified: JANUARY }],
    [{ 'last-modified': JANUARY, date: NEXT_SECOND }, { lastModified: JANUARY }],
    // Another version of the same second would have the same date.
    [{ 'last-modified': JANUARY, date: JANUARY }, undefined],
    [{ 'last-modified': 'yesterday' }, undefined],
    [{}, undefined],
  ])('%o: %o', (given, expected) => {
    expect(validatorOf(headers(given))).toEqual(expected)
  })
})

it('isOf tells the same, another, and what does not say', () => {
  expect(isOf(headers({ etag: '"a"' }), { etag: '"a"' })).toBe(true)
  expect(isOf(headers({ etag: 'W/"a"' }), { etag: '"a"' })).toBe(false)
  expect(isOf(headers({ 'last-modified': JANUARY }), { etag: '"a"' })).toBeUndefined()
  expect(isOf(headers({ etag: '"b"', 'last-modified': JANUARY }), { lastModified: JANUARY })).toBe(true)
})

describe('rangeOf', () => {
  it.each([
    ['bytes 0-9/10', { from: 0, to: 10, total: 10 }],
    ['bytes 5-9/*', { from: 5, to: 10 }],
    ['bytes 5-4/10', undefined],
    ['bytes 0-10/10', undefined],
    ['bytes */10', undefined],
    ['items 0-9/10', undefined],
    ['bytes 0-9', undefined],
    ['bytes 0-9/-1', undefined],
    ['bytes 0-99999999999999999999/999999999999999999999', undefined],
  ])('%s', (text, expected) => {
    expect(rangeOf(headers({ 'content-range': text }))).toEqual(expected)
  })

  it('is null where nothing is said', () => {
    expect(rangeOf(headers({}))).toBeNull()
  })
})

it('lengthOf takes whole numbers', () => {
  expect(['10', '0', '-1', '1.5', 'x', '1e3', '99999999999999999999'].map((text) => lengthOf(headers({ 'content-length': text })))).toEqual(
    [10, 0, ...Array.from({ length: 5 }, () => undefined)],
  )
})

it('isEncoded sees what is not the content as it is', () => {
  expect(['gzip', 'br', 'identity', 'Identity'].map((text) => isEncoded(headers({ 'content-encoding': text })))).toEqual([
    true,
    true,
    false,
    false,
  ])
  expect(isEncoded(headers({}))).toBe(false)
})

describe('retryAfterMs', () => {
  it.each([
    ['0', 0],
    ['120', 120_000],
    [NEXT_SECOND, 1_000],
    ['Tue, 31 Dec 2024 00:00:00 GMT', 0],
    ['soon', undefined],
  ])('%s', (text, expected) => {
    expect(retryAfterMs(headers({ 'retry-after': text }), Date.parse(JANUARY))).toBe(expected)
  })
})
