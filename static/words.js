// What the platform's stable names mean to people; a name that is new to this page is shown as it is.
import { el, icon } from "./dom.js";

const STATUS = {
  CONFIRMED: { tone: "good", icon: "good", word: "confirmed" },
  FAILED: { tone: "bad", icon: "bad", word: "failed" },
  PENDING: { tone: "run", icon: "run", word: "under way" },
  PENDING_INVENTORY: { tone: "wait", icon: "wait", word: "waiting for inventory" },
  PENDING_PAYMENT: { tone: "wait", icon: "wait", word: "waiting for payment" },
};

export const wordsOf = (status) => STATUS[status] ?? { tone: "run", icon: "unknown", word: String(status).toLowerCase() };
export const isWaiting = (status) => status === "PENDING_INVENTORY" || status === "PENDING_PAYMENT";
export const isFinal = (status) => status === "CONFIRMED" || status === "FAILED";

export function statusChip(status) {
  const { tone, icon: name, word } = wordsOf(status);
  return el("span", { class: `chip-status ${tone}` }, icon(name), word);
}

const REASON = {
  placed: "The order is in the books.",
  "inventory-unavailable": "Inventory did not answer in time, or was spared the question because it keeps failing. The order is kept and tried again.",
  "payment-unavailable": "Payment did not answer in time, or was spared the question because it keeps failing. The order is kept, and payment asked again: it charges once.",
  "stock-returned": "The stock held for it is given back.",
  "payment-voided": "A charge is undone, or forbidden for good.",
  confirmed: "Stock is held, the payment went through.",
  "insufficient-stock": "There is not enough stock.",
  "unknown-product": "There is no such product.",
  "payment-declined": "The payment was declined.",
  expired: "It could not be finished within the recovery bound.",
};
export const reasonOf = (reason) => REASON[reason] ?? reason;

const SHORT = {
  "insufficient-stock": "not enough stock",
  "unknown-product": "no such product",
  "payment-declined": "payment declined",
  expired: "not finished in time",
};

/** A line for the list of orders; what is known depends on whether the change was seen live. */
export function whatHappened({ status, attempt, failure_reason: failure }) {
  if (status === "CONFIRMED") return attempt > 1 ? `recovered on attempt ${attempt}` : "";
  if (status === "FAILED") return SHORT[failure] ?? failure ?? "";
  // For whom it waits, the status says already.
  return attempt > 1 ? `attempt ${attempt}` : "";
}

const ANSWER = {
  201: { tone: "good", icon: "good", word: "confirmed" },
  202: { tone: "wait", icon: "wait", word: "taken, finished later" },
  400: { tone: "bad", icon: "bad", word: "not valid" },
  402: { tone: "bad", icon: "bad", word: "payment declined" },
  409: { tone: "bad", icon: "bad", word: "not enough stock" },
  422: { tone: "bad", icon: "bad", word: "no such product" },
  503: { tone: "down", icon: "warn", word: "not taken" },
  none: { tone: "down", icon: "warn", word: "no answer" },
};
export const answerWords = (code) => ANSWER[code] ?? { tone: "down", icon: "warn", word: "error" };

let traceUrl = null;
export const linkTraces = (pattern) => (traceUrl = pattern);

/** A link to the trace where there is a place for it, else the id to copy. */
export function traceNode(traceId) {
  if (!traceId) return el("span", { class: "quiet", text: "—" });
  const short = traceId.slice(0, 8);
  if (traceUrl) {
    const href = traceUrl.replace("{trace_id}", encodeURIComponent(traceId));
    return el("a", { class: "mono", href, target: "_blank", rel: "noopener", title: `Trace ${traceId}`, text: short });
  }
  return el("button", { class: "copy mono", type: "button", title: `Copy trace id ${traceId}`, text: short, data: { copy: traceId } });
}

/** One listener for all copy buttons, so that rows that come and go need none. */
export async function copyOnClick({ target }) {
  const button = target.closest("[data-copy]");
  if (!button) return;
  const before = button.textContent;
  try {
    await navigator.clipboard.writeText(button.dataset.copy);
    button.textContent = "copied";
    setTimeout(() => (button.textContent = before), 1200);
  } catch {
    // No clipboard outside secure contexts: the whole id can be marked and copied by hand.
    button.textContent = button.dataset.copy;
  }
}
