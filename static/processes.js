// The processes of the services, in a demo: whether each one runs, when it was restarted, a button
// that kills it, and the audit's numbers of lost orders and double charges.
import { call, gremlinCall, isOutcomeUnknown, NoResponse } from "./api.js";
import { $, el, icon, reconcile, setText } from "./dom.js";
import { formatCount, formatNumber, formatSeconds, formatTime } from "./format.js";

/** Shorter than the 3 s after which the demo by default restarts a killed service. */
const POLL_INTERVAL_MS = 2000;
/** For this long after a restart, it is shown at the service. */
const RESTART_SHOWN_MS = 20_000;
const NAMES = ["order", "inventory", "payment"];
/** A violation of the first means a lost order; of the second, an order that was charged twice. */
const GUARANTEES = [["event-has-order", "lost"], ["one-payment-per-order", "charged twice"]];
const STATE_ICONS = { running: "good", ended: "bad", restarted: "good", unknown: "unknown" };

/** By service: `order-service` and so on. Times are those of `performance.now()`. */
let processes = {};
let isDemo = false;
/** The order service does not answer. Only it can request the state of the processes. */
let isSilent = false;
let loadCount = 0;
let hadNotes = false;
let onChange = () => {};
let onKill = () => {};

/**
 * `onChange` gets the notes of the services whenever they change, and whether a process has ended
 * or started. `onKill` is called after a kill.
 */
export function startProcesses(listeners) {
  ({ onChange, onKill } = listeners);
  $("processes").setAttribute("aria-labelledby", "processes-title");
  $("processes").append(
    el("h2", { id: "processes-title" }, "Processes",
      el("span", { id: "processes-state", class: "badge", role: "status" })),
    el("p", {
      class: "muted",
      text: "Kill a service, and the demo starts it again. Orders that need it wait until then.",
    }),
    el("ul", { id: "process-list", ariaLabel: "Processes of the services" }),
    el("p", { id: "process-message", class: "action-message", role: "status" }),
    el("p", { id: "guarantees", data: { tone: "neutral" } },
      el("b", { text: "lost and charged twice: unknown" }), el("small")));
  setInterval(show, 1000);
  setInterval(() => document.hidden || isAnyChanging() || refreshProcesses(), POLL_INTERVAL_MS);
}

/** Only a demo has processes to show. */
export function showDemoProcesses() {
  isDemo = true;
  processes = {};
  $("processes").hidden = false;
  return refreshProcesses();
}

/** Without a demo, or while its order service does not answer, this changes no process. */
export async function refreshProcesses() {
  if (!isDemo) return;
  const ownCount = ++loadCount;
  const result = await call("GET", "/demo").catch((error) => error);
  if (ownCount !== loadCount) return;
  isSilent = result instanceof NoResponse;
  if (result.value) takeProcesses(result.value.services);
  show();
}

function takeProcesses(services) {
  const now = performance.now();
  const previous = processes;
  processes = Object.fromEntries(services.map((process) => [
    `${process.service}-service`,
    {
      ...process,
      startedAt: now - process.started_ms_ago,
      restartsAt: process.restart_in_ms === null ? null : now + process.restart_in_ms,
    },
  ]));
  const isNew = ([service, { pid, state }]) =>
    previous[service] && (previous[service].pid !== pid || previous[service].state !== state);
  const isChanged = Object.entries(processes).some(isNew);
  // The message about a kill is outdated once all processes run again.
  if (isChanged && services.every(({ state }) => state === "running")) setMessage("", "neutral");
  publish(isChanged);
}

/** Takes the start of a process from its metrics, for services that no demo runs. */
export function noteStart(service, startedSeconds) {
  if (isDemo || startedSeconds === null) return;
  const known = processes[service];
  // An earlier start is that of another replica, not a restart.
  if (known && startedSeconds <= known.startedSeconds) return;
  processes[service] = {
    startedSeconds,
    state: "running",
    restarts: known ? 1 : 0,
    startedAt: performance.now() - (Date.now() - startedSeconds * 1000),
  };
  if (known) publish(true);
}

const ageOf = ({ startedAt }) => Math.max(0, performance.now() - startedAt);
const hasRestarted = (process) =>
  process.state === "running" && process.restarts > 0 && ageOf(process) < RESTART_SHOWN_MS;

/** Whether a process has ended or was just restarted, so that its state is polled often. */
export const isAnyChanging = () => isDemo && (isSilent || Object.values(processes).some(
  (process) => process.state === "ended" || hasRestarted(process)));

function publish(isChanged) {
  const notes = notesOf();
  const hasNotes = Object.keys(notes).length > 0;
  // The seconds in a note change, and a note that is over must be removed.
  if (isChanged || hasNotes || hadNotes) onChange(notes, isChanged);
  hadNotes = hasNotes;
}

/** The notes on the services that have ended or were just restarted: a state, and lines. */
function notesOf() {
  return Object.fromEntries(Object.entries(processes)
    .map(([service, process]) => [service, noteOf(process)])
    .filter(([, note]) => note));
}

function noteOf(process) {
  if (process.state === "ended") return { state: "ended", lines: [restartText(process)] };
  if (!hasRestarted(process)) return null;
  const lines = [`restarted ${formatSeconds(ageOf(process))} ago`];
  if (process.pid) lines.push(`process ${process.pid}`);
  return { state: "restarted", lines };
}

function restartText({ restartsAt }) {
  const left = restartsAt === null ? 0 : restartsAt - performance.now();
  return left > 0 ? `starts again in ${formatSeconds(left + 999)}` : "starts again now";
}

function show() {
  publish(false);
  if (!isDemo) return;
  const rows = NAMES.map((name) => ({ name, ...describe(name) }));
  const dead = rows.filter(({ state }) => state === "ended").length;
  const isKnown = rows.every(({ state }) => state !== "unknown");
  $("processes").dataset.state = dead ? "dead" : "running";
  const deadText = dead ? `${dead} dead` : "all run";
  setText($("processes-state"), isKnown ? deadText : "unknown");
  reconcile($("process-list"), rows, ({ name }) => name, createRow, updateRow);
}

function describe(name) {
  const process = processes[`${name}-service`];
  if (isSilent) {
    const text = name === "order" ? "does not answer" : "unknown";
    return { state: name === "order" ? "ended" : "unknown", text, detail: "" };
  }
  if (!process) return { state: "unknown", text: "unknown", detail: "" };
  const { pid, restarts, state } = process;
  if (state === "ended") {
    return { state, text: "dead,", detail: `${restartText(process)}; was process ${pid}` };
  }
  const age = formatSeconds(ageOf(process));
  const counted = restarts ? `, ${formatCount(restarts, "restart")}` : "";
  return hasRestarted(process)
    ? { state: "restarted", text: "restarted", detail: `${age} ago, process ${pid}${counted}` }
    : { state: "running", text: "running", detail: `for ${age}, process ${pid}${counted}` };
}

function createRow({ name }) {
  return el("li", { data: { process: name } },
    el("span", { class: "state-icon" }),
    el("b", { text: name }),
    el("button", {
      type: "button",
      class: "danger",
      ariaLabel: `Kill ${name}`,
      on: { click: () => kill(name) },
    }, el("span", { class: "kill-word", text: "Kill " }), name),
    el("p", { class: "process-detail muted" },
      el("span", { class: "process-state" }), " ", el("span")));
}

function updateRow(row, { state, text, detail }) {
  const [stateIcon, , button, description] = row.children;
  if (row.dataset.state !== state) {
    row.dataset.state = state;
    stateIcon.replaceChildren(icon(STATE_ICONS[state]));
  }
  setText(description.firstChild, text);
  setText(description.lastChild, detail);
  // Not `disabled`: a button that had the focus would lose it.
  button.setAttribute("aria-disabled", String(state === "ended" || state === "unknown"));
}

async function kill(name) {
  if (!["running", "restarted"].includes(describe(name).state)) {
    return setMessage(`${name} does not run at the moment.`, "neutral");
  }
  setMessage(`Killing ${name} …`, "progress");
  try {
    await gremlinCall("POST", `/demo/services/${name}/kill`);
    setMessage(`${name} was killed.`, "bad");
  } catch (error) {
    // The order service cannot answer the request that kills it.
    if (name === "order" && isOutcomeUnknown(error)) setMessage("order was killed.", "bad");
    else setMessage(error.message, "waiting");
  }
  await refreshProcesses();
  onKill();
}

function setMessage(text, tone) {
  $("process-message").dataset.tone = tone;
  setText($("process-message"), text);
}

/** Takes the result of the audit; null if it could not be made. */
export function showGuarantees(audit) {
  const [text, detail] = $("guarantees").children;
  const counts = GUARANTEES.map(([invariant, meaning]) => ({
    meaning,
    violations: audit?.invariants.find(({ name }) => name === invariant)?.violations,
  }));
  const isKnown = counts.every(({ violations }) => violations !== undefined);
  const isViolated = counts.some(({ violations }) => violations > 0);
  $("guarantees").dataset.tone = isKnown ? (isViolated ? "bad" : "good") : "neutral";
  setText(text, isKnown
    ? counts.map(({ meaning, violations }) => `${formatNumber(violations)} ${meaning}`).join(", ")
    : "lost and charged twice: unknown");
  setText(detail, isKnown
    ? `of ${formatCount(audit.orders.total, "order")}, by the audit of ${formatTime(audit.at)}`
    : "The audit could not be made.");
}
