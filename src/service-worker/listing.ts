// The page that lists a directory, as Kubo's does: plain links, no script.
import type { CID } from 'multiformats/cid'
import { compareCodePoints } from '../files/directory.ts'
import { LISTED_NAMES } from '../limits.ts'
import type { NamedLink } from '../files/node.ts'

/** Of the page below. Changes with it, since it is part of the page's ETag. */
export const LISTING_VERSION = '1'

/** Nothing runs, and nothing is loaded, whatever a name holds. */
export const LISTING_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"

export interface Listing {
  /** Path below which content is served. */
  path: string
  named: string
  segments: readonly string[]
  cid: CID
  links: readonly NamedLink[]
}

export function listingPage({ path, named, segments, cid, links }: Listing): string {
  const root = `${path}${named}`
  const crumbs = segments.map((name, index) => link([root, ...segments.slice(0, index + 1).map(encoded)].join('/'), name))
  const here = [root, ...segments.map(encoded)].join('/')
  const shown = links.toSorted((a, b) => compareCodePoints(a.name, b.name)).slice(0, LISTED_NAMES)
  const rows = shown.map(({ name, cid: child, dagSize }) => {
    const id = child.toString()
    const hash = `<a class="ipfs-hash" translate="no" href="${escaped(`${path}${id}?filename=${encoded(encoded(name))}`)}">${shortened(id)}</a>`
    return `<tr><td>${link(`${here}/${encoded(name)}`, name)}</td><td>${hash}</td><td>${dagSize === undefined ? '' : size(dagSize)}</td></tr>`
  })
  const up = segments.length === 0 ? '' : `<tr><td>${link(`${here}/..`, '..')}</td><td></td><td></td></tr>\n`
  const more = links.length > shown.length ? `<p>${links.length - shown.length} further names are not shown.</p>\n` : ''
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escaped(['/ipfs', named, ...segments].join('/'))}</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem; color: #16202a; background: #fff; overflow-wrap: anywhere }
h1 { font-size: 1.2rem }
table { border-collapse: collapse; width: 100% }
td { border-top: 1px solid #d8dee4; padding: .35rem .5rem .35rem 0 }
td:last-child { text-align: right; white-space: nowrap }
.ipfs-hash { font-family: ui-monospace, monospace; font-size: .85em; color: #57606a }
a { color: #0b5cad; text-decoration: none }
a:hover { text-decoration: underline }
@media (prefers-color-scheme: dark) { body { color: #e6edf3; background: #0d1117 } td { border-color: #30363d } a { color: #6cb6ff } .ipfs-hash { color: #8b949e } }
</style>
</head>
<body>
<h1>Index of ${escaped(path)}${[link(root, named), ...crumbs].join('/')}</h1>
<p>${escaped(cid.toString())}</p>
<table>
${up}${rows.join('\n')}
</table>
${more}</body>
</html>
`
}

function link(href: string, text: string): string {
  return `<a href="${escaped(href)}">${escaped(text)}</a>`
}

function shortened(id: string): string {
  return `${id.slice(0, 6)}…${id.slice(-4)}`
}

/** Names come from UTF-8, so that they hold nothing which can't be encoded. */
function encoded(name: string): string {
  return encodeURIComponent(name)
}

function escaped(text: string): string {
  return text.replaceAll(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`)
}

function size(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB']
  const power = Math.min(units.length - 1, Math.floor(Math.log2(Math.max(1, bytes)) / 10))
  const value = bytes / 1024 ** power
  return `${power === 0 ? value : value.toPrecision(3)} ${units[power]}`
}
