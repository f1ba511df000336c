// Request rates and latency percentiles, computed from the differences between two scrapes of the
// services' metrics.
import { get, pathOf, SERVICES } from "./api.js";

/** Five minutes at one scrape in 5 s. */
const MAX_POINTS = 60;
const SAMPLE_LINE = /^(\w+)(?:\{(.*)\})? (\S+)$/;
const LABEL = /(\w+)="((?:[^"\\]|\\.)*)"/g;
/** Leaves out probes, metrics and the dashboard's own requests. */
const BUSINESS_PATH = /^\/(orders|inventory|payments)(\/|$)/;
const QUANTILES = [0.5, 0.9, 0.99];
/** From best to worst. */
const BREAKER_STATES = ["closed", "half-open", "open"];

/** The last scrape of each service; null if it failed. */
let previousScrapes = SERVICES.map(() => null);
const history = [];

/**
 * Scrapes all services. Returns the history of rates and latencies, the latest rates (undefined
 * after the first scrape), the breaker state of each dependency, the number of stuck orders by what
 * they owe, the age of the oldest pending order, and the start of each service's process in seconds
 * since 1970. What is unknown is null.
 */
export async function scrapeMetrics() {
  const results = await Promise.allSettled(
    SERVICES.map((service) => get(pathOf(service, "metrics"))));
  const scrapes = results.map(({ value: text }) => (text === undefined ? null : parseScrape(text)));
  const previous = previousScrapes;
  previousScrapes = scrapes;
  const [order] = scrapes;
  const rates = scrapes.map((scrape, i) => requestRate(scrape, previous[i]));
  const known = rates.map((rate) => rate ?? null);
  history.push({ at: Date.now(), rates: known, latencies: orderLatencies(order, previous[0]) });
  if (history.length > MAX_POINTS) history.shift();
  return {
    history,
    rates,
    breakers: order?.breakers ?? null,
    stuck: order?.stuck ?? null,
    oldestPendingSeconds: order?.oldestPendingSeconds ?? null,
    starts: scrapes.map((scrape) => scrape?.startedSeconds ?? null),
  };
}

function parseScrape(text) {
  const scrape = {
    at: performance.now(),
    requests: 0,
    latencyBuckets: new Map(),
    breakers: {},
    stuck: null,
    oldestPendingSeconds: null,
    startedSeconds: null,
  };
  for (const { name, value, labels } of parseSamples(text)) {
    const { method, path, le, dependency, state } = labels;
    if (name === "http_requests_total") {
      if (method === "POST" && BUSINESS_PATH.test(path)) scrape.requests += value;
    } else if (name === "http_request_duration_seconds_bucket") {
      const bound = Number(le.replace("+Inf", "Infinity"));
      if (method === "POST" && path === "/orders") scrape.latencyBuckets.set(bound, value);
    } else if (name === "valerix_breaker_state") {
      // Each route of a dependency has a breaker. The worst state counts.
      const worst = worseBreakerState(scrape.breakers[dependency], state);
      if (value === 1) scrape.breakers[dependency] = worst;
    } else if (name === "valerix_orders_stuck") {
      scrape.stuck = { ...scrape.stuck, [labels.owes]: value };
    } else if (name === "valerix_oldest_pending_order_seconds") {
      scrape.oldestPendingSeconds = value;
    } else if (name === "process_start_time_seconds") {
      scrape.startedSeconds = value;
    }
  }
  return scrape;
}

/** Reads the samples of the Prometheus text format. */
function* parseSamples(text) {
  for (const line of text.split("\n")) {
    const [, name, labelText = "", value] = line.match(SAMPLE_LINE) ?? [];
    if (!name) continue;
    const labels = [...labelText.matchAll(LABEL)].map(([, label, content]) => [label, content]);
    yield { name, value: Number(value), labels: Object.fromEntries(labels) };
  }
}

const worseBreakerState = (one, other) =>
  (BREAKER_STATES.indexOf(other) > BREAKER_STATES.indexOf(one) ? other : one);

/** Requests per second between two scrapes; null if the last one failed, undefined without two. */
function requestRate(current, previous) {
  if (!current) return null;
  if (!previous) return undefined;
  const seconds = (current.at - previous.at) / 1000;
  return increase(current.requests, previous.requests) / seconds;
}

/** The P50, P90 and P99 latency in milliseconds of the orders placed between two scrapes. */
function orderLatencies(current, previous) {
  const unknown = QUANTILES.map(() => null);
  if (!current || !previous) return unknown;
  const buckets = [...current.latencyBuckets]
    .sort(([a], [b]) => a - b)
    .map(([bound, n]) => [bound, increase(n, previous.latencyBuckets.get(bound) ?? 0)]);
  const total = buckets.at(-1)?.[1] ?? 0;
  return total > 0 ? QUANTILES.map((quantile) => percentile(quantile, buckets, total)) : unknown;
}

/** A restarted process counts from zero again. */
const increase = (current, previous) => (current >= previous ? current - previous : current);

/** Interpolates within the bucket that holds the quantile. Buckets are cumulative, in seconds. */
function percentile(quantile, buckets, total) {
  const rank = quantile * total;
  let [lowerBound, countBelow] = [0, 0];
  for (const [bound, count] of buckets) {
    if (count >= rank) {
      if (bound === Infinity || count === countBelow) return lowerBound * 1000;
      const share = (rank - countBelow) / (count - countBelow);
      return (lowerBound + (bound - lowerBound) * share) * 1000;
    }
    [lowerBound, countBelow] = [bound, count];
  }
  return null;
}
