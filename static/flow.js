// The flow diagram: the health of each part of the platform, injected faults, circuit breakers, and
// the orders that travel and wait.
import { get } from "./api.js";
import { $, el, reducedMotion, setText, svg, textScale } from "./dom.js";
import { FlowAnimation } from "./flow-animation.js";
import { connectionPath, drawLabel, drawNode, layout, NODES } from "./flow-diagram.js";
import { formatCount, formatNumber } from "./format.js";
import { isWaiting } from "./labels.js";

const SERVICE_NODES = {
  order: { service: "order-service", unit: "orders/s" },
  inventory: { service: "inventory-service", unit: "calls/s" },
  payment: { service: "payment-service", unit: "calls/s" },
};
const ANIMATED_CONNECTIONS = ["customer", "inventory", "payment", "waiting", "database"];
/** Pairs of nodes. */
const CONNECTIONS = [
  ...ANIMATED_CONNECTIONS.map((node) => ["order", node]),
  ["inventory", "database"],
  ["payment", "database"],
];
const STATE_ICONS = { healthy: "good", degraded: "warning", unknown: "unknown" };
const BREAKER_LABELS = {
  open: "breaker\nopen",
  "half-open": "breaker\nhalf-open",
  unknown: "breaker\nunknown",
};
const WAITING_STATUSES = ["PENDING_INVENTORY", "PENDING_PAYMENT"];
const MAX_WAITING_DOTS = 24;
const MAX_LISTED_ORDERS = 100;

/** The ids of the orders that wait for a dependency. */
const waitingOrders = new Set();
let unsettledCount = 0;
let waitingFrame = 0;

let canvas;
let animation;
let nodes = {};
let connections = {};
let breakerLabels = {};
let state = { health: {}, rates: [], breakers: {}, faults: {}, processes: {} };

export function startFlow() {
  const background = svg("svg", { class: "flow-layer", "aria-hidden": "true" });
  canvas = svg("svg", { role: "img", class: "flow-layer" });
  animation = new FlowAnimation();
  const diagram = el("div", { class: "flow-diagram" }, background, animation.layer, canvas);
  $("flow").append(diagram);
  new ResizeObserver(([entry]) => draw(background, entry.contentRect.width)).observe(diagram);
}

function draw(background, width) {
  const unit = textScale();
  const { height, isHorizontal, boxes } = layout(width, unit);
  for (const layer of [background, canvas]) {
    layer.setAttribute("viewBox", `0 0 ${width} ${height}`);
  }
  connections = Object.fromEntries(CONNECTIONS.map(([from, to]) => [
    `${from}-${to}`,
    svg("path", {
      class: "flow-connection",
      d: connectionPath(boxes[from], boxes[to], isHorizontal),
    }),
  ]));
  nodes = Object.fromEntries(Object.keys(NODES).map((name) =>
    [name, drawNode(name, boxes[name], unit, isHorizontal)]));
  breakerLabels = Object.fromEntries(["inventory", "payment"].map((name) => [
    name,
    svg("g", { class: "breaker-label", transform: toMiddle(connections[`order-${name}`]) }),
  ]));
  background.replaceChildren(...Object.values(connections));
  canvas.replaceChildren(
    ...Object.values(breakerLabels),
    ...Object.values(nodes).map(({ group }) => group));
  const paths = ANIMATED_CONNECTIONS.map((node) => [node, connections[`order-${node}`]]);
  animation.setConnections(Object.fromEntries(paths), { width, height, unit });
  showState();
  showWaitingOrders();
}

function toMiddle(path) {
  const { x, y } = path.getPointAtLength(path.getTotalLength() / 2);
  return `translate(${x.toFixed(1)} ${y.toFixed(1)})`;
}

/** Shows new values of some of: `health`, `rates`, `breakers`, `faults`, `processes`. */
export function updateFlow(changes) {
  state = { ...state, ...changes };
  showState();
}

function showState() {
  // Nothing is drawn before the first measurement of the width.
  if (!nodes.order) return;
  const descriptions = Object.entries(SERVICE_NODES).flatMap(([name, { service, unit }], i) => [
    showService(name, service, rateText(state.rates[i], unit)),
    name === "order" ? null : showBreaker(name, service),
  ]);
  showDatabase();
  descriptions.push(`${formatCount(waitingOrders.size, "order")} waiting`);
  canvas.setAttribute("aria-label", `${descriptions.filter(Boolean).join("; ")}.`);
}

const healthOf = (service) =>
  state.health[service] ?? { state: "unknown", text: "…", dependencies: {} };

/** Returns a description for screen readers. */
function showService(name, service, rate) {
  const { state: serviceState, text, dependencies } = healthOf(service);
  const fault = state.faults[service];
  const node = nodes[name];
  const isUnreachable = serviceState === "down" || serviceState === "unknown";
  node.group.dataset.state = serviceState;
  node.state.setAttribute("href", `#i-${STATE_ICONS[serviceState] ?? "bad"}`);
  setText(node.value, isUnreachable ? text : rate);
  drawLabel(node.fault, fault, node.size.unit);
  const process = showProcess(node, state.processes[service], fault);
  const isDisconnected = dependencies.database === "disconnected";
  const reachableState = isUnreachable ? "unknown" : "good";
  setConnectionState(`${name}-database`, isDisconnected ? "bad" : reachableState);
  return `${service} ${text}${process}${fault ? `, gremlin: ${fault}` : ""}`;
}

/** Returns a description for screen readers. */
function showProcess(node, note, fault) {
  // In a vertical diagram both labels have the same place.
  const isFree = !(fault && node.sharesLabelPlace);
  node.process.dataset.state = note?.state ?? "running";
  drawLabel(node.process, isFree ? note?.lines.join("\n") : null, node.size.unit);
  return note ? `, ${note.lines.join(", ")}` : "";
}

/** Returns a description for screen readers if the breaker is not closed. */
function showBreaker(name, service) {
  // Null: the metrics could not be read. That does not mean that the breaker is closed.
  const breaker = state.breakers === null ? "unknown" : state.breakers[service] ?? "closed";
  const isClosed = breaker === "closed";
  breakerLabels[name].dataset.state = breaker;
  const closedState = healthOf(service).state === "down" ? "bad" : "good";
  setConnectionState(`order-${name}`, isClosed ? closedState : `breaker-${breaker}`);
  drawLabel(breakerLabels[name], BREAKER_LABELS[breaker], nodes[name].size.unit);
  return isClosed ? null : `circuit breaker of ${service} ${breaker}`;
}

function showDatabase() {
  const isConnected = Object.values(state.health)
    .every(({ dependencies }) => dependencies.database !== "disconnected");
  nodes.database.group.dataset.state = isConnected ? "healthy" : "down";
  setText(nodes.database.value, isConnected ? "PostgreSQL" : "disconnected");
}

function setConnectionState(name, connectionState) {
  connections[name].setAttribute("data-state", connectionState);
}

function rateText(rate, unit) {
  if (rate === null) return "unknown";
  if (rate === undefined) return "…";
  return `${rate < 10 ? rate.toFixed(1) : formatNumber(Math.round(rate))} ${unit}`;
}

export function showOrderInFlow(change) {
  if (isWaiting(change.status)) waitingOrders.add(change.id);
  else waitingOrders.delete(change.id);
  waitingFrame ||= requestAnimationFrame(showWaitingOrders);
  if (!reducedMotion.matches) animation.showChange(change);
}

/** Loads the orders that were waiting before the stream was opened. */
export async function loadWaitingOrders() {
  const lists = await Promise.all(WAITING_STATUSES.map((status) =>
    get(`/orders?status=${status}&limit=${MAX_LISTED_ORDERS}`)));
  waitingOrders.clear();
  for (const { orders } of lists) for (const { id } of orders) waitingOrders.add(id);
  showWaitingOrders();
}

/** Takes the audit's number of unsettled orders: a list may hold only some of them. */
export function setUnsettled(orders) {
  unsettledCount = orders;
  if (orders === 0) waitingOrders.clear();
  showWaitingOrders();
}

function showWaitingOrders() {
  waitingFrame = 0;
  if (!nodes.waiting) return;
  const { dots, value, group, size: { w, h, unit } } = nodes.waiting;
  const listed = waitingOrders.size;
  const n = listed < MAX_LISTED_ORDERS ? listed : Math.max(listed, unsettledCount);
  group.dataset.state = n > 0 ? "waiting" : "empty";
  const isNarrow = w < 120 * unit;
  const lines = [n > 0 ? formatNumber(n) : "none", "waiting"];
  showLines(value, isNarrow ? lines : [lines.join(" ")], unit);
  const lowest = h / 2 - (isNarrow ? 25 : 9) * unit;
  value.setAttribute("y", n > 0 ? lowest : (isNarrow ? -3 : 5) * unit);
  const columns = isNarrow ? 6 : 12;
  const columnWidth = (w - 16 * unit) / columns;
  const shown = Math.min(n, isNarrow ? MAX_WAITING_DOTS / 2 : MAX_WAITING_DOTS);
  while (dots.childElementCount > shown) dots.lastChild.remove();
  while (dots.childElementCount < shown) {
    const i = dots.childElementCount;
    dots.append(svg("circle", {
      r: 3.4 * unit,
      cx: -w / 2 + 8 * unit + columnWidth * ((i % columns) + 0.5),
      cy: -h / 2 + (12 + 11 * Math.floor(i / columns)) * unit,
    }));
  }
}

function showLines(node, lines, unit) {
  if (node.textContent === lines.join("") && node.childElementCount === lines.length) return;
  node.replaceChildren(...lines.map((text, i) =>
    svg("tspan", { x: 0, dy: i * 16 * unit, text })));
}

export const clearAnimation = () => animation.clear();
export const refreshAnimation = () => animation.refresh();
