// SPDX-License-Identifier: GPL-3.0-or-later
// SPDX-FileCopyrightText: The kernelops.livepatch contributors

// Creates elements, and formats numbers and times. Text always becomes a text node, never markup.

const SVG_NAMESPACE = "http://www.w3.org/2000/svg";

/**
 * Return an element of page.html.
 * @template {HTMLElement} Type
 * @param {string} id
 * @param {new () => Type} type
 * @returns {Type}
 */
function elementById(id, type) {
  const element = document.getElementById(id);
  if (!(element instanceof type)) throw new Error(`page.html has no ${type.name} with the id ${id}`);
  return element;
}

/**
 * Create an element.
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {string} className
 * @param {(Node | string)[]} children
 * @returns {HTMLElementTagNameMap[Tag]}
 */
function createElement(tag, className, ...children) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.append(...children);
  return element;
}

/** Programs and options that a line must not break at their hyphens. */
const UNBROKEN = /(ansible-playbook|(?<=\s)(?:-e \S{1,40}(?![^\s;])|--?[a-z][a-z-]*))/;

/**
 * Return the nodes of a next step, whose commands stay readable where lines break. Their text is that of the step.
 * @param {string} step
 */
function stepNodes(step) {
  return step.split(UNBROKEN).map((word, number) => (number % 2 ? createElement("span", "unbroken", word) : word));
}

/**
 * Create an element of an SVG picture.
 * @template {keyof SVGElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Record<string, string | number>} attributes
 * @param {(Node | string)[]} children
 * @returns {SVGElementTagNameMap[Tag]}
 */
function createSvg(tag, attributes, ...children) {
  const element = document.createElementNS(SVG_NAMESPACE, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
  element.append(...children);
  return element;
}

/**
 * @param {string} label
 * @param {string} className
 * @param {() => void} onClick
 */
function createButton(label, className, onClick) {
  const button = createElement("button", className, label);
  button.type = "button";
  button.addEventListener("click", onClick);
  return button;
}

/** @param {string} label @param {string} query The search that the link starts. */
function createSearchLink(label, query) {
  const link = createElement("a", "", label);
  link.href = searchAddress(query);
  return link;
}

/** @param {string} query */
function searchAddress(query) {
  return `#q=${encodeURIComponent(query)}`;
}

/**
 * Keep a picture as wide as its container: draw it again when the width changes.
 * @param {HTMLElement} container
 * @param {(width: number) => SVGElement} draw
 */
function drawToFit(container, draw) {
  let drawn = 0;
  new ResizeObserver(() => {
    const width = Math.floor(container.clientWidth);
    if (width === 0 || width === drawn) return; // the drawing itself changes the height
    drawn = width;
    container.replaceChildren(draw(width));
  }).observe(container);
}

/** @param {number} value */
function formatNumber(value) {
  return value.toLocaleString("en");
}

/** @param {number} value @param {string} noun */
function formatCount(value, noun) {
  return `${formatNumber(value)} ${noun}${value === 1 ? "" : "s"}`;
}

/**
 * Format a percentage. Only none is "0%", and only all is "100%".
 * @param {number} value
 * @param {number} total
 */
function formatPercentage(value, total) {
  if (value === 0) return "0%";
  const percentage = (100 * value) / total;
  if (percentage < 1) return "<1%";
  if (percentage > 99 && value < total) return "99%";
  return `${Math.round(percentage)}%`;
}

/**
 * Format "2026-01-10T06:00:00Z" as "2026-01-10 06:00 UTC". Any other text is returned unchanged.
 * @template {string | null} Time
 * @param {Time} time
 */
function formatTime(time) {
  const match = /^(\d{4}-\d\d-\d\d)T(\d\d:\d\d):\d\d(?:\.\d+)?Z$/.exec(time ?? "");
  return match ? `${match[1]} ${match[2]} UTC` : time;
}
