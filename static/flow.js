// The picture of the platform: what is well, what is broken on purpose, and each order on its way.
import { get } from "./api.js";
import { $, calmMotion, count, el, many, setText, svg, textScale } from "./dom.js";
import { curve, drawNode, label, layout, NODES } from "./picture.js";
import { Traffic } from "./traffic.js";
import { isWaiting } from "./words.js";

const SERVICES = {
  order: { service: "order-service", unit: "orders/s" },
  inventory: { service: "inventory-service", unit: "calls/s" },
  payment: { service: "payment-service", unit: "calls/s" },
};
/** Each leads from one node to another; orders travel on those of the order service. */
const LINES = [
  ["order", "customer"], ["order", "inventory"], ["order", "payment"], ["order", "waiting"], ["order", "database"],
  ["inventory", "database"], ["payment", "database"],
];
const STATE_ICON = { healthy: "good", degraded: "warn", unknown: "unknown" };
const BREAKER_TEXT = { open: "breaker\nopen", "half-open": "trying" };
const MOST_DOTS = 24;
const MOST_LISTED = 100;

/** The orders that wait for a dependency. */
const waiting = new Set();
let unsettled = 0;
let waitingFrame = 0;

let canvas;
let traffic;
let nodes = {};
let lines = {};
let cuts = {};
let latest = { health: {}, rates: [], breakers: {}, faults: {} };

export function startFlow() {
  const ground = svg("svg", { class: "flow-picture", "aria-hidden": "true" });
  canvas = svg("svg", { role: "img", class: "flow-picture" });
  traffic = new Traffic();
  const picture = el("div", { class: "picture" }, ground, traffic.layer, canvas);
  $("flow").append(picture);
  new ResizeObserver(([entry]) => draw(ground, entry.contentRect.width)).observe(picture);
}

function draw(ground, width) {
  const unit = textScale();
  const { height, isLying, places } = layout(width, unit);
  for (const layer of [ground, canvas]) layer.setAttribute("viewBox", `0 0 ${width} ${height}`);
  lines = Object.fromEntries(LINES.map(([from, to]) => [`${from}-${to}`, svg("path", { class: "flow-line", d: curve(places[from], places[to], isLying) })]));
  nodes = Object.fromEntries(Object.keys(NODES).map((name) => [name, drawNode(name, places[name], unit, isLying)]));
  cuts = Object.fromEntries(["inventory", "payment"].map((name) => [name, svg("g", { class: "cut-sign", transform: middle(lines[`order-${name}`]) })]));
  ground.replaceChildren(...Object.values(lines));
  canvas.replaceChildren(...Object.values(cuts), ...Object.values(nodes).map(({ group }) => group));
  const roads = LINES.filter(([from]) => from === "order").map(([, to]) => [to, lines[`order-${to}`]]);
  traffic.lines(Object.fromEntries(roads), { width, height, unit });
  show();
  showWaiting();
}

function middle(line) {
  const { x, y } = line.getPointAtLength(line.getTotalLength() / 2);
  return `translate(${x.toFixed(1)} ${y.toFixed(1)})`;
}

/** Takes what is new of: health, rates, breakers, faults. */
export function updateFlow(news) {
  latest = { ...latest, ...news };
  show();
}

function show() {
  if (!nodes.order) return;
  const { health, breakers, faults } = latest;
  const said = [];
  Object.entries(SERVICES).forEach(([name, { service, unit }], i) => {
    const { state = "unknown", word = "…", dependencies = {} } = health[service] ?? {};
    const node = nodes[name];
    const isSilent = state === "down" || state === "unknown";
    node.group.dataset.state = state;
    node.state.setAttribute("href", `#i-${STATE_ICON[state] ?? "bad"}`);
    setText(node.figure, isSilent ? word : rateText(latest.rates[i], unit));
    label(node.fault, faults[service], node.size.unit);
    tint(`${name}-database`, dependencies.database === "disconnected" ? "bad" : isSilent ? "unknown" : "good");
    said.push(`${service} ${word}${faults[service] ? `, gremlin: ${faults[service]}` : ""}`);
    if (name === "order") return;
    const breaker = breakers[service] ?? "closed";
    tint(`order-${name}`, breaker !== "closed" ? `breaker-${breaker}` : state === "down" ? "bad" : "good");
    label(cuts[name], BREAKER_TEXT[breaker], node.size.unit);
    if (breaker !== "closed") said.push(`its breaker is ${breaker}`);
  });
  const isConnected = Object.values(health).every(({ dependencies }) => dependencies.database !== "disconnected");
  nodes.database.group.dataset.state = isConnected ? "healthy" : "down";
  setText(nodes.database.figure, isConnected ? "PostgreSQL" : "disconnected");
  canvas.setAttribute("aria-label", `${said.join("; ")}. ${many(waiting.size, "order")} waiting to be finished.`);
}

const tint = (line, state) => lines[line].setAttribute("data-state", state);

function rateText(rate, unit) {
  if (rate === null || rate === undefined) return "…";
  return `${rate < 10 ? rate.toFixed(1) : count(Math.round(rate))} ${unit}`;
}

export function flowChanged(change) {
  if (isWaiting(change.status)) waiting.add(change.id);
  else waiting.delete(change.id);
  waitingFrame ||= requestAnimationFrame(showWaiting);
  if (!calmMotion.matches) traffic.changed(change);
}

/** Those that waited before this page was there. */
export async function loadWaiting() {
  const lists = await Promise.all(["PENDING_INVENTORY", "PENDING_PAYMENT"].map((status) => get(`/orders?status=${status}&limit=${MOST_LISTED}`)));
  waiting.clear();
  for (const { orders } of lists) for (const { id } of orders) waiting.add(id);
  showWaiting();
}

/** How many orders the books call unsettled: more may wait than a list tells. */
export function settle(orders) {
  unsettled = orders;
  if (orders === 0) waiting.clear();
  showWaiting();
}

function showWaiting() {
  waitingFrame = 0;
  if (!nodes.waiting) return;
  const { dots, figure, group, size: { w, h, unit } } = nodes.waiting;
  const n = waiting.size < MOST_LISTED ? waiting.size : Math.max(waiting.size, unsettled);
  const shown = Math.min(n, MOST_DOTS);
  const across = w < 120 * unit ? 6 : 12;
  group.dataset.state = n > 0 ? "waiting" : "empty";
  setText(figure, n > 0 ? `${count(n)} waiting` : "none waiting");
  figure.setAttribute("y", n > 0 ? h / 2 - 9 * unit : 5 * unit);
  while (dots.childElementCount > shown) dots.lastChild.remove();
  while (dots.childElementCount < shown) {
    const i = dots.childElementCount;
    const gap = (w - 16 * unit) / across;
    dots.append(svg("circle", { r: 3.4 * unit, cx: -w / 2 + 8 * unit + gap * ((i % across) + 0.5), cy: -h / 2 + (12 + 11 * Math.floor(i / across)) * unit }));
  }
}

export const forgetTraffic = () => traffic.clear();
export const sweepTraffic = () => traffic.sweep();
