// The board of a burst of orders: a cell for each order, which changes its look as the order ends,
// and the counts of the responses and of the final statuses.
import { get } from "./api.js";
import { el, icon, reconcile, setText } from "./dom.js";
import { formatDuration, formatNumber } from "./format.js";
import { UNKNOWN_OUTCOME, isFinal, responseLabel, statusLabel } from "./labels.js";
import { describeFailure } from "./reasons.js";

const SHORT_ENDINGS = { "payment-declined": "declined", "insufficient-stock": "sold out" };

export class Burst {
  #cells;
  #head = el("p", { class: "result-head burst-tally" });
  #refused = el("p", { class: "burst-refused" });
  #time = el("p", { class: "muted" });
  #responseList = el("ul", { class: "response-counts" });
  #startedAt = performance.now();
  #answered = 0;
  #isPlaced = false;
  #responses = new Map();
  /** The cells of the orders that were taken, by order id. */
  #taken = new Map();
  /** The last change of each order: the stream can be faster than the response. */
  #changes = new Map();

  constructor(orders) {
    this.#cells = Array.from({ length: orders }, () => el("i"));
    this.node = el("div", { class: "burst" },
      this.#head,
      el("div", { class: "burst-cells", ariaHidden: "true" }, ...this.#cells),
      this.#refused,
      this.#time,
      this.#responseList);
    this.#show();
  }

  markSent(cell) {
    this.#cells[cell].className = "sent";
  }

  addResponse(cell, { code, problem = "", orderId }) {
    this.#answered++;
    const key = `${code} ${problem}`;
    const { n = 0 } = this.#responses.get(key) ?? {};
    const isUnknown = isOutcomeUnknown(code, problem);
    const isTaken = Boolean(orderId) && !isUnknown;
    this.#responses.set(key, { code, problem, isTaken, isUnknown, n: n + 1 });
    this.#cells[cell].className = responseLabel(code, problem).tone;
    if (isTaken) {
      this.#taken.set(orderId, cell);
      this.#turn(orderId);
    }
    this.#show();
  }

  finishPlacing() {
    this.#isPlaced = true;
    this.#show();
  }

  showChange({ id, status, failure_reason: failure }) {
    const isKnown = this.#taken.has(id);
    // Once all responses have arrived, an unknown order does not belong to this burst.
    if (!isKnown && this.#isPlaced) return;
    // Cancelling is the only way out of a final status.
    const before = this.#changes.get(id);
    if (before && isFinal(before.status) && !isFinal(status)) return;
    this.#changes.set(id, { status, failure_reason: failure });
    if (!isKnown) return;
    this.#turn(id);
    this.#show();
  }

  /** Loads the orders that have not ended as far as the board knows. */
  async reload() {
    for (const id of this.#taken.keys()) {
      if (isFinal(this.#changes.get(id)?.status)) continue;
      try {
        this.showChange(await get(`/orders/${encodeURIComponent(id)}`));
      } catch {
        // The service does not respond. The next reset of the stream loads them.
        return;
      }
    }
  }

  #turn(id) {
    const change = this.#changes.get(id);
    // The response is newer than the change that stored the order.
    if (!change || change.status === "PENDING") return;
    const cell = this.#cells[this.#taken.get(id)];
    cell.className = `${statusLabel(change).tone}${isFinal(change.status) ? " ended" : ""}`;
    cell.dataset.status = change.status;
  }

  /** The number of taken orders by their ending, such as `confirmed` or `declined`. */
  #endings() {
    const endings = new Map();
    for (const id of this.#taken.keys()) {
      const change = this.#changes.get(id);
      if (!isFinal(change?.status)) continue;
      const ending = endingName(change);
      endings.set(ending, (endings.get(ending) ?? 0) + 1);
    }
    return endings;
  }

  #show() {
    const taken = this.#taken.size;
    const endings = this.#endings();
    const finished = [...endings.values()].reduce((sum, n) => sum + n, 0);
    const parts = [...endings].sort(([, a], [, b]) => b - a)
      .map(([ending, n]) => `${formatNumber(n)} ${ending}`);
    const byEnding = parts.length ? `: ${parts.join(", ")}` : "";
    setText(this.#head,
      `${formatNumber(taken)} taken, ${formatNumber(finished)} finished${byEnding}`);
    this.node.dataset.finished = String(this.#isPlaced && finished === taken);
    setText(this.#refused, this.#describeRest());
    const elapsed = formatDuration(performance.now() - this.#startedAt);
    if (!this.#isPlaced) {
      setText(this.#time, `${this.#answered} of ${this.#cells.length} answered`);
    } else if (!this.node.dataset.placed) {
      this.node.dataset.placed = "true";
      setText(this.#time, `${this.#answered} answered in ${elapsed}, with:`);
    }
    const sorted = [...this.#responses].sort(([a], [b]) => (a < b ? -1 : 1));
    reconcile(this.#responseList, sorted, ([key]) => key, createCount,
      (node, [, { n }]) => setText(node.querySelector("b"), formatNumber(n)));
  }

  /** The responses without an order. */
  #describeRest() {
    const rest = [...this.#responses.values()].filter(({ isTaken }) => !isTaken);
    const unknown = rest.filter(({ isUnknown }) => isUnknown);
    const sum = (responses) => responses.reduce((total, { n }) => total + n, 0);
    const refused = sum(rest) - sum(unknown);
    const parts = [
      refused && `${formatNumber(refused)} refused: no order was made`,
      unknown.length && `${formatNumber(sum(unknown))} unknown: an order may have been made`,
    ];
    return parts.filter(Boolean).join("; ");
  }
}

/** Whether an order may have been made. A 503 says that none was. */
function isOutcomeUnknown(code, problem) {
  return code === UNKNOWN_OUTCOME || (Number(code) >= 500 && code !== "503")
    || problem === "idempotency-key-in-flight";
}

/** The ending of an order, in a word or two. */
function endingName({ status, failure_reason: failure }) {
  if (status === "CONFIRMED") return "confirmed";
  if (failure === "cancelled") return "cancelled";
  return SHORT_ENDINGS[failure] ?? (describeFailure(failure) || "failed");
}

function createCount([, { code, problem }]) {
  const { tone, icon: iconName, text } = responseLabel(code, problem);
  const label = code === UNKNOWN_OUTCOME ? text : `${code} ${text}`;
  return el("li", { class: tone, data: { code } },
    icon(iconName),
    el("b"),
    el("span", { text: label }));
}
