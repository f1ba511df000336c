// The page's words for the platform's statuses, reasons and response codes, and the nodes that show
// them. A name that this page does not know is shown as it is.
import { el, icon } from "./dom.js";

const STATUS_LABELS = {
  CONFIRMED: { tone: "good", icon: "good", text: "confirmed" },
  FAILED: { tone: "bad", icon: "bad", text: "failed" },
  PENDING: { tone: "progress", icon: "progress", text: "in progress" },
  PENDING_INVENTORY: { tone: "waiting", icon: "waiting", text: "waiting for inventory" },
  PENDING_PAYMENT: { tone: "waiting", icon: "waiting", text: "waiting for payment" },
};

const statusLabel = (status) => STATUS_LABELS[status]
  ?? { tone: "progress", icon: "unknown", text: String(status).toLowerCase() };

export const toneOf = (status) => statusLabel(status).tone;
export const isWaiting = (status) => status === "PENDING_INVENTORY" || status === "PENDING_PAYMENT";
export const isFinal = (status) => status === "CONFIRMED" || status === "FAILED";

export function statusNode(status) {
  const { tone, icon: name, text } = statusLabel(status);
  return el("span", { class: `status-label ${tone}` }, icon(name), text);
}

const REASONS = {
  placed: "The order is stored.",
  "inventory-unavailable": "The call to inventory failed, timed out, or was rejected by the "
    + "circuit breaker. Recovery retries the order.",
  "payment-unavailable": "The call to payment failed, timed out, or was rejected by the "
    + "circuit breaker. Recovery retries the order; payment charges it at most once.",
  "stock-returned": "The stock reservation is released.",
  "payment-voided": "The payment is refunded, or voided so that a late charge is rejected.",
  confirmed: "The stock is reserved and the payment has succeeded.",
  "insufficient-stock": "There is not enough stock.",
  "unknown-product": "The product does not exist.",
  "payment-declined": "The payment was declined.",
  expired: "The order was not finished within the recovery bound.",
};
export const describeReason = (reason) => REASONS[reason] ?? reason;

const SHORT_FAILURE_REASONS = {
  "insufficient-stock": "not enough stock",
  "unknown-product": "unknown product",
  "payment-declined": "payment declined",
  expired: "not finished in time",
};

/** The details column of the order list. The status column already says what an order waits for. */
export function describeDetails({ status, attempt, failure_reason: failure }) {
  if (status === "FAILED") return SHORT_FAILURE_REASONS[failure] ?? failure ?? "";
  // Only the live stream carries the attempt.
  if (!(attempt > 1)) return "";
  return status === "CONFIRMED" ? `recovered on attempt ${attempt}` : `attempt ${attempt}`;
}

/** Stands for the code where no response says whether the order was stored. */
export const UNKNOWN_OUTCOME = "unknown";

const RESPONSE_LABELS = {
  201: { tone: "good", icon: "good", text: "confirmed" },
  202: { tone: "waiting", icon: "waiting", text: "accepted, in progress" },
  400: { tone: "bad", icon: "bad", text: "invalid" },
  402: { tone: "bad", icon: "bad", text: "payment declined" },
  409: { tone: "bad", icon: "bad", text: "not enough stock" },
  422: { tone: "bad", icon: "bad", text: "unknown product" },
  503: { tone: "neutral", icon: "warning", text: "not accepted" },
  [UNKNOWN_OUTCOME]: { tone: "neutral", icon: "warning", text: "unknown outcome" },
};
export const responseLabel = (code) => RESPONSE_LABELS[code]
  ?? { tone: "neutral", icon: "warning", text: "error" };

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
