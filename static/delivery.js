// The form beside each product that delivers stock.
import { describeRefusal, isOutcomeUnknown, operatorPost, uniqueKey } from "./api.js";
import { el, setText } from "./dom.js";
import { formatCount } from "./format.js";

const DEFAULT_QUANTITY = 100;
const MAX_QUANTITY = 2_000_000_000;
const MAX_RETRIES = 3;
const RETRY_INTERVAL_MS = 1000;

/**
 * Deliveries whose outcome is unknown, by product. The next press for the same quantity repeats the
 * delivery, so that it is made once.
 */
const unanswered = new Map();

/** `onDelivery` is called after a delivery. */
export function deliveryForm(product, onDelivery) {
  const quantity = el("input", {
    type: "number",
    name: "quantity",
    min: "1",
    max: String(MAX_QUANTITY),
    value: String(DEFAULT_QUANTITY),
    required: true,
    ariaLabel: `Units of ${product} to deliver`,
  });
  const message = el("p", { class: "action-message", role: "status" });
  let isRunning = false;
  const submit = async (event) => {
    event.preventDefault();
    if (isRunning) return;
    isRunning = true;
    showMessage(message, "Delivering …");
    await deliver(product, Number(quantity.value), message);
    isRunning = false;
    await onDelivery();
  };
  return el("form", { class: "delivery", on: { submit } },
    quantity,
    el("button", { ariaLabel: `Deliver ${product}`, text: "Deliver" }),
    message);
}

async function deliver(product, quantity, message) {
  const known = unanswered.get(product);
  const id = known?.quantity === quantity ? known.id : `dashboard-${uniqueKey()}`;
  try {
    await send(product, { quantity, delivery_id: id });
    unanswered.delete(product);
    showMessage(message, `Delivered ${formatCount(quantity, "unit")}.`, "good");
  } catch (error) {
    if (!isOutcomeUnknown(error)) {
      unanswered.delete(product);
      return showMessage(message, describeRefusal(error), "bad");
    }
    unanswered.set(product, { id, quantity });
    showMessage(message, `${describeRefusal(error)} It is not known whether the units were `
      + "delivered. Deliver the same quantity again to find out: they are delivered once.",
    "waiting");
  }
}

/** While the outcome is unknown, repeats the delivery with the same id. */
async function send(product, body) {
  const path = `/services/inventory-service/inventory/${encodeURIComponent(product)}/deliveries`;
  for (let retry = 1; ; retry++) {
    try {
      return await operatorPost(path, body);
    } catch (error) {
      if (!isOutcomeUnknown(error) || retry > MAX_RETRIES) throw error;
      await new Promise((resolve) => setTimeout(resolve, RETRY_INTERVAL_MS));
    }
  }
}

function showMessage(node, text, tone = "progress") {
  node.dataset.tone = tone;
  setText(node, text);
}
