// The health of the services and their dependencies, and notices that say what a failure means for
// orders.
import { get, NoResponse, pathOf, Problem, SERVICES } from "./api.js";
import { $, el, icon, reconcile, setText } from "./dom.js";
import { formatCount, formatTime } from "./format.js";

const GOOD_STATES = ["healthy", "connected", "reachable"];
const STATE_ICONS = { degraded: "warning", unknown: "unknown" };
const STATE_TONES = { degraded: "waiting", unknown: "neutral" };
const ORDER_SERVICE = SERVICES[0];

let offlineSince = null;
let refreshCount = 0;
/** The latest health of each service, without the notes on the processes. */
let answers = {};
let isOffline = false;
/** By service: the note on a process that has ended or was just restarted. */
let notes = {};

/** Returns the state of each service, and whether the order service itself does not respond. */
export async function refreshHealth() {
  const ownCount = ++refreshCount;
  const results = await Promise.allSettled(
    SERVICES.map((service) => get(pathOf(service, "health"))));
  const { status, reason } = results[0];
  // A later request has newer answers, although it may have been answered first.
  if (ownCount === refreshCount) {
    isOffline = status === "rejected" && (reason instanceof NoResponse || reason.status >= 500);
    // Without the order service, the other services cannot be reached from here.
    answers = Object.fromEntries(SERVICES.map((service, i) =>
      [service, isOffline && i > 0 ? UNKNOWN_HEALTH : toHealth(results[i])]));
  }
  return { health: show(), isOffline };
}

/** Takes the notes on the processes, and returns the state of each service. */
export function showProcessNotes(newNotes) {
  notes = newNotes;
  return show();
}

/** A service whose process has ended is down, whatever it answered before. */
function show() {
  const health = Object.fromEntries(Object.entries(answers).map(([service, answer]) =>
    [service, notes[service]?.state === "ended" && !isOffline ? DEAD : answer]));
  showServices(health);
  if (answers[ORDER_SERVICE]) showNotices(health);
  return health;
}

const DEAD = { state: "down", text: "dead", dependencies: {} };
const UNKNOWN_HEALTH = { state: "unknown", text: "unknown", dependencies: {} };

function toHealth({ value, reason }) {
  if (value) return { state: value.status, text: value.status, dependencies: value.dependencies };
  // 504: the order service did not get a response from the service in time.
  const isTimeout = reason instanceof Problem && reason.status === 504;
  return { state: "down", text: isTimeout ? "no response" : "down", dependencies: {} };
}

function showServices(health) {
  reconcile($("health"), Object.entries(health), ([service]) => service,
    createService, updateService);
}

function createService([service]) {
  return el("li", { data: { service } },
    el("span", { class: "state-icon" }),
    el("p", { class: "service-name" }, el("b", { text: service }), el("span")),
    el("span", { class: "process-note" }),
    el("ul", { ariaLabel: `Dependencies of ${service}` }));
}

function updateService(node, [service, { state, text, dependencies }]) {
  const [stateIcon, name, note, list] = node.children;
  const { state: process = "running", lines = [] } = (!isOffline && notes[service]) || {};
  node.dataset.process = process;
  setText(note, lines.join(", "));
  showState(node, stateIcon, state);
  setText(name.lastChild, text);
  reconcile(list, Object.entries(dependencies), ([dependency]) => dependency,
    ([dependency]) => createDependency(service, dependency),
    (item, [, dependencyState]) => {
      showState(item, item.firstChild, dependencyState);
      setText(item.lastChild, `: ${dependencyState}`);
    });
}

function createDependency(service, dependency) {
  return el("li", { data: { dependency, reportedBy: service } },
    el("span", { class: "state-icon" }),
    el("span", { text: dependency.replace("-service", "") }),
    el("span", { class: "visually-hidden" }));
}

function showState(node, stateIcon, state) {
  if (node.dataset.state === state) return;
  const fallback = GOOD_STATES.includes(state) ? "good" : "bad";
  node.dataset.state = state;
  node.dataset.tone = STATE_TONES[state] ?? fallback;
  stateIcon.replaceChildren(icon(STATE_ICONS[state] ?? fallback));
}

function showNotices(health) {
  offlineSince = isOffline ? offlineSince ?? Date.now() : null;
  document.body.dataset.offline = String(isOffline);
  reconcile($("notices"), noticesOf(health), ([, text]) => text,
    ([tone, text]) =>
      el("p", { class: `notice ${tone}` }, icon(tone === "bad" ? "bad" : "warning"), text),
    () => {});
}

/** Pairs of a tone and a text. */
function noticesOf(health) {
  const isDisconnected = (service) => health[service].dependencies.database === "disconnected";
  if (isOffline) {
    const since = formatTime(offlineSince);
    return [["bad", `${ORDER_SERVICE} has not responded since ${since}. `
      + "This page continues by itself when the service responds again."]];
  }
  const notices = [];
  const acceptsOrders = !isDisconnected(ORDER_SERVICE);
  if (!acceptsOrders) {
    notices.push(["bad", `${ORDER_SERVICE} cannot reach its database and accepts no new orders. `
      + "Accepted orders are not lost."]);
  }
  const consequence =
    acceptsOrders ? " Orders are still accepted. They are finished once it works again." : "";
  for (const service of SERVICES.slice(1)) {
    const { state, text } = health[service];
    if (state === "down") {
      const problem = text === "no response" ? "does not respond" : `is ${text}`;
      notices.push(["waiting", `${service} ${problem}.${consequence}`]);
    } else if (isDisconnected(service)) {
      notices.push(["waiting", `${service} cannot reach its database.${consequence}`]);
    }
  }
  return notices;
}

/**
 * Shows how many orders have owed something for longer than the recovery bound, by what they owe.
 * Null means unknown: the notice stays as it is.
 */
export function showStuck(ordersByObligation) {
  if (ordersByObligation === null) return;
  const owed = Object.entries(ordersByObligation)
    .filter(([, orders]) => orders > 0)
    .map(([obligation, orders]) => formatCount(orders, obligation));
  const notice = $("stuck-orders");
  notice.hidden = owed.length === 0;
  if (notice.hidden) return;
  setText(notice.lastChild, `Owed for longer than the recovery bound: ${owed.join(", ")}. `
    + "Recovery keeps retrying; other orders are not affected.");
}
