// Animates orders as dots that travel between the nodes of the flow diagram. An order that waits
// for a response stays at the node that it waits for.
// The dots are drawn on a canvas: moving SVG elements would cause a layout for each frame.
import { el } from "./dom.js";
import { isRefusal } from "./labels.js";

const MAX_DOTS = 60;
/** Travel time along one connection. */
const LEG_MS = 340;
/** From this many dots on, they travel faster. */
const MIN_DOTS_FOR_FAST_LEGS = 21;
const FAST_LEG_MS = LEG_MS * 0.6;
const FRAME_INTERVAL_MS = 1000 / 40;
/** A dot without a change for this long is removed: later changes of its order were missed. */
const MAX_DOT_AGE_MS = 20_000;
const POINTS_PER_CONNECTION = 32;
const DOT_RADIUS = 4.6;
/**
 * The services that an attempt called before a change with this reason, as far as the animation
 * shows it.
 */
const CALLED_SERVICES = {
  placed: ["inventory"],
  "inventory-timed-out": ["inventory"],
  "inventory-connection-lost": ["inventory"],
  "inventory-connection-refused": ["inventory"],
  "inventory-not-called": [],
  "inventory-rejected": ["inventory"],
  "inventory-failed": ["inventory"],
  "payment-timed-out": ["inventory", "payment"],
  "payment-connection-lost": ["inventory", "payment"],
  "payment-connection-refused": ["inventory", "payment"],
  "payment-not-called": ["inventory"],
  "payment-rejected": ["inventory", "payment"],
  "payment-failed": ["inventory", "payment"],
  confirmed: ["inventory", "payment"],
  "insufficient-stock": ["inventory"],
  "unknown-product": ["inventory"],
  "payment-declined": ["inventory", "payment"],
  expired: [],
  cancelled: [],
  "stock-returned": ["inventory"],
  "no-stock-held": ["inventory"],
  "payment-refunded": ["payment"],
  "charge-forbidden": ["payment"],
  "nothing-charged": ["payment"],
  "fulfilment-requested": [],
  fulfilled: ["inventory"],
};
/** By reason: the name and tone of the dot for a call after the order has ended. */
const LATER_CALLS = {
  "stock-returned": ["release", "compensation"],
  "no-stock-held": ["release", "compensation"],
  "payment-refunded": ["refund", "compensation"],
  "charge-forbidden": ["refund", "compensation"],
  "nothing-charged": ["refund", "compensation"],
  fulfilled: ["shipment", "good"],
};
const TONES = ["progress", "waiting", "good", "bad", "neutral", "surface"];

export class FlowAnimation {
  layer = el("canvas", { class: "flow-animation", ariaHidden: "true" });
  /** Points along each connection of the order service, by the node at its other end. */
  #connections = {};
  #dots = new Map();
  #frame = 0;
  #drawnAt = 0;
  #unit = 1;
  #colours = {};

  /** `paths` are SVG paths from the order service to each node that has a connection to it. */
  setConnections(paths, { width, height, unit }) {
    const scale = devicePixelRatio;
    this.#unit = unit;
    this.layer.width = width * scale;
    this.layer.height = height * scale;
    this.layer.getContext("2d").setTransform(scale, 0, 0, scale, 0, 0);
    this.#connections = Object.fromEntries(
      Object.entries(paths).map(([node, path]) => [node, pointsAlong(path)]));
    this.clear();
  }

  showChange({ id, status, reason, attempt }) {
    const called = CALLED_SERVICES[reason] ?? [];
    if (LATER_CALLS[reason]) {
      const [name, tone] = LATER_CALLS[reason];
      return this.#send(`${id}-${name}`, "order", called.map((service) => [service, tone]));
    }
    const legs = called.map((service) => [service, "progress"]);
    if (reason === "placed") return this.#send(id, "customer", legs, { waits: true });
    // An operator has changed the order; nothing travels to the customer.
    if (reason === "fulfilment-requested") return;
    if (reason === "cancelled") return this.#send(id, "order", [["database", "neutral"]]);
    const isFirstAttempt = attempt === 1;
    const end = isFirstAttempt ? "customer" : "database";
    if (status === "CONFIRMED") legs.push([end, "good"]);
    else if (status === "FAILED") legs.push([end, isRefusal(reason) ? "neutral" : "bad"]);
    else legs.push(["waiting", "waiting"]);
    // The customer gets a response (202) while the order goes to the waiting orders.
    const hasResponse = isFirstAttempt && legs.at(-1)[0] === "waiting";
    const response = hasResponse ? ["customer", "waiting"] : undefined;
    this.#send(id, isFirstAttempt ? "customer" : "waiting", legs, { response });
  }

  /**
   * Sends a dot along `legs`, pairs of a node and a tone. A new dot starts at `start`; a known one
   * travels on from the end of its journey.
   */
  #send(id, start, legs, { waits = false, response } = {}) {
    let dot = this.#dots.get(id);
    if (!dot) {
      if (this.#dots.size >= MAX_DOTS) return;
      dot = newDot(start, legs[0][0]);
      this.#dots.set(id, dot);
    }
    for (const [node, tone] of legs) {
      if (dot.destination === node) continue;
      // All connections start at the order service.
      if (dot.destination !== "order") dot.legs.push({ connection: dot.destination, to: 0 });
      dot.legs.push({ connection: node, to: 1, tone });
      dot.destination = node;
    }
    Object.assign(dot, { waits, response, changedAt: performance.now() });
    this.#schedule();
  }

  #schedule() {
    this.#frame ||= requestAnimationFrame((now) => this.#move(now));
  }

  #move(now) {
    this.#frame = 0;
    if (now - this.#drawnAt < FRAME_INTERVAL_MS * 0.9) return this.#schedule();
    this.#drawnAt = now;
    const legMs = this.#dots.size < MIN_DOTS_FOR_FAST_LEGS ? LEG_MS : FAST_LEG_MS;
    for (const [id, dot] of this.#dots) {
      if (dot.legs.length) this.#advance(id, dot, now, legMs);
      else if (!dot.waits) this.#dots.delete(id);
    }
    this.#draw();
    const isDone = [...this.#dots.values()].every((dot) => dot.waits && !dot.legs.length);
    if (!isDone) this.#schedule();
  }

  #advance(id, dot, now, legMs) {
    const [leg] = dot.legs;
    if (dot.legStartedAt === undefined) {
      dot.legStartedAt = now;
      dot.connection = leg.connection;
      dot.tone = leg.tone ?? dot.tone;
      // The response leaves the order service together with the order's last leg.
      if (dot.response && dot.legs.length === 1) {
        const { response } = dot;
        dot.response = undefined;
        this.#send(`${id}-response`, "order", [response]);
      }
    }
    const share = Math.min(1, (now - dot.legStartedAt) / legMs);
    const eased = share * share * (3 - 2 * share);
    dot.position = leg.to === 1 ? eased : 1 - eased;
    if (share < 1) return;
    dot.legs.shift();
    dot.legStartedAt = undefined;
  }

  #draw() {
    const canvas = this.layer.getContext("2d");
    canvas.clearRect(0, 0, this.layer.width, this.layer.height);
    canvas.lineWidth = 1.5 * this.#unit;
    for (const dot of this.#dots.values()) {
      if (this.#connections[dot.connection]) this.#drawDot(canvas, dot);
    }
  }

  #drawDot(canvas, { connection, position, offset, tone }) {
    const points = this.#connections[connection];
    const index = position * POINTS_PER_CONNECTION;
    const [from, to] = [points[Math.floor(index)], points[Math.ceil(index)]];
    const share = index % 1;
    // Dots spread near a service, where several may wait, but not on the way.
    const isService = connection === "inventory" || connection === "payment";
    const spread = isService ? offset * this.#unit * position ** 3 : 0;
    const x = from.x + (to.x - from.x) * share;
    const y = from.y + (to.y - from.y) * share + spread;
    const { surface, waiting } = this.#colours;
    const isCompensation = tone === "compensation";
    canvas.beginPath();
    canvas.arc(x, y, DOT_RADIUS * this.#unit, 0, 2 * Math.PI);
    canvas.fillStyle = isCompensation ? surface : this.#colours[tone];
    canvas.strokeStyle = isCompensation ? waiting : surface;
    canvas.fill();
    canvas.stroke();
  }

  /** Removes outdated dots, and reads the colours again in case the theme has changed. */
  refresh() {
    const style = getComputedStyle(this.layer);
    this.#colours = Object.fromEntries(TONES.map((tone) => {
      // The computed value of a custom property is not a colour; that of `color` is.
      this.layer.style.color = `var(--${tone})`;
      return [tone, style.color];
    }));
    for (const [id, { changedAt }] of this.#dots) {
      if (performance.now() - changedAt > MAX_DOT_AGE_MS) this.#dots.delete(id);
    }
    this.#draw();
  }

  clear() {
    this.#dots.clear();
    this.refresh();
  }
}

function pointsAlong(path) {
  const length = path.getTotalLength();
  return Array.from({ length: POINTS_PER_CONNECTION + 1 }, (_, i) => {
    // Starts and ends a little inside the path, away from the edges of the nodes.
    const share = 0.05 + (0.88 * i) / POINTS_PER_CONNECTION;
    return path.getPointAtLength(share * length);
  });
}

/** `position` is 0 at the order service and 1 at the other end of the connection. */
function newDot(start, firstNode) {
  const startsAtOrder = start === "order";
  return {
    destination: start,
    connection: startsAtOrder ? firstNode : start,
    position: startsAtOrder ? 0 : 1,
    legs: [],
    tone: "progress",
    offset: (Math.random() - 0.5) * 16,
  };
}
