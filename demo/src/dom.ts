// Makes elements: the few lines of a framework that this page needs.
export type Child = Node | string | false | null | undefined

interface Properties {
  class?: string
  id?: string
  [attribute: string]: string | number | boolean | undefined | ((event: Event) => void)
}

/** Functions are listeners for the event they are named after, `true` an empty attribute, `false` and undefined none. */
export function el<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  properties: Properties = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag)
  for (const [name, value] of Object.entries(properties)) {
    if (typeof value === 'function') element.addEventListener(name, value)
    else if (value === true) element.setAttribute(name, '')
    else if (value !== false && value !== undefined) element.setAttribute(name, String(value))
  }
  element.append(...children.filter((child) => child !== false && child !== null && child !== undefined))
  return element
}

const SVG = 'http://www.w3.org/2000/svg'

/** One of the symbols in index.html; only decoration, so a name must stand beside it or in an aria-label. */
export function icon(name: string): SVGElement {
  const svg = document.createElementNS(SVG, 'svg')
  svg.setAttribute('class', 'icon')
  svg.setAttribute('aria-hidden', 'true')
  const use = document.createElementNS(SVG, 'use')
  use.setAttribute('href', `#icon-${name}`)
  svg.append(use)
  return svg
}

/** An element that index.html must have, of the kind asked for. */
export function byId(id: string): HTMLElement
export function byId<T extends HTMLElement>(id: string, kind: new () => T): T
export function byId(id: string, kind: new () => HTMLElement = HTMLElement): HTMLElement {
  const element = document.getElementById(id)
  if (!(element instanceof kind)) throw new Error(`index.html has no ${kind.name} '${id}'`)
  return element
}

let ids = 0
export function nextId(prefix: string): string {
  return `${prefix}-${++ids}`
}

/** Hides an element, or shows it; if the focus was in what is hidden, hands it to another. */
export function hide(element: HTMLElement, focusNext: HTMLElement, hidden = true): void {
  if (hidden && element.contains(document.activeElement)) focusNext.focus()
  element.hidden = hidden
}

/** Removes an element and, if the focus was in it, hands it to another. */
export function remove(element: HTMLElement, focusNext?: HTMLElement): void {
  const focused = element.contains(document.activeElement)
  element.remove()
  if (focused) focusNext?.focus()
}
