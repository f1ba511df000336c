// Orders as dots that travel as their changes tell. What waits for an answer stands where it waits.
// On a canvas: moving parts of the picture itself would have the browser lay it out anew for each frame.
import { el } from "./dom.js";

const MOST_DOTS = 60;
const LEG_MS = 340;
const FRAME_MS = 1000 / 40;
const FORGET_AFTER_MS = 20_000;
const SAMPLES = 32;
const TONES = ["run", "wait", "good", "bad", "card"];

export class Traffic {
  layer = el("canvas", { class: "traffic", ariaHidden: "true" });
  #lines = {};
  #dots = new Map();
  #frame = 0;
  #drawn = 0;
  #unit = 1;
  #colours = {};

  /** Where orders travel: the lines of the picture that lies under the canvas, from the order service to each place. */
  lines(lines, { width, height, unit }) {
    const sharpness = devicePixelRatio;
    this.#unit = unit;
    this.layer.width = width * sharpness;
    this.layer.height = height * sharpness;
    this.layer.getContext("2d").setTransform(sharpness, 0, 0, sharpness, 0, 0);
    this.#lines = Object.fromEntries(Object.entries(lines).map(([place, line]) => {
      const length = line.getTotalLength();
      // Beginning and end lie under the nodes' edges.
      return [place, Array.from({ length: SAMPLES + 1 }, (_, i) => line.getPointAtLength((0.05 + (0.88 * i) / SAMPLES) * length))];
    }));
    this.clear();
  }

  changed({ id, status, reason, attempt }) {
    const isFirst = attempt === 1;
    // Debts are paid by messengers of their own.
    if (reason === "stock-returned") return this.#send(`${id}-release`, "order", [["inventory", "back"]]);
    if (reason === "payment-voided") return this.#send(`${id}-void`, "order", [["payment", "back"]]);
    if (reason === "placed") return this.#send(id, "customer", [["inventory", "run"]], { stays: true });
    const journey = [];
    if (reason !== "expired") journey.push(["inventory", "run"]);
    if (["confirmed", "payment-unavailable", "payment-declined"].includes(reason)) journey.push(["payment", "run"]);
    const goal = isFirst ? "customer" : "database";
    if (status === "CONFIRMED") journey.push([goal, "good"]);
    else if (status === "FAILED") journey.push([goal, "bad"]);
    else journey.push(["waiting", "wait"]);
    // The customer is told that it is taken, while the order stays.
    const fork = isFirst && journey.at(-1)[0] === "waiting" ? ["customer", "wait"] : undefined;
    this.#send(id, isFirst ? "customer" : "waiting", journey, { fork });
  }

  #send(id, start, journey, { stays = false, fork } = {}) {
    let dot = this.#dots.get(id);
    if (!dot) {
      if (this.#dots.size >= MOST_DOTS) return;
      const isAtOrder = start === "order";
      dot = { place: start, line: isAtOrder ? journey[0][0] : start, along: isAtOrder ? 0 : 1, legs: [], tone: "run", shift: (Math.random() - 0.5) * 16 };
      this.#dots.set(id, dot);
    }
    for (const [place, tone] of journey) {
      if (dot.place === place) continue;
      if (dot.place !== "order") dot.legs.push({ line: dot.place, to: 0 });
      dot.legs.push({ line: place, to: 1, tone });
      dot.place = place;
    }
    Object.assign(dot, { stays, fork, seen: performance.now() });
    this.#schedule();
  }

  #schedule() {
    this.#frame ||= requestAnimationFrame((now) => this.#move(now));
  }

  #move(now) {
    this.#frame = 0;
    if (now - this.#drawn < FRAME_MS * 0.9) return this.#schedule();
    this.#drawn = now;
    const pace = this.#dots.size > 20 ? LEG_MS * 0.6 : LEG_MS;
    let isMoving = false;
    for (const [id, dot] of this.#dots) {
      if (dot.legs.length) this.#advance(id, dot, now, pace);
      else if (!dot.stays) this.#dots.delete(id);
      isMoving ||= dot.legs.length > 0;
    }
    this.#draw();
    if (isMoving || [...this.#dots.values()].some(({ stays }) => !stays)) this.#schedule();
  }

  #advance(id, dot, now, pace) {
    const [leg] = dot.legs;
    if (dot.started === undefined) {
      dot.started = now;
      dot.line = leg.line;
      dot.tone = leg.tone ?? dot.tone;
      // Both part where the journey's last leg begins.
      if (dot.fork && dot.legs.length === 1) {
        const fork = dot.fork;
        dot.fork = undefined;
        this.#send(`${id}-answer`, "order", [fork]);
      }
    }
    const part = Math.min(1, (now - dot.started) / pace);
    const eased = part * part * (3 - 2 * part);
    dot.along = leg.to === 1 ? eased : 1 - eased;
    if (part < 1) return;
    dot.legs.shift();
    dot.started = undefined;
  }

  #draw() {
    const canvas = this.layer.getContext("2d");
    const radius = 4.6 * this.#unit;
    canvas.clearRect(0, 0, this.layer.width, this.layer.height);
    canvas.lineWidth = 1.5 * this.#unit;
    for (const { line, along, shift, tone } of this.#dots.values()) {
      const points = this.#lines[line];
      if (!points) continue;
      const at = along * SAMPLES;
      const [from, to] = [points[Math.floor(at)], points[Math.ceil(at)]];
      const part = at % 1;
      // Spread where they stand, not where they run.
      const spread = line === "inventory" || line === "payment" ? shift * this.#unit * along ** 3 : 0;
      const isBack = tone === "back";
      canvas.beginPath();
      canvas.arc(from.x + (to.x - from.x) * part, from.y + (to.y - from.y) * part + spread, radius, 0, 7);
      canvas.fillStyle = isBack ? this.#colours.card : this.#colours[tone];
      canvas.strokeStyle = isBack ? this.#colours.wait : this.#colours.card;
      canvas.fill();
      canvas.stroke();
    }
  }

  /** An order whose changes were missed has nothing more to show; and the colours may be others by now. */
  sweep() {
    const root = getComputedStyle(this.layer);
    this.#colours = Object.fromEntries(TONES.map((tone) => {
      // A custom property is not resolved to a colour, a property of the element is.
      this.layer.style.color = `var(--${tone})`;
      return [tone, root.color];
    }));
    for (const [id, { seen }] of this.#dots) if (performance.now() - seen > FORGET_AFTER_MS) this.#dots.delete(id);
    this.#draw();
  }

  clear() {
    this.#dots.clear();
    this.sweep();
  }
}
