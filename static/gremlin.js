// The gremlin panel: injects faults with the latency switch, presets and custom rules, shows the
// active ones, and stops them.
import { askForToken, gremlinCall, gremlinGet, pathOf, SERVICES } from "./api.js";
import { $, el, icon, reconcile, setText } from "./dom.js";
import { formatCount, formatNumber } from "./format.js";
import { describeRule, FIELDS, isFromPreset, PRESETS, summarizeFaults } from "./gremlin-rules.js";

const LATENCY_SERVICE = "inventory-service";
const LATENCY_DELAY_MS = 3000;

const latencyPath = (service) => pathOf(service, "gremlin/latency");
const rulesPath = (service) => pathOf(service, "gremlin/rules");
const rulePath = (service, id) => `${rulesPath(service)}/${id}`;

/** The latency switch and the rules of each service; null for a service that did not respond. */
let gremlins = {};
let onFaultsChange = () => {};

export function startGremlin(onChange) {
  onFaultsChange = onChange;
  $("latency-toggle").addEventListener("click", () => runAction(toggleLatency));
  $("stop-all-faults").addEventListener("click", () => runAction(stopAllFaults));
  $("gremlin-unlock").addEventListener("click", async () => {
    if (await askForToken("gremlin")) refreshGremlin();
  });
  $("presets").append(...PRESETS.map(createPreset));
  buildRuleForm($("rule-form"));
  setInterval(() => [...$("rules").children].forEach(showRemaining), 1000);
}

function createPreset(preset) {
  return el("button", {
    class: "preset",
    type: "button",
    data: { preset: preset.key },
    ariaPressed: "false",
    on: { click: () => runAction(() => togglePreset(preset)) },
  },
    el("b", { text: preset.name }),
    el("small", { text: preset.effect }));
}

export async function refreshGremlin() {
  const results = await Promise.allSettled(SERVICES.map(loadGremlin));
  const previous = gremlins;
  gremlins = Object.fromEntries(SERVICES.map((service, i) => [service, results[i].value ?? null]));
  // The order service decides: another service may not respond because it is down.
  const refusal = results[0].reason?.status;
  $("gremlin-disabled").hidden = refusal !== 404;
  $("gremlin-controls").hidden = refusal === 404 || refusal === 401;
  $("gremlin-locked").hidden = refusal !== 401;
  announceCrashed(previous);
  show();
}

async function loadGremlin(service) {
  const [latency, { rules }] =
    await Promise.all([gremlinGet(latencyPath(service)), gremlinGet(rulesPath(service))]);
  return { latency, rules: rules.map((rule) => ({ ...rule, endsAt: endOf(rule) })) };
}

const endOf = ({ remaining_seconds: seconds }) =>
  (typeof seconds === "number" ? performance.now() + seconds * 1000 : null);

/** Rules are kept in memory, so a process that crashes loses them. */
function announceCrashed(previous) {
  for (const service of SERVICES) {
    const hadCrashRule = previous[service]?.rules.some((rule) => rule.kind === "crash");
    if (hadCrashRule && !gremlins[service]) {
      setText($("gremlin-message"), `${service} does not respond. It had a crash rule. `
        + "After a crash, its rules are gone.");
    }
  }
}

function show() {
  const isSlow = Boolean(gremlins[LATENCY_SERVICE]?.latency.enabled);
  $("latency-toggle").setAttribute("aria-pressed", String(isSlow));
  const rules = SERVICES.flatMap((service) =>
    (gremlins[service]?.rules ?? []).map((rule) => ({ ...rule, service })));
  for (const preset of PRESETS) {
    const isOn = rules.some((rule) => rule.active && isFromPreset(preset, rule, rule.service));
    $("presets").querySelector(`[data-preset="${preset.key}"]`)
      .setAttribute("aria-pressed", String(isOn));
  }
  reconcile($("rules"), rules, ({ service, id }) => `${service} ${id}`, createRule, updateRule);
  const delayed = SERVICES.filter((service) => gremlins[service]?.latency.enabled);
  const faultCount = rules.filter((rule) => rule.active).length + delayed.length;
  $("gremlin").dataset.state = faultCount ? "active" : "idle";
  setText($("gremlin-state"), faultCount ? `${formatCount(faultCount, "fault")} active` : "idle");
  onFaultsChange(Object.fromEntries(SERVICES.map((service) => {
    const gremlin = gremlins[service];
    return [service, gremlin && summarizeFaults(gremlin.latency, gremlin.rules)];
  })));
}

function createRule(rule) {
  const { id, service, kind } = rule;
  const preset = PRESETS.find((candidate) => isFromPreset(candidate, rule, service));
  const name = preset?.name ?? `${kind} in ${service}`;
  const removeButton = el("button", {
    class: "subtle-button",
    type: "button",
    ariaLabel: `Remove the rule ${name}`,
    text: "✕",
    on: { click: () => runAction(() => removeRule(service, id)) },
  });
  return el("li", { data: { rule: id, service } },
    el("div", { class: "rule-head" }, icon("gremlin"), el("b", { text: name }), removeButton),
    el("p", { class: "muted", text: `${service}: ${describeRule(rule)}` }),
    el("dl", {}, ...["matched", "fired", "remaining"].map((field) =>
      el("div", {}, el("dt", { text: field }), el("dd", { data: { field } })))));
}

function updateRule(node, rule) {
  const { active, remaining_fires: fires } = rule;
  node.dataset.active = String(active);
  node.endsAt = active ? rule.endsAt : null;
  const firesLeft = typeof fires === "number" ? formatCount(fires, "fire") : "no limit";
  node.untimedText = active ? firesLeft : "ended";
  setText(node.querySelector("[data-field=matched]"), formatNumber(rule.matched));
  setText(node.querySelector("[data-field=fired]"), formatNumber(rule.fired));
  showRemaining(node);
}

/** Shows the remaining time; for a rule without a time limit, the remaining fires. */
function showRemaining(node) {
  setText(node.querySelector("[data-field=remaining]"),
    node.endsAt ? remainingTime(node.endsAt) : node.untimedText);
}

function remainingTime(endsAt) {
  const seconds = Math.max(0, Math.ceil((endsAt - performance.now()) / 1000));
  return seconds === 0 ? "ended" : `${seconds} s`;
}

/** Runs an action of the user, shows its message or its error, and then the new state. */
async function runAction(action) {
  setText($("gremlin-message"), "");
  try {
    setText($("gremlin-message"), (await action()) ?? "");
  } catch (problem) {
    const fields = (problem.errors ?? []).map(({ field, detail }) => `${field} ${detail}`);
    setText($("gremlin-message"), fields.join("; ") || problem.message);
  }
  await refreshGremlin();
}

async function toggleLatency() {
  const enabled = $("latency-toggle").getAttribute("aria-pressed") !== "true";
  await setLatency(LATENCY_SERVICE, enabled);
}

const setLatency = (service, enabled) =>
  gremlinCall("POST", latencyPath(service), { enabled, delay_ms: LATENCY_DELAY_MS });

async function addRule(service, rule) {
  await gremlinCall("POST", rulesPath(service), rule);
}

async function removeRule(service, id) {
  await gremlinCall("DELETE", rulePath(service, id));
}

async function togglePreset(preset) {
  const { service } = preset;
  const active = (gremlins[service]?.rules ?? [])
    .filter((rule) => rule.active && isFromPreset(preset, rule, service));
  if (active.length === 0) await addRule(service, preset.rule);
  else await Promise.all(active.map(({ id }) => removeRule(service, id)));
}

/** Returns a message. */
async function stopAllFaults() {
  const results = await Promise.allSettled(SERVICES.map(async (service) => {
    await setLatency(service, false);
    await gremlinCall("DELETE", rulesPath(service));
  }));
  const failed = SERVICES.filter((_, i) => results[i].status === "rejected");
  return failed.length
    ? `Could not stop the faults of ${failed.join(" and ")}. Try again.`
    : "All faults are stopped.";
}

function buildRuleForm(form) {
  const fields = FIELDS.map((field) => ({ ...field, node: createField(field) }));
  // A disabled field is not part of the form's data.
  const showRelevantFields = () => {
    for (const { shownIf, node } of fields) {
      const isShown = !shownIf || form.elements[shownIf[0]].value === shownIf[1];
      node.hidden = !isShown;
      node.lastChild.disabled = !isShown;
    }
  };
  form.append(
    ...fields.map(({ node }) => node),
    el("button", { class: "full-width", text: "Inject fault" }));
  form.addEventListener("change", showRelevantFields);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const { service, ...rule } = ruleOf(form);
    runAction(() => addRule(service, rule));
  });
  showRelevantFields();
}

function createField({ name, label, options, selected, input }) {
  const control = options
    ? el("select", { name }, ...options.map((value) =>
      el("option", { value, text: value || "any", selected: value === selected })))
    : el("input", { name, autocomplete: "off", ...input });
  return el("label", {}, label, control);
}

/** The fields that are filled in. */
function ruleOf(form) {
  const isNumber = (name) =>
    FIELDS.find((field) => field.name === name).input?.type === "number";
  return Object.fromEntries([...new FormData(form)]
    .filter(([, value]) => value !== "")
    .map(([name, value]) => [name, isNumber(name) ? Number(value) : value]));
}
