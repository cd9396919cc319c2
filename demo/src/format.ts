// Numbers, times and CIDs as people read them.
const UNITS = ['B', 'kB', 'MB', 'GB', 'TB']
const count = new Intl.NumberFormat('en')
const relative = new Intl.RelativeTimeFormat('en', { numeric: 'auto' })

/** Decimal units with three significant digits: 28369009 → '28.4 MB'. */
export function formatBytes(bytes: number): string {
  let value = bytes
  let unit = 0
  while (value >= 999.5 && unit < UNITS.length - 1) {
    value /= 1000
    unit++
  }
  const digits = unit === 0 || value >= 99.95 ? 0 : 1
  return `${value.toFixed(digits)} ${UNITS[unit]}`
}

export function formatCount(value: number, one: string, many = `${one}s`): string {
  return `${count.format(value)} ${value === 1 ? one : many}`
}

export function formatDuration(milliseconds: number): string {
  return milliseconds < 995 ? `${Math.round(milliseconds)} ms` : `${(milliseconds / 1000).toFixed(1)} s`
}

/** 'just now', '5 minutes ago', 'yesterday'. */
export function formatAgo(date: Date, now: number = Date.now()): string {
  const seconds = Math.min(0, (date.getTime() - now) / 1000)
  if (seconds > -45) return 'just now'
  if (seconds > -3_600) return relative.format(Math.min(-1, Math.round(seconds / 60)), 'minute')
  if (seconds > -86_400) return relative.format(Math.round(seconds / 3_600), 'hour')
  return relative.format(Math.round(seconds / 86_400), 'day')
}

/** First and last characters: the beginning of a CID only says which kind it is. */
export function shortCid(cid: string): string {
  return cid.length <= 16 ? cid : `${cid.slice(0, 7)}…${cid.slice(-6)}`
}
