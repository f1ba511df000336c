// The timeline dialog: one order, the actions on it, its calls and all its events. Updates while
// the dialog is open keep the focus and the open details. The fragment of the page's address names
// the open order, so that it can be linked to and the back button closes it.
import { get } from "./api.js";
import { $, el, reconcile, setText } from "./dom.js";
import { eventKey, fillEvent, groupEvents } from "./events.js";
import { formatDuration, formatNumber, formatSeconds, formatTime, formatUntil } from "./format.js";
import { copyButton, isFinal, statusLabel, statusNode, traceNode } from "./labels.js";
import { showOrderActions, startOrderActions } from "./order-actions.js";
import { describeCall, describeObligations } from "./reasons.js";
import { fillWaterfall } from "./waterfall.js";

/** Changes of the order within this time cause one reload. */
const RELOAD_DELAY_MS = 150;
const ADDRESS = /^#order=(.+)$/;

let openOrderId = null;
let shownOrder = null;
let loadCount = 0;
let reloadTimer;

export function startTimeline() {
  const dialog = $("timeline");
  $("timeline-close").addEventListener("click", () => dialog.close());
  // A click on the dialog itself, not on its content, is a click on the backdrop.
  dialog.addEventListener("click", ({ target }) => target === dialog && dialog.close());
  dialog.addEventListener("close", () => {
    openOrderId = shownOrder = null;
    leaveAddress();
  });
  addEventListener("popstate", followAddress);
  startOrderActions(refreshTimeline);
  setInterval(() => shownOrder && showFacts(shownOrder), 1000);
}

/** Opens the order that the page's address names, and closes the timeline if it names none. */
export function followAddress() {
  const id = orderInAddress();
  if (id && id !== openOrderId) showTimeline(id);
  else if (!id && $("timeline").open) $("timeline").close();
}

function orderInAddress() {
  const [, encoded] = location.hash.match(ADDRESS) ?? [];
  try {
    return encoded && decodeURIComponent(encoded);
  } catch {
    return undefined;
  }
}

/** An entry whose order was closed is used again, so that it takes one press to go back. */
function enterAddress(id) {
  if (orderInAddress() === id) return;
  const address = `#order=${encodeURIComponent(id)}`;
  if (history.state?.isClosed) history.replaceState(null, "", address);
  else history.pushState(null, "", address);
}

function leaveAddress() {
  if (!orderInAddress()) return;
  history.replaceState({ isClosed: true }, "", location.pathname + location.search);
}

export function openTimeline(id) {
  enterAddress(id);
  return showTimeline(id);
}

async function showTimeline(id) {
  openOrderId = id;
  shownOrder = null;
  showOrderActions(null);
  $("events").replaceChildren();
  $("waterfall").hidden = true;
  $("timeline-body").replaceChildren(el("p", { class: "muted", text: "Loading …" }));
  if (!$("timeline").open) $("timeline").showModal();
  await load(id);
}

export function showOrderInTimeline({ id }) {
  if (id !== openOrderId) return;
  clearTimeout(reloadTimer);
  reloadTimer = setTimeout(() => load(id), RELOAD_DELAY_MS);
}

export const refreshTimeline = () => (openOrderId ? load(openOrderId) : undefined);

/** An unsettled order changes without an event: a call fails, or the next attempt is postponed. */
export const refreshUnsettledTimeline = () => (shownOrder?.settled ? undefined : refreshTimeline());

async function load(id) {
  const ownCount = ++loadCount;
  let order;
  try {
    order = await get(`/orders/${encodeURIComponent(id)}`);
  } catch (error) {
    // Keeps an order that is already shown.
    if (openOrderId === id && !shownOrder) {
      $("timeline-body").replaceChildren(el("p", { class: "bad", text: error.message }));
    }
    return;
  }
  // Another order was opened, or a later response has arrived.
  if (openOrderId !== id || ownCount !== loadCount) return;
  if (!shownOrder) $("timeline-body").replaceChildren(...createTimeline(order));
  shownOrder = order;
  updateTimeline(order);
}

function createTimeline({ product_id: product, quantity }) {
  return [
    el("div", { class: "order-head" },
      el("p", { class: "order-product" },
        el("b", { text: product }),
        ` × ${formatNumber(quantity)}`),
      el("span", { id: "order-status" })),
    el("dl", { id: "order-facts", class: "order-facts" }),
    el("div", { id: "status-bar", class: "status-bar", ariaHidden: "true" }),
  ];
}

function updateTimeline(order) {
  const { events, created_at: placedAt } = order;
  $("order-status").replaceChildren(statusNode(order));
  showFacts(order);
  $("status-bar").replaceChildren(...statusSegments(order));
  fillWaterfall($("waterfall"), order);
  reconcile($("events"), groupEvents(events), eventKey, () => el("li"),
    (node, group) => fillEvent(node, group, order, placedAt));
  showOrderActions(order);
}

/** Called each second as well, because some facts are times that pass. */
function showFacts(order) {
  reconcile($("order-facts"), factsOf(order), ({ name }) => name,
    ({ name, node }) => el("div", {}, el("dt", { text: name }), el("dd", {}, node?.())),
    (row, { text }) => text !== undefined && setText(row.lastChild, text));
}

/** The facts of an order: a text, or a node that never changes. */
function factsOf(order) {
  const { id, events, settled, fulfilled_at: fulfilledAt, last_failure: failure } = order;
  const attempts = Math.max(1, ...events.map((event) => event.attempt));
  const facts = [{ name: "Placed at", text: formatTime(order.created_at) }, durationOf(order)];
  if (fulfilledAt) facts.push({ name: "Goods left at", text: formatTime(fulfilledAt) });
  if (order.owes.length) facts.push({ name: "Owes", text: describeOwed(order) });
  if (failure) {
    const text = `${describeCall(failure)}, at ${formatTime(failure.started_at)}`;
    facts.push({ name: "Last failure", text });
  }
  if (!settled) facts.push({ name: "Next attempt", text: formatUntil(order.next_attempt_at) });
  return [
    ...facts,
    { name: "Attempts", text: formatNumber(attempts) },
    { name: "Trace", node: () => traceNode(order.trace_id) },
    { name: "Order id", node: () => copyButton(id, id, "Copy the order id") },
  ];
}

function durationOf({ status, events, created_at: placedAt, updated_at: updatedAt }) {
  if (!isFinal(status)) {
    const elapsed = Math.max(0, Date.now() - Date.parse(placedAt));
    return { name: "Waiting for", text: formatSeconds(elapsed) };
  }
  const endedAt = finalAt(events) ?? updatedAt;
  return { name: "Finished after", text: formatDuration(millisBetween(placedAt, endedAt)) };
}

function describeOwed({ owes, owed_since: since }) {
  const obligations = describeObligations(owes);
  if (!since) return obligations;
  const elapsed = Math.max(0, Date.now() - Date.parse(since));
  return `${obligations}, since ${formatTime(since)} (${formatSeconds(elapsed)})`;
}

const finalAt = (events) => events.find((event) => isFinal(event.status))?.at;
const millisBetween = (start, end) => Math.max(0, Date.parse(end) - Date.parse(start));

/** A bar that shows, to scale, how long the order was in each status until it ended. */
function statusSegments({ events, failure_reason: failure }) {
  const end = finalAt(events) ?? new Date().toISOString();
  const changes = events.filter((event, i) => event.status !== events[i - 1]?.status);
  return changes.map(({ at, status }, i) => {
    const { tone } = statusLabel({ status, failure_reason: failure });
    const segment = el("span", { class: tone });
    // At least 1, so that a status of no measurable duration stays visible.
    const duration = Math.max(1, millisBetween(at, changes[i + 1]?.at ?? end));
    segment.style.flexGrow = isFinal(status) ? 0 : duration;
    return segment;
  });
}
