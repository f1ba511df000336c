// The unsettled orders: those that wait for another attempt, and those that have been pending or
// have owed something for more than a few seconds. Each row shows the cause, and has a button that
// retries the order.
import { get } from "./api.js";
import { $, el, icon, reconcile, setText } from "./dom.js";
import { formatCount, formatNumber, formatSeconds, formatUntil, isOrAre } from "./format.js";
import { isFinal, isWaiting, statusNode } from "./labels.js";
import { actOnOrder, describeOrderRefusal, describeRetried } from "./order-actions.js";
import { describeCall, describeObligations } from "./reasons.js";
import { setListedUnfinished } from "./unfinished.js";

/** A younger order takes its normal course. */
const MIN_AGE_MS = 5000;
const PAGE_SIZE = 100;
const MAX_ROWS = 50;

let orders = [];
let recoveryBoundMs = Infinity;
let loadCount = 0;
let openOrder = () => {};
/** The ids of the orders that are being tried again. */
const retried = new Set();

export function startUnsettled(open) {
  openOrder = open;
  setInterval(() => orders.length && showRows(), 1000);
}

/** An order that is unsettled for longer than this is stuck. */
export const setRecoveryBound = (seconds) => (recoveryBoundMs = seconds * 1000);

export async function refreshUnsettled() {
  const ownCount = ++loadCount;
  let list;
  try {
    list = await loadOrders();
  } catch (error) {
    if (ownCount === loadCount) setListedUnfinished(null);
    throw error;
  }
  if (ownCount !== loadCount) return;
  const unfinished = list.orders.filter(isUnfinished);
  const owing = list.orders.filter(isOwing);
  setListedUnfinished({
    pendingSince: unfinished.map(sinceOf),
    owingSince: owing.map(sinceOf),
    isComplete: list.isComplete,
  });
  orders = [...unfinished, ...owing].sort((a, b) => sinceOf(a) - sinceOf(b));
  show();
}

/** A young order that waits for nothing has a customer who waits for the response. */
const isUnfinished = (order) =>
  !isFinal(order.status) && (isWaiting(order.status) || ageOf(order) >= MIN_AGE_MS);
const isOwing = (order) => isFinal(order.status) && ageOf(order) >= MIN_AGE_MS;

/** The newest orders and, if there are more, also the newest of those that may be stuck. */
async function loadOrders() {
  const path = `/orders?settled=false&limit=${PAGE_SIZE}`;
  const { orders: newest, next_cursor: next } = await get(path);
  if (!next) return { orders: newest, isComplete: true };
  if (!Number.isFinite(recoveryBoundMs)) return { orders: newest, isComplete: false };
  const before = new Date(Date.now() - recoveryBoundMs).toISOString();
  const { orders: old } = await get(`${path}&created_before=${encodeURIComponent(before)}`);
  const all = new Map([...newest, ...old].map((order) => [order.id, order]));
  return { orders: [...all.values()], isComplete: false };
}

const sinceOf = ({ status, created_at: placedAt, updated_at: updatedAt, owed_since: owedSince }) =>
  Date.parse(isFinal(status) ? owedSince ?? updatedAt : placedAt);
const ageOf = (order) => Math.max(0, Date.now() - sinceOf(order));
const isStuck = (order) => ageOf(order) > recoveryBoundMs;

function show() {
  const stuck = orders.filter(isStuck).length;
  const state = stuck ? "stuck" : "waiting";
  $("unsettled").dataset.state = orders.length ? state : "none";
  const stuckText = stuck ? `, ${formatNumber(stuck)} stuck` : "";
  setText($("unsettled-count"), orders.length
    ? `${formatCount(orders.length, "order")}${stuckText}`
    : "none");
  const hidden = orders.length - MAX_ROWS;
  $("unsettled-more").hidden = hidden <= 0;
  setText($("unsettled-more"),
    `${formatCount(hidden, "younger order")} ${isOrAre(hidden)} not shown.`);
  showRows();
}

function showRows() {
  const list = $("unsettled-orders");
  const hadFocus = list.contains(document.activeElement);
  reconcile(list, orders.slice(0, MAX_ROWS), ({ id }) => id, createRow, updateRow);
  // The order that had the focus is settled.
  if (hadFocus && !list.contains(document.activeElement)) $("unsettled-title").focus();
}

function createRow({ id, product_id: product, quantity }) {
  return el("li", { data: { orderId: id } },
    el("p", { class: "unsettled-head" },
      el("span"),
      el("button", {
        class: "open-order",
        type: "button",
        title: `${product}: view timeline`,
        on: { click: () => openOrder(id) },
      },
        `${product} × ${formatNumber(quantity)}`),
      el("b", { class: "stuck-mark", hidden: true }, icon("warning"), "stuck")),
    el("p", { class: "unsettled-why" }),
    el("p", { class: "unsettled-cause muted" }),
    // A row is one stop of the Tab key. The timeline that it opens retries the order, too.
    el("button", {
      class: "retry",
      type: "button",
      tabIndex: -1,
      ariaLabel: `Retry now: order of ${product} × ${formatNumber(quantity)}`,
      text: "Retry now",
      on: { click: () => retry(id) },
    }));
}

function updateRow(row, order) {
  const { status, owes, last_failure: failure } = order;
  const [head, why, cause] = row.children;
  if (head.firstChild.textContent !== statusNode(order).textContent) {
    head.firstChild.replaceChildren(statusNode(order));
  }
  head.lastChild.hidden = !isStuck(order);
  row.dataset.stuck = String(isStuck(order));
  const waits = isFinal(status) ? `Owes ${describeObligations(owes)}` : "Unfinished";
  const next = `Next attempt ${formatUntil(order.next_attempt_at)}.`;
  setText(why, `${waits} for ${formatSeconds(ageOf(order))}. ${next}`);
  setText(cause, failure ? `Last failure: ${describeCall(failure)}.` : "");
}

async function retry(id) {
  if (retried.has(id)) return;
  retried.add(id);
  setMessage("Trying again …");
  try {
    const order = await actOnOrder(id, "retry");
    setMessage(describeRetried(order), order.settled ? "good" : "waiting");
  } catch (error) {
    setMessage(describeOrderRefusal(error), "bad");
  } finally {
    retried.delete(id);
  }
  await refreshUnsettled().catch(() => {});
}

function setMessage(text, tone = "progress") {
  $("unsettled-message").dataset.tone = tone;
  setText($("unsettled-message"), text);
}
