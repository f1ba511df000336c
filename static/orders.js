// The newest orders, live. Changes are gathered and drawn together, so that a flood of them costs no more than eyes
// can follow.
import { get } from "./api.js";
import { $, calmMotion, clock, count, el, reconcile, setText, wholeSeconds } from "./dom.js";
import { isFinal, isWaiting, statusChip, traceNode, whatHappened, wordsOf } from "./words.js";

const MOST_ROWS = 100;
const APPLY_EVERY_MS = 80;
/** More changes at once than eyes can follow are not animated. */
const MOST_FLASHES = 12;
/** What a younger order does is its usual course. */
const OLD_MS = 1000;

let orders = new Map();
const incoming = new Map();
let frame = 0;
let filter = "";
let loads = 0;

export function startOrders(open) {
  $("status-filter").addEventListener("change", ({ target }) => {
    filter = target.value;
    orders = new Map();
    loadOrders().catch(() => draw());
  });
  $("orders").addEventListener("click", ({ target }) => {
    const row = target.closest("tr");
    const isOpener = target.closest(".open") || !target.closest("a, button");
    if (row && isOpener && getSelection().isCollapsed) open(row.dataset.orderId);
  });
  setInterval(showAges, 1000);
}

/** Fetches the list; what the stream told meanwhile is newer and stays. */
export async function loadOrders() {
  const load = ++loads;
  const before = new Set(orders.keys());
  const query = filter ? `&status=${encodeURIComponent(filter)}` : "";
  const { orders: listed } = await get(`/orders?limit=${MOST_ROWS}${query}`);
  // A later load, with another filter, has been asked for.
  if (load !== loads) return;
  const news = [...orders].filter(([id]) => !before.has(id));
  orders = new Map([...news, ...listed.map((order) => [order.id, newest(orders.get(order.id), order)])]);
  draw();
}

export function orderChanged(change) {
  incoming.set(change.id, change);
  frame ||= setTimeout(() => requestAnimationFrame(apply), APPLY_EVERY_MS);
}

function apply() {
  frame = 0;
  for (const change of incoming.values()) {
    if (filter && change.status !== filter) orders.delete(change.id);
    else orders.set(change.id, newest(orders.get(change.id), change));
  }
  const flash = incoming.size <= MOST_FLASHES && !calmMotion.matches;
  incoming.clear();
  draw(flash);
}

function newest(known, told) {
  if (!known) return told;
  const isOlder = Date.parse(told.updated_at) < Date.parse(known.updated_at);
  if (isOlder || (isFinal(known.status) && !isFinal(told.status))) return known;
  // The list does not say why; the stream did.
  return known.status === told.status ? { ...known, ...told } : told;
}

function draw(flash = false) {
  const newestFirst = [...orders.values()].sort((a, b) => Date.parse(b.created_at) - Date.parse(a.created_at));
  const shown = newestFirst.slice(0, MOST_ROWS);
  orders = new Map(shown.map((order) => [order.id, order]));
  reconcile($("orders"), shown, (order) => order.id, createRow, (row, order) => updateRow(row, order, flash));
  $("no-orders").hidden = shown.length > 0;
}

const drawn = new WeakMap();

function createRow(order) {
  const opener = el("button", { class: "open", type: "button", text: order.product_id, title: `${order.product_id}: show what happened to this order` });
  return el("tr", { data: { orderId: order.id } },
    el("td", { class: "cell-status" }),
    el("td", { class: "cell-product" }, opener),
    el("td", { class: "cell-quantity number", text: count(order.quantity) }),
    el("td", { class: "cell-reason" }, el("span"), el("span", { class: "age" })),
    el("td", { class: "cell-placed number", text: clock(order.created_at) }),
    el("td", { class: "cell-trace" }, traceNode(order.trace_id)),
  );
}

function updateRow(row, order, flash) {
  const before = drawn.get(row);
  if (before === order) return;
  drawn.set(row, order);
  if (before?.status !== order.status) {
    row.dataset.status = order.status;
    row.cells[0].replaceChildren(statusChip(order.status));
    const isNews = before && Date.now() - Date.parse(order.created_at) > OLD_MS;
    if (flash && isNews) row.animate({ backgroundColor: [`var(--${wordsOf(order.status).tone}-soft)`, "transparent"] }, 1600);
  }
  setText(row.cells[3].firstChild, whatHappened(order));
  showAge(row, order);
}

function showAge(row, order) {
  const since = Math.max(0, Date.now() - Date.parse(order.created_at));
  setText(row.querySelector(".age"), isWaiting(order.status) ? `for ${wholeSeconds(since)}` : "");
}

function showAges() {
  for (const row of $("orders").children) if (isWaiting(row.dataset.status)) showAge(row, drawn.get(row));
}
