// Everything that happened to one order, and what happens to it while the dialog is open.
import { get } from "./api.js";
import { $, clock, count, duration, el, setText, wholeSeconds } from "./dom.js";
import { isFinal, reasonOf, statusChip, traceNode, wordsOf } from "./words.js";

const GATHER_MS = 150;
/** Fewer like attempts in a row are all shown. */
const FOLD_FROM = 3;

let shown = null;
let timer;
/** Of an order that is not decided: when it was placed. */
let waitsSince = null;

export function startTimeline() {
  const dialog = $("timeline");
  $("timeline-close").addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", ({ target }) => target === dialog && dialog.close());
  dialog.addEventListener("close", () => (shown = waitsSince = null));
  setInterval(() => waitsSince && setText($("waited"), wholeSeconds(Date.now() - waitsSince)), 1000);
}

export async function openTimeline(id) {
  shown = id;
  $("timeline-body").replaceChildren(el("p", { class: "quiet", text: "One moment …" }));
  if (!$("timeline").open) $("timeline").showModal();
  await show(id);
}

export function timelineChanged({ id }) {
  if (id !== shown) return;
  clearTimeout(timer);
  timer = setTimeout(() => show(id), GATHER_MS);
}

export const refreshTimeline = () => (shown ? show(shown) : undefined);

async function show(id) {
  let children;
  try {
    children = describe(await get(`/orders/${encodeURIComponent(id)}`));
  } catch (error) {
    // What is on screen already is better than nothing.
    if ($("timeline-body").querySelector("ol")) return;
    children = [el("p", { class: "bad", text: error.message })];
  }
  if (shown === id) $("timeline-body").replaceChildren(...children);
}

function describe(order) {
  const { id, product_id: product, quantity, status, events, created_at: placed, trace_id: trace } = order;
  const last = events.at(-1)?.at ?? order.updated_at;
  waitsSince = isFinal(status) ? null : Date.parse(placed);
  const took = duration(Math.max(0, Date.parse(settledAt(events) ?? last) - Date.parse(placed)));
  return [
    el("div", { class: "order-head" },
      el("p", { class: "order-what" }, el("b", { text: product }), ` × ${count(quantity)}`),
      statusChip(status)),
    el("dl", { class: "facts" },
      ...fact("Placed", clock(placed)),
      ...fact(isFinal(status) ? "Decided after" : "Waiting for", el("span", { id: "waited", text: waitsSince ? wholeSeconds(Date.now() - waitsSince) : took })),
      ...fact("Attempts", count(Math.max(1, ...events.map((event) => event.attempt)))),
      ...fact("Trace", traceNode(trace)),
      ...fact("Order", el("button", { class: "copy mono", type: "button", title: "Copy the order's id", text: id, data: { copy: id } }))),
    strip(events),
    el("ol", { class: "events" }, ...fold(events).map((group) => describeGroup(group, placed))),
  ];
}

const fact = (name, value) => [el("dt", { text: name }), el("dd", {}, value)];
const settledAt = (events) => events.find((event) => isFinal(event.status))?.at;

/** How long the order was in which status, to scale. */
function strip(events) {
  const end = Date.parse(settledAt(events) ?? new Date().toISOString());
  const turns = events.filter((event, i) => event.status !== events[i - 1]?.status);
  const parts = turns.map(({ at, status }, i) => {
    const until = i + 1 < turns.length ? Date.parse(turns[i + 1].at) : end;
    const part = el("span", { class: wordsOf(status).tone });
    // What takes no time is there all the same.
    part.style.flexGrow = isFinal(status) ? 0 : Math.max(1, until - Date.parse(at));
    return part;
  });
  return el("div", { class: "strip", ariaHidden: "true" }, ...parts);
}

/** While a dependency is away, recovery finds it so again and again: that is one thing that happened many times. */
function fold(events) {
  const groups = [];
  for (const event of events) {
    const group = groups.at(-1);
    const like = group && group[0].reason === event.reason && group[0].status === event.status;
    if (like) group.push(event);
    else groups.push([event]);
  }
  return groups.flatMap((group) => (group.length < FOLD_FROM ? group.map((event) => [event]) : [group]));
}

function describeGroup(group, placed) {
  const [first] = group;
  const last = group.at(-1);
  const node = el("li", { class: wordsOf(first.status).tone, data: { reason: first.reason, status: first.status } },
    el("p", { class: "event-head" },
      statusChip(first.status),
      el("span", { class: "offset", text: `+${duration(Math.max(0, Date.parse(first.at) - Date.parse(placed)))}`, title: clock(first.at) })),
    el("p", { text: reasonOf(first.reason) }),
    el("p", { class: "event-foot" }, attempts(first, last), traceNode(last.trace_id)));
  if (group.length > 1) node.querySelector(".event-head").append(el("b", { class: "times", text: `× ${count(group.length)}` }));
  return node;
}

function attempts(first, last) {
  if (last.attempt !== first.attempt) return `Attempts ${first.attempt} to ${last.attempt}${first.attempt > 1 ? ", recovery" : ""}`;
  return first.attempt === 1 ? "Attempt 1, the customer’s request" : `Attempt ${first.attempt}, recovery`;
}
