// Breaking things on purpose: the latency switch, presets, rules, and an end to all of it.
import { askForToken, gremlinCall, gremlinGet } from "./api.js";
import { $, count, el, icon, many, reconcile, setText } from "./dom.js";
import { describeRule, FIELDS, isOf, PRESETS, SERVICES, shortFault } from "./rules.js";

const WAREHOUSE = "inventory-service";
const DELAY_MS = 3000;

const pathOf = (service, rest) => `${service === "order-service" ? "" : `/services/${service}`}/gremlin/${rest}`;

/** By service: the latency switch and the rules, or nothing when it could not be asked. */
let known = {};
let onChange = () => {};

export function startGremlin(changed) {
  onChange = changed;
  $("latency-toggle").addEventListener("click", () => act(switchLatency));
  $("stop-everything").addEventListener("click", () => act(stopEverything));
  $("gremlin-unlock").addEventListener("click", async () => (await askForToken()) && refreshGremlin());
  $("presets").append(...PRESETS.map((preset) => el("button", { class: "preset", type: "button", data: { preset: preset.key }, ariaPressed: "false", on: { click: () => act(() => togglePreset(preset)) } },
    el("b", { text: preset.name }), el("small", { text: preset.what }))));
  buildForm($("rule"));
  setInterval(showTimeLeft, 1000);
}

export async function refreshGremlin() {
  const answers = await Promise.allSettled(SERVICES.map(async (service) => {
    const [latency, { rules }] = await Promise.all([gremlinGet(pathOf(service, "latency")), gremlinGet(pathOf(service, "rules"))]);
    return { latency, rules: rules.map((rule) => ({ ...rule, endsAt: endOf(rule) })) };
  }));
  const refusals = answers.map(({ reason }) => reason?.status);
  const before = known;
  known = Object.fromEntries(SERVICES.map((service, i) => [service, answers[i].value ?? null]));
  // Its own answer decides: another service's may be missing because it is down.
  $("gremlin-off").hidden = refusals[0] !== 404;
  $("gremlin-controls").hidden = refusals[0] === 404 || refusals[0] === 401;
  $("gremlin-locked").hidden = refusals[0] !== 401;
  mournCrashed(before);
  show();
}

const endOf = ({ remaining_seconds: seconds }) => (typeof seconds === "number" ? performance.now() + seconds * 1000 : null);

/** A process that died took its rules with it. */
function mournCrashed(before) {
  for (const service of SERVICES) {
    const wasToDie = before[service]?.rules.some((rule) => rule.kind === "crash");
    if (wasToDie && !known[service]) setText($("gremlin-answer"), `${service} has died, as it was told to. Its rules died with it.`);
  }
}

function show() {
  const isSlow = Boolean(known[WAREHOUSE]?.latency.enabled);
  $("latency-toggle").setAttribute("aria-pressed", String(isSlow));
  const rules = SERVICES.flatMap((service) => (known[service]?.rules ?? []).map((rule) => ({ ...rule, service })));
  for (const preset of PRESETS) {
    const isOn = rules.some((rule) => rule.active && isOf(preset, rule, rule.service));
    $("presets").querySelector(`[data-preset="${preset.key}"]`).setAttribute("aria-pressed", String(isOn));
  }
  reconcile($("rules"), rules, ({ service, id }) => `${service} ${id}`, createRule, updateRule);
  const faults = Object.fromEntries(SERVICES.map((service) => [service, known[service] && shortFault(known[service].latency, known[service].rules)]));
  const armed = rules.filter((rule) => rule.active).length + SERVICES.filter((service) => known[service]?.latency.enabled).length;
  $("gremlin").dataset.state = armed ? "awake" : "quiet";
  setText($("gremlin-state"), armed ? `${many(armed, "fault")} on` : "quiet");
  onChange(faults);
}

function createRule(rule) {
  const preset = PRESETS.find((candidate) => isOf(candidate, rule, rule.service));
  const name = preset?.name ?? `${rule.kind} in ${rule.service}`;
  const remove = () => act(async () => {
    await gremlinCall("DELETE", pathOf(rule.service, `rules/${rule.id}`));
  });
  return el("li", { data: { rule: rule.id, service: rule.service } },
    el("div", { class: "rule-head" }, icon("gremlin"), el("b", { text: name }),
      el("button", { class: "quiet-button", type: "button", ariaLabel: `Remove the rule ${name}`, text: "✕", on: { click: remove } })),
    el("p", { class: "quiet", text: `${rule.service}: ${describeRule(rule)}` }),
    el("dl", {}, ...["matched", "fired", "left"].map((figure) => el("div", {}, el("dt", { text: figure }), el("dd", { data: { figure } })))));
}

function updateRule(node, rule) {
  node.dataset.active = String(rule.active);
  node.endsAt = rule.active ? rule.endsAt : null;
  node.otherwise = rule.active ? (typeof rule.remaining_fires === "number" ? many(rule.remaining_fires, "fire") : "no end") : "ended";
  setText(node.querySelector("[data-figure=matched]"), count(rule.matched));
  setText(node.querySelector("[data-figure=fired]"), count(rule.fired));
  showLeft(node);
}

function showLeft(node) {
  const seconds = node.endsAt ? Math.max(0, Math.ceil((node.endsAt - performance.now()) / 1000)) : null;
  setText(node.querySelector("[data-figure=left]"), seconds === null ? node.otherwise : seconds === 0 ? "ended" : `${seconds} s`);
}

const showTimeLeft = () => [...$("rules").children].forEach(showLeft);

/** Does what was asked for, says why it could not be done, and shows what is so now. */
async function act(deed) {
  setText($("gremlin-answer"), "");
  try {
    setText($("gremlin-answer"), (await deed()) ?? "");
  } catch (problem) {
    const fields = (problem.errors ?? []).map(({ field, detail }) => `${field} ${detail}`).join("; ");
    setText($("gremlin-answer"), fields || problem.message);
  }
  await refreshGremlin();
}

async function switchLatency() {
  const enabled = $("latency-toggle").getAttribute("aria-pressed") !== "true";
  await gremlinCall("POST", pathOf(WAREHOUSE, "latency"), { enabled, delay_ms: DELAY_MS });
}

async function togglePreset({ service, spec, ...preset }) {
  const same = (known[service]?.rules ?? []).filter((rule) => rule.active && isOf({ service, spec, ...preset }, rule, service));
  if (!same.length) return void (await gremlinCall("POST", pathOf(service, "rules"), spec));
  await Promise.all(same.map(({ id }) => gremlinCall("DELETE", pathOf(service, `rules/${id}`))));
}

async function stopEverything() {
  const ends = await Promise.allSettled(SERVICES.map(async (service) => {
    await gremlinCall("POST", pathOf(service, "latency"), { enabled: false, delay_ms: DELAY_MS });
    await gremlinCall("DELETE", pathOf(service, "rules"));
  }));
  const silent = SERVICES.filter((_, i) => ends[i].status === "rejected");
  return silent.length ? `Could not be told: ${silent.join(", ")}.` : "Everything is stopped.";
}

function buildForm(form) {
  const inputs = FIELDS.map(({ name, text, options, only, ...rest }) => {
    const input = options
      ? el("select", { name }, ...options.map((value) => el("option", { value, text: value || "any", selected: value === rest.value })))
      : el("input", { name, autocomplete: "off", ...rest });
    return { only, label: el("label", {}, text, input) };
  });
  const adapt = () => inputs.forEach(({ only, label }) => {
    const isFit = !only || form.elements[only[0]].value === only[1];
    label.hidden = !isFit;
    label.lastChild.disabled = !isFit;
  });
  form.append(...inputs.map(({ label }) => label), el("button", { class: "wide", text: "Let it loose" }));
  form.addEventListener("change", adapt);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const { service, ...fields } = Object.fromEntries(new FormData(form));
    const isNumber = (name) => FIELDS.find((field) => field.name === name).type === "number";
    const given = Object.entries(fields).filter(([, value]) => value !== "").map(([name, value]) => [name, isNumber(name) ? Number(value) : value]);
    act(() => gremlinCall("POST", pathOf(service, "rules"), Object.fromEntries(given)).then(() => undefined));
  });
  adapt();
}
