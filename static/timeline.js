// The timeline dialog: all events of one order, updated while the dialog is open.
import { get } from "./api.js";
import { $, el, setText } from "./dom.js";
import { formatDuration, formatNumber, formatSeconds, formatTime } from "./format.js";
import { copyButton, describeReason, isFinal, statusNode, toneOf, traceNode } from "./labels.js";

/** Changes of the order within this time cause one reload. */
const RELOAD_DELAY_MS = 150;
/** From this many equal events in a row, they are shown as one with a count. */
const MIN_GROUP_SIZE = 3;

let openOrderId = null;
let reloadTimer;
/** When the order was placed, if it is not final. */
let waitingSince = null;

export function startTimeline() {
  const dialog = $("timeline");
  $("timeline-close").addEventListener("click", () => dialog.close());
  // A click on the dialog itself, not on its content, is a click on the backdrop.
  dialog.addEventListener("click", ({ target }) => target === dialog && dialog.close());
  dialog.addEventListener("close", () => (openOrderId = waitingSince = null));
  setInterval(() => {
    if (waitingSince) setText($("elapsed-time"), formatSeconds(Date.now() - waitingSince));
  }, 1000);
}

export async function openTimeline(id) {
  openOrderId = id;
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

async function load(id) {
  let content;
  try {
    content = timelineNodes(await get(`/orders/${encodeURIComponent(id)}`));
  } catch (error) {
    // Keeps events that are already shown.
    if ($("timeline-body").querySelector("ol")) return;
    content = [el("p", { class: "bad", text: error.message })];
  }
  if (openOrderId === id) $("timeline-body").replaceChildren(...content);
}

function timelineNodes(order) {
  const { id, product_id: product, quantity, status, events, created_at: placedAt } = order;
  const endedAt = finalAt(events) ?? events.at(-1)?.at ?? order.updated_at;
  waitingSince = isFinal(status) ? null : Date.parse(placedAt);
  const elapsed = waitingSince
    ? formatSeconds(Date.now() - waitingSince)
    : formatDuration(millisBetween(placedAt, endedAt));
  const attempts = Math.max(1, ...events.map((event) => event.attempt));
  return [
    el("div", { class: "order-head" },
      el("p", { class: "order-product" },
        el("b", { text: product }),
        ` × ${formatNumber(quantity)}`),
      statusNode(status)),
    el("dl", { class: "order-facts" },
      ...fact("Placed at", formatTime(placedAt)),
      ...fact(isFinal(status) ? "Finished after" : "Waiting for",
        el("span", { id: "elapsed-time", text: elapsed })),
      ...fact("Attempts", formatNumber(attempts)),
      ...fact("Trace", traceNode(order.trace_id)),
      ...fact("Order id", copyButton(id, id, "Copy the order id"))),
    statusBar(events),
    el("ol", { class: "events" },
      ...groupEvents(events).map((group) => eventNode(group, placedAt))),
  ];
}

const fact = (name, value) => [el("dt", { text: name }), el("dd", {}, value)];
const finalAt = (events) => events.find((event) => isFinal(event.status))?.at;
const millisBetween = (start, end) => Math.max(0, Date.parse(end) - Date.parse(start));

/** A bar that shows, to scale, how long the order was in each status. */
function statusBar(events) {
  const end = finalAt(events) ?? new Date().toISOString();
  const changes = events.filter((event, i) => event.status !== events[i - 1]?.status);
  const segments = changes.map(({ at, status }, i) => {
    const segment = el("span", { class: toneOf(status) });
    // At least 1, so that a status of no measurable duration stays visible.
    const duration = Math.max(1, millisBetween(at, changes[i + 1]?.at ?? end));
    segment.style.flexGrow = isFinal(status) ? 0 : duration;
    return segment;
  });
  return el("div", { class: "status-bar", ariaHidden: "true" }, ...segments);
}

/**
 * Groups equal events in a row. While a dependency is down, each attempt of recovery adds the same
 * event.
 */
function groupEvents(events) {
  const groups = [];
  for (const event of events) {
    const first = groups.at(-1)?.[0];
    const isRepeated = first && first.reason === event.reason && first.status === event.status;
    if (isRepeated) groups.at(-1).push(event);
    else groups.push([event]);
  }
  return groups.flatMap((group) =>
    (group.length < MIN_GROUP_SIZE ? group.map((event) => [event]) : [group]));
}

function eventNode(group, placedAt) {
  const [first, last] = [group[0], group.at(-1)];
  const { status, reason, at } = first;
  const offset = formatDuration(millisBetween(placedAt, at));
  const repeatCount = `× ${formatNumber(group.length)}`;
  return el("li", { class: toneOf(status), data: { reason, status } },
    el("p", { class: "event-head" },
      statusNode(status),
      el("span", { class: "event-offset", text: `+${offset}`, title: formatTime(at) }),
      group.length > 1 ? el("b", { class: "repeat-count", text: repeatCount }) : null),
    el("p", { text: describeReason(reason) }),
    el("p", { class: "event-foot" }, describeAttempts(first, last), traceNode(last.trace_id)));
}

/** The first attempt is made while the customer waits for the response; recovery makes the rest. */
function describeAttempts({ attempt: first }, { attempt: last }) {
  if (last !== first) return `Attempts ${first} to ${last}${first > 1 ? " (recovery)" : ""}`;
  return first === 1 ? "Attempt 1 (the customer’s request)" : `Attempt ${first} (recovery)`;
}
