// The calls of an order on a common time axis: the start, duration and outcome of each call, and
// the waits between the attempts.
import { el } from "./dom.js";
import { formatDuration, formatNumber, formatTime } from "./format.js";
import { isFinal } from "./labels.js";
import { callTone } from "./reasons.js";

/** Of more attempts, only the first and the last are drawn. */
const MAX_FIRST_ATTEMPTS = 3;
const MAX_LAST_ATTEMPTS = 5;
/** In percent of the axis, so that a short call can be seen beside a long wait. */
const MIN_BAR_WIDTH = 1;
const SERVICES = {
  reserve: "inventory",
  release: "inventory",
  ship: "inventory",
  charge: "payment",
  "query-payment": "payment",
  refund: "payment",
};
/** Shorter names of steps, because the name of the service stands beside them. */
const SHORT_STEPS = { "query-payment": "query" };
const RESULTS = {
  rejected: "rejected",
  "timed-out": "timed out",
  "connection-lost": "connection lost",
  refused: "no connection",
  "not-called": "not called",
};

/** Fills the list with the calls of a loaded order. */
export function fillWaterfall(list, order) {
  const start = Date.parse(order.created_at);
  const attempts = attemptsOf(order.events);
  const rows = attempts.flatMap((attempt, i) => [
    ...(i > 0 ? [waitBetween(attempts[i - 1], attempt)] : []),
    ...attempt.calls,
  ]).filter(Boolean);
  if (!order.settled && rows.length) rows.push(waitUntilNow(attempts.at(-1)));
  list.hidden = rows.length === 0;
  const end = Math.max(start + 1, ...rows.map((row) => row.end));
  const span = end - start;
  list.replaceChildren(
    el("li", { class: "waterfall-axis", ariaHidden: "true" },
      el("span", { text: "0" }),
      el("span", { text: formatDuration(span / 2) }),
      el("span", { text: formatDuration(span) })),
    ...drawn(rows, attempts).map((row) => createRow(row, start, span)));
}

/** The calls by attempt, oldest first. An attempt can make several changes. */
function attemptsOf(events) {
  const attempts = [];
  for (const { attempt, status, steps } of events) {
    const calls = steps.map((step) => toCall(step, attempt));
    const last = attempts.at(-1);
    if (last?.attempt === attempt) {
      last.calls.push(...calls);
      last.isFinal = isFinal(status);
    } else if (calls.length) {
      attempts.push({ attempt, calls, isFinal: isFinal(status) });
    }
  }
  return attempts.filter(({ calls }) => calls.length);
}

function toCall(call, attempt) {
  const start = Date.parse(call.started_at);
  return { kind: "call", attempt, call, start, end: start + call.duration_ms };
}

const endOf = ({ calls }) => Math.max(...calls.map(({ end }) => end));

function waitBetween(before, after) {
  const start = endOf(before);
  const end = after.calls[0].start;
  if (end <= start) return null;
  const { attempt } = after;
  const name = `${before.isFinal ? "until" : "wait for"} attempt ${attempt}`;
  return { kind: "wait", attempt, start, end, name };
}

function waitUntilNow(last) {
  const start = endOf(last);
  const end = Math.max(start, Date.now());
  return { kind: "wait", attempt: last.attempt, start, end, name: "wait until now" };
}

/** Leaves out the attempts in the middle if there are many. */
function drawn(rows, attempts) {
  const hidden = attempts.slice(MAX_FIRST_ATTEMPTS, -MAX_LAST_ATTEMPTS);
  if (hidden.length === 0) return rows;
  const [first, last] = [hidden[0].attempt, hidden.at(-1).attempt];
  const isHidden = ({ attempt }) => attempt >= first && attempt <= last;
  const at = rows.findIndex(isHidden);
  const kept = rows.filter((row) => !isHidden(row));
  kept.splice(at, 0, { kind: "hidden", n: hidden.length });
  return kept;
}

function createRow(row, start, span) {
  if (row.kind === "hidden") {
    const text = `${formatNumber(row.n)} more attempts are not drawn`;
    return el("li", { class: "waterfall-hidden", data: { kind: "hidden" }, text });
  }
  const { call, attempt } = row;
  const bar = el("span", { class: "waterfall-bar" });
  const left = Math.max(0, Math.min(100 - MIN_BAR_WIDTH, ((row.start - start) / span) * 100));
  const width = Math.max(MIN_BAR_WIDTH, ((row.end - row.start) / span) * 100);
  bar.style.left = `${left}%`;
  bar.style.width = `${Math.min(width, 100 - left)}%`;
  return el("li", {
    class: call ? callTone(call.outcome) : "neutral",
    title: `From ${formatTime(row.start)}, +${formatDuration(Math.max(0, row.start - start))}`,
    data: { kind: row.kind, attempt, step: call?.step ?? "", outcome: call?.outcome ?? "" },
  },
    nameOf(row),
    el("span", { class: "waterfall-track", ariaHidden: "true" }, bar),
    el("span", { class: "waterfall-result", text: resultOf(row) }));
}

function nameOf({ call, name }) {
  if (!call) return el("span", { class: "muted", text: name });
  const { step } = call;
  return el("span", {}, el("b", { text: SHORT_STEPS[step] ?? step }), ` ${SERVICES[step] ?? ""}`);
}

function resultOf({ call, start, end }) {
  if (!call) return formatDuration(end - start);
  const { outcome, detail, duration_ms: duration } = call;
  const result = RESULTS[outcome] ?? outcome;
  const answer = detail ? `${result} (${detail})` : result;
  return outcome === "not-called" ? answer : `${answer}, ${formatDuration(duration)}`;
}
