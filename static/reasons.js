// The page's words for what happens to an order: the reasons of its events, the calls of its
// attempts, and its obligations. A test compares the names with those of the program. A name that
// this page does not know is shown as it is.
import { formatDuration } from "./format.js";

const REASONS = {
  placed: "The order is stored.",
  "inventory-timed-out": "Inventory did not respond in time. It may have reserved the stock, or "
    + "may still do so. Recovery tries again.",
  "inventory-connection-lost": "The connection to inventory was lost before it responded. It may "
    + "have reserved the stock. Recovery tries again.",
  "inventory-connection-refused": "Inventory could not be reached. Recovery tries again.",
  "inventory-not-called": "Inventory was not called: its circuit breaker was open, or too many "
    + "calls were in progress. Recovery tries again.",
  "inventory-rejected": "Inventory rejected the reservation. Recovery tries again.",
  "inventory-failed": "Inventory responded with an error. Recovery tries again.",
  "payment-timed-out": "Payment did not respond in time. It may have charged the order, or may "
    + "still do so. Recovery tries again; payment charges an order at most once.",
  "payment-connection-lost": "The connection to payment was lost before it responded. It may have "
    + "charged the order. Recovery tries again; payment charges an order at most once.",
  "payment-connection-refused": "Payment could not be reached. Recovery tries again.",
  "payment-not-called": "Payment was not called: its circuit breaker was open, or too many calls "
    + "were in progress. Recovery tries again.",
  "payment-rejected": "Payment rejected the charge. Recovery tries again.",
  "payment-failed": "Payment responded with an error. Recovery tries again; payment charges an "
    + "order at most once.",
  confirmed: "The stock is reserved and the payment has succeeded.",
  "insufficient-stock": "There is not enough stock.",
  "unknown-product": "The product does not exist.",
  "payment-declined": "The payment was declined.",
  expired: "The order was not finished within the recovery bound.",
  cancelled: "An operator cancelled the order. Its stock and its money are given back.",
  "stock-returned": "Inventory returned the reserved stock.",
  "no-stock-held": "Inventory holds no stock for the order, so there was none to return. A "
    + "reservation that arrives late is rejected.",
  "payment-refunded": "The charge is refunded.",
  "charge-forbidden": "There was no charge to refund. A charge that arrives late is rejected.",
  "nothing-charged": "The charge had been declined, so there was nothing to refund.",
  "fulfilment-requested": "An operator asked for the goods to leave. From now on the order cannot "
    + "be cancelled.",
  fulfilled: "The goods have left.",
};
export const describeReason = (reason) => REASONS[reason] ?? reason;

const FAILURE_REASONS = {
  "insufficient-stock": "not enough stock",
  "unknown-product": "unknown product",
  "payment-declined": "payment declined",
  expired: "not finished in time",
  cancelled: "by an operator",
};
export const describeFailure = (reason) => FAILURE_REASONS[reason] ?? reason ?? "";

/** Reasons of changes that an operator made. */
export const isByOperator = (reason) =>
  reason === "cancelled" || reason === "fulfilment-requested";

const STEPS = {
  reserve: "reservation",
  charge: "charge",
  "query-payment": "payment query",
  release: "release",
  refund: "refund",
  ship: "shipment",
};
const CALL_RESULTS = {
  ok: "ok",
  rejected: "was rejected",
  "timed-out": "timed out",
  "connection-lost": "lost its connection",
  refused: "got no connection",
  "not-called": "was not called: circuit breaker open, or too many calls in progress",
  failed: "failed",
};
/** The tone of a call's result: a rejection is an answer, not a fault. */
export const callTone = (outcome) =>
  ({ ok: "good", rejected: "neutral" })[outcome] ?? "waiting";
export const stepName = (step) => STEPS[step] ?? step;

/** The result of a call: `timed out after 2.00 s`, `was rejected (stock-mismatch) after 4.1 ms`. */
export function describeResult({ outcome, detail, duration_ms: duration }) {
  const result = CALL_RESULTS[outcome] ?? outcome;
  const reason = detail ? ` (${detail})` : "";
  const time = outcome === "not-called" ? "" : ` after ${formatDuration(duration)}`;
  return `${result}${reason}${time}`;
}

/** A call: `release timed out after 2.00 s`. */
export const describeCall = (call) => `${stepName(call.step)} ${describeResult(call)}`;

const OBLIGATIONS = {
  release: "a release of stock",
  refund: "a refund",
  shipment: "a shipment",
};
/** Joins obligations: `a release of stock and a refund`. */
export const describeObligations = (owes) =>
  owes.map((obligation) => OBLIGATIONS[obligation] ?? obligation).join(" and ");
