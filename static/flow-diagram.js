// The layout of the flow diagram, and how its nodes and labels are drawn.
import { svg } from "./dom.js";

export const NODES = {
  customer: { name: "customers", icon: "person" },
  order: { name: "order", icon: "cart" },
  inventory: { name: "inventory", icon: "box" },
  payment: { name: "payment", icon: "card" },
  database: { name: "database", icon: "database" },
  waiting: { name: "" },
};

/** In a narrower box the name of a service leaves no room for its icon. */
const MIN_WIDTH_WITH_ICON = 122;
/** Narrower diagrams are drawn from top to bottom, others from left to right. */
const MIN_HORIZONTAL_WIDTH = 545;

/**
 * The height of the diagram, its direction, and the centre and size of each node. `unit` is the
 * scale of the text.
 */
export function layout(width, unit) {
  return width < MIN_HORIZONTAL_WIDTH * unit
    ? verticalLayout(width, unit)
    : horizontalLayout(width, unit);
}

const scaledBy = (unit) => (n) => n * unit;

function fixedSizes(u) {
  return { customer: { w: u(64), h: u(64) }, database: { w: u(128), h: u(62) } };
}

function verticalLayout(width, unit) {
  const u = scaledBy(unit);
  const { customer, database } = fixedSizes(u);
  const w = Math.min(u(150), width * 0.42);
  // On the narrowest phones the order service makes room for the waiting orders beside it.
  const isNarrowest = width < u(330);
  const orderWidth = Math.min(w, u(isNarrowest ? 108 : 124));
  const waitingWidth = u(isNarrowest ? 72 : 88);
  const orderX = Math.min(width / 2, width - waitingWidth - u(16) - orderWidth / 2);
  return {
    height: u(420),
    isHorizontal: false,
    boxes: {
      customer: { ...customer, x: orderX, y: u(38) },
      order: { x: orderX, y: u(146), w: orderWidth, h: u(62) },
      waiting: { x: width - waitingWidth / 2 - 1, y: u(146), w: waitingWidth, h: u(80) },
      inventory: { x: w / 2 + 1, y: u(268), w, h: u(62) },
      payment: { x: width - w / 2 - 1, y: u(268), w, h: u(62) },
      database: { ...database, x: width / 2, y: u(378) },
    },
  };
}

function horizontalLayout(width, unit) {
  const u = scaledBy(unit);
  const { customer, database } = fixedSizes(u);
  const w = Math.max(u(130), Math.min(u(180), width * 0.235));
  const left = u(70);
  const gaps = width - database.w - left - 2 * w;
  // The label of a circuit breaker fits between the order service and the others.
  const orderX = left + gaps * 0.13 + w / 2;
  const serviceX = left + gaps * 0.8 + w * 1.5;
  return {
    height: u(280),
    isHorizontal: true,
    boxes: {
      customer: { ...customer, x: u(37), y: u(130) },
      order: { x: orderX, y: u(130), w, h: u(62) },
      waiting: { x: orderX, y: u(232), w, h: u(64) },
      inventory: { x: serviceX, y: u(56), w, h: u(62) },
      payment: { x: serviceX, y: u(204), w, h: u(62) },
      database: { ...database, x: width - database.w / 2 - 1, y: u(130) },
    },
  };
}

/** The path from the edge of one box to the edge of another, at right angles to both edges. */
export function connectionPath(from, to, isHorizontal) {
  const isSameColumn = Math.abs(from.x - to.x) < 1;
  const isSameRow = Math.abs(from.y - to.y) < 1;
  if (isSameColumn || (!isHorizontal && !isSameRow)) {
    const [y1, y2] = edges(from.y, from.h, to.y, to.h);
    const middle = (y1 + y2) / 2;
    return `M${from.x} ${y1}C${from.x} ${middle} ${to.x} ${middle} ${to.x} ${y2}`;
  }
  const [x1, x2] = edges(from.x, from.w, to.x, to.w);
  const middle = (x1 + x2) / 2;
  return `M${x1} ${from.y}C${middle} ${from.y} ${middle} ${to.y} ${x2} ${to.y}`;
}

/** Where two boxes face each other on one axis. */
function edges(from, fromSize, to, toSize) {
  const direction = Math.sign(to - from);
  return [from + (direction * fromSize) / 2, to - (direction * toSize) / 2];
}

const at = (x, y, anchor = "start") => ({ x, y, "text-anchor": anchor });

/** Draws a node. Returns its group, the parts that change later, and its size. */
export function drawNode(name, { x, y, w, h }, unit, isHorizontal) {
  const { name: title, icon } = NODES[name];
  const u = scaledBy(unit);
  const isCustomer = name === "customer";
  const hasIcon = icon && (isCustomer || w >= u(MIN_WIDTH_WITH_ICON));
  const left = -w / 2 + u(12);
  const value = name === "waiting" ? at(0, u(5), "middle") : at(left, h / 2 - u(12));
  const iconBox = isCustomer
    ? { x: -u(15), y: -u(15), width: u(30), height: u(30) }
    : { x: left, y: -h / 2 + u(11), width: u(20), height: u(20) };
  const parts = {
    value: svg("text", { class: "flow-value", ...value }),
    state: svg("use", {
      class: "flow-state",
      width: u(18),
      height: u(18),
      x: w / 2 - u(18),
      y: -h / 2 - u(6),
    }),
    dots: svg("g"),
    // At an edge without connections.
    fault: svg("g", {
      class: "fault-label",
      transform: `translate(0 ${isHorizontal ? -h / 2 : h / 2 + u(6)})`,
    }),
    process: svg("g", {
      class: "process-label",
      transform: `translate(0 ${h / 2 + u(17)})`,
    }),
    sharesLabelPlace: !isHorizontal,
    size: { w, h, unit },
  };
  const group = svg("g", {
    class: "flow-node",
    transform: `translate(${x} ${y})`,
    "data-node": name,
  },
    svg("rect", {
      class: "flow-frame",
      x: -w / 2,
      y: -h / 2,
      width: w,
      height: h,
      rx: isCustomer ? w / 2 : u(12),
    }),
    hasIcon && svg("use", { class: "flow-icon", href: `#i-${icon}`, ...iconBox }),
    title && svg("text", {
      class: "flow-name",
      ...titlePosition(isCustomer, { w, h, textX: u(hasIcon ? 37 : 12) }, u, isHorizontal),
      text: title,
    }),
    parts.value, parts.state, parts.dots, parts.process, parts.fault);
  return { ...parts, group };
}

/** Inside the box, except for the customers' circle: below it, or beside it if vertical. */
function titlePosition(isCustomer, { w, h, textX }, u, isHorizontal) {
  if (!isCustomer) return at(-w / 2 + textX, -h / 2 + u(26));
  return isHorizontal ? at(0, h / 2 + u(17), "middle") : at(w / 2 + u(10), u(5));
}

/** Writes a text in a box around the origin of the group. Without a text there is no box. */
export function drawLabel(group, text, unit) {
  const drawnText = text ?? "";
  if (group.dataset.text === drawnText) return;
  group.dataset.text = drawnText;
  if (!text) {
    group.replaceChildren();
    return;
  }
  const lines = text.split("\n").map((line, i, { length }) => svg("text", {
    class: "flow-label-text",
    "text-anchor": "middle",
    y: (4.5 + (i - (length - 1) / 2) * 15) * unit,
    text: line,
  }));
  const height = (7 + 15 * lines.length) * unit;
  const box = svg("rect", { height, y: -height / 2, rx: 11 * unit });
  group.replaceChildren(box, ...lines);
  // The width of a text is known once it is in the document.
  const textWidth = Math.max(...lines.map((line) => line.getComputedTextLength()));
  const width = textWidth + 20 * unit;
  box.setAttribute("width", width);
  box.setAttribute("x", -width / 2);
}
