// Creates and updates DOM elements. Text from users and services only becomes text nodes, never
// markup.
const SVG_NAMESPACE = "http://www.w3.org/2000/svg";

export const $ = (id) => document.getElementById(id);

/**
 * Creates an element. `props` takes `class`, `text`, `data: {}` (the dataset) and `on: {}` (event
 * listeners). Any other key is a property of the element if it has one, else an attribute.
 */
export function el(name, props = {}, ...children) {
  return build(document.createElement(name), props, children);
}

/** Creates an SVG element. Takes the same arguments as `el`. */
export function svg(name, props = {}, ...children) {
  return build(document.createElementNS(SVG_NAMESPACE, name), props, children);
}

function build(node, props, children) {
  for (const [key, value] of Object.entries(props)) {
    if (value !== null && value !== undefined) setProp(node, key, value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

function setProp(node, key, value) {
  if (key === "class") node.setAttribute("class", value);
  else if (key === "text") node.textContent = value;
  else if (key === "data") Object.assign(node.dataset, value);
  else if (key === "on") {
    for (const [event, listener] of Object.entries(value)) node.addEventListener(event, listener);
  } else if (key in node && !(node instanceof SVGElement)) node[key] = value;
  else node.setAttribute(key, value);
}

/** An icon: one of the symbols `i-…` at the end of index.html. */
export const icon = (name) =>
  svg("svg", { class: "icon", "aria-hidden": "true" }, svg("use", { href: `#i-${name}` }));

/** Writes the text only if it changed: each write causes a layout and an announcement. */
export function setText(node, text) {
  if (node.textContent !== String(text)) node.textContent = text;
}

/** Makes the children of `parent` match `items`. Nodes, and the focus, are kept by key. */
export function reconcile(parent, items, keyOf, create, update) {
  const existing = new Map([...parent.children].map((node) => [node.dataset.key, node]));
  let next = parent.firstElementChild;
  for (const item of items) {
    const key = String(keyOf(item));
    let node = existing.get(key);
    existing.delete(key);
    if (!node) {
      node = create(item);
      node.dataset.key = key;
    }
    if (node === next) next = next.nextElementSibling;
    else parent.insertBefore(node, next);
    update(node, item);
  }
  for (const node of existing.values()) node.remove();
}

/** The size of the text relative to the default of 16 px. Drawings grow with it. */
export const textScale = () =>
  parseFloat(getComputedStyle(document.documentElement).fontSize) / 16;

export const reducedMotion = matchMedia("(prefers-reduced-motion: reduce)");
