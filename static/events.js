// The events of an order in its timeline, with the calls of each attempt.
import { el } from "./dom.js";
import { formatDuration, formatNumber, formatTime } from "./format.js";
import { statusLabel, statusNode, traceNode } from "./labels.js";
import { callTone, describeReason, describeResult, isByOperator, stepName } from "./reasons.js";

/** From this many equal events in a row, they are shown as one with a count. */
const MIN_GROUP_SIZE = 3;

/**
 * Groups equal events in a row. While a dependency is down, each attempt of recovery adds the same
 * event.
 */
export function groupEvents(events) {
  const groups = [];
  for (const event of events) {
    const first = groups.at(-1)?.[0];
    const isRepeated = first && first.reason === event.reason && first.status === event.status;
    if (isRepeated) groups.at(-1).push(event);
    else groups.push([event]);
  }
  return groups.flatMap((group) =>
    (group.length < MIN_GROUP_SIZE ? group.map((event) => [event]) : [group]));
}

export const eventKey = ([{ at, reason, attempt }]) => `${at} ${reason} ${attempt}`;

/** The number of events that each node shows. An event itself never changes. */
const shownSizes = new WeakMap();

export function fillEvent(node, group, order, placedAt) {
  if (shownSizes.get(node) === group.length) return;
  shownSizes.set(node, group.length);
  const [first, last] = [group[0], group.at(-1)];
  const { status, reason, at } = first;
  const labelled = { status, reason, failure_reason: order.failure_reason };
  const offset = formatDuration(Math.max(0, Date.parse(at) - Date.parse(placedAt)));
  const isGroup = group.length > 1;
  Object.assign(node.dataset, { reason, status });
  node.className = statusLabel(labelled).tone;
  const isOpen = Boolean(node.querySelector("details")?.open);
  node.replaceChildren(
    el("p", { class: "event-head" },
      statusNode(labelled),
      el("span", { class: "event-offset", text: `+${offset}`, title: formatTime(at) }),
      isGroup
        ? el("b", { class: "repeat-count", text: `× ${formatNumber(group.length)}` })
        : null),
    el("p", { text: describeReason(reason) }),
    isGroup ? foldedCalls(group, isOpen) : callList(first.steps),
    el("p", { class: "event-foot" },
      describeAttempts(first, last, order.events),
      traceNode(last.trace_id)));
}

/** The calls that an attempt made before the event. */
function callList(steps = []) {
  if (steps.length === 0) return "";
  return el("ul", { class: "calls", ariaLabel: "Calls" }, ...steps.map((call) =>
    el("li", {
      class: callTone(call.outcome),
      title: `Started at ${formatTime(call.started_at)}`,
      data: { step: call.step, outcome: call.outcome },
    },
      el("b", { text: stepName(call.step) }),
      ` ${describeResult(call)}`)));
}

function foldedCalls(group, open) {
  return el("details", { open },
    el("summary", { text: "What each attempt did" }),
    ...group.map(({ at, attempt, steps }) =>
      el("div", { class: "folded-calls" },
        el("p", { text: `Attempt ${attempt}, ${formatTime(at)}` }),
        callList(steps))));
}

/**
 * The first attempt is made while the customer waits for the response. The later ones are made by
 * recovery, or by an operator who cancels, fulfils or retries the order.
 */
function describeAttempts({ attempt: first }, { attempt: last }, events) {
  if (last !== first) return `Attempts ${first} to ${last}${first > 1 ? " (recovery)" : ""}`;
  if (first === 1) return "Attempt 1 (the customer’s request)";
  const isOperators = events.some(({ attempt, reason }) =>
    attempt === first && isByOperator(reason));
  return isOperators ? `Attempt ${first} (operator)` : `Attempt ${first} (recovery or retry)`;
}
