// The picture of the platform: what is well, what is broken on purpose, and each order on its way.
import { get } from "./api.js";
import { $, calmMotion, count, el, many, setText, svg, textScale } from "./dom.js";
import { Traffic } from "./traffic.js";
import { isFinal, isWaiting } from "./words.js";

const NODES = {
  customer: { name: "customers", icon: "person" },
  order: { name: "order", icon: "cart", service: "order-service", unit: "orders/s" },
  inventory: { name: "inventory", icon: "box", service: "inventory-service", unit: "calls/s" },
  payment: { name: "payment", icon: "card", service: "payment-service", unit: "calls/s" },
  database: { name: "database", icon: "database" },
  waiting: { name: "waiting room" },
};
/** Each line leads from one node to another; orders travel on those of the order service. */
const LINES = [
  ["order", "customer"], ["order", "inventory"], ["order", "payment"], ["order", "waiting"], ["order", "database"],
  ["inventory", "database"], ["payment", "database"],
];
const SERVICE_OF = { order: 0, inventory: 1, payment: 2 };
const NARROW = 500;
const MOST_SHOWN_WAITING = 24;
const MOST_KNOWN_WAITING = 100;

const waiting = new Set();
const parts = {};
let canvas;
let traffic;
let unsettled = 0;
let waitingFrame = 0;
let latest = { health: {}, rates: [], breakers: {}, faults: {} };

export function startFlow() {
  const ground = svg("svg", { class: "flow-picture", "aria-hidden": "true" });
  canvas = svg("svg", { role: "img", class: "flow-picture" });
  traffic = new Traffic();
  const picture = el("div", { class: "picture" }, ground, traffic.layer, canvas);
  $("flow").append(picture);
  new ResizeObserver(([entry]) => draw(ground, entry.contentRect.width)).observe(picture);
}

/** Centres and sizes; lying where there is room, standing where there is not. */
function layout(width, unit) {
  const u = (n) => n * unit;
  if (width < u(NARROW)) {
    const w = Math.min(u(150), width * 0.42);
    return { height: u(420), isLying: false, places: {
      customer: { x: width / 2, y: u(38), w: u(64), h: u(64) },
      order: { x: width / 2, y: u(146), w, h: u(62) },
      waiting: { x: width - u(48), y: u(146), w: u(94), h: u(80) },
      inventory: { x: w / 2 + 1, y: u(268), w, h: u(62) },
      payment: { x: width - w / 2 - 1, y: u(268), w, h: u(62) },
      database: { x: width / 2, y: u(378), w: u(128), h: u(62) } } };
  }
  const w = Math.max(u(138), Math.min(u(180), width * 0.235));
  return { height: u(280), isLying: true, places: {
    customer: { x: u(36), y: u(130), w: u(64), h: u(64) },
    order: { x: width * 0.285, y: u(130), w, h: u(62) },
    waiting: { x: width * 0.285, y: u(232), w, h: u(64) },
    inventory: { x: width * 0.655, y: u(56), w, h: u(62) },
    payment: { x: width * 0.655, y: u(204), w, h: u(62) },
    database: { x: width - u(65), y: u(130), w: u(128), h: u(62) } } };
}

function draw(ground, width) {
  const unit = textScale();
  const { height, isLying, places } = layout(width, unit);
  for (const layer of [ground, canvas]) layer.setAttribute("viewBox", `0 0 ${width} ${height}`);
  const lines = LINES.map(([from, to]) => {
    const line = svg("path", { class: "flow-line", d: curve(places[from], places[to], isLying) });
    return (parts[`${from}-${to}`] = line);
  });
  const cuts = ["inventory", "payment"].map((name) => (parts[`cut-${name}`] = svg("g", { class: "cut-sign" })));
  const nodes = Object.keys(NODES).map((name) => node(name, places[name], unit, isLying));
  ground.replaceChildren(...lines);
  canvas.replaceChildren(svg("g", {}, ...cuts), svg("g", {}, ...nodes));
  for (const name of ["inventory", "payment"]) parts[`cut-${name}`].setAttribute("transform", middle(parts[`order-${name}`]));
  traffic.lines(Object.fromEntries(LINES.filter(([from]) => from === "order").map(([, to]) => [to, parts[`order-${to}`]])), { width, height, unit });
  show();
  showWaiting();
}

function middle(line) {
  const { x, y } = line.getPointAtLength(line.getTotalLength() / 2);
  return `translate(${x.toFixed(1)} ${y.toFixed(1)})`;
}

/** From edge to edge, leaving and arriving at right angles. */
function curve(from, to, isLying) {
  const upright = Math.abs(from.x - to.x) < 1;
  const level = Math.abs(from.y - to.y) < 1;
  if (upright || (!isLying && !level)) {
    const [y1, y2] = ends(from.y, from.h, to.y, to.h);
    const bend = (y1 + y2) / 2;
    return `M${from.x} ${y1}C${from.x} ${bend} ${to.x} ${bend} ${to.x} ${y2}`;
  }
  const [x1, x2] = ends(from.x, from.w, to.x, to.w);
  const bend = (x1 + x2) / 2;
  return `M${x1} ${from.y}C${bend} ${from.y} ${bend} ${to.y} ${x2} ${to.y}`;
}

const ends = (a, sizeA, b, sizeB) => [a + (Math.sign(b - a) * sizeA) / 2, b - (Math.sign(b - a) * sizeB) / 2];

function node(name, { x, y, w, h }, unit, isLying) {
  const { name: label, icon } = NODES[name];
  const isSmall = name === "customer";
  const at = (n) => n * unit;
  const part = { figure: svg("text", { class: "flow-figure" }), state: svg("use", { width: at(18), height: at(18), x: w / 2 - at(14), y: -h / 2 - at(6) }), dots: svg("g", {}), fault: svg("g", { class: "fault" }) };
  const frame = svg("rect", { class: "flow-frame", x: -w / 2, y: -h / 2, width: w, height: h, rx: isSmall ? w / 2 : at(12) });
  const title = svg("text", { class: "flow-name", text: label });
  const sign = icon ? svg("use", { class: "flow-icon", href: `#i-${icon}` }) : null;
  const put = (what, left, top, anchor = "start") => {
    for (const [key, value] of Object.entries({ x: left, y: top, "text-anchor": anchor })) what.setAttribute(key, value);
  };
  const size = (length) => ["width", "height"].forEach((key) => sign?.setAttribute(key, length));
  if (isSmall) {
    size(at(30));
    put(sign, -at(15), -at(15));
    if (isLying) put(title, 0, h / 2 + at(17), "middle");
    else put(title, w / 2 + at(10), at(5));
  } else if (name === "waiting") {
    put(part.figure, 0, 0, "middle");
    title.textContent = "";
  } else {
    size(at(20));
    put(sign, -w / 2 + at(12), -h / 2 + at(11));
    put(title, -w / 2 + at(37), -h / 2 + at(26));
    put(part.figure, -w / 2 + at(12), h / 2 - at(12));
  }
  // Where no line arrives.
  part.fault.setAttribute("transform", `translate(0 ${isLying ? -h / 2 : h / 2})`);
  part.group = svg("g", { class: "flow-node", transform: `translate(${x} ${y})`, "data-node": name }, frame, sign, title, part.figure, part.state, part.dots, part.fault);
  part.size = { w, h, unit };
  parts[name] = part;
  return part.group;
}

/** Takes what is new of: health, rates, breakers, faults. */
export function updateFlow(news) {
  latest = { ...latest, ...news };
  show();
}

function show() {
  if (!parts.order) return;
  const { health, rates, breakers, faults } = latest;
  const said = [];
  for (const name of ["order", "inventory", "payment"]) {
    const { service, unit } = NODES[name];
    const { state = "unknown", word = "…", dependencies = {} } = health[service] ?? {};
    const rate = rates[SERVICE_OF[name]];
    parts[name].group.dataset.state = state;
    parts[name].state.setAttribute("href", `#i-${{ healthy: "good", degraded: "warn", unknown: "unknown" }[state] ?? "bad"}`);
    setText(parts[name].figure, state === "down" || state === "unknown" ? word : rate === null || rate === undefined ? "…" : `${rate < 10 ? rate.toFixed(1) : count(Math.round(rate))} ${unit}`);
    showFault(parts[name], faults[service]);
    tint(parts[`${name}-database`], dependencies.database === "disconnected" ? "bad" : state === "down" || state === "unknown" ? "unknown" : "good");
    said.push(`${service} ${word}${faults[service] ? `, gremlin: ${faults[service]}` : ""}`);
    if (name === "order") continue;
    const breaker = breakers[service] ?? "closed";
    tint(parts[`order-${name}`], breaker !== "closed" ? `breaker-${breaker}` : state === "down" ? "bad" : "good");
    showBreaker(parts[`cut-${name}`], breaker, parts[name].size.unit);
    if (breaker !== "closed") said.push(`its breaker is ${breaker}`);
  }
  const isConnected = Object.values(health).every(({ dependencies }) => dependencies.database !== "disconnected");
  parts.database.group.dataset.state = isConnected ? "healthy" : "down";
  setText(parts.database.figure, isConnected ? "PostgreSQL" : "disconnected");
  canvas.setAttribute("aria-label", `${said.join("; ")}. ${many(waiting.size, "order")} waiting to be finished.`);
}

const tint = (line, state) => line.setAttribute("data-state", state);

function label(group, text, unit) {
  const key = text ?? "";
  if (group.dataset.text === key) return;
  group.dataset.text = key;
  if (!text) return group.replaceChildren();
  const lines = text.split("\n").map((line, i, { length }) =>
    svg("text", { class: "flow-label", "text-anchor": "middle", y: (4.5 + (i - (length - 1) / 2) * 15) * unit, text: line }));
  const height = (7 + 15 * lines.length) * unit;
  const box = svg("rect", { height, y: -height / 2, rx: 11 * unit });
  group.replaceChildren(box, ...lines);
  const width = Math.max(...lines.map((line) => line.getComputedTextLength())) + 20 * unit;
  box.setAttribute("width", width);
  box.setAttribute("x", -width / 2);
}

const showFault = (part, text) => label(part.fault, text, part.size.unit);
const showBreaker = (group, breaker, unit) => label(group, breaker === "closed" ? null : breaker === "open" ? "breaker\nopen" : "trying", unit);

export function flowChanged(change) {
  if (isWaiting(change.status)) waiting.add(change.id);
  else waiting.delete(change.id);
  waitingFrame ||= requestAnimationFrame(showWaiting);
  if (!calmMotion.matches) traffic.changed(change);
}

/** Who waited before this page was there; and, beyond what a list tells, how many. */
export async function loadWaiting() {
  const lists = await Promise.all(["PENDING_INVENTORY", "PENDING_PAYMENT"].map((status) => get(`/orders?status=${status}&limit=${MOST_KNOWN_WAITING}`)));
  waiting.clear();
  for (const { orders } of lists) for (const { id, status } of orders) if (!isFinal(status)) waiting.add(id);
  showWaiting();
}

export function settle(count) {
  unsettled = count;
  if (count === 0) waiting.clear();
  showWaiting();
}

function showWaiting() {
  waitingFrame = 0;
  if (!parts.waiting) return;
  const { dots, figure, group, size: { w, h, unit } } = parts.waiting;
  const n = waiting.size < MOST_KNOWN_WAITING ? waiting.size : Math.max(waiting.size, unsettled);
  const shown = Math.min(n, MOST_SHOWN_WAITING);
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
