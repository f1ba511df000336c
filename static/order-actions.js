// The buttons of the timeline that cancel, fulfil and retry the order, and their message.
import { describeRefusal, get, isOutcomeUnknown, operatorPost } from "./api.js";
import { $, setText } from "./dom.js";
import { isPending } from "./labels.js";
import { describeCall, describeObligations } from "./reasons.js";

const ACTIONS = {
  cancel: { progress: "Cancelling …", describe: describeCancelled },
  fulfil: { progress: "Fulfilling …", describe: describeFulfilled },
  retry: { progress: "Trying again …", describe: describeRetried },
};

let shownOrder = null;
let isRunning = false;
let onAction = () => {};

/** `reload` is called after each action, whatever its outcome. */
export function startOrderActions(reload) {
  onAction = reload;
  $("retry-order").addEventListener("click", () => runAction("retry"));
  $("fulfil-order").addEventListener("click", () => runAction("fulfil"));
  $("cancel-order").addEventListener("click", () => showQuestion(true));
  $("keep-order").addEventListener("click", () => showQuestion(false));
  $("confirm-cancel").addEventListener("click", () => {
    showQuestion(false);
    runAction("cancel");
  });
  // Escape first closes the question, and then the timeline.
  $("timeline").addEventListener("cancel", (event) => {
    if ($("cancel-question").hidden) return;
    event.preventDefault();
    showQuestion(false);
  });
}

/** Shows the actions that can work for the order; none for null. */
export function showOrderActions(order) {
  if (order?.id !== shownOrder?.id) {
    setMessage("");
    $("cancel-question").hidden = true;
  }
  shownOrder = order;
  const focused = document.activeElement;
  if (!canCancel(order)) $("cancel-question").hidden = true;
  $("order-actions").hidden = !$("cancel-question").hidden;
  $("cancel-order").hidden = !canCancel(order);
  $("fulfil-order").hidden = !canFulfil(order);
  $("retry-order").hidden = !order || order.settled;
  // A button that is gone must not take the focus with it.
  if (focused?.closest(".order-actions") && !isVisible(focused)) $("order-action-message").focus();
}

const isVisible = (node) => node.checkVisibility();
const isLeaving = ({ owes, fulfilled_at: fulfilledAt }) =>
  owes.includes("shipment") || Boolean(fulfilledAt);
const canCancel = (order) =>
  Boolean(order) && (isPending(order.status) || canFulfil(order));
const canFulfil = (order) => order?.status === "CONFIRMED" && !isLeaving(order);

/** The question takes the place of the buttons, and the focus. */
function showQuestion(isShown) {
  setMessage("");
  $("cancel-question").hidden = !isShown;
  $("order-actions").hidden = isShown;
  $(isShown ? "keep-order" : "cancel-order").focus();
}

async function runAction(name) {
  if (isRunning || !shownOrder) return;
  const { id } = shownOrder;
  const isShown = () => shownOrder?.id === id;
  isRunning = true;
  setMessage(ACTIONS[name].progress);
  try {
    const order = await actOnOrder(id, name);
    if (isShown()) setMessage(ACTIONS[name].describe(order), order.settled ? "good" : "waiting");
  } catch (error) {
    if (isShown()) setMessage(describeOrderRefusal(error), "bad");
  } finally {
    isRunning = false;
  }
  if (isShown()) await onAction();
}

/**
 * Cancels, fulfils or retries an order, and returns it as it is afterwards. The response to the
 * action may lack the call that has just failed.
 */
export async function actOnOrder(id, name) {
  const path = `/orders/${encodeURIComponent(id)}`;
  const order = await operatorPost(`${path}/${name}`);
  return order.settled ? order : get(path).catch(() => order);
}

/** Says why an action on an order was not carried out. Each of them can be repeated. */
export function describeOrderRefusal(error) {
  const text = describeRefusal(error);
  // The detail of `outcome-unknown` says it itself.
  if (!isOutcomeUnknown(error) || error.code === "outcome-unknown") return text;
  return `${text} It is not known whether the order was changed. Repeating is safe.`;
}

function setMessage(text, tone = "progress") {
  $("order-action-message").dataset.tone = tone;
  setText($("order-action-message"), text);
}

function describeCancelled({ settled, owes }) {
  return settled
    ? "The order is cancelled, and owes nothing any more."
    : `The order is cancelled. It still owes ${describeObligations(owes)}; recovery keeps trying.`;
}

function describeFulfilled({ fulfilled_at: fulfilledAt }) {
  return fulfilledAt
    ? "The order is fulfilled: its goods have left."
    : "The goods have not left yet; recovery keeps trying.";
}

/** Describes an order after a retry. */
export function describeRetried({ settled, last_failure: failure }) {
  if (settled) return "The order is settled.";
  return failure ? `Not settled: ${describeCall(failure)}.` : "Not settled yet.";
}
