// Carries out the actions of the story, and checks what it expects. src/gremlin/tour does the same
// in the terminal.
import { SERVICES } from "./api.js";
import { formatCount, formatNumber, isOrAre } from "./format.js";
import { describeRule } from "./gremlin-rules.js";
import { judgeInvariant, newViolations } from "./story-invariants.js";

/**
 * Browsers open at most six HTTP/1.1 connections to a host. The live stream holds one, and the
 * panels need another one while orders wait.
 */
const MAX_CONCURRENT_ORDERS = 4;
/** The invariant that a second charge of an order violates. */
const ONE_PAYMENT = "one-payment-per-order";

const seconds = (ms, digits) => `${(ms / 1000).toFixed(digits)} s`;
const describeOrder = ({ status, ms, message }) =>
  `${status} after ${seconds(ms, 2)}: ${message ?? ""}`;
const describeEnd = ({ status, reason, ms, attempt }) =>
  `${status} (${reason}) after ${seconds(ms, 1)}, by attempt ${attempt}`;
const longest = (orders) => Math.max(0, ...orders.map(({ ms }) => ms));

/** The text that is shown during each action. */
const ACTIVITIES = {
  "expect-healthy": "Checking the health of the services …",
  "wait-until-healthy": "Waiting until every service is healthy …",
  "set-latency": "Setting the fault …",
  "add-rule": "Setting the fault …",
  "expect-fired": "Asking the gremlin …",
  "end-faults": "Ending the faults …",
  "place-orders": "Placing orders …",
  "place-until-confirmed": "Placing an order …",
  "place-until-fast": "Placing an order …",
  "expect-ended": "Waiting until the orders have ended …",
  "expect-light": "Watching the light of the answer time …",
  "expect-all-finished": "Looking for every order …",
  "expect-invariants": "Waiting for the consistency check …",
};

/**
 * `report` has a method for what is shown: `showActivity`, `showFault`, `showAnswer` and `showEnd`
 * take a text; `showCheck` takes the check's name, whether it passed (null: not judged), and what
 * was found.
 */
export class StoryActions {
  #client;
  #report;
  /** The accepted orders that a later check expects to end. */
  #pending = [];
  counts = { taken: 0, finished: 0, lost: 0, chargedTwice: 0 };

  constructor(client, report) {
    this.#client = client;
    this.#report = report;
  }

  async carryOut(action) {
    this.#client.throwIfStopped();
    const method = this[action.action];
    if (!method) throw new Error(`This page does not know the action ${action.action}.`);
    this.#report.showActivity(ACTIVITIES[action.action]);
    await method.call(this, action);
  }

  async "expect-healthy"() {
    for (const service of SERVICES) {
      const { status } = await this.#client.health(service);
      this.#report.showCheck(service, status === "healthy", status);
    }
  }

  async "wait-until-healthy"() {
    // The order service comes last: it reports the health of the others, too.
    for (const service of SERVICES.toReversed()) await this.#client.waitUntilHealthy(service);
  }

  async "set-latency"({ service, delay_ms: delay }) {
    await this.#client.setLatency(service, delay);
    this.#report.showFault(`${service}: every request is delayed by ${delay / 1000} s`);
  }

  async "add-rule"({ service, rule }) {
    await this.#client.addRule(service, rule);
    this.#report.showFault(`${service}: ${describeRule(rule)}`);
  }

  async "expect-fired"({ times }) {
    const fired = await this.#client.lastRuleFired();
    const found = fired === undefined
      ? "the rule is gone"
      : `fired ${formatCount(fired, "time")}`;
    this.#report.showCheck("the gremlin", fired === times, found);
  }

  async "end-faults"() {
    await this.#client.endFaults();
    this.#report.showFault("The faults have ended.");
  }

  async "place-orders"(expected) {
    const { check, orders: count, status, message } = expected;
    const orders = await this.#placeMany(count);
    const found = orders.length === 1 ? describeOrder(orders[0]) : describeMany(orders, status);
    this.#report.showAnswer(found);
    this.#report.showCheck(check, orders.every((order) => isAsExpected(order, expected)), found);
    if (message !== undefined) {
      const other = orders.find((order) => order.message !== message);
      this.#report.showCheck("the message", !other, (other ?? orders[0]).message);
    }
    this.#awaitEndOf(orders);
  }

  async #placeMany(count) {
    const orders = [];
    let sent = 0;
    const placeInTurn = async () => {
      while (sent++ < count) orders.push(await this.#client.placeOrder());
    };
    await Promise.all(Array.from({ length: Math.min(count, MAX_CONCURRENT_ORDERS) }, placeInTurn));
    return orders;
  }

  #awaitEndOf(orders) {
    this.#pending.push(...orders.filter(({ status }) => status === 202));
  }

  async "place-until-confirmed"({ check, max_orders: max }) {
    let order = await this.#client.placeOrder();
    for (let n = 1; n < max && (order.status === 402 || order.status === 202); n++) {
      const note = order.status === 402 ? " (as one payment in ten)" : "";
      this.#report.showAnswer(describeOrder(order) + note);
      if (order.status === 202) await this.#client.waitUntilEnded(order);
      order = await this.#client.placeOrder();
    }
    this.#report.showAnswer(describeOrder(order));
    this.#report.showCheck(check, order.status === 201, describeOrder(order));
  }

  async "place-until-fast"(expected) {
    const { check, max_orders: max } = expected;
    for (let n = 1; ; n++) {
      const order = await this.#client.placeOrder();
      this.#awaitEndOf([order]);
      this.#report.showAnswer(describeOrder(order));
      const isMet = isAsExpected(order, expected);
      if (isMet || n === max) {
        this.#report.showCheck(check, isMet, describeOrder(order));
        return;
      }
    }
  }

  async "expect-ended"({ check }) {
    const pending = this.#pending.splice(0);
    if (pending.length === 0) {
      this.#report.showCheck(check, null, "no order was pending");
      return;
    }
    const known = (await this.#waitUntilEnded(pending)).filter(Boolean);
    const expected = known.filter(({ isExpected }) => isExpected).length;
    const found = pending.length === 1 && known.length === 1
      ? describeEnd(known[0])
      : `${expected} of ${pending.length} ended as expected, the last `
        + `${seconds(longest(known), 1)} after it was placed`;
    this.#report.showEnd(found);
    this.#report.showCheck(check, expected === pending.length, found);
  }

  /** Waits for all at once, so that many stuck orders take no longer than one. */
  #waitUntilEnded = (orders) =>
    Promise.all(orders.map((order) => this.#client.waitUntilEnded(order)));

  async "expect-light"({ status, max_orders: max }) {
    const placed = [];
    let light;
    for (;;) {
      light = await this.#client.lightOfOwnOrders();
      // The story's few orders cannot outweigh those of others.
      if (light.status === status || light.others > max || placed.length === max) break;
      placed.push(await this.#client.placeOrder());
    }
    if (placed.length) this.#report.showAnswer(describeMore(placed));
    this.#awaitEndOf(placed);
    const isJudged = light.others === 0;
    this.#report.showCheck("the answer time", isJudged ? light.status === status : null,
      describeLight(light));
  }

  async "expect-all-finished"() {
    const orders = this.#client.taken();
    this.counts.taken = orders.length;
    for (const end of await this.#waitUntilEnded(orders)) {
      if (!end) this.counts.lost++;
      else if (end.isFinal) this.counts.finished++;
    }
    const { taken, finished, lost } = this.counts;
    this.#report.showCheck("the orders", finished === taken,
      `${taken} taken, ${finished} finished, ${lost} lost`);
  }

  async "expect-invariants"() {
    const { invariants } = await this.#client.auditWhenSettled();
    for (const invariant of invariants) {
      const before = this.#client.invariants.get(invariant.name);
      const { passed, found } = judgeInvariant(before, invariant);
      this.#report.showCheck(invariant.name, passed, found);
      if (invariant.name === ONE_PAYMENT) {
        this.counts.chargedTwice = newViolations(before, invariant);
      }
    }
  }
}

function isAsExpected({ status, ms }, expected) {
  return status === expected.status
    && ms >= (expected.at_least_ms ?? 0) && ms <= (expected.at_most_ms ?? Infinity);
}

function describeMany(orders, status) {
  const matching = orders.filter((order) => order.status === status).length;
  return `${matching} of ${orders.length} got a ${status}, the slowest after `
    + seconds(longest(orders), 1);
}

function describeLight({ status, requests, average_ms: average, others }) {
  const found = `${status}: ${Math.round(average)} ms on average over `
    + formatCount(requests, "order");
  if (others === 0) return found;
  return others === undefined
    ? `${found}; some may be of others`
    : `${found}; at least ${formatNumber(others)} ${isOrAre(others)} of others`;
}

function describeMore(orders) {
  const statuses = [...new Set(orders.map(({ status }) => status))].join(" or ");
  return `${formatCount(orders.length, "more order")}: ${statuses}, at most `
    + seconds(longest(orders), 1);
}
