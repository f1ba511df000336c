// Where the parts of the flow picture stand, and how they are drawn.
import { svg } from "./dom.js";

export const NODES = {
  customer: { name: "customers", icon: "person" },
  order: { name: "order", icon: "cart" },
  inventory: { name: "inventory", icon: "box" },
  payment: { name: "payment", icon: "card" },
  database: { name: "database", icon: "database" },
  waiting: { name: "" },
};
const NARROW = 545;

/** Centres and sizes; lying where there is room, standing where there is not. `unit` is the scale of the text. */
export function layout(width, unit) {
  const u = (n) => n * unit;
  const customer = { w: u(64), h: u(64) };
  const database = { w: u(128), h: u(62) };
  if (width < u(NARROW)) {
    const w = Math.min(u(150), width * 0.42);
    return { height: u(420), isLying: false, places: {
      customer: { ...customer, x: width / 2, y: u(38) },
      order: { x: width / 2, y: u(146), w: Math.min(w, u(124)), h: u(62) },
      waiting: { x: width - u(45), y: u(146), w: u(88), h: u(80) },
      inventory: { x: w / 2 + 1, y: u(268), w, h: u(62) },
      payment: { x: width - w / 2 - 1, y: u(268), w, h: u(62) },
      database: { ...database, x: width / 2, y: u(378) } } };
  }
  const w = Math.max(u(138), Math.min(u(180), width * 0.235));
  const from = u(70);
  const gaps = width - database.w - from - 2 * w;
  const order = from + gaps * 0.2 + w / 2;
  const services = from + gaps * 0.76 + w * 1.5;
  return { height: u(280), isLying: true, places: {
    customer: { ...customer, x: u(37), y: u(130) },
    order: { x: order, y: u(130), w, h: u(62) },
    waiting: { x: order, y: u(232), w, h: u(64) },
    inventory: { x: services, y: u(56), w, h: u(62) },
    payment: { x: services, y: u(204), w, h: u(62) },
    database: { ...database, x: width - database.w / 2 - 1, y: u(130) } } };
}

/** From edge to edge, leaving and arriving at right angles. */
export function curve(from, to, isLying) {
  const isUpright = Math.abs(from.x - to.x) < 1;
  const isLevel = Math.abs(from.y - to.y) < 1;
  if (isUpright || (!isLying && !isLevel)) {
    const [y1, y2] = ends(from.y, from.h, to.y, to.h);
    const bend = (y1 + y2) / 2;
    return `M${from.x} ${y1}C${from.x} ${bend} ${to.x} ${bend} ${to.x} ${y2}`;
  }
  const [x1, x2] = ends(from.x, from.w, to.x, to.w);
  const bend = (x1 + x2) / 2;
  return `M${x1} ${from.y}C${bend} ${from.y} ${bend} ${to.y} ${x2} ${to.y}`;
}

const ends = (a, sizeA, b, sizeB) => [a + (Math.sign(b - a) * sizeA) / 2, b - (Math.sign(b - a) * sizeB) / 2];

const at = (x, y, anchor = "start") => ({ x, y, "text-anchor": anchor });

/** A node and those of its parts that change: figure, state, dots, fault. */
export function drawNode(name, { x, y, w, h }, unit, isLying) {
  const { name: text, icon } = NODES[name];
  const u = (n) => n * unit;
  const isCustomer = name === "customer";
  const isWaiting = name === "waiting";
  const [left, top] = [-w / 2 + u(12), -h / 2 + u(11)];
  const titleAt = !isCustomer ? at(-w / 2 + u(37), -h / 2 + u(26)) : isLying ? at(0, h / 2 + u(17), "middle") : at(w / 2 + u(10), u(5));
  const sign = isCustomer ? { ...at(-u(15), -u(15)), width: u(30), height: u(30) } : { ...at(left, top), width: u(20), height: u(20) };
  const parts = {
    figure: svg("text", { class: "flow-figure", ...(isWaiting ? at(0, u(5), "middle") : at(left, h / 2 - u(12))) }),
    state: svg("use", { class: "flow-state", width: u(18), height: u(18), x: w / 2 - u(14), y: -h / 2 - u(6) }),
    dots: svg("g"),
    // Where no line arrives.
    fault: svg("g", { class: "fault", transform: `translate(0 ${isLying ? -h / 2 : h / 2 + u(6)})` }),
    size: { w, h, unit },
  };
  const group = svg("g", { class: "flow-node", transform: `translate(${x} ${y})`, "data-node": name },
    svg("rect", { class: "flow-frame", x: -w / 2, y: -h / 2, width: w, height: h, rx: isCustomer ? w / 2 : u(12) }),
    icon && svg("use", { class: "flow-icon", href: `#i-${icon}`, ...sign }),
    text && svg("text", { class: "flow-name", ...titleAt, text }),
    parts.figure, parts.state, parts.dots, parts.fault);
  return { ...parts, group };
}

/** A few words in a box around the group's middle; no words, no box. */
export function label(group, text, unit) {
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
