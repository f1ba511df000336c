// The story's calls to the platform, the orders that it placed, and the faults that it has set.
import { call, get, gremlinCall, gremlinGet, NoResponse, pathOf, Problem } from "./api.js";
import { isFinal } from "./labels.js";

const ORDER_TIMEOUT_MS = 10_000;
/** Limits the time in which a service must come back, and an order must end. */
const WAIT_TIMEOUT_MS = 30_000;
const POLL_INTERVAL_MS = 150;
/** The light counts whole seconds, so that its window is up to 1 s shorter than it says. */
const WINDOW_MARGIN_MS = 1000;
/** An order at the edge of the window is certainly outside after this time. */
const EDGE_TIMEOUT_MS = 10_000;

const rulesPath = (service) => pathOf(service, "gremlin/rules");
const latencyPath = (service) => pathOf(service, "gremlin/latency");
const LATENCY_OFF = { enabled: false, delay_ms: 0 };

/** The viewer has stopped the story. */
export class Stopped extends Error {}

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

export class StoryClient {
  #signal;
  #product = "";
  #delayed = new Set();
  #rules = [];
  /** The service that has not answered yet whether it has added a rule. */
  #adding = null;
  /** The orders with a response. */
  placed = [];
  /** Each invariant, by name, when the story began. */
  invariants = new Map();

  constructor(signal) {
    this.#signal = signal;
  }

  throwIfStopped() {
    if (this.#signal.aborted) throw new Stopped();
  }

  /** Chooses the product with the most units in stock, and ends the faults that are active. */
  async prepare(minStock, services) {
    for (const service of services) {
      await gremlinCall("POST", latencyPath(service), LATENCY_OFF);
      await gremlinCall("DELETE", rulesPath(service));
    }
    const { invariants, products } = await get("/audit", { timeout: ORDER_TIMEOUT_MS });
    this.invariants = new Map(invariants.map((invariant) => [invariant.name, invariant]));
    const [product] = products.filter(({ available }) => available >= minStock)
      .sort((a, b) => b.available - a.available);
    if (!product) {
      throw new Error(`No product has ${minStock} units in stock, which the story may order. `
        + "Deliver stock, and play the story again.");
    }
    this.#product = product.product_id;
  }

  /**
   * Polls until the value is as wanted, and after 30 s returns the last value all the same. A
   * service can be down in the meantime.
   */
  async #poll(read, isDone) {
    const endsAt = performance.now() + WAIT_TIMEOUT_MS;
    for (;;) {
      this.throwIfStopped();
      const isLast = performance.now() > endsAt;
      try {
        const value = await read();
        if (isDone(value) || isLast) return value;
      } catch (error) {
        const isTransient = error instanceof NoResponse || error.status >= 500;
        if (!isTransient || isLast) throw error;
      }
      await pause(POLL_INTERVAL_MS);
    }
  }

  health = (service) => this.#poll(() => get(pathOf(service, "health")), () => true);

  waitUntilHealthy = (service) =>
    this.#poll(() => get(pathOf(service, "health")), ({ status }) => status === "healthy");

  async setLatency(service, delayMs) {
    this.#delayed.add(service);
    const latency = { enabled: true, delay_ms: delayMs };
    await gremlinCall("POST", latencyPath(service), latency);
  }

  async addRule(service, rule) {
    this.#adding = service;
    try {
      const { id } = await gremlinCall("POST", rulesPath(service), rule);
      this.#rules.push({ service, id });
    } finally {
      this.#adding = null;
    }
  }

  /** The number of times that the last added rule has fired; undefined if it is gone. */
  async lastRuleFired() {
    const { service, id } = this.#rules.at(-1);
    const { rules } = await this.#poll(() => gremlinGet(rulesPath(service)), () => true);
    return rules.find((rule) => rule.id === id)?.fired;
  }

  /** Ends the faults that the story has set. With `keepalive` the calls outlive the page. */
  async endFaults(options = {}) {
    const delayed = [...this.#delayed];
    const rules = this.#rules;
    // The id of a rule that is being added is not known, so all of its service end.
    const unknown = this.#adding === null ? [] : [this.#adding];
    this.#delayed.clear();
    this.#rules = [];
    await Promise.all([
      ...delayed.map((service) =>
        gremlinCall("POST", latencyPath(service), LATENCY_OFF, options)),
      ...rules.map(({ service, id }) => this.#removeRule(service, id, options)),
      ...unknown.map((service) => gremlinCall("DELETE", rulesPath(service), undefined, options)),
    ]);
  }

  async #removeRule(service, id, options) {
    try {
      await gremlinCall("DELETE", `${rulesPath(service)}/${id}`, undefined, options);
    } catch (error) {
      // A process that crashed has lost its rules.
      if (error.status !== 404) throw error;
    }
  }

  /** Places an order for one unit, and returns the response as the customer saw it. */
  async placeOrder() {
    this.throwIfStopped();
    const body = { product_id: this.#product, quantity: 1 };
    const placedAt = performance.now();
    const answer = await sendOrder(body);
    const order = { ...answer, placedAt, ms: performance.now() - placedAt };
    this.placed.push(order);
    return order;
  }

  /** The orders that the platform took. */
  taken = () => this.placed.filter(({ id }) => Boolean(id));

  /**
   * The light, once no order of the story is at the edge of its window. `others` is the number of
   * orders that are certainly of others; undefined if an order is still at the edge.
   */
  async lightOfOwnOrders() {
    const endsAt = performance.now() + EDGE_TIMEOUT_MS;
    for (;;) {
      const sla = await this.#poll(() => get("/sla"), () => true);
      const others = this.#othersIn(sla);
      if (others !== undefined || performance.now() > endsAt) return { ...sla, others };
      await pause(POLL_INTERVAL_MS);
    }
  }

  #othersIn({ requests, window_seconds: window }) {
    const now = performance.now();
    const count = (isInside) => this.placed.filter(isInside).length;
    const windowMs = window * 1000;
    const certain = count(({ placedAt }) => now - placedAt + WINDOW_MARGIN_MS <= windowMs);
    if (requests <= certain) return 0;
    const possible =
      count(({ placedAt, ms }) => now - placedAt - ms <= windowMs + WINDOW_MARGIN_MS);
    return requests > possible ? requests - possible : undefined;
  }

  /** Waits until an order has ended. Returns its state then; null if there is no such order. */
  async waitUntilEnded({ id, placedAt }) {
    try {
      const order = await this.#poll(() => get(`/orders/${encodeURIComponent(id)}`),
        ({ status }) => isFinal(status));
      return endOf(order, performance.now() - placedAt);
    } catch (error) {
      if (error.status === 404) return null;
      throw error;
    }
  }

  /** Waits until every order is settled, at most 30 s, and returns the audit then. */
  auditWhenSettled = () =>
    this.#poll(() => get("/audit", { timeout: ORDER_TIMEOUT_MS }),
      ({ orders }) => orders.unsettled === 0);
}

async function sendOrder(body) {
  try {
    const { status, value } =
      await call("POST", "/orders", { body, timeout: ORDER_TIMEOUT_MS });
    return { status, message: value.message, id: value.id };
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    return { status: error.status, message: error.message, id: error.orderId };
  }
}

function endOf({ status, failure_reason: failure, events }, ms) {
  const last = events.at(-1);
  const reason = failure ?? last?.reason ?? "";
  return {
    status,
    reason,
    attempt: last?.attempt ?? 0,
    ms,
    isFinal: isFinal(status),
    isExpected: status === "CONFIRMED" || reason === "payment-declined",
  };
}
