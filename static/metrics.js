// Rates and percentiles from the differences between two scrapes.
import { get } from "./api.js";

const SERVICES = ["order-service", "inventory-service", "payment-service"];
/** Five minutes of scrapes. */
const MOST_POINTS = 60;
const LINE = /^(\w+)(?:\{(.*)\})? (\S+)$/;
const LABEL = /(\w+)="((?:[^"\\]|\\.)*)"/g;
/** What is asked for watching's sake says nothing of the platform's work. */
const WORK = /^\/(orders|inventory|payments)(\/|$)/;

const before = new Map();
const history = [];

function* samples(text) {
  for (const line of text.split("\n")) {
    const [, name, labels = "", value] = line.match(LINE) ?? [];
    if (name) yield { name, value: Number(value), ...Object.fromEntries([...labels.matchAll(LABEL)].map(([, key, label]) => [key, label])) };
  }
}

function read(text) {
  const scrape = { at: performance.now(), requests: 0, buckets: new Map(), breakers: {}, stuck: 0 };
  for (const { name, value, method, path, le, dependency, state } of samples(text)) {
    if (name === "http_requests_total" && method === "POST" && WORK.test(path)) scrape.requests += value;
    else if (name === "http_request_duration_seconds_bucket" && method === "POST" && path === "/orders") scrape.buckets.set(Number(le.replace("+Inf", "Infinity")), value);
    else if (name === "valerix_breaker_state" && value === 1) scrape.breakers[dependency] = worse(scrape.breakers[dependency], state);
    else if (name === "valerix_orders_stuck") scrape.stuck = value;
  }
  return scrape;
}

/** Of a dependency with a breaker for each route, the worst counts. */
const BREAKERS = ["closed", "half-open", "open"];
const worse = (one, other) => (BREAKERS.indexOf(other) > BREAKERS.indexOf(one) ? other : one);

// A process that began anew counts from zero.
const since = (now, then) => (now >= then ? now - then : now);

function percentile(quantile, grown) {
  const wanted = quantile * (grown.at(-1)?.[1] ?? 0);
  let [lower, below] = [0, 0];
  for (const [bound, upTo] of grown) {
    if (upTo >= wanted) {
      if (bound === Infinity || upTo === below) return lower * 1000;
      return (lower + (bound - lower) * ((wanted - below) / (upTo - below))) * 1000;
    }
    [lower, below] = [bound, upTo];
  }
  return null;
}

/** The history of rates and latencies, and what the order service says of itself now. */
export async function scrape() {
  const paths = SERVICES.map((name) => (name === "order-service" ? "/metrics" : `/services/${name}/metrics`));
  const texts = await Promise.allSettled(paths.map((path) => get(path)));
  const point = { at: Date.now(), rates: [], latencies: [null, null, null] };
  let now = null;
  texts.forEach(({ value: text }, i) => {
    const was = before.get(i);
    if (text === undefined) {
      before.delete(i);
      point.rates.push(null);
      return;
    }
    const is = read(text);
    before.set(i, is);
    if (i === 0) now = is;
    point.rates.push(was ? since(is.requests, was.requests) / ((is.at - was.at) / 1000) : null);
    if (i > 0 || !was) return;
    const grown = [...is.buckets].sort(([a], [b]) => a - b).map(([bound, n]) => [bound, since(n, was.buckets.get(bound) ?? 0)]);
    if (grown.at(-1)?.[1] > 0) point.latencies = [0.5, 0.9, 0.99].map((quantile) => percentile(quantile, grown));
  });
  history.push(point);
  if (history.length > MOST_POINTS) history.shift();
  return { history, rates: point.rates, breakers: now?.breakers ?? {}, stuck: now?.stuck ?? 0 };
}
