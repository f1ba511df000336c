// The list of the newest orders. Changes from the live stream are collected and drawn together, so
// that many changes in a short time cause few redraws.
import { get } from "./api.js";
import { $, el, reconcile, reducedMotion, setText } from "./dom.js";
import { formatNumber, formatSeconds, formatTime } from "./format.js";
import {
  describeDetails, isFinal, isWaiting, statusLabel, statusNode, traceNode,
} from "./labels.js";

const MAX_ROWS = 100;
const REDRAW_INTERVAL_MS = 80;
/** If more orders change at once, their rows are not highlighted. */
const MAX_HIGHLIGHTS = 12;
/** A younger order changes in its normal course, which is not highlighted. */
const MIN_HIGHLIGHT_AGE_MS = 1000;

let orders = new Map();
const pendingChanges = new Map();
let redrawTimer = 0;
let statusFilter = "";
let loadCount = 0;

export function startOrders(openTimeline) {
  $("status-filter").addEventListener("change", ({ target }) => {
    statusFilter = target.value;
    orders = new Map();
    loadOrders().catch(() => draw());
  });
  $("orders").addEventListener("click", ({ target }) => {
    const row = target.closest("tr");
    const isOtherControl = target.closest("a, button") && !target.closest(".open-order");
    // A click that ends a text selection does not open the order.
    if (row && !isOtherControl && getSelection().isCollapsed) openTimeline(row.dataset.orderId);
  });
  setInterval(showWaitingTimes, 1000);
}

/** Loads the list. Changes that arrive from the stream while it loads are newer and are kept. */
export async function loadOrders() {
  const ownCount = ++loadCount;
  const idsBefore = new Set(orders.keys());
  const query = statusFilter ? `&status=${encodeURIComponent(statusFilter)}` : "";
  const { orders: loaded } = await get(`/orders?limit=${MAX_ROWS}${query}`);
  // A later load has started, perhaps with another filter.
  if (ownCount !== loadCount) return;
  const arrived = [...orders].filter(([id]) => !idsBefore.has(id));
  const merged = loaded.map((order) => [order.id, newerOf(orders.get(order.id), order)]);
  orders = new Map([...arrived, ...merged]);
  draw();
}

export function showOrderInList(change) {
  pendingChanges.set(change.id, change);
  redrawTimer ||= setTimeout(() => requestAnimationFrame(applyChanges), REDRAW_INTERVAL_MS);
}

function applyChanges() {
  redrawTimer = 0;
  for (const change of pendingChanges.values()) {
    if (statusFilter && change.status !== statusFilter) orders.delete(change.id);
    else orders.set(change.id, newerOf(orders.get(change.id), change));
  }
  const highlightsChanges = pendingChanges.size <= MAX_HIGHLIGHTS && !reducedMotion.matches;
  pendingChanges.clear();
  draw(highlightsChanges);
}

function newerOf(known, received) {
  if (!known) return received;
  const isOlder = Date.parse(received.updated_at) < Date.parse(known.updated_at);
  if (isOlder || (isFinal(known.status) && !isFinal(received.status))) return known;
  // The loaded list lacks the reason and the attempt that the stream carries.
  return known.status === received.status ? { ...known, ...received } : received;
}

function draw(highlightsChanges = false) {
  const newestFirst = [...orders.values()]
    .sort((a, b) => Date.parse(b.created_at) - Date.parse(a.created_at));
  const shown = newestFirst.slice(0, MAX_ROWS);
  orders = new Map(shown.map((order) => [order.id, order]));
  reconcile($("orders"), shown, (order) => order.id, createRow,
    (row, order) => updateRow(row, order, highlightsChanges));
  $("no-orders").hidden = shown.length > 0;
}

/** The order that each row shows. */
const drawnOrders = new WeakMap();

function createRow({ id, product_id: product, quantity, created_at: placedAt, trace_id: trace }) {
  const opener = el("button", {
    class: "open-order",
    type: "button",
    text: product,
    title: `${product}: view timeline`,
  });
  // A row is one stop of the Tab key. The timeline that it opens has the trace, too.
  const traceCell = traceNode(trace);
  traceCell.tabIndex = -1;
  return el("tr", { data: { orderId: id } },
    el("td", { class: "cell-status" }),
    el("td", { class: "cell-product" }, opener),
    el("td", { class: "cell-quantity number", text: formatNumber(quantity) }),
    el("td", { class: "cell-details" }, el("span"), el("span", { class: "waiting-time" })),
    el("td", { class: "cell-placed number", text: formatTime(placedAt) }),
    el("td", { class: "cell-trace" }, traceCell),
  );
}

function updateRow(row, order, highlightsChanges) {
  const drawn = drawnOrders.get(row);
  if (drawn === order) return;
  drawnOrders.set(row, order);
  const [statusCell, , , detailsCell] = row.cells;
  const { tone, text } = statusLabel(order);
  if (row.dataset.label !== text) {
    Object.assign(row.dataset, { status: order.status, label: text });
    statusCell.replaceChildren(statusNode(order));
    if (highlightsChanges && drawn && ageOf(order) > MIN_HIGHLIGHT_AGE_MS) {
      const colour = `var(--${tone}-soft)`;
      row.animate({ backgroundColor: [colour, "transparent"] }, 1600);
    }
  }
  setText(detailsCell.firstChild, describeDetails(order));
  showWaitingTime(row, order);
}

const ageOf = (order) => Math.max(0, Date.now() - Date.parse(order.created_at));

function showWaitingTime(row, order) {
  const text = isWaiting(order.status) ? `for ${formatSeconds(ageOf(order))}` : "";
  setText(row.querySelector(".waiting-time"), text);
}

function showWaitingTimes() {
  for (const row of $("orders").children) {
    if (isWaiting(row.dataset.status)) showWaitingTime(row, drawnOrders.get(row));
  }
}
