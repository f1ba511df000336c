// The page's words for the platform's statuses and response codes, and the nodes that show them. A
// name that this page does not know is shown as it is.
import { el, icon } from "./dom.js";
import { describeFailure } from "./reasons.js";

const STATUS_LABELS = {
  CONFIRMED: { tone: "good", icon: "good", text: "confirmed" },
  FAILED: { tone: "bad", icon: "bad", text: "failed" },
  PENDING: { tone: "progress", icon: "progress", text: "in progress" },
  PENDING_INVENTORY: { tone: "waiting", icon: "waiting", text: "waiting for inventory" },
  PENDING_PAYMENT: { tone: "waiting", icon: "waiting", text: "waiting for payment" },
};

/** By failure reason: orders that ended as they should, without a fault of the platform. */
const REFUSED_LABELS = {
  "payment-declined": { tone: "neutral", icon: "cancelled", text: "declined" },
  "insufficient-stock": { tone: "neutral", icon: "cancelled", text: "sold out" },
  "unknown-product": { tone: "neutral", icon: "cancelled", text: "unknown product" },
};
/** Whether an order with this failure reason ended without a fault of the platform. */
export const isRefusal = (failure) => failure in REFUSED_LABELS;

const CANCELLED_LABEL = { tone: "neutral", icon: "cancelled", text: "cancelled" };
const FULFILLED_LABEL = { tone: "good", icon: "box", text: "fulfilled" };

/** The label of an order, or of an event with its order's `failure_reason`. */
export function statusLabel(order) {
  const { status, reason, failure_reason: failure, fulfilled_at: fulfilledAt } = order;
  if (status === "FAILED" && failure === "cancelled") return CANCELLED_LABEL;
  if (status === "FAILED" && isRefusal(failure)) return REFUSED_LABELS[failure];
  // A change of the live stream has a reason. A loaded order has the time.
  const isFulfilled = reason === "fulfilled" || Boolean(fulfilledAt);
  if (status === "CONFIRMED" && isFulfilled) return FULFILLED_LABEL;
  return STATUS_LABELS[status]
    ?? { tone: "progress", icon: "unknown", text: String(status).toLowerCase() };
}

export const isWaiting = (status) => status === "PENDING_INVENTORY" || status === "PENDING_PAYMENT";
export const isPending = (status) => status === "PENDING" || isWaiting(status);
export const isFinal = (status) => status === "CONFIRMED" || status === "FAILED";

export function statusNode(order) {
  const { tone, icon: name, text } = statusLabel(order);
  return el("span", { class: `status-label ${tone}` }, icon(name), text);
}

/** The details column of the order list. The status column already says what an order waits for. */
export function describeDetails({ status, reason, attempt, owes, failure_reason: failure }) {
  if (status === "FAILED") return describeFailure(failure);
  // Only a change of the live stream has a reason and an attempt. It is newer than a loaded order.
  const owesShipment = reason ? reason === "fulfilment-requested" : owes?.includes("shipment");
  if (owesShipment) return "shipment owed";
  if (!(attempt > 1)) return "";
  if (status !== "CONFIRMED") return `attempt ${attempt}`;
  return reason === "confirmed" ? `recovered on attempt ${attempt}` : "";
}

/** Stands for the code where no response says whether the order was stored. */
export const UNKNOWN_OUTCOME = "unknown";

const RESPONSE_LABELS = {
  201: { tone: "good", icon: "good", text: "confirmed" },
  202: { tone: "waiting", icon: "waiting", text: "accepted, in progress" },
  400: { tone: "bad", icon: "bad", text: "invalid" },
  503: { tone: "neutral", icon: "warning", text: "not accepted" },
  [UNKNOWN_OUTCOME]: { tone: "neutral", icon: "warning", text: "unknown outcome" },
};
/** By the code of the problem: a status can have several causes. */
const PROBLEM_LABELS = {
  "insufficient-stock": "not enough stock",
  "unknown-product": "unknown product",
  "payment-declined": "payment declined",
  expired: "not finished in time",
  cancelled: "cancelled",
  "order-failed": "failed",
  "idempotency-key-in-flight": "still in progress",
  "idempotency-key-reused": "key used before",
};
export function responseLabel(code, problem) {
  const isRefused = isRefusal(problem) || problem === "cancelled";
  if (isRefused) return { ...CANCELLED_LABEL, text: PROBLEM_LABELS[problem] };
  if (PROBLEM_LABELS[problem]) return { tone: "bad", icon: "bad", text: PROBLEM_LABELS[problem] };
  return RESPONSE_LABELS[code] ?? { tone: "neutral", icon: "warning", text: problem || "error" };
}

let traceUrl = null;

/** `{trace_id}` in the URL stands for the id; null if there is no tracing backend. */
export const setTraceUrl = (url) => (traceUrl = url);

/** A link to the trace if there is a tracing backend, else a button that copies its id. */
export function traceNode(traceId) {
  if (!traceId) return el("span", { class: "muted", text: "—" });
  const shortId = traceId.slice(0, 8);
  if (!traceUrl) return copyButton(shortId, traceId, `Copy the trace id ${traceId}`);
  return el("a", {
    class: "monospace",
    href: traceUrl.replace("{trace_id}", encodeURIComponent(traceId)),
    target: "_blank",
    rel: "noopener",
    title: `Trace ${traceId}`,
    text: shortId,
  });
}

export const copyButton = (text, value, title) => el("button", {
  class: "copy-button monospace",
  type: "button",
  title,
  text,
  data: { copy: value },
});

/** One listener for all copy buttons, including those of rows that are added later. */
export async function copyOnClick({ target }) {
  const button = target.closest("[data-copy]");
  if (!button) return;
  const text = button.textContent;
  try {
    await navigator.clipboard.writeText(button.dataset.copy);
    button.textContent = "copied";
    setTimeout(() => (button.textContent = text), 1200);
  } catch {
    // The clipboard needs a secure context. Without it, the user can select the whole id.
    button.textContent = button.dataset.copy;
  }
}
