// The number of unfinished orders and the age of the oldest one. They stand beside the light of the
// answer time, which does not show orders that wait.
import { $, setText } from "./dom.js";
import { formatNumber, formatSeconds, nounFor } from "./format.js";

/** The orders in the list of unsettled orders; null if they are unknown. */
let listed = null;
/** The counts of the audit, for more orders than the list holds; null if they are unknown. */
let audited = null;
/** From the metrics, because the list may not hold the oldest order. */
let oldestPendingSeconds = null;

export function startUnfinished() {
  setInterval(show, 1000);
}

/**
 * Takes the times since which the listed orders have been pending, or have owed something after
 * their end, and whether the list holds all orders. Null: the list could not be loaded.
 */
export function setListedUnfinished(list) {
  listed = list;
  show();
}

export function setAuditedUnfinished(orders) {
  const pending = orders && Math.max(0, orders.total - orders.confirmed - orders.failed);
  audited = orders && { pending, owing: Math.max(0, orders.unsettled - pending) };
  show();
}

export const setOldestPending = (seconds) => (oldestPendingSeconds = seconds);

function show() {
  const { state, count, detail } = describe();
  $("unfinished").dataset.state = state;
  setText($("unfinished-count"), count);
  setText($("unfinished-detail"), detail);
}

function describe() {
  if (!listed) return { state: "unknown", count: "unknown", detail: "" };
  const { pendingSince, owingSince, isComplete } = listed;
  if (!isComplete && !audited) {
    const n = formatNumber(pendingSince.length + owingSince.length);
    return { state: "waiting", count: `> ${n}`, detail: "orders unfinished, or owing something" };
  }
  const pending = isComplete ? pendingSince.length : audited.pending;
  const owing = isComplete ? owingSince.length : audited.owing;
  if (pending === 0 && owing === 0) return { state: "none", count: "none", detail: "unfinished" };
  if (pending === 0) {
    return {
      state: "waiting",
      count: formatNumber(owing),
      detail: `ended ${nounFor(owing, "order")} still ${owes(owing)} something`
        + oldest(ageOf(owingSince)),
    };
  }
  const age = isComplete ? ageOf(pendingSince) : listedOrMeasuredAge(pendingSince);
  const more = owing ? `; ${formatNumber(owing)} more ${owes(owing)} something` : "";
  return {
    state: "waiting",
    count: formatNumber(pending),
    detail: `${nounFor(pending, "order")} unfinished${oldest(age)}${more}`,
  };
}

const owes = (n) => (n === 1 ? "owes" : "owe");

/** In milliseconds; null without an order. */
const ageOf = (times) =>
  (times.length ? Math.max(0, Date.now() - Math.min(...times)) : null);

function listedOrMeasuredAge(times) {
  return Math.max(ageOf(times) ?? 0, (oldestPendingSeconds ?? 0) * 1000);
}

const oldest = (age) => (age === null ? "" : `, the oldest ${formatSeconds(age)}`);
