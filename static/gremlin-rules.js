// The gremlin's rules in words: presets, what a rule does, and the fields of one's own.
import { duration } from "./dom.js";

export const SERVICES = ["order-service", "inventory-service", "payment-service"];

export const PRESETS = [
  { key: "slow-warehouse", name: "Slow warehouse", what: "reservations take 3 s, for a minute", service: "inventory-service",
    spec: { kind: "latency", delay_ms: 3000, method: "POST", route: "/inventory/reserve", ttl_seconds: 60 } },
  { key: "vanishing-answers", name: "Vanishing answers", what: "every second reservation is made, its answer lost", service: "inventory-service",
    spec: { kind: "vanish", every: 2, method: "POST", route: "/inventory/reserve", ttl_seconds: 60 } },
  { key: "schrodingers-warehouse", name: "Schrödinger’s warehouse", what: "reserves once, then dies: was it done?", service: "inventory-service",
    spec: { kind: "crash", max_fires: 1, method: "POST", route: "/inventory/reserve" } },
  { key: "flaky-payments", name: "Flaky payments", what: "three charges in ten fail, for a minute", service: "payment-service",
    spec: { kind: "error", status: 503, probability: 0.3, seed: 7, method: "POST", route: "/payments", ttl_seconds: 60 } },
  { key: "silent-payments", name: "Silent payments", what: "charges are never answered, for a minute", service: "payment-service",
    spec: { kind: "hang", method: "POST", route: "/payments", ttl_seconds: 60 } },
];

export const isOf = (preset, rule, service) =>
  service === preset.service && Object.entries(preset.spec).every(([field, value]) => rule[field] === value);

const WHAT = {
  latency: ({ delay_ms: delay, jitter_ms: jitter }) => `waits ${duration(delay ?? 0).replace(".00", "")}${jitter ? ` ± ${jitter} ms` : ""}`,
  error: ({ status }) => `answers ${status ?? "an error"}`,
  drop: () => "closes the connection, does nothing",
  vanish: () => "does it, and the answer is lost",
  crash: () => "does it, and the process dies",
  hang: () => "never answers",
};

export function describeRule(rule) {
  const where = [rule.method, rule.route].filter(Boolean).join(" ") || "every request";
  const whom = rule.direction === "outbound" ? `calls to ${rule.dependency ?? "other services"}: ${where}` : where;
  const conditions = [];
  if (rule.product_id) conditions.push(`for ${rule.product_id}`);
  if (typeof rule.probability === "number" && rule.probability < 1) conditions.push(`${Math.round(rule.probability * 100)} % of the time`);
  if (rule.every > 1) conditions.push(`one in ${rule.every}`);
  return `${whom} ${(WHAT[rule.kind] ?? (() => rule.kind))(rule)}${conditions.length ? `, ${conditions.join(", ")}` : ""}`;
}

/** A word or two for the picture. */
export function shortFault(latency, rules) {
  const active = rules.filter((rule) => rule.active);
  const faults = [];
  if (latency?.enabled) faults.push(`${duration(latency.delay_ms).replace(".00", "")} slower`);
  if (active.length === 1) faults.push({ latency: `${duration(active[0].delay_ms ?? 0).replace(".00", "")} slower`, error: "errors", drop: "drops", vanish: "answers vanish", crash: "will crash", hang: "hangs" }[active[0].kind] ?? active[0].kind);
  else if (active.length > 1) faults.push(`${active.length} rules`);
  return faults.join(" + ") || null;
}

const number = (name, text, range, only) => ({ name, text, type: "number", only, ...range });

/** `only`: shown when another field has one of these values. */
export const FIELDS = [
  { name: "service", text: "Service", options: SERVICES, value: "inventory-service" },
  { name: "kind", text: "Fault", options: Object.keys(WHAT) },
  number("delay_ms", "Delay, ms", { min: 0, max: 60000, step: 1, value: 3000 }, ["kind", "latency"]),
  number("jitter_ms", "Jitter, ms", { min: 0, max: 60000, step: 1 }, ["kind", "latency"]),
  number("status", "Status", { min: 400, max: 599, step: 1, value: 503 }, ["kind", "error"]),
  { name: "direction", text: "Direction", options: ["inbound", "outbound"] },
  { name: "dependency", text: "Called service", options: ["", "inventory-service", "payment-service"], only: ["direction", "outbound"] },
  { name: "method", text: "Method", options: ["", "GET", "POST", "PUT", "DELETE"] },
  { name: "route", text: "Route", type: "text", placeholder: "all" },
  { name: "product_id", text: "Product", type: "text", placeholder: "all" },
  number("probability", "Probability", { min: 0, max: 1, step: 0.01 }),
  number("seed", "Seed", { min: 0, step: 1 }),
  number("every", "Every Nth", { min: 1, step: 1 }),
  number("offset", "Offset", { min: 0, step: 1 }),
  number("ttl_seconds", "Ends after, s", { min: 1, step: 1, value: 60 }),
  number("max_fires", "Ends after, times", { min: 1, step: 1 }),
];
