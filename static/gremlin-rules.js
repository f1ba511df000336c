// Gremlin rules: the presets, the fields of the form for custom faults, and descriptions of rules.
import { SERVICES } from "./api.js";
import { formatNumber, formatRoundDuration } from "./format.js";

export const PRESETS = [
  {
    key: "slow-inventory",
    name: "Slow inventory",
    effect: "Delays reservations by 3 s, for 1 minute",
    service: "inventory-service",
    rule: {
      kind: "latency",
      delay_ms: 3000,
      method: "POST",
      route: "/inventory/reserve",
      ttl_seconds: 60,
    },
  },
  {
    key: "lost-responses",
    name: "Lost responses",
    effect: "Loses the response to every second reservation, for 1 minute",
    service: "inventory-service",
    rule: {
      kind: "vanish",
      every: 2,
      method: "POST",
      route: "/inventory/reserve",
      ttl_seconds: 60,
    },
  },
  {
    key: "crash-after-commit",
    name: "Crash after commit",
    effect: "Inventory reserves once, then crashes",
    service: "inventory-service",
    rule: { kind: "crash", max_fires: 1, method: "POST", route: "/inventory/reserve" },
  },
  {
    key: "failing-payments",
    name: "Failing payments",
    effect: "30 % of charges fail, for 1 minute",
    service: "payment-service",
    rule: {
      kind: "error",
      status: 503,
      probability: 0.3,
      seed: 7,
      method: "POST",
      route: "/payments",
      ttl_seconds: 60,
    },
  },
  {
    key: "hanging-payments",
    name: "Hanging payments",
    effect: "Charges get no response, for 1 minute",
    service: "payment-service",
    rule: { kind: "hang", method: "POST", route: "/payments", ttl_seconds: 60 },
  },
];

/** Whether a rule of a service was made from a preset. */
export const isFromPreset = (preset, rule, service) =>
  service === preset.service
  && Object.entries(preset.rule).every(([field, value]) => rule[field] === value);

/** Each completes a sentence about the requests that a rule matches. */
const EFFECTS = {
  latency: describeDelay,
  error: ({ status }) => (status ? `fails with ${status}` : "fails"),
  drop: () => "is not handled, and the connection closes",
  vanish: () => "is handled, but the response is lost",
  crash: () => "is handled, then the process crashes",
  hang: () => "gets no response",
};

function describeDelay({ delay_ms: delay = 0, jitter_ms: jitter }) {
  const text = `is delayed by ${formatRoundDuration(delay)}`;
  return jitter ? `${text} ± ${formatNumber(jitter)} ms` : text;
}

export function describeRule(rule) {
  const { kind, direction, dependency, product_id: product, probability, every } = rule;
  const requests = [rule.method, rule.route].filter(Boolean).join(" ") || "every request";
  const subject = direction === "outbound"
    ? `calls to ${dependency ?? "other services"}: ${requests}`
    : requests;
  const effect = EFFECTS[kind]?.(rule) ?? kind;
  const conditions = [
    product && `for ${product}`,
    probability < 1 && `${Math.round(probability * 100)} % of the time`,
    every > 1 && `one in ${every}`,
  ];
  return [`${subject} ${effect}`, ...conditions.filter(Boolean)].join(", ");
}

const SHORT_EFFECTS = {
  latency: ({ delay_ms: delay = 0 }) => `${formatRoundDuration(delay)} slower`,
  error: () => "errors",
  drop: () => "drops requests",
  vanish: () => "loses responses",
  crash: () => "will crash",
  hang: () => "hangs",
};

/** The active faults of a service in a few words for the flow diagram; null if there are none. */
export function summarizeFaults(latency, rules) {
  const active = rules.filter((rule) => rule.active);
  const faults = [];
  if (latency?.enabled) faults.push(SHORT_EFFECTS.latency(latency));
  if (active.length > 1) faults.push(`${active.length} rules`);
  else if (active.length === 1) {
    const [rule] = active;
    faults.push(SHORT_EFFECTS[rule.kind]?.(rule) ?? rule.kind);
  }
  return faults.join(" + ") || null;
}

const ANY = "";

const choice = (name, label, options, props) => ({ name, label, options, ...props });
const text = (name, label) => ({ name, label, input: { type: "text", placeholder: "all" } });
const number = (name, label, range, props) =>
  ({ name, label, input: { type: "number", step: 1, ...range }, ...props });

/** `shownIf`: the field is shown only if another field has this value. */
const IF_LATENCY = { shownIf: ["kind", "latency"] };
const IF_ERROR = { shownIf: ["kind", "error"] };
const IF_OUTBOUND = { shownIf: ["direction", "outbound"] };

/** The fields of the form for custom faults. */
export const FIELDS = [
  choice("service", "Service", SERVICES, { selected: "inventory-service" }),
  choice("kind", "Fault", Object.keys(EFFECTS)),
  number("delay_ms", "Delay (ms)", { min: 0, max: 60000, value: 3000 }, IF_LATENCY),
  number("jitter_ms", "Jitter (ms)", { min: 0, max: 60000 }, IF_LATENCY),
  number("status", "Status code", { min: 400, max: 599, value: 503 }, IF_ERROR),
  choice("direction", "Direction", ["inbound", "outbound"]),
  choice("dependency", "Called service", [ANY, ...SERVICES.slice(1)], IF_OUTBOUND),
  choice("method", "Method", [ANY, "GET", "POST", "PUT", "DELETE"]),
  text("route", "Route"),
  text("product_id", "Product"),
  number("probability", "Probability", { min: 0, max: 1, step: 0.01 }),
  number("seed", "Seed", { min: 0 }),
  number("every", "Every Nth", { min: 1 }),
  number("offset", "Offset", { min: 0 }),
  number("ttl_seconds", "Expires after (s)", { min: 1, value: 60 }),
  number("max_fires", "Maximum fires", { min: 1 }),
];
