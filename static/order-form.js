// The order form: places one order, or a burst of orders.
import { call, Problem, uniqueKey } from "./api.js";
import { Burst } from "./burst.js";
import { $, el, icon, setText } from "./dom.js";
import { formatDuration } from "./format.js";
import { UNKNOWN_OUTCOME, responseLabel } from "./labels.js";
import { startProductChooser } from "./product-chooser.js";

/**
 * Browsers open at most six HTTP/1.1 connections to a host. The live stream holds one, and the
 * panels need the others while orders wait for their responses.
 */
const MAX_CONCURRENT_ORDERS = 3;
const ORDER_TIMEOUT_MS = 10_000;
const MAX_RETRIES = 3;
const RETRY_INTERVAL_MS = 1000;

let openOrder = () => {};
let stopBurst = () => {};
/** The burst whose board is shown, or was shown last. */
let shownBurst = null;

export function startOrderForm(open) {
  openOrder = open;
  startProductChooser();
  const form = $("order-form");
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const { product_id: product, quantity, count } = form.elements;
    const body = { product_id: product.value, quantity: Number(quantity.value) };
    const orders = Number(event.submitter?.value || count.value);
    stopBurst();
    shownBurst = null;
    if (orders === 1) placeOne(body);
    else placeMany(body, orders);
  });
  form.elements.count.addEventListener("input", ({ target }) => {
    const orders = Number(target.value);
    setText($("submit-order"), orders > 1 ? `Place ${orders} orders` : "Place order");
  });
}

/** The problem code of a response that cannot say whether the order was stored. */
const UNKNOWN_OUTCOME_PROBLEM = "outcome-unknown";
const RETRIED_PROBLEMS = ["idempotency-key-in-flight", UNKNOWN_OUTCOME_PROBLEM];

/**
 * Places an order. While the outcome is unknown, retries with the same idempotency key: the order
 * service returns the same order for each retry.
 */
async function placeOrder(body, onRetry = () => {}) {
  const headers = { "idempotency-key": uniqueKey() };
  const options = { body, headers, timeout: ORDER_TIMEOUT_MS };
  for (let retry = 1; ; retry++) {
    try {
      const { status, value } = await call("POST", "/orders", options);
      return { code: String(status), text: value.message, orderId: value.id };
    } catch (error) {
      const isRetried = !(error instanceof Problem) || RETRIED_PROBLEMS.includes(error.code);
      if (!isRetried || retry > MAX_RETRIES) return toResult(error);
      onRetry(`No final response yet. Retry ${retry} of ${MAX_RETRIES} with the same key …`);
      await new Promise((resolve) => setTimeout(resolve, RETRY_INTERVAL_MS));
    }
  }
}

function toResult(error) {
  const { message: text, orderId, errors } = error;
  const isUnknown = !(error instanceof Problem) || error.code === UNKNOWN_OUTCOME_PROBLEM;
  return isUnknown
    ? { code: UNKNOWN_OUTCOME, text, orderId }
    : { code: String(error.status), problem: error.code, text, orderId, errors };
}

async function placeOne(body) {
  const resultNode = $("order-result");
  const showProgress = (text) => resultNode.replaceChildren(el("p", { text }));
  resultNode.dataset.tone = "progress";
  showProgress("Placing the order …");
  const startedAt = performance.now();
  const { code, problem, text, errors = [], orderId } = await placeOrder(body, showProgress);
  const elapsed = formatDuration(performance.now() - startedAt);
  const { tone, icon: iconName } = responseLabel(code, problem);
  resultNode.dataset.tone = tone;
  resultNode.dataset.code = code;
  resultNode.replaceChildren(
    el("p", { class: "result-head" },
      icon(iconName),
      el("b", { text: code === UNKNOWN_OUTCOME ? "?" : code }),
      el("span", { text: `after ${elapsed}` })),
    el("p", { text: text ?? "" }),
    ...errors.map(({ field, detail }) => el("p", {}, el("b", { text: field }), ` ${detail}`)));
  if (orderId) resultNode.append(linkButton("View timeline", () => openOrder(orderId)));
}

const linkButton = (text, click) =>
  el("button", { class: "link-button", type: "button", text, on: { click } });

async function placeMany(body, orders) {
  const burst = new Burst(orders);
  const stopButton = linkButton("Stop", () => stopBurst());
  const resultNode = $("order-result");
  resultNode.dataset.tone = "progress";
  delete resultNode.dataset.code;
  // Screen readers announce the counts only at the end.
  resultNode.setAttribute("aria-busy", "true");
  burst.node.append(stopButton);
  resultNode.replaceChildren(burst.node);
  shownBurst = burst;

  let sent = 0;
  stopBurst = () => (sent = orders);
  const placeInTurn = async () => {
    while (sent < orders) {
      const cell = sent++;
      burst.markSent(cell);
      burst.addResponse(cell, await placeOrder(body));
    }
  };
  const clients = Math.min(MAX_CONCURRENT_ORDERS, orders);
  await Promise.all(Array.from({ length: clients }, placeInTurn));
  burst.finishPlacing();
  stopButton.remove();
  // A later order replaces the board.
  if (resultNode.contains(burst.node)) resultNode.removeAttribute("aria-busy");
}

/** Passes a change of the live stream on to the burst that is shown. */
export const showOrderInBurst = (change) => shownBurst?.showChange(change);

/** For changes that the stream may have missed. */
export const reloadBurst = () => shownBurst?.reload();
